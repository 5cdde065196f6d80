"""The example of docs/calibrate.md, run as a reader would: the file written, then each command in turn."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vlmctl.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "calibrate.md"


def _block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measurement is kept, and the answers after it say that they are measured and by which run."""
    monkeypatch.chdir(tmp_path)
    Path("results.yaml").write_text(_block("yaml"))
    lines = re.findall(r"^\$ vlmctl (.*)$", _block("console"), re.MULTILINE)
    said = []
    for line in lines:
        assert main(shlex.split(line, comments=True)) == 0
        said.append(" ".join(capsys.readouterr().out.split()))
    calibrated, cost, explained = said
    assert "ours-l4-c8" in calibrated
    assert "Speed and cost are measured" in cost
    assert "ours-l4-c8" in explained
