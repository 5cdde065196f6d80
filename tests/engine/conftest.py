"""Tells at the end of a run how many cases each family of models was compared on."""

from __future__ import annotations

import pytest

from tests.engine import tally


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = tally.lines()
    if lines:
        terminalreporter.section("token rules against the models' own processors")
        terminalreporter.write_line("\n".join(lines))
