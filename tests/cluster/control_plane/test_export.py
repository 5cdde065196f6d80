"""Measurements that the API server keeps: taken in by its schema as they were made, and exported from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from vlm_operator.benchmarks import benchmark, benchmark_key, find_benchmark
from vlm_operator.kinds import VLMBENCHMARK
from vlm_operator.results import AgentResult, Task, Word

from tests.cluster.control_plane.operators import Space
from tests.support.agents import pod_in, running
from tests.support.command_line import command_line
from tests.support.scripted_engine import ScriptedEngine
from tests.vlm_operator.test_benchmarks import planned_as
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.results import read_results


def test_a_replicas_measurement_comes_back_whole(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row of a ladder, through the API server, is what the agent measured; the key is found again; and a
    measurement does not change.
    """
    vlmctl, pod = command_line(capsys), pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.02, gap=lambda _: 0.005))
    pod.say(Word(task=Task.LADDER, budget="10s"))

    async def measure() -> AgentResult:
        async with running(pod):
            return await pod.opened()

    result, planned = asyncio.run(measure()), planned_as(pod.config.about)
    key = benchmark_key(planned, "NVIDIA-L4")
    made = benchmark(result, key, planned, namespace=space.name)
    assert made is not None
    space.ask("POST", VLMBENCHMARK.path(space.name), msgspec.to_builtins(made))

    kept = space.find(VLMBENCHMARK, made.metadata.name)
    read = msgspec.convert({**kept, "metadata": {"name": made.metadata.name}}, api.VLMBenchmark)
    assert find_benchmark((read,), key) is read
    assert read.spec == made.spec
    with pytest.raises(Exception, match="does not change"):
        space.change(VLMBENCHMARK, made.metadata.name, {"spec": {"requestsPerSecond": "9"}})

    monkeypatch.setenv("KUBECONFIG", str(space.cluster.kubeconfig))
    path = tmp_path / "results.yaml"
    for named in ((), ("--namespace", space.name)):
        ran = vlmctl("bench", "export", *named, "--write", str(path), "-o", "json")
        assert ran.code == 0, ran.err
        assert made.metadata.name in [each["name"] for each in ran.json["benchmarks"]]
    assert read_results(path).rows == result.ladder.rows
    assert vlmctl("bench", "export", "--namespace", "nowhere").code == 2
