"""`vlmctl bench export` of models that no catalog holds: placed where a VLMDeployment describes them, else named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.api_server import FORBIDDEN, GROUP, api_server, kubeconfig, use
from tests.support.command_line import CommandLine
from tests.support.configs import LLAMA_8B
from tests.support.deployments import benchmark_spec, body, listed
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism

MODEL = "in-house-reader"
CONFIG = {
    **LLAMA_8B,
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
FACTS = {"config": json.dumps(CONFIG)}
ROW = Measurement(
    id="replica-1",
    source="a replica",
    model=MODEL,
    weights="bf16",
    gpu="L40S",
    gpu_count=1,
    parallelism=Parallelism(),
    engine="vllm",
    engine_version="0.32.0",
    workload=MeasuredWorkload(prompt_tokens=512, output_tokens=128),
    load=Load(kind="closed", concurrency=8),
    measured=Measured(requests_per_second=2.0),
)
MEASURED = {
    "kind": "VLMBenchmark",
    "metadata": {"name": "b", "namespace": "documents"},
    "spec": {**msgspec.to_builtins(benchmark_spec(MODEL)), "rows": [msgspec.to_builtins(ROW)]},
}
DESCRIBED = body("reader", MODEL, {}, model={"name": MODEL, "source": {"pvc": {"claimName": "w"}}, "facts": FACTS})


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What an API server holds, by path; a test may change it."""
    pytest.importorskip("kubernetes", reason="the package kubernetes is not installed: the extra `cluster` has it")
    held: dict[str, Any] = {
        f"{GROUP}/vlmbenchmarks": {"kind": "VLMBenchmarkList", "items": [MEASURED]},
        f"{GROUP}/vlmdeployments": listed(DESCRIBED),
    }
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with api_server(held) as address:
        use(kubeconfig(tmp_path / "config", address, "documents"), monkeypatch)
        yield held


@pytest.mark.usefixtures("objects")
def test_rows_of_a_described_model_can_be_taken_in(vlmctl: CommandLine, tmp_path: Path) -> None:
    """Its facts are written beside them, and `calibrate` reads the rows by these."""
    path = tmp_path / "results.yaml"
    ran = vlmctl("bench", "export", "--write", str(path), "-o", "json")
    assert (ran.code, ran.json["models"][MODEL]["config"]) == (0, CONFIG)
    assert "cannot use" not in ran.err
    taken = vlmctl("calibrate", str(path), "-o", "json")
    assert taken.code == 0, taken.err
    assert [(point["model"], point["id"]) for point in taken.json["points"]] == [(MODEL, "replica-1")]


def test_rows_of_a_model_that_nobody_describes_are_named(
    vlmctl: CommandLine, tmp_path: Path, objects: dict[str, Any]
) -> None:
    """At the export, where something can still be done, and not only by `calibrate`."""
    objects[f"{GROUP}/vlmdeployments"] = FORBIDDEN
    path = tmp_path / "results.yaml"
    ran = vlmctl("bench", "export", "--write", str(path))
    assert (ran.code, f"cannot use the rows of {MODEL}:" in ran.err) == (0, True)
    assert vlmctl("calibrate", str(path)).code == 2


def test_a_file_may_hold_both_kinds(vlmctl: CommandLine, tmp_path: Path) -> None:
    """As `kubectl get vlmbenchmarks,vlmdeployments -o json` writes them."""
    path = tmp_path / "kubectl.json"
    path.write_text(json.dumps({"kind": "List", "items": [MEASURED, DESCRIBED]}))
    ran = vlmctl("bench", "export", str(path), "-o", "json")
    assert (ran.code, list(ran.json["models"]), "cannot use" in ran.err) == (0, [MODEL], False)
