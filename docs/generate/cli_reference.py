"""docs/cli.md: every command's own help, and the exit codes."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from typer.main import get_command

from vlmctl.cli.errors import EXIT_CODES
from vlmctl.cli.main import app, main

PAGE = "cli.md"
WIDTH = "100"  # columns of the help text


def render() -> str:
    """The page, from the commands themselves."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [
        "# Command reference\n\n<!-- Written by `make docs`; edit the commands in vlmctl/cli/. -->\n\n"
        "Data goes to stdout, talk to stderr. Every command that answers takes `-o table|json|yaml|csv|markdown`; keys "
        "of JSON objects do not come and go. `vlmctl --install-completion` sets up completion of commands, options, "
        "models and GPUs.",
        f"## Exit codes\n\n| code | meaning |\n|---:|---|\n{codes}",
        *(_section(words) for words in commands()),
    ]
    return "\n\n".join(parts) + "\n"


def commands() -> list[tuple[str, ...]]:
    """The words of every command that can be called, groups before their members."""
    return list(_walk(get_command(app), ()))


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*words, name))


def _section(words: tuple[str, ...]) -> str:
    level = "##" if len(words) < 2 else "###"
    title = " ".join(("vlmctl", *words))
    return f"{level} `{title}`\n\n```text\n{_help(words)}\n```"


def _help(words: tuple[str, ...]) -> str:
    text = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(text):
        main([*words, "--help"])
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())
