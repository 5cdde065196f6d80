"""Every claim of docs/security.md names a test, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`((?:tests/[a-z_/]+/)?test_\w+\.py)(?:::(test_\w+))?`")


def test_every_named_test_exists() -> None:
    """A file in tests/vlm_operator unless a folder is said, and a function in it."""
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert named
    for file, function in named:
        path = ROOT / file if "/" in file else ROOT / "tests" / "vlm_operator" / file
        assert f"def {function}(" in path.read_text(encoding="utf-8") if function else path.exists(), (file, function)


def test_every_claim_names_a_test() -> None:
    """Each row of the tables whose last column says what shows it."""
    tables = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    claims = [row for table in tables if "shown by" in table for row in table.splitlines()[2:]]
    assert claims
    assert [row for row in claims if not NAMED.search(row.rpartition(" | ")[2])] == []
