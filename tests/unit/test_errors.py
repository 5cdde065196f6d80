"""The exception tree: one line each, and exit codes that scripts can rely on."""

from __future__ import annotations

import inspect
import re

import pytest

from vlmctl import errors
from vlmctl.errors import InvalidFile, UnknownName, VlmctlError

EXIT_CODES = {
    "VlmctlError": 1,
    "UsageError": 2,
    "UnknownName": 2,
    "InvalidValue": 2,
    "InvalidFile": 2,
    "UnsupportedModel": 2,
    "BeyondAnyModel": 2,
    "NothingFits": 3,
    "NotReachable": 4,
    "OverBudget": 5,
    "CannotWrite": 6,
}


def _tree() -> dict[str, type[VlmctlError]]:
    classes = inspect.getmembers(errors, inspect.isclass)
    return {name: kind for name, kind in classes if issubclass(kind, VlmctlError)}


def test_exit_codes_are_a_promise_to_scripts() -> None:
    """No class changes its exit code, and a new class is added here on purpose."""
    assert {name: kind.exit_code for name, kind in _tree().items()} == EXIT_CODES


def test_the_drawing_at_the_top_shows_the_whole_tree() -> None:
    """Each class stands in the module's drawing, with the exit code that it has or inherits."""
    drawn = re.findall(r"(?:├──|└──) (\w+)(?: +(\d))?", errors.__doc__ or "")
    assert {name for name, _ in drawn} | {"VlmctlError"} == set(_tree())
    for name, code in drawn:
        if code:
            assert _tree()[name].exit_code == int(code), name


def test_message_and_remedy_are_one_line() -> None:
    """An error reads as what happened and then what to do about it."""
    error = VlmctlError("the file is empty.", remedy="Add a model.")
    assert str(error) == "the file is empty. Add a model."
    assert str(VlmctlError("the file is empty.")) == "the file is empty."


@pytest.mark.parametrize(
    ("matches", "question"),
    [
        ((), "unknown GPU 'l5'."),
        (("l4",), "unknown GPU 'l5'. Did you mean 'l4'?"),
        (("l4", "l40"), "unknown GPU 'l5'. Did you mean 'l4' or 'l40'?"),
        (("l4", "l40", "l40s"), "unknown GPU 'l5'. Did you mean 'l4', 'l40' or 'l40s'?"),
    ],
    ids=["none", "one", "two", "three"],
)
def test_unknown_name_asks_about_the_close_matches(matches: tuple[str, ...], question: str) -> None:
    """However many names are close, the question is a sentence."""
    assert str(UnknownName("GPU", "l5", matches)) == question


def test_unknown_name_prefers_a_remedy_over_matches() -> None:
    """Where the caller knows better than spelling, its remedy is what is said."""
    error = UnknownName("model", "blip-3-7b", ("blip-3",), remedy="There is no BLIP-3 7B; xgen-mm is 4B.")
    assert str(error) == "unknown model 'blip-3-7b'. There is no BLIP-3 7B; xgen-mm is 4B."
    assert error.matches == ("blip-3",)


@pytest.mark.parametrize(("line", "where"), [(12, "a.yaml:12: "), (None, "a.yaml: ")], ids=["line", "no line"])
def test_invalid_file_says_where(line: int | None, where: str) -> None:
    """File and, where known, line stand first, as editors and CI logs expect."""
    assert str(InvalidFile("a.yaml", "no id.", line=line)).startswith(where + "no id.")
