"""From a replica that measured itself to the next answer: by a VLMBenchmark and `vlmctl bench export`."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from vlm_operator.benchmarks import benchmark, benchmark_key
from vlm_operator.results import Task, Word

from tests.support.agents import pod_in, running
from tests.support.command_line import CommandLine, command_line
from tests.support.scripted_engine import ScriptedEngine
from tests.vlm_operator.test_benchmarks import STORED, planned_as
from vlmctl.bench.about import About
from vlmctl.catalog.results import read_results
from vlmctl.specs.workload import ImageInput, Workload

MODEL, GPU, OUTPUT_TOKENS, IMAGE_TOKENS = "qwen2.5-vl-7b", "L40S", 16, 1_196
TTFT_SECONDS, GAP_SECONDS = 0.3, 0.02
QUESTION = (MODEL, "--image", "1280x720", "--prompt-tokens", "64", "--output-tokens", str(OUTPUT_TOKENS))


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run `vlmctl` and see what it says."""
    return command_line(capsys)


def listed(*objects: Any) -> dict[str, Any]:
    """Objects as the API server lists them: with metadata of its own, and without the kind of each."""
    items = [msgspec.to_builtins(each) for each in objects]
    for item in items:
        item["metadata"] |= {"uid": "7d", "resourceVersion": "12", "managedFields": [{"manager": "vlm-operator"}]}
        del item["kind"]
    return {"apiVersion": "vlmctl.dev/v1alpha1", "kind": "VLMBenchmarkList", "items": items, "metadata": {}}


def test_a_replicas_measurement_turns_the_next_cost_to_measured(vlmctl: CommandLine, tmp_path: Path) -> None:
    """The agent climbs the ladder, the operator's object is exported, `calibrate` takes it in, and `cost` says so."""
    engine = ScriptedEngine(
        tokens=OUTPUT_TOKENS, delay=lambda _: TTFT_SECONDS, gap=lambda _: GAP_SECONDS, image_tokens=IMAGE_TOKENS
    )
    image = ImageInput(width_pixels=1280, height_pixels=720)
    pod = pod_in(
        tmp_path,
        engine,
        about=About(model=MODEL, gpu=GPU),
        workload=Workload(images=(image,), prompt_tokens=64, output_tokens=OUTPUT_TOKENS),
        image_tokens=(IMAGE_TOKENS, IMAGE_TOKENS + 2),
    )
    pod.say(Word(task=Task.LADDER, budget="12s"))

    async def measure() -> Any:
        async with running(pod):
            return await pod.opened()

    result = asyncio.run(measure())
    e2e_seconds = TTFT_SECONDS + (OUTPUT_TOKENS - 1) * GAP_SECONDS
    for row in result.ladder.rows[:3]:
        most = (row.load.concurrency or 0) / e2e_seconds  # by an engine's own delays; less on a busy machine
        assert 0.3 * most < (row.measured.requests_per_second or 0.0) < 1.15 * most
    planned = planned_as(pod.config.about)
    kept = benchmark(result, benchmark_key(planned, "NVIDIA-L40S"), planned, namespace="team")
    (tmp_path / "kubectl.json").write_text(json.dumps(listed(kept)))
    results = tmp_path / "results.yaml"

    ran = vlmctl("bench", "export", str(tmp_path / "kubectl.json"), "--write", str(results), "-o", "json")
    assert ran.code == 0, ran.err
    assert [row["load"]["concurrency"] for row in ran.json["measurements"]][:2] == [2, 4]
    assert read_results(results).rows == result.ladder.rows

    question = (*QUESTION, "--concurrency", "4", "--gpu", GPU, "--quantization", "bf16", "-o", "json")
    before = vlmctl("cost", *question).json["models"][0]["options"][0]
    taken = vlmctl("calibrate", str(results))
    assert taken.code == 0, taken.err
    after = vlmctl("cost", *question).json["models"][0]["options"][0]
    assert (before["basis"], after["basis"]) == ("estimated", "measured")


@pytest.mark.parametrize("form", ["list", "documents", "stdin"])
def test_all_that_kubectl_writes_is_read(
    vlmctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A list, YAML documents among others, standard input; other namespaces are left out where one is named."""
    assert STORED is not None
    other = replace(STORED, metadata=replace(STORED.metadata, namespace="other"))
    content = json.dumps(listed(STORED, other))
    if form == "documents":
        texts = [msgspec.json.encode(each).decode() for each in (STORED, other)]
        content = "\n---\n".join(["kind: ConfigMap", *texts, ""])
    path = tmp_path / "benchmarks"
    path.write_text(content)
    if form == "stdin":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    named = "-" if form == "stdin" else str(path)
    ran = vlmctl("bench", "export", named, "-n", "team", "-o", "json")
    assert ran.code == 0, ran.err
    (kept,) = ran.json["benchmarks"]
    assert (kept["namespace"], kept["name"]) == ("team", STORED.metadata.name)
    assert len(ran.json["measurements"]) == 1


def test_people_see_what_there_is_and_what_to_do_with_it(vlmctl: CommandLine, tmp_path: Path) -> None:
    """A line for each, with its interval."""
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps(listed(STORED)))
    said = vlmctl("bench", "export", str(path)).out
    for part in ("tinyvl-2.5-7b", "2.9-3.3", "2026-11-20T12:30:05Z", "vlmctl calibrate"):
        assert part in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "neither YAML nor JSON"),
        ("a: 1", "holds no VLMBenchmark"),
        ("kind: VLMBenchmark", "cannot be read"),
        ("kind: VLMBenchmark\nmetadata: {name: x}\nspec: {rows: [1]}", "VLMBenchmark x cannot be read"),
        ("\x00", "neither YAML nor JSON"),
    ],
)
def test_what_holds_none_is_named(vlmctl: CommandLine, tmp_path: Path, content: str, says: str) -> None:
    """One line with the file, and the usual exit code."""
    path = tmp_path / "benchmarks.yaml"
    path.write_text(content)
    ran = vlmctl("bench", "export", str(path))
    assert ran.code == 2
    assert says in ran.err
    assert "benchmarks.yaml" in ran.err
    assert vlmctl("bench", "export", str(tmp_path / "missing")).code == 2


def test_without_a_cluster_there_is_nothing_to_ask(
    vlmctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said how to name one; one that does not answer is told from none."""
    pytest.importorskip("kubernetes", reason="the package kubernetes is not installed: the extra `cluster` has it")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    ran = vlmctl("bench", "export")
    assert (ran.code, "KUBECONFIG" in ran.err) == (2, True)
