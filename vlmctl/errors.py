"""Every error that vlmctl raises on purpose, and the exit code each one ends a command with.

    VlmctlError
    ├── UsageError            2  what was asked cannot be understood
    │   ├── UnknownName          a model, GPU, benchmark ... that the catalog does not hold
    │   ├── InvalidValue         a number, size, duration ... that makes no sense
    │   ├── InvalidFile          a catalog, overlay or requirements file with a mistake in it
    │   └── UnsupportedModel     a model that exists but cannot be estimated or served as asked
    │       └── BeyondAnyModel      its file states what no model has
    ├── NothingFits           3  understood, but no placement or model satisfies it
    ├── NotReachable          4  a network, cluster or endpoint did not answer
    ├── OverBudget            5  a plan costs more than the budget that was given
    └── CannotWrite           6  a file could not be written; nothing was left half-written

An exception outside this tree is a bug: it keeps its traceback and exits with 1.
"""

from __future__ import annotations

from collections.abc import Sequence


class VlmctlError(Exception):
    """An expected failure: one line of what, where and what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UsageError(VlmctlError):
    """The request itself is wrong."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that resolves to nothing; carries the close matches."""

    def __init__(self, kind: str, name: str, matches: Sequence[str] = (), *, remedy: str = "") -> None:
        close = f"Did you mean {_either(matches)}?" if matches else ""
        super().__init__(f"unknown {kind} {name!r}.", remedy=remedy or close)
        self.kind = kind
        self.name = name
        self.matches = tuple(matches)


class InvalidValue(UsageError):
    """A value outside what its option or field can hold."""


class InvalidFile(UsageError):
    """A file with a mistake: says the file, the line where known, and the remedy."""

    def __init__(self, path: str, problem: str, *, line: int | None = None, remedy: str = "") -> None:
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {problem}", remedy=remedy)
        self.path = path
        self.line = line
        self.problem = problem


class UnsupportedModel(UsageError):
    """A model that exists but lacks a fact that the estimate or the engine needs."""


class BeyondAnyModel(UnsupportedModel):
    """A number, a list or a pattern that no model's file holds: nothing else is taken for what was meant."""


class NothingFits(VlmctlError):
    """No answer satisfies the requirements."""

    exit_code = 3


class NotReachable(VlmctlError):
    """A network, cluster or endpoint did not answer."""

    exit_code = 4


class OverBudget(VlmctlError):
    """A plan costs more than the budget allows."""

    exit_code = 5


class CannotWrite(VlmctlError):
    """A file could not be written; the earlier content, if any, is untouched."""

    exit_code = 6


def _either(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    if len(quoted) == 1:
        return quoted[0]
    return ", ".join(quoted[:-1]) + " or " + quoted[-1]
