"""The wheel, made from the source distribution, and installed into empty environments with the lean lock.

One interpreter by default; VLMCTL_TEST_PYTHONS names others, separated by spaces.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vlmctl import load_catalog

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = os.environ.get("VLMCTL_TEST_PYTHONS", "").split() or [sys.executable]

NO_INDEX = ("(from versions: none)", "Connection", "Temporary failure in name resolution")  # in pip's own output


def _run(*command: str | Path, folder: Path) -> str:
    """stdout of a command that must succeed, with a home of its own and no variable that could lead back here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VLMCTL", "XDG"))}
    finished = subprocess.run(
        command, cwd=folder, env=kept | {"HOME": str(folder)}, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the unpacked source distribution rather than from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (built,) = folder.glob("vlmctl-*.whl")
    return built


@pytest.fixture(scope="session", params=PYTHONS)
def environment(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh environment that holds the locked lean dependencies and the wheel."""
    folder = tmp_path_factory.mktemp("empty")
    _run(request.param, "-m", "venv", folder / "venv", folder=folder)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip: list[str | Path] = [scripts / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    try:
        _run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "lean.txt", folder=folder)
    except AssertionError as error:
        if any(sign in str(error) for sign in NO_INDEX):
            pytest.skip("the package index does not answer; enable with a network, PIP_INDEX_URL or PIP_FIND_LINKS")
        raise
    _run(*pip, wheel, folder=folder)
    return scripts


def test_the_wheel_holds_the_catalog_and_no_workshop(wheel: Path) -> None:
    """Both packages, the catalog, its snapshot, types and licence are inside; tests, docs and ``operator/`` are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for wanted in ("vlmctl/py.typed", "vlm_operator/__init__.py", "vlmctl/catalog/snapshot.msgpack"):
        assert wanted in names
    assert any(name.startswith("vlmctl/catalog/data/models/") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"vlmctl", "vlm_operator"}


def test_the_lean_lock_is_all_that_it_needs(environment: Path) -> None:
    """pip finds no dependency missing or at a version that the wheel does not accept."""
    assert "No broken requirements" in _run(environment / "python", "-m", "pip", "check", folder=environment)


def test_commands_answer_from_the_shipped_catalog(environment: Path, tmp_path: Path) -> None:
    """In an empty folder and for a user without files, the installed commands know every model of this tree."""
    assert "recommend" in _run(environment / "vlmctl", "--help", folder=tmp_path)
    models = json.loads(_run(environment / "vlmctl", "models", "list", "-o", "json", folder=tmp_path))
    assert {"id", "repository", "license", "parameters"} <= models[0].keys()
    assert {model["id"] for model in models} == {model.id for model in load_catalog().models}


def test_the_shipped_snapshot_is_the_one_that_is_read(environment: Path, tmp_path: Path) -> None:
    """An installed vlmctl parses no YAML and leaves nothing in the user's cache folder."""
    program = "import sys, vlmctl; vlmctl.load_catalog(); print('yaml' in sys.modules)"
    assert _run(environment / "python", "-c", program, folder=tmp_path).strip() == "False"
    assert list(tmp_path.iterdir()) == []


def test_the_lean_install_starts_light(environment: Path, tmp_path: Path) -> None:
    """No engine is installed, and starting the command line imports nothing that only some commands need."""
    program = (
        "import importlib.util, sys, vlmctl.cli.main;"
        "print([name for name in ('torch', 'vllm', 'transformers', 'kopf') if importlib.util.find_spec(name)]);"
        "print([name for name in ('yaml', 'httpx', 'rich', 'kubernetes') if name in sys.modules])"
    )
    assert _run(environment / "python", "-c", program, folder=tmp_path).split() == ["[]", "[]"]
