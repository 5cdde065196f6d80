"""Load tests, comparisons and questions against real vLLM: two tiny models with random weights, served on CPU.

Random weights answer nothing right, so quality is only checked to be called equal.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")

from tests.engine.cpu_servers import CpuServer, cpu_servers
from tests.support.tiny_models import make_tiny_model
from vlmctl.bench.about import About
from vlmctl.bench.endpoint import Endpoint, FailureKind
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.results import measurements
from vlmctl.bench.run import Progress, Report, Settings
from vlmctl.bench.run import run as run_bench
from vlmctl.bench.steps import BY_ERRORS
from vlmctl.bench.workload import BenchWorkload, parse_slot
from vlmctl.catalog.hub import import_model
from vlmctl.catalog.results import read_results
from vlmctl.cli.bench_setup import now
from vlmctl.compare import results as comparisons
from vlmctl.compare.pictures import shrunk_size
from vlmctl.compare.results import AskedCase, ComparisonResult
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.tokens import TokenRuleKind

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 120
PROMPT_TOKENS, OUTPUT_TOKENS = 40, 8
SIDES = (64, 128)
CASES = 6
DIES_AFTER = 20  # answers


class Tiny(NamedTuple):
    """A tiny model: its token rule, as read from its files, and its server."""

    rule: TokenRuleKind
    server: CpuServer

    def tokens(self, width: int, height: int, images: int = 1) -> ImageTokens:
        """The estimate for one image."""
        return image_tokens(self.rule, width, height, images=images)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tiny]]:
    """Qwen2-VL, which tells image tokens apart, and SmolVLM, which does not; both are started once."""
    base = tmp_path_factory.mktemp("models")
    arguments = {"qwen2vl": ("--enable-prompt-tokens-details",), "smolvlm": ()}
    rules = []
    for kind in arguments:
        make_tiny_model(kind, base / kind)
        read = import_model(str(base / kind), download=False).image_tokens
        assert read is not None
        rules.append(read.rule)
    with cpu_servers([(base / kind, each) for kind, each in arguments.items()]) as servers:
        yield {kind: Tiny(*each) for kind, each in zip(arguments, zip(rules, servers, strict=True), strict=True)}


def vlmctl(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, as a user does; it must succeed."""
    ran = subprocess.run(
        (sys.executable, "-m", "vlmctl.cli.main", *words),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        cwd=ROOT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the ladder's results."""
    return tmp_path_factory.mktemp("bench") / "results.yaml"


@pytest.fixture(scope="module")
def ladder(models: dict[str, Tiny], results: Path) -> dict[str, Any]:
    """A ladder of three steps on Qwen2-VL, each request with an image of one of two sizes and another one."""
    asked = ("--image", "300x200=50,200x300=50", "--image", "90x120", "--prompt-tokens", str(PROMPT_TOKENS))
    length = ("--output-tokens", str(OUTPUT_TOKENS), "--max-concurrency", "4", "--step", "6s", "--deadline", "24s")
    made = ("--engine-argument=--max-num-seqs=8", "--model-revision", "seed 0", "--write", str(results))
    found = json.loads(vlmctl("bench", models["qwen2vl"].server.url, *asked, *length, *made, "-o", "json").stdout)
    assert isinstance(found, dict)
    return found


class TestBench:
    def test_the_ladder_has_rates_and_latencies_with_intervals(self, ladder: dict[str, Any]) -> None:
        """Every step knows its throughput, TTFT and TPOT, and how well; rate times latency is what was in flight."""
        steps = ladder["steps"]
        assert [step["shape"]["concurrency"] for step in steps] in ([1, 2], [1, 2, 4])
        for step in steps:
            assert step["completed"] >= 10
            assert step["failures"] == []
            for figure in (step["requests_per_second"], *(step[name]["mean"] for name in ("ttft", "tpot", "e2e"))):
                assert 0 < figure["low"] <= figure["value"] <= figure["high"]
            latencies = step["ttft"]["mean"]["value"] + (OUTPUT_TOKENS - 1) * step["tpot"]["mean"]["value"]
            assert latencies == pytest.approx(step["e2e"]["mean"]["value"], rel=0.01)
            in_flight = step["requests_per_second"]["value"] * step["e2e"]["mean"]["value"]
            assert in_flight == pytest.approx(step["shape"]["concurrency"], rel=0.15)

    def test_the_server_counted_the_same(self, ladder: dict[str, Any]) -> None:
        """Its counters rose by what was answered; every answer has the tokens asked for, and no prompt was cached."""
        for step in ladder["steps"]:
            rises, tokens = step["server"]["rises"], step["tokens"]
            assert step["disagreements"] == []
            assert rises["requests"] >= step["completed"]
            assert rises["output_tokens"] == pytest.approx(OUTPUT_TOKENS * rises["requests"], rel=0.02)
            assert rises["prefix_cache_hits"] <= 0.05 * rises["prompt_tokens"]
            assert rises["image_cache_hits"] == 0
            assert tokens["output_tokens"] == OUTPUT_TOKENS * step["completed"]
            each = rises["prompt_tokens"] / rises["requests"]
            assert tokens["prompt_tokens"] / step["completed"] == pytest.approx(each, rel=0.02)

    def test_image_tokens_are_the_estimated_ones(self, ladder: dict[str, Any], models: dict[str, Tiny]) -> None:
        """To the token: what the checkpoint's own files led us to expect, and text as long as was asked for."""
        tiny = models["qwen2vl"]
        other = tiny.tokens(90, 120).image_tokens
        wide, tall = tiny.tokens(300, 200).image_tokens, tiny.tokens(200, 300).image_tokens
        assert wide == tall
        for step in ladder["steps"]:
            tokens = step["tokens"]
            assert not tokens["image_tokens_by_difference"]
            assert tokens["image_tokens"] == (wide + other) * step["completed"]
            text = (tokens["prompt_tokens"] - tokens["image_tokens"]) / step["completed"]
            markers = 2 * tiny.tokens(300, 200).marker_tokens
            assert text == pytest.approx(PROMPT_TOKENS + markers, abs=1)

    def test_image_tokens_follow_by_difference(self, models: dict[str, Tiny]) -> None:
        """A server that does not tell them apart: what a prompt has over its text, markers included, and it is said."""
        asked = ("--image", "300x200", "--output-tokens", "4", "--concurrency", "2", "--requests", "20", "-o", "json")
        (step,) = json.loads(vlmctl("bench", models["smolvlm"].server.url, *asked).stdout)["steps"]
        assert step["tokens"]["image_tokens_by_difference"]
        each = step["tokens"]["image_tokens"] / step["completed"]
        assert each == pytest.approx(models["smolvlm"].tokens(300, 200).total_tokens, abs=1)

    def test_the_results_are_read_back(self, ladder: dict[str, Any], results: Path) -> None:
        """A row for each step, with what made it and what was measured."""
        rows = read_results(results).rows
        assert len(rows) == len(ladder["steps"])
        for row, step in zip(rows, ladder["steps"], strict=True):
            assert (row.engine, row.engine_version[:4]) == ("vllm", "0.32")
            assert row.load.concurrency == step["shape"]["concurrency"]
            assert row.measured.requests_per_second == step["requests_per_second"]["value"]
            assert row.measured.ttft_ms == pytest.approx(1000 * step["ttft"]["mean"]["value"], abs=0.001)
            assert (row.workload.images, row.workload.output_tokens) == (2, OUTPUT_TOKENS)
            assert row.flags["arguments"] == ["--max-num-seqs=8"]
            assert row.flags["model_revision"] == "seed 0"
            assert row.flags["server"]["checkpoint"].endswith("qwen2vl")


@pytest.fixture(scope="module")
def comparison(models: dict[str, Tiny], tmp_path_factory: pytest.TempPathFactory) -> tuple[ComparisonResult, str]:
    """Both models on generated cases, in two more resolutions; and what the command printed."""
    folder = tmp_path_factory.mktemp("compare")
    wanted = ("--cases", str(CASES), "--size", "256", "--categories", "counting,colours,receipts")
    vlmctl("cases", "make", str(folder / "cases"), *wanted)
    endpoints = [
        word for name, tiny in models.items() for word in ("--endpoint", f"{name}={tiny.server.url},price=1.20/h")
    ]
    sweep = ("--sweep-resolution", ",".join(map(str, SIDES)), "--max-tokens", str(OUTPUT_TOKENS))
    files = ("--results", str(folder / "results.json"), "--report", str(folder / "report.html"))
    cases = ("--cases", str(folder / "cases" / "cases.yaml"))
    printed = vlmctl("compare", *cases, *endpoints, *sweep, *files, "-o", "json").stdout
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in models)
    return comparisons.read_results(folder / "results.json"), printed


