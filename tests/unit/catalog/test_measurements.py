"""Measurement files: what is read, what is set aside by name, and what ends the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlmctl.catalog.measurements import MeasurementFile, read_measurements
from vlmctl.errors import InvalidFile
from vlmctl.specs.measurements import SCHEMA

ROW: dict[str, Any] = {
    "id": "run-1",
    "source": "here",
    "model": "meta-llama/Llama-3.1-8B",
    "weights": "bf16",
    "gpu": "H100-SXM",
    "gpu_count": 1,
    "parallelism": {"tensor": 1},
    "engine": "vllm",
    "engine_version": "0.19.0",
    "workload": {"prompt_tokens": 1000, "output_tokens": 100},
    "load": {"kind": "closed", "concurrency": 8},
    "measured": {"ttft_ms": 100.0, "tpot_ms": 10.0},
}


def _read(tmp_path: Path, *rows: object, **beside: object) -> MeasurementFile:
    path = tmp_path / "runs.yaml"
    path.write_text(json.dumps({"schema": SCHEMA, "measurements": list(rows), **beside}), encoding="utf-8")
    return read_measurements(path)


def test_a_good_row_is_read(tmp_path: Path) -> None:
    """Every field of a row arrives, and throughput follows from its latencies."""
    (row,) = _read(tmp_path, ROW).rows
    assert row.id == "run-1"
    assert row.requests_per_second == pytest.approx(8 / (0.1 + 0.01 * 99))


def test_one_bad_row_is_named(tmp_path: Path) -> None:
    """A row that is no measurement is set aside by its id, and the others are read."""
    bad = {**ROW, "id": "run-2", "workload": {"prompt_tokens": "many", "output_tokens": 1}}
    file = _read(tmp_path, ROW, bad, "not a row at all", {**ROW, "id": None, "gpu_count": "two"})
    assert [row.id for row in file.rows] == ["run-1"]
    assert [each.id for each in file.set_aside] == ["run-2", "row 3 of runs.yaml", "row 4 of runs.yaml"]
    assert "prompt_tokens" in file.set_aside[0].reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"note": "a remark"}, id="row"),
        pytest.param({"measured": {"ttft_ms": 100.0, "tpot_ms": 10.0, "power_watts": 700}}, id="measured"),
    ],
)
def test_more_than_is_used_does_no_harm(tmp_path: Path, change: dict[str, Any]) -> None:
    """Fields that decide nothing are passed over."""
    assert len(_read(tmp_path, {**ROW, **change}).rows) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"load": {"kind": "closed", "concurrency": 0}}, id="concurrency"),
        pytest.param({"parallelism": {"tensor": 1, "data": 0}}, id="ranks"),
        pytest.param({"gpu_count": 0}, id="gpus"),
        pytest.param({"measured": {"ttft_ms": -1.0, "tpot_ms": 10.0}}, id="negative"),
        pytest.param({"measured": {"requests_per_second": float("inf")}}, id="infinite"),
    ],
)
def test_numbers_that_no_run_has_set_a_row_aside(tmp_path: Path, change: dict[str, Any]) -> None:
    """A row with an impossible number is named, and neither divides by zero nor counts as an error below 0."""
    file = _read(tmp_path, ROW, {**ROW, "id": "run-2", **change})
    assert [row.id for row in file.rows] == ["run-1"]
    assert [each.id for each in file.set_aside] == ["run-2"]


def test_what_is_left_empty_is_what_is_usual(tmp_path: Path) -> None:
    """Without a parallelism all GPUs are tensor parallel, without weights the model's own, and null is not there."""
    bare = {name: value for name, value in ROW.items() if name not in ("parallelism", "weights")}
    (row,) = _read(tmp_path, {**bare, "gpu_count": 4, "workload": {**ROW["workload"], "images": None}}).rows
    assert (row.parallelism.tensor, row.weights, row.workload.images) == (4, "bf16", 0)


def test_an_unknown_kind_of_input_is_not_passed_over(tmp_path: Path) -> None:
    """A request with something that is not known would be predicted wrongly: the row is set aside."""
    file = _read(tmp_path, {**ROW, "workload": {"prompt_tokens": 10, "output_tokens": 10, "audio_seconds": 5}})
    assert [each.id for each in file.set_aside] == ["run-1"]


def test_a_bare_version_is_text(tmp_path: Path) -> None:
    """A version without quotes, which YAML reads as a number, is still a version; none at all is empty."""
    versions = [
        row.engine_version for row in _read(tmp_path, *({**ROW, "engine_version": v} for v in (0.19, None))).rows
    ]
    assert versions == ["0.19", ""]


def test_precisions_have_one_name(tmp_path: Path) -> None:
    """The same precision under another name, or in capitals, is the same."""
    words = ("FP8-dynamic", "awq", "bfloat16", "fp4", "int3")
    rows = _read(tmp_path, *({**ROW, "weights": word} for word in words)).rows
    assert [row.weights for row in rows] == ["fp8", "w4a16", "bf16", "nvfp4", "int3"]


def test_models_come_along(tmp_path: Path) -> None:
    """A file's models are kept by repository, with their processor where it is given."""
    models = {"a/b": {"hf_config": {"model_type": "llama"}, "processor": {"size": 1}}, "c/d": None}
    found = _read(tmp_path, ROW, models=models).models
    assert found["a/b"].config == {"model_type": "llama"}
    assert found["a/b"].processor == {"size": 1}
    assert found["c/d"].config == {}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("schema: something/else\n", id="schema"),
        pytest.param(f"schema: {SCHEMA}\nmeasurements: all of them\n", id="no-list"),
        pytest.param("- a list\n", id="no-mapping"),
        pytest.param("a: [1\n", id="not-yaml"),
        pytest.param("\x00", id="binary"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: str) -> None:
    """A file of another form is an error that names it."""
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"broken\.yaml"):
        read_measurements(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is an error that names it."""
    with pytest.raises(InvalidFile, match=r"nowhere\.yaml"):
        read_measurements(tmp_path / "nowhere.yaml")
