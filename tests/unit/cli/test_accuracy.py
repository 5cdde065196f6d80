"""`vlmctl accuracy`: the JSON that scripts read, what people see, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

MEASUREMENTS = Path(__file__).parents[3] / "catalog" / "measurements"
SERVING = str(MEASUREMENTS / "vlm_serving.yaml")
STARTS = str(MEASUREMENTS / "engine_memory.yaml")
QUANTITIES = ["throughput", "ttft", "tpot", "e2e", "requests_per_second"]
FIGURES = ["weights_gib", "available_kv_gib", "kv_cache_tokens", "oom"]


def test_json_of_serving_runs(vlmctl: CommandLine) -> None:
    """The keys are the documented ones, in overall and in every group; rows are answered or refused."""
    found = vlmctl("accuracy", SERVING, "-o", "json").json
    assert list(found) == ["rows", "answered", "overall", "groups", "refused"]
    assert list(found["overall"]) == [*QUANTITIES, *FIGURES]
    for name in QUANTITIES:
        assert list(found["overall"][name]) == ["rows", "median", "mean", "p90"]
    assert found["rows"] == found["answered"] + len(found["refused"])
    assert {group["by"] for group in found["groups"]} == {"model", "gpu", "engine_version", "images"}
    assert all(set(QUANTITIES) < set(group) for group in found["groups"])
    assert all(set(each) == {"id", "reason"} for each in found["refused"])


def test_json_of_percentiles(vlmctl: CommandLine, tmp_path: Path) -> None:
    """Percentiles have keys of their own where a row measured them, in overall and in the groups of such rows."""
    row = """
- {id: %s, source: here, model: Qwen/Qwen2.5-VL-7B-Instruct, weights: bf16, gpu: %s, gpu_count: 1, engine: vllm,
   workload: {prompt_tokens: 64, output_tokens: 128}, load: {kind: closed, concurrency: 4}, measured: {%s: 90.0}}"""
    path = tmp_path / "runs.yaml"
    rows = row % ("a", "L4", "ttft_p95_ms") + row % ("b", "L40S", "ttft_ms")
    path.write_text(f"schema: vlmctl.dev/measurements/v1\nmeasurements:{rows}\n")
    found = vlmctl("accuracy", str(path), "-o", "json").json
    assert found["answered"] == 2
    assert list(found["overall"]) == [*QUANTITIES, "ttft_p95", *FIGURES]
    assert {each["value"]: "ttft_p95" in each for each in found["groups"] if each["by"] == "gpu"} == {
        "L4": True,
        "L40S": False,
    }
    assert "ttft p95" in vlmctl("accuracy", str(path)).out


def test_open_loads_are_passed_over_and_counted(vlmctl: CommandLine, tmp_path: Path) -> None:
    """Their rate is the client's: the page says how many there are and why they are not judged."""
    row = """
- {id: %s, source: here, model: Qwen/Qwen2.5-VL-7B-Instruct, weights: bf16, gpu: L4, gpu_count: 1, engine: vllm,
   workload: {prompt_tokens: 64, output_tokens: 128}, load: {kind: open}, measured: {requests_per_second: 2.0}}"""
    path = tmp_path / "runs.yaml"
    path.write_text(f"schema: vlmctl.dev/measurements/v1\nmeasurements:{row % 'a'}{row % 'b'}\n")
    ran = vlmctl("accuracy", str(path))
    assert ran.code == 0, ran.err
    assert "2 rows, such as a: its load is open: its throughput is the rate at which the client sent." in ran.out


def test_json_of_starts(vlmctl: CommandLine) -> None:
    """Start-up memory is told by figure, absolute errors beside relative ones, text and vision apart."""
    found = vlmctl("accuracy", STARTS, "-o", "json").json
    assert list(found["overall"]) == [*QUANTITIES, *FIGURES]
    assert found["overall"]["throughput"] == {"rows": 0, "median": None, "mean": None, "p90": None}
    assert list(found["overall"]["weights_gib"]) == ["rows", "median", "mean", "p90", "absolute_gib"]
    assert set(found["overall"]["weights_gib"]["absolute_gib"]) == {"median", "mean", "p90"}
    oom = found["overall"]["oom"]
    assert oom["rows"] == oom["right"] + oom["missed"] + oom["false_alarms"] > 0
    assert [(group["by"], group["value"]) for group in found["groups"]] == [
        ("modality", "text"),
        ("modality", "vision"),
    ]


def test_people_see_errors_and_reasons(vlmctl: CommandLine) -> None:
    """The page says how many rows were answered, the errors, and why others were not."""
    shown = vlmctl("accuracy", SERVING, STARTS).out
    for words in ("rows answered", "Throughput", "with images", "Memory at start", "Not answered"):
        assert words in shown


def test_csv_is_flat(vlmctl: CommandLine) -> None:
    """CSV has a line for each group and quantity."""
    lines = vlmctl("accuracy", SERVING, "-o", "csv").out.splitlines()
    assert lines[0] == "by,value,rows,answered,quantity,measured,median,mean,p90"
    assert len(lines) > 5 * len(QUANTITIES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("nowhere.yaml",), "nowhere.yaml", id="missing"),
        pytest.param((str(MEASUREMENTS / "README.md"),), "README.md", id="no-measurements"),
        pytest.param((SERVING, "--basis", "guessed"), "basis", id="basis"),
        pytest.param((), "FILE", id="no-file"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(vlmctl: CommandLine, words: tuple[str, ...], said: str) -> None:
    """A file that is none, or a basis that is none, is said in one line."""
    ran = vlmctl("accuracy", *words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""
