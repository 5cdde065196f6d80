"""The one table from an exception to a line on stderr and an exit code; commands never catch these themselves."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable

import typer

from vlmctl.errors import CannotWrite, VlmctlError

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it

EXIT_CODES = {
    EXIT_OK: "done",
    EXIT_BUG: "a bug in vlmctl: please report the traceback",
    EXIT_USAGE: "the request cannot be understood (an unknown name, a bad value, a mistake in a file)",
    3: "no model or placement satisfies the request",
    4: "a network, cluster or endpoint did not answer",
    5: "the plan costs more than the budget that was given",
    6: "a file could not be written; nothing was left half-written",
    EXIT_INTERRUPTED: "interrupted",
}


def run(command: Callable[[], object]) -> int:
    """Call `command` and return its exit code: an expected failure is one line on stderr, a bug keeps its traceback."""
    try:
        result = command()
    except VlmctlError as error:
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(_usage_line(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            silence_stdout()
            return _say("cannot write to standard output: no space left on the device.", CannotWrite.exit_code)
        if error.filename is None:
            traceback.print_exc()
            return EXIT_BUG
        return _say(f"{error.filename}: {error.strerror}.", EXIT_USAGE)
    except Exception:
        traceback.print_exc()
        return EXIT_BUG
    return result if isinstance(result, int) else EXIT_OK


def silence_stdout() -> None:
    """Send what stdout still holds nowhere, so that the interpreter does not complain while it exits."""
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_line(error: typer.TyperException) -> str:
    """The parser's complaint on one line, with the help that answers it."""
    message = " ".join(error.format_message().split())
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None:
        return message
    end = "" if message.endswith(("?", ".")) else "."
    return f"{message}{end} Try '{context.command_path} --help'."


def _say(message: str, code: int) -> int:
    prefix = "error: "
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        prefix = typer.style(prefix, fg="red", bold=True)
    sys.stderr.write(f"{prefix}{_on_one_line(message)}\n")
    return code


def _on_one_line(message: str) -> str:
    """The message with line breaks and control characters of what the user typed shown as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in message)
