"""What a replica measured of itself, set beside what `vlmctl bench` measures from outside at the same load.

Each takes its turn, first in every other pair, since a busy machine moves both. One VLMDeployment lives through all the
tests of this module, in their order.
"""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pytest
from vlm_operator import names
from vlm_operator.kinds import POD, VLMDEPLOYMENT
from vlm_operator.reasons import BenchmarkReason, ReadyReason
from vlm_operator.results import Task
from vlm_operator.template import AGENT_RESOURCES

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.operators import Recorder, installed, remove_namespace
from tests.cluster.node.test_replicas import CLAIM, NAME, SLICE, Served

SPACE = "agreement"
MODEL = "qwen2.5-vl-3b-instruct"
# Much work of the engine for few pieces of an answer: what brings them takes the same two cores.
IMAGE, PROMPT_TOKENS, OUTPUT_TOKENS = "448x448", 32, 8
OBJECTIVE = "1s"  # so that many requests end during a probe
FEWEST_PAIRS, MOST_PAIRS = 10, 40
STEP_SECONDS = 10.0  # of a probe, which the agent's own load is
LIMIT = 0.1  # of the median ratio from 1
RESAMPLES = 10_000
PATIENCE_SECONDS = 120.0  # for one run
# In the agent's container: its probe, with its configuration, on its way to the engine.
PROBE = """
import asyncio, sys
from vlm_operator.agent import tasks
from vlm_operator.agent.config import read_config
from vlm_operator.results import Task, Word
async def probe():
    config = read_config()
    word = Word(task=Task.PROBE, requests_per_second=sys.argv[1], concurrency=int(sys.argv[2]))
    print((await tasks.probe(config, word, await tasks.draw(config))).figures.requests_per_second)
asyncio.run(probe())
"""

Body = dict[str, Any]


class Interval(NamedTuple):
    """A median with its 95% interval."""

    low: float
    median: float
    high: float


class Bench:
    """The two ways to load the replica, in requests per second, and vlmctl with folders of its own."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._served = served
        self._folder = folder
        self.pod = next(iter(served.ready_pods()))
        self.benchmark: Body = served.space.find(VLMDEPLOYMENT, NAME)["status"]["benchmark"]
        key = served.cluster.get("secret", f"{NAME}-api-key", "-n", SPACE)["data"]["api-key"]
        proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
        home = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._environment = {name: value for name, value in os.environ.items() if name not in proxies} | {
            **home,
            "KEY": base64.b64decode(key).decode(),
            "KUBECONFIG": str(served.cluster.kubeconfig),
        }
        self._url = f"http://{served.cluster.get('service', NAME, '-n', SPACE)['spec']['clusterIP']}"

    def inside(self) -> float:
        """What the agent's own load measures, within the pod."""
        load = (self.benchmark["requestsPerSecond"], str(self.benchmark["concurrency"]))
        command = ("exec", self.pod, "-c", names.AGENT, "--", "python3", "-c", PROBE, *load)
        return float(self._served.kubectl(*command))

    def outside(self) -> float:
        """What `vlmctl bench` measures through the Service."""
        load = ("--concurrency", str(self.benchmark["concurrency"]), "--warm-up", "0", "--step", f"{STEP_SECONDS:g}s")
        request = ("--image", IMAGE, "--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS))
        deadline = ("--deadline", f"{STEP_SECONDS:g}s", "-o", "json")
        told = json.loads(self.vlmctl("bench", self._url, "--key", "KEY", *request, *load, *deadline))
        return float(told["steps"][0]["requests_per_second"]["value"])

    def vlmctl(self, *arguments: str) -> str:
        command = (str(Path(sys.executable).with_name("vlmctl")), *arguments)
        done = subprocess.run(
            command,
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout


def interval(ratios: Sequence[float]) -> Interval:
    """The median, by resampling (percentile bootstrap)."""
    values = np.array(ratios)
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[picks], axis=1), (2.5, 97.5))
    return Interval(float(low), float(np.median(values)), float(high))


def agrees(found: Interval) -> bool:
    return 1 - LIMIT <= found.low <= found.high <= 1 + LIMIT


