"""What recommend, cost, fit and explain have in common."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine

PAGE_WIDTH = 100


@pytest.mark.parametrize(
    "words",
    [
        ("recommend", "--task", "document-ocr", "--language", "ja", "--image", "1680x2240", "--why", "internvl3-8b"),
        ("recommend", "--task", "transcription", "--include-unverified", "--top", "30"),
        ("cost", "qwen2.5-vl-7b", "--image", "336..2048", "--rps", "2", "--compare-apis"),
        ("fit", "qwen2.5-vl-7b", "--gpu", "L4"),
        ("fit", "qwen2.5-vl-7b"),
        ("explain", "qwen2.5-vl-7b", "--rps", "2"),
    ],
    ids=" ".join,
)
def test_pages_fit_a_hundred_columns(words: tuple[str, ...], vlmctl: CommandLine) -> None:
    """Where stdout is no terminal, no line is wider than a page."""
    ran = vlmctl(*words)
    assert (ran.code, ran.err) == (0, "")
    assert max(len(line) for line in ran.out.splitlines()) <= PAGE_WIDTH
