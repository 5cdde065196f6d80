"""Words for `vllm serve` that a user gives: read as flags, and put in the place of the planned ones.

What may be given is listed (engine_settings.yaml), so that a release of vLLM with new flags opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files

import yaml

from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.serving.engine_args import ServeArgument
from vlmctl.specs.record import Record

FIELD = "spec.engine.arguments"
SERVED_NAME = "--served-model-name"
PLAIN_VALUE = r"[^/]*"  # no path, and no address but one without its scheme
UNKNOWN = "it is not among those that may be given (docs/security.md)"

_FLAG = re.compile(r"--[A-Za-z][^=\s]*")
_NUMBER = re.compile(r"-\d")


class Rules(Record, frozen=True, kw_only=True):
    """Of each flag that may be given, the form of its values, and of each that may not, why; `variables` that may be
    set.
    """

    values: Mapping[str, str]
    denied: Mapping[str, str]
    variables: frozenset[str]


def _read() -> Rules:
    listed = yaml.safe_load((files("vlm_operator") / "engine_settings.yaml").read_text(encoding="utf-8"))
    return Rules(
        values={**dict.fromkeys(listed["plain"].split(), PLAIN_VALUE), **listed["valued"]},
        denied={flag: why for why, flags in listed["denied"].items() for flag in flags.split()},
        variables=frozenset(listed["variables"].split()),
    )


RULES = _read()


def given_arguments(words: Sequence[str]) -> tuple[ServeArgument, ...]:
    """The flags in the order in which they are given, with dashes for underscores; of repeated ones the last counts.

    Raises Refused for a word that belongs to no flag, for flags that are not the user's to give, and for values that
    they may not have.
    """
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if word.startswith("-") and not _NUMBER.match(word):
            flag, equals, value = word.partition("=")
            flag = _spelled(flag, word)
            found[flag] = [value] if equals else []
        elif flag:
            found[flag].append(word)
        else:
            raise _refused(f"{word!r} stands before any flag.")
    for flag, values in found.items():
        _check(flag, values)
    return tuple(ServeArgument(flag=flag, values=tuple(values), reason=FIELD) for flag, values in found.items())


def laid_over(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[ServeArgument, ...]:
    """The planned arguments but for those of which a namesake is given, and then the given ones."""
    replaced = {_name(argument.flag) for argument in given}
    return (*(argument for argument in planned if _name(argument.flag) not in replaced), *given)


def replaced(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[str, ...]:
    """Planned flags in whose place one is given."""
    names = {_name(argument.flag) for argument in given}
    return tuple(argument.flag for argument in planned if _name(argument.flag) in names)


def _spelled(flag: str, word: str) -> str:
    """The flag as vLLM spells it."""
    if not _FLAG.fullmatch(flag):
        raise _refused(f"{word!r} is not the long form of a flag, such as --seed.")
    head, dot, tail = flag.partition(".")
    return head.replace("_", "-") + dot + tail


def _check(flag: str, values: Sequence[str]) -> None:
    """Raise Refused where the flag, or one of its values, is not the user's to give."""
    name = _name(flag)
    form = RULES.values.get(flag, RULES.values.get(name))
    if form is None:
        close = get_close_matches(name, RULES.values, n=1)
        hint = f" Did you mean {close[0]}?" if close and name not in RULES.denied else ""
        raise _refused(f"{flag} cannot be given: {RULES.denied.get(name, UNKNOWN)}.{hint}")
    for value in values:
        if not re.fullmatch(form, value):
            raise _refused(f"{flag} cannot be {value!r}: a value of it has the form {form}")


def _refused(problem: str) -> Refused:
    return Refused(PlanReason.INVALID_SPEC, f"{FIELD}: {problem}")


def _name(flag: str) -> str:
    """What a flag sets: ``--no-x`` and ``--x.part`` set the same as ``--x``."""
    head = flag.partition(".")[0]
    return f"--{head.removeprefix('--no-')}" if head.startswith("--no-") else head
