"""What the README says of the catalog and shows of the program is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import command_line
from vlmctl.catalog.load import load_catalog

README = Path("README.md").read_text(encoding="utf-8")


def test_the_readme_counts_the_catalog() -> None:
    """Models, accelerators and priced machines are as many as the README says."""
    said = re.search(r"It knows (\d+) models, (\d+) accelerators and (\d+) priced machines", README)
    assert said is not None
    catalog = load_catalog()
    assert [int(number) for number in said.groups()] == [len(catalog.models), len(catalog.gpus), len(catalog.offers)]


def test_the_transcript_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The transcript of the main question is the command's own output."""
    transcript = re.search(r"```console\n\$ vlmctl ([^\n]*)\n(.*?)```", README, re.DOTALL)
    assert transcript is not None
    printed = command_line(capsys)(*transcript[1].split()).out
    assert printed.strip() == transcript[2].strip(), "run the command and paste what it prints"