class TestCompare:
    def test_two_models_answer_everything_and_neither_is_better(
        self, comparison: tuple[ComparisonResult, str], models: dict[str, Tiny]
    ) -> None:
        """Each case at each size is answered and priced; two that know nothing are called equal."""
        result, printed = comparison
        said = json.loads(printed)
        assert {row["name"] for row in said["leaderboard"]} == set(models)
        assert said["winner"] is None
        assert result.complete
        assert len(result.replies) == len(models) * len(result.cases) * (1 + len(SIDES))
        for reply in result.replies:
            assert reply.failure is None
            assert reply.output_tokens == OUTPUT_TOKENS
            assert reply.text.strip()
            assert 0 < (reply.ttft_seconds or 0) <= (reply.e2e_seconds or 0)
            assert reply.usd is not None

    def test_tokens_at_every_resolution_are_the_estimated_ones(
        self, comparison: tuple[ComparisonResult, str], models: dict[str, Tiny]
    ) -> None:
        """To the token, in both ways of counting: told by the server, and as differences of whole prompts."""
        result, printed = comparison
        cases = {case.id: case for case in result.cases}
        whole = {(reply.contender, reply.case): reply for reply in result.replies if reply.variant.side_pixels is None}
        for reply in result.replies:
            case, tiny = cases[reply.case], models[reply.contender]
            expected = _estimated(tiny, case, reply.variant.side_pixels)
            if reply.contender == "qwen2vl":
                assert reply.image_tokens == expected[0]
            else:
                assert reply.image_tokens is None
            unshrunk = whole[reply.contender, reply.case]
            fewer = (unshrunk.prompt_tokens or 0) - (reply.prompt_tokens or 0)
            assert fewer == _estimated(tiny, case, None)[1] - expected[1]
        points = [each for each in json.loads(printed)["resolution"]["points"] if each["contender"] == "qwen2vl"]
        assert [point["value"] for point in points] == list(SIDES)
        for point in points:
            told = [_estimated(models["qwen2vl"], case, point["value"])[0] for case in result.cases]
            assert point["speed"]["image_tokens"] == pytest.approx(sum(told) / len(told))


