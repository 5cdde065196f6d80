"""The transcripts of docs/watch.md are what the commands print of the cluster that the page describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.api_server import api_server, kubeconfig, use
from tests.support.command_line import command_line
from tests.support.deployments import ALL, NAMESPACE, paths

PAGE = Path(__file__).parents[2] / "docs" / "watch.md"
TRANSCRIPT = re.compile(r"```console\n\$ vlmctl (?P<line>[^\n]*?)  # needs a cluster\n(?P<said>.*?)```", re.DOTALL)
TRANSCRIPTS = list(TRANSCRIPT.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda found: found["line"])
def test_a_transcript_is_what_is_printed(
    transcript: re.Match[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word."""
    pytest.importorskip("kubernetes", reason="the package kubernetes is not installed: the extra `cluster` has it")
    with api_server(paths(*ALL)) as address:
        use(kubeconfig(tmp_path / "config", address, NAMESPACE), monkeypatch)
        ran = command_line(capsys)(*transcript["line"].split())
    assert ran.code == 0, ran.err
    assert ran.out.strip() == transcript["said"].strip(), "run the command and paste what it prints"


def test_every_command_of_the_page_is_shown() -> None:
    """Both commands, and one deployment in full."""
    assert [found["line"] for found in TRANSCRIPTS] == ["status", "status receipts", "top"]
