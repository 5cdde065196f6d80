"""The estimate of a cold start beside published starts, each model predicted by constants fitted without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

from vlmctl.planning import cold_start as planned
from vlmctl.planning.cold_start import StartShape, engine_terms, weight_terms
from vlmctl.specs.cold_start import Storage
from vlmctl.units import GB

STARTS = Path("catalog/measurements/cold_start.yaml")
STEPS = ("process", "setup", "compile", "graph", "profile", "server")
CACHED_STEPS = ("compile", "profile")  # another constant where compiled graphs are found
QUANTIZED = {"fp8", "int8", "w4a16", "mxfp4"}
Row = dict[str, Any]

# What each step grows with.
FEATURES: dict[str, Callable[[Row], list[float]]] = {
    "process": lambda row: [1, row["gpu_count"] > 1, row["shape"]["vision"]],
    "setup": lambda _: [1],
    "compile": lambda row: [1, row["shape"]["layers"], row["shape"]["layers"] * _quantized(row)],
    "graph": lambda row: [row["shape"]["layers"], row["shape"]["mixture"]],
    "profile": lambda _: [1],
    "server": lambda row: [1, row["shape"]["vision"]],
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(yaml.load(STARTS.read_bytes(), Loader=yaml.CSafeLoader)["starts"])


def _quantized(row: Row) -> bool:
    return row["shape"]["weights"] in QUANTIZED


def _shape(row: Row) -> StartShape:
    shape = row["shape"]
    return StartShape(
        layers=shape["layers"],
        mixture=shape["mixture"],
        vision=shape["vision"],
        quantized=_quantized(row),
        checkpoint_bytes=shape["checkpoint_gb"] * GB,
        gpu_count=row["gpu_count"],
    )


def _logs(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["source"] == "llm-d"]


def _least_squares(features: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Solves the normal equations by elimination with pivots."""
    n = len(features[0])
    table = [[sum(f[i] * f[j] for f in features) for j in range(n)] for i in range(n)]
    for i, line in enumerate(table):
        line.append(sum(f[i] * v for f, v in zip(features, values, strict=True)))
    for column in range(n):
        pivot = max(range(column, n), key=lambda r: abs(table[r][column]))
        table[column], table[pivot] = table[pivot], table[column]
        for r in range(n):
            if r != column:
                factor = table[r][column] / table[column][column]
                table[r] = [a - factor * b for a, b in zip(table[r], table[column], strict=True)]
    return [table[i][n] / table[i][i] for i in range(n)]


def _fit(rows: Sequence[Row]) -> dict[str, list[float]]:
    found = {}
    for step in STEPS:
        used = [row for row in rows if not (row["compile_cached"] and step in CACHED_STEPS)]
        values = [row["measured"][f"{step}_seconds"] for row in used]
        found[step] = _least_squares([FEATURES[step](row) for row in used], values)
    return found


def _engine_seconds(row: Row, fitted: dict[str, list[float]]) -> float:
    cached = {"compile": planned.COMPILE_CACHED_SECONDS, "profile": planned.PROFILE_CACHED_SECONDS}
    total = 0.0
    for step in STEPS:
        if row["compile_cached"] and step in cached:
            total += cached[step]
        else:
            total += sum(c * f for c, f in zip(fitted[step], FEATURES[step](row), strict=True))
    return total


def _weight_seconds(row: Row) -> float:
    shape, network = _shape(row), Storage.NETWORK
    seconds = sum(term.value for term in weight_terms(shape, network))
    if row["storage"] == Storage.HUB:
        seconds += next(t.value for t in weight_terms(shape, Storage.HUB) if t.name == "weight download")
    return seconds


def _whole(row: Row) -> float:
    return sum(value for name, value in row["measured"].items() if name != "engine_seconds")


def _percentile(errors: Sequence[float], share: float) -> float:
    return sorted(errors)[round(share * (len(errors) - 1))]