def _estimated(tiny: Tiny, case: AskedCase, side: int | None) -> tuple[int, int]:
    """Tokens of a case's images, and the markers counted in."""
    sizes = [(image.width_pixels, image.height_pixels) for image in case.images]
    shown = [size if side is None else shrunk_size(*size, side) for size in sizes]
    found = [tiny.tokens(*size, images=len(sizes)) for size in shown]
    return sum(each.image_tokens for each in found), sum(each.total_tokens for each in found)


def test_a_question_is_answered_with_its_tokens(models: dict[str, Tiny], tmp_path: Path) -> None:
    """The answer is on stdout, its tokens and cost on stderr; machines get the tokens that were estimated."""
    from PIL import Image

    picture = tmp_path / "red.png"
    Image.new("RGB", (300, 200), "red").save(picture)
    tiny = models["qwen2vl"]
    asked = ("ask", tiny.server.url, str(picture), "What colour is it?", "--max-tokens", "8", "--price", "1.20/h")
    for_people = vlmctl(*asked)
    answer = json.loads(vlmctl(*asked, "-o", "json").stdout)
    estimate = tiny.tokens(300, 200).image_tokens
    assert for_people.stdout == answer["answer"] + "\n"
    assert f"{estimate} of them images" in for_people.stderr
    assert answer["model"] == "qwen2vl"
    assert (answer["image_tokens"], answer["output_tokens"]) == (estimate, 8)
    assert answer["usd"] == pytest.approx(1.20 * answer["e2e_seconds"] / 3600)


def test_a_server_that_dies_is_counted_honestly(models: dict[str, Tiny]) -> None:
    """Answers until then stay, the rest are failures, and the run gives up. The last test: SmolVLM is gone then."""
    seen = 0

    def progress(each: Progress) -> None:
        nonlocal seen
        seen = max(seen, each.going.completed if each.going is not None else 0)
        if seen >= DIES_AFTER and server.process.poll() is None:
            server.kill()

    server = models["smolvlm"].server
    workload = BenchWorkload(slots=(parse_slot("300x200"),), output_tokens=OUTPUT_TOKENS)
    shapes = tuple(LoadShape(arrival=Arrival.CLOSED, concurrency=each) for each in (4, 8))
    settings = Settings(workload=workload, shapes=shapes, interval=None, deadline_seconds=60)
    report = asyncio.run(run_bench(Endpoint(url=server.url), settings, progress=progress))

    (step,) = report.steps
    assert step.ended_by == BY_ERRORS
    assert {each.kind for each in step.failures} <= {FailureKind.REFUSED, FailureKind.TRUNCATED}
    assert step.failed >= 4
    assert step.completed <= seen + step.shape.concurrency * 2
    assert seen >= DIES_AFTER
    assert any("Given up" in note for note in report.notes)
    assert _kept(report) == step.completed


def _kept(report: Report) -> int | None:
    """Requests that the row of the results says were answered."""
    (row,) = measurements(report, About(), now=now())
    return row.load.requests