@pytest.fixture(scope="module")
def served(node: Cluster, operator_image: str, tiny_model: Path) -> Iterator[Served]:
    """One replica that was measured; its model is called as one of the catalog's."""
    with installed(node), closing(Space(node, SPACE)) as space:
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        recorder = Recorder(space, (POD, SLICE))
        space.make(NAME, manifest())
        found = Served(space, recorder)
        found.until(Ready=ReadyReason.READY, Benchmarked=BenchmarkReason.MEASURED)
        yield found
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


@pytest.fixture(scope="module")
def bench(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(served, tmp_path_factory.mktemp("bench"))


def manifest() -> Body:
    """Requests hold new images each, so the engine keeps none: its cache of them would outgrow the pod's memory.

    The engine takes every core, as none with a GPU does. With a share no larger than its agent's it cannot starve it.
    """
    arguments = ["--enforce-eager", "--kv-cache-memory-bytes=16777216", "--dtype=bfloat16", "--mm-processor-cache-gb=0"]
    return {
        "model": {"name": MODEL, "source": {"pvc": {"claimName": CLAIM}}},
        "hardware": {"gpu": "L4"},
        "workload": {"images": [{"size": IMAGE}], "promptTokens": PROMPT_TOKENS, "outputTokens": OUTPUT_TOKENS},
        "objectives": {"ttft": OBJECTIVE},
        "benchmark": {"budget": "60s", "minimumOfMeasured": "0.1"},  # two replicas share the cores that one measured
        "engine": {"arguments": arguments},
        "pod": {"cpu": AGENT_RESOURCES["requests"]["cpu"], "memory": "3Gi"},
    }


def test_agrees_with_a_load_from_outside(bench: Bench) -> None:
    """At the concurrency in `.status.benchmark`, the 95% interval of the median ratio of pairs is within 10% of 1,
    after as many pairs as it takes.
    """
    for warm_up in (bench.inside, bench.outside):
        warm_up()
    pairs: list[tuple[float, float]] = []
    found = Interval(0.0, 0.0, math.inf)
    while len(pairs) < MOST_PAIRS and not (len(pairs) >= FEWEST_PAIRS and agrees(found)):
        if len(pairs) % 2:
            outside, inside = bench.outside(), bench.inside()
        else:
            inside, outside = bench.inside(), bench.outside()
        pairs.append((inside, outside))
        found = interval([one / other for one, other in pairs])
        print(f"pair {len(pairs)}: inside {inside:.2f}/s, outside {outside:.2f}/s, {inside / outside:.3f}", flush=True)
    told = float(bench.benchmark["requestsPerSecond"])
    middle = median(outside for _, outside in pairs)
    print(f"{bench.benchmark}\n{found}; status {told:.4g}/s over the median from outside {told / middle:.3f}")
    assert agrees(found), pairs


def test_planner_answers_measured(bench: Bench) -> None:
    """Once the measurement is exported and taken in, vlmctl's own answer about that GPU and load is a measured one."""
    concurrency = str(bench.benchmark["concurrency"])
    bench.vlmctl("bench", "export", "--namespace", SPACE, "--write", "measured.yaml")
    bench.vlmctl("calibrate", "measured.yaml")
    load = ("--image", IMAGE, "--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS))
    cost = bench.vlmctl("cost", MODEL, "--gpu", "l4", *load, "--concurrency", concurrency)
    assert "Speed and cost are measured" in " ".join(cost.split())


def test_a_second_replica_does_not_measure(served: Served) -> None:
    """It is probed at what the first one measured, and the measurement stays the only one."""
    first, measured = set(served.ready_pods()), served.space.all("VLMBenchmark")
    served.kubectl("scale", f"vlmd/{NAME}", "--replicas=2")
    (second,) = (pod for name, pod in served.until_pods(2).items() if name not in first)
    result = served.result(second)
    assert (result.task, result.ladder.attempts) == (Task.PROBE, 0)
    assert result.probe is not None
    assert served.space.all("VLMBenchmark") == measured