def test_the_constants_are_those_of_the_logs(rows: list[Row]) -> None:
    """Whoever changes a log or a constant sees the other."""
    fitted = _fit(_logs(rows))
    assert fitted["process"][:2] == pytest.approx([planned.PROCESS_SECONDS, planned.WORKERS_SECONDS], rel=0.02)
    assert fitted["process"][2] + fitted["server"][1] == pytest.approx(planned.PROCESSOR_SECONDS, rel=0.02)
    assert fitted["compile"][0] == pytest.approx(planned.COMPILE_FIXED_SECONDS, abs=0.1)
    assert fitted["compile"][1] == pytest.approx(planned.COMPILE_SECONDS_PER_LAYER, rel=0.02)
    assert fitted["graph"] == pytest.approx([planned.GRAPH_SECONDS_PER_LAYER, planned.GRAPH_MIXTURE_SECONDS], rel=0.02)
    assert fitted["profile"] == pytest.approx([planned.PROFILE_SECONDS], rel=0.02)
    assert fitted["server"][0] == pytest.approx(planned.SERVER_SECONDS, rel=0.02)


def test_a_model_left_out_is_predicted_within_the_shown_band(rows: list[Row]) -> None:
    """The error band of large GPUs is the leave-one-model-out error of whole starts, weights included."""
    logs = _logs(rows)
    errors = []
    for model in sorted({row["model"] for row in logs}):
        fitted = _fit([row for row in logs if row["model"] != model])
        for row in (row for row in logs if row["model"] == model):
            predicted = _engine_seconds(row, fitted) + _weight_seconds(row)
            errors.append(abs(predicted - _whole(row)) / _whole(row))
    found = (median(errors), _percentile(errors, 0.9))
    print(f"\ncold starts, {len(errors)} logs, model left out: median {found[0]:.1%}, 90th percentile {found[1]:.1%}")
    assert found == pytest.approx(planned.ERROR_LARGE, abs=0.03)


def test_small_hosts_take_as_much_longer_as_stated(rows: list[Row]) -> None:
    """The factor is the median of the starts on other machines, and its band what one machine says of the other."""
    others = [row for row in rows if row["source"] != "llm-d" and "engine_seconds" in row["measured"]]
    ratios = {}
    for row in others:
        terms = engine_terms(_shape(row), compile_cached=row["compile_cached"])
        ratios[row["id"]] = (row["gpu"], row["measured"]["engine_seconds"] / sum(term.value for term in terms))
    print("\nother machines, times the H100 host:", {name: f"{ratio:.1f}" for name, (_, ratio) in ratios.items()})
    assert median(ratio for _, ratio in ratios.values()) == pytest.approx(planned.SMALL_HOST_FACTOR, abs=0.1)
    errors = []
    for gpu, ratio in ratios.values():
        elsewhere = median(other for name, other in ratios.values() if name != gpu)
        errors.append(abs(elsewhere - ratio) / ratio)
    assert (median(errors), max(errors)) == pytest.approx(planned.ERROR_SMALL, abs=0.04)


def test_storage_speeds_are_medians_of_what_was_published(rows: list[Row]) -> None:
    """Network and hub from the logs of one GPU, disks from published runs of the same loader."""
    content = yaml.load(STARTS.read_bytes(), Loader=yaml.CSafeLoader)
    speeds: dict[str, list[float]] = {}
    for row in rows:
        gigabytes, measured = row["shape"]["checkpoint_gb"], row["measured"]
        if "download_seconds" in measured:
            speeds.setdefault("hub", []).append(gigabytes / measured["download_seconds"])
        if row["gpu_count"] == 1 and row["storage"] != "network":
            kind = "network" if row["source"] == "llm-d" else row["storage"]
            speeds.setdefault(kind, []).append(gigabytes / measured["weights_seconds"])
    for load in content["loads"]:
        speeds.setdefault(load["storage"], []).append(load["gb"] / load["seconds"])
    shown = planned.STORAGE_GB_PER_SECOND
    assert median(speeds["hub"]) == pytest.approx(shown[Storage.HUB], rel=0.05)
    assert median(speeds["network"]) == pytest.approx(shown[Storage.NETWORK], rel=0.05)
    assert median(speeds["nvme"]) == pytest.approx(shown[Storage.NVME], rel=0.1)
