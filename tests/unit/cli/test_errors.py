"""From an exception to one line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.command_line import CommandLine
from vlmctl import errors as tree
from vlmctl.cli.errors import EXIT_BUG, EXIT_CODES, EXIT_INTERRUPTED, run


def _raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [
        tree.UnknownName("model", "qwen", ["qwen2-vl-7b"]),
        tree.InvalidValue("--rps is 0.", remedy="It must be above 0."),
        tree.InvalidFile("ours.yaml", "is empty.", line=3),
        tree.NothingFits("no."),
        tree.NotReachable("no."),
        tree.OverBudget("no."),
        tree.CannotWrite("no."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_expected_failures_are_one_line(error: tree.VlmctlError, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the tree prints itself on one line of stderr and ends with its own, documented code."""
    assert run(_raising(error)) == error.exit_code
    captured = capsys.readouterr()
    assert captured.err == f"error: {error}\n"
    assert captured.out == ""
    assert error.exit_code in EXIT_CODES


def test_bugs_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception that nobody expected is shown whole and ends with 1."""
    assert run(_raising(ZeroDivisionError("oh"))) == EXIT_BUG
    assert "Traceback" in capsys.readouterr().err


def test_interruption_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Control-C is no bug."""
    assert run(_raising(KeyboardInterrupt())) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recomend"], "No such command 'recomend'. Did you mean 'recommend'? Try 'vlmctl --help'."),
        (["recommend", "--licence", "any"], "Try 'vlmctl recommend --help'."),
        (["recommend", "--rps", "many"], "Invalid value for '--rps'"),
        (["recommend", "-o", "xml"], "Invalid value for '--output'"),
        (["models", "show"], "Missing argument 'MODEL'"),
        (["models", "show", "qwen2.5-vl-7"], "Did you mean 'qwen2.5-vl-7b'"),
        (["fit", "qwen2.5-vl-7b", "--gpu", "H1000"], "unknown GPU 'H1000'"),
        (["recommend", "--task", "documents"], "unknown task 'documents'"),
        (["recommend", "--rps", "-1"], "--rps is -1"),
        (["recommend", "--rps", "nan"], "--rps is nan"),
        (["recommend", "--image", "0x5"], "image size '0x5' is out of range"),
        (["recommend", "--ttft", "fast"], "'fast' is not a duration"),
        (["recommend", "--language", "Japanese"], "'Japanese' is not a language code"),
        (["recommend", "--min-score", "docvqa"], "--min-score 'docvqa' is not NAME=NUMBER"),
        (["recommend", "--owned", "0xL4"], "'0xL4' is not a number of GPUs"),
        (["cost", "qwen2.5-vl-7b", "--image", "9..3"], "'9..3' is not a range"),
        (["gpus", "--catalog", "/there/is/nothing"], "is not a folder"),
    ],
)
def test_bad_input_is_answered_in_a_line(words: list[str], said: str, vlmctl: CommandLine) -> None:
    """What cannot be understood ends with 2, nothing on stdout, and one line that says what and what to do."""
    ran = vlmctl(*words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def _process(*words: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vlmctl.cli.main", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)


def test_a_closed_pipe_is_no_error() -> None:
    """A reader that has seen enough, as `head` has, ends the command without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = _process("models", "list", "-o", "json", stdout=writing)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said() -> None:
    """Where stdout takes no more, that is said in a line and by the exit code."""
    with open("/dev/full", "wb") as full:
        ran = _process("models", "list", stdout=full.fileno())
    assert ran.returncode == tree.CannotWrite.exit_code
    assert ran.stderr.startswith(b"error: cannot write to standard output: No space left")
