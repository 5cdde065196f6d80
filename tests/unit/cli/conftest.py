"""What tests of the command line share: a way to run it, and one cache so that the catalog is parsed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, command_line


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run `vlmctl` and see what it says."""
    return command_line(capsys)
