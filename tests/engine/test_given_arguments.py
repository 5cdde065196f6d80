"""The arguments that users may give against the parser of vLLM: all are sorted, and none is spelled otherwise."""

from __future__ import annotations

from argparse import Action

import pytest
from vlm_operator.given_arguments import NO_VALUE, RULES

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")


@pytest.fixture(scope="module")
def actions() -> list[Action]:
    """The parser's, of `vllm serve`."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    found: list[Action] = make_arg_parser(FlexibleArgumentParser())._actions
    return found


@pytest.fixture
def flags(actions: list[Action]) -> set[str]:
    """Every flag of `vllm serve`, in its long form; `--no-x` counts as `--x`."""
    return {
        flag
        for action in actions
        for flag in action.option_strings
        if flag.startswith("--") and flag != "--help" and f"--{flag.removeprefix('--no-')}" not in action.option_strings
    } - {"--device-memory-utilization"}  # another name of --gpu-memory-utilization, which counts as unknown


def test_every_argument_is_sorted(flags: set[str]) -> None:
    """A new release's argument is noticed here, and refused until it is listed; none is in both lists."""
    allowed = {flag.partition(".")[0] for flag in RULES.values}
    assert flags - allowed - set(RULES.denied) == set()
    assert set(RULES.values) & set(RULES.denied) == set()


def test_every_listed_argument_exists(flags: set[str]) -> None:
    """What vLLM does not know any more is not offered."""
    assert {flag.partition(".")[0] for flag in (*RULES.values, *RULES.denied)} - flags == set()


def test_switches_are_the_parsers(actions: list[Action]) -> None:
    """A switch that took a value would leave that to be read as the next flag."""
    switches = {flag for action in actions if action.nargs == 0 for flag in action.option_strings}
    given = {flag for flag, form in RULES.values.items() if "." not in flag}
    assert {flag for flag in given if RULES.values[flag] == NO_VALUE} == given & switches
