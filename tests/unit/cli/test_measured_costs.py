"""From a load test to the next answer: what `vlmctl bench` wrote is judged, taken in, and what `cost` then says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.command_line import CommandLine
from tests.support.served import served
from tests.support.servers import ScriptedServer
from vlmctl.catalog.results import read_results

MODEL, GPU, CONCURRENCY, OUTPUT_TOKENS = "qwen2.5-vl-7b", "L40S", 4, 16
REQUEST = ("--image", "1280x720", "--prompt-tokens", "64", "--output-tokens", str(OUTPUT_TOKENS))
QUESTION = (MODEL, *REQUEST, "--concurrency", str(CONCURRENCY), "--quantization", "bf16")
IMAGE_TOKENS = 1_196  # of 1280x720 under Qwen2.5-VL's rule
TTFT_SECONDS, GAP_SECONDS = 0.5, 0.05
E2E_SECONDS = TTFT_SECONDS + (OUTPUT_TOKENS - 1) * GAP_SECONDS
REQUESTS_PER_SECOND = CONCURRENCY / E2E_SECONDS  # as many are in flight all the time


class Taken(NamedTuple):
    """A load test of a server that stands in for the model on the GPU, and answers before it was taken in."""

    results: Path
    before: dict[str, dict[str, Any]]


@pytest.fixture
def measured(vlmctl: CommandLine, tmp_path: Path) -> Taken:
    """The server answers in 1.25 s, so that it serves 3.2 requests a second."""
    results = tmp_path / "results.yaml"
    before = options(vlmctl)
    server = ScriptedServer(
        tokens=OUTPUT_TOKENS, delay=lambda _: TTFT_SECONDS, gap=lambda _: GAP_SECONDS, image_tokens=IMAGE_TOKENS
    )
    about = ("--catalog-model", MODEL, "--gpu", GPU, "--write", str(results))
    load = ("--concurrency", str(CONCURRENCY), "--requests", "8", "--warm-up", "1")
    with served(server) as url:
        ran = vlmctl("bench", url, *REQUEST, *load, *about)
    assert ran.code == 0, ran.err
    return Taken(results, before)


def options(vlmctl: CommandLine) -> dict[str, dict[str, Any]]:
    """The cheapest way to serve the request on each GPU."""
    ran = vlmctl("cost", *QUESTION, "-o", "json")
    assert ran.code == 0, ran.err
    found: dict[str, dict[str, Any]] = {}
    for option in ran.json["models"][0]["options"]:
        found.setdefault(option["gpu"], option)
    return found


def test_a_load_test_turns_the_next_cost_to_measured(vlmctl: CommandLine, measured: Taken) -> None:
    """`accuracy` says how far off the estimate was; `calibrate` takes the run in; `cost` then answers as measured."""
    before = measured.before[GPU]
    judged = vlmctl("accuracy", str(measured.results), "-o", "json")
    assert judged.code == 0, judged.err
    assert (judged.json["rows"], judged.json["answered"], judged.json["refused"]) == (1, 1, [])

    ran = vlmctl("calibrate", str(measured.results), "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json["refused"] == []
    (point,) = ran.json["points"]
    assert (point["model"], point["gpu"]) == (MODEL, GPU)
    (row,) = read_results(measured.results).rows
    assert point["measured"]["requests_per_second"] == pytest.approx(row.measured.requests_per_second, rel=0.01)
    assert point["measured"]["ttft_seconds"] == pytest.approx((row.measured.ttft_ms or 0) / 1000, rel=0.01)
    assert point["measured"]["tpot_seconds"] == pytest.approx((row.measured.tpot_ms or 0) / 1000, rel=0.01)
    assert 0.3 * REQUESTS_PER_SECOND < point["measured"]["requests_per_second"] < 1.1 * REQUESTS_PER_SECOND
    assert 0.9 * TTFT_SECONDS < point["measured"]["ttft_seconds"] < 5 * TTFT_SECONDS
    assert 0.9 * GAP_SECONDS < point["measured"]["tpot_seconds"] < 5 * GAP_SECONDS
    estimated, seen = (point[side]["requests_per_second"] for side in ("estimated", "measured"))
    error = judged.json["overall"]["throughput"]["median"]
    assert error == pytest.approx(abs(estimated - seen) / seen, rel=0.01)

    after = options(vlmctl)[GPU]
    assert (before["basis"], after["basis"]) == ("estimated", "measured")
    moved = point["calibrated"]["requests_per_second"] / estimated  # the run itself began with a burst, and is slower
    assert after["requests_per_second"] / before["requests_per_second"] == pytest.approx(moved, rel=0.01)
    assert point["calibrated"]["requests_per_second"] == pytest.approx(seen, rel=0.05)
    assert abs(after["requests_per_second"] - seen) < abs(before["requests_per_second"] - seen)
    dearer = before["requests_per_second"] > seen
    assert (after["usd_per_1k_requests"] > before["usd_per_1k_requests"]) == dearer
    assert "Speed and cost are measured" in " ".join(vlmctl("cost", *QUESTION, "--gpu", GPU).out.split())


def test_other_gpus_are_only_corrected(vlmctl: CommandLine, measured: Taken) -> None:
    """A run on one GPU makes no answer on another one `measured`: near ones move towards it, and less."""
    assert vlmctl("calibrate", str(measured.results)).code == 0
    after = options(vlmctl)
    assert {gpu for gpu, option in after.items() if option["basis"] == "measured"} == {GPU}
    own, near = (after[gpu]["requests_per_second"] / measured.before[gpu]["requests_per_second"] for gpu in (GPU, "L4"))
    assert after["L4"]["basis"] == "calibrated"
    assert min(own, 1.0) < near < max(own, 1.0)
