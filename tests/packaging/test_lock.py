"""The lock: it covers what pyproject.toml asks for, by hash, and names no package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("lean", "build", "dev", "engine")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LEAN = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]


def _pins(lock: str) -> dict[str, set[str]]:
    """Package name to the versions a lock holds (several where a platform needs another one)."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", line):
            pins.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return pins


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        ("lean", LEAN),
        ("build", PROJECT["build-system"]["requires"]),
        ("dev", LEAN + EXTRAS["dev"] + EXTRAS["catalog"]),
        ("engine", LEAN),
    ],
    ids=LOCKS,
)
def test_locks_cover_what_is_asked_for(lock: str, asked: list[str]) -> None:
    """Every dependency of pyproject.toml is locked at a version that satisfies it: else run ``make lock``."""
    pins = _pins(lock)
    for requirement in map(Requirement, asked):
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not in requirements/{lock}.txt"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


def test_what_two_locks_share_has_one_version() -> None:
    """Development runs on the very versions that users of the lean lock get."""
    lean, build, dev = (_pins(lock) for lock in ("lean", "build", "dev"))
    assert lean == {name: dev[name] for name in lean}
    assert all(lean[name] == build[name] for name in lean.keys() & build.keys())


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_by_hash_and_name_no_index(lock: str) -> None:
    """A lock installs behind any mirror, and only the very files that were resolved."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n    --hash=\S+.*)*", text, flags=re.MULTILINE)
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert not re.search(r"^\s*--?(index|extra-index|find-links|i\b|f\b)", text, flags=re.MULTILINE)
