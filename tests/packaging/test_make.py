"""Setting up from nothing: which Python is taken, and what is said when there is none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _script(name: str, *arguments: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": "/nonexistent"} if path is not None else None
    command = ["/bin/bash", ROOT / "scripts" / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _stub(folder: Path, name: str, body: str) -> Path:
    stub = folder / name
    stub.write_text(f"#!/bin/sh\n{body}\n")
    stub.chmod(0o755)
    return stub


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 3.10.13", "is Python 3.10.13, and vlmctl needs 3.11 or newer"),
        ("echo 2.7.18", "is Python 2.7.18, and vlmctl needs 3.11 or newer"),
        ("exit 127", "does not run"),
    ],
    ids=["3.10", "2.7", "broken"],
)
def test_an_unfit_python_is_one_line(tmp_path: Path, body: str, said: str) -> None:
    """A Python that is too old or does not run is named, with the way to name another, and nothing is made."""
    refused = _script("make_venv.sh", tmp_path / "venv", _stub(tmp_path, "python3", body))
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "make PYTHON=" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_no_python_is_one_line(tmp_path: Path) -> None:
    """Where no Python was found, the line says what to install."""
    refused = _script("make_venv.sh", tmp_path / "venv", "")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "3.11" in refused.stderr


def test_stubs_and_old_pythons_are_passed_over(tmp_path: Path) -> None:
    """Each version that runs is listed once, newest first; a name that only looks like a Python is not."""
    _stub(tmp_path, "python3.13", "exit 127")
    _stub(tmp_path, "python3.12", "echo 3.12")
    _stub(tmp_path, "python3.11", "echo 3.11")
    _stub(tmp_path, "python3", "echo 3.11")
    assert _script("find_python.sh", path=str(tmp_path)).stdout.split() == ["python3.12", "python3.11"]


def test_the_demo_asks_what_the_readme_shows() -> None:
    """The script behind `make demo` asks the README's question, and so gets its answer."""
    vlmctl = Path(sys.executable).with_name("vlmctl")
    told = _script("demo.sh", vlmctl)
    shown = re.search(r"^```console\n\$ (vlmctl recommend .*?)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert shown is not None
    asked, answered = told.stdout.partition("$ ")[2].split("\n\n", 1)[0], told.stdout
    assert " ".join(asked.replace("\\\n", " ").split()).startswith(shown[1])
    assert shown[2].strip() in answered
    assert "demo.sh $(BIN)/vlmctl" in (ROOT / "Makefile").read_text()


def test_help_lists_every_target() -> None:
    """`make help` leaves out no target that can be asked for."""
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    listed = re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
