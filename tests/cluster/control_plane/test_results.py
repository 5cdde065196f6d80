"""From an agent's result to the measurement that is kept: pods without a kubelet, agents that answer as scripted."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.benchmarks import benchmark
from vlm_operator.kinds import DEPLOYMENT, NODE, POD, VLMBENCHMARK, VLMDEPLOYMENT
from vlm_operator.observe import AGENT_SECONDS
from vlm_operator.results import AgentResult, Figures, Ladder, Stage, Task, encode, read_word
from vlm_operator.template import AGENT_PORT

from tests.cluster.control_plane.operators import OperatorProcess, Space, at_rest, eventually, running, settled, some
from tests.vlm_operator.test_benchmarks import KEY, PLANNED

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicy"

MEASURED = AgentResult(
    stage=Stage.OPEN,
    task=Task.LADDER,
    engine_version="0.32.0",
    opened="2026-11-21T12:00:00Z",
    ladder=Ladder(
        attempts=1,
        best=Figures(
            concurrency=16,
            requests_per_second=3.25,
            measured="2026-11-21T12:00:00Z",
            low=3.1,
            high=3.4,
            ttft_p95_seconds=1.5,
            tpot_p95_seconds=0.05,
        ),
    ),
)
CLIMBING = AgentResult(stage=Stage.LADDER, task=Task.LADDER)


class Agent:
    """Answers at one address of this machine with what `result` is at the moment."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.result = AgentResult()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(encode(outer.result))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((address, AGENT_PORT), Handler)


@contextmanager
def agents(*addresses: str) -> Iterator[list[Agent]]:
    made = [Agent(address) for address in addresses]
    for each in made:
        threading.Thread(target=each.server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        for each in made:
            each.server.shutdown()
            each.server.server_close()


def node(space: Space) -> str:
    """A node that nobody runs, for pods to be bound to."""
    name = f"node-of-{space.name}"
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4"}
    space.ask("POST", NODE.path(), {"metadata": {"name": name, "labels": labels}})
    return name


def started(space: Space, pod: str, on: str, address: str) -> None:
    """What the kubelet of the node would say of a pod whose engine is up."""
    target = {"target": {"kind": "Node", "name": on}, "metadata": {"name": pod}}
    space.ask("POST", POD.path(space.name, pod, "binding"), target)
    runs: dict[str, Any] = {"started": True, "restartCount": 0, "image": "image", "imageID": "image"}
    runs["state"] = {"running": {"startedAt": "2026-11-21T11:58:00Z"}}
    containers = [{"name": name, "ready": name == names.AGENT, **runs} for name in (names.ENGINE, names.AGENT)]
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": containers}
    space.change(POD, pod, {"status": status}, "status")


def ready(space: Space, pod: str) -> None:
    """The kubelet again, once the latch is open."""
    body = space.find(POD, pod)
    containers = [{**each, "ready": True} for each in body["status"]["containerStatuses"]]
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T12:00:01Z"}]
    space.change(POD, pod, {"status": {"containerStatuses": containers, "conditions": conditions}}, "status")


def told(space: Space, pod: str) -> Task:
    word = read_word(space.find(POD, pod)["metadata"].get("annotations", {}).get(names.BENCHMARK, ""))
    assert word is not None
    return word.task


@pytest.fixture
def pods(space: Space, tmp_path: Path) -> Iterator[tuple[OperatorProcess, list[str]]]:
    """Two replicas of a new model on one node, and the operator that made them."""
    with running(space, tmp_path) as operator:
        space.make("vision", {"model": {"name": "qwen2.5-vl-3b-instruct"}, "replicas": 2})
        settled(space)
        eventually(lambda: some(len(space.all("Pod")) == 2))
        where, found = node(space), sorted(space.all("Pod"))
        for number, pod in enumerate(found, start=1):
            started(space, pod, where, f"127.0.0.{10 + number}")
        try:
            yield operator, found
        finally:
            space.ask("DELETE", NODE.path(None, where))


def test_one_measures(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """One pod is told to measure, its result is kept and shown, and the other one only has to keep up with it."""
    _, (first, second) = pods
    with agents("127.0.0.11", "127.0.0.12") as (of_first, of_second):
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        climber, its_agent = (first, of_first) if told(space, first) is Task.LADDER else (second, of_second)
        other = second if climber == first else first
        its_agent.result = CLIMBING
        time.sleep(3)
        assert told(space, climber) is Task.LADDER
        its_agent.result = MEASURED
        ready(space, climber)
        (kept,) = eventually(lambda: some(space.all("VLMBenchmark"))).values()
        assert kept["spec"]["requestsPerSecond"] == "3.25"
        eventually(lambda: some(told(space, other) is Task.PROBE))
        status = eventually(lambda: some(space.find(VLMDEPLOYMENT, "vision")["status"].get("benchmark")))
        assert (status["requestsPerSecond"], status["interval"]) == ("3.25", "3.1-3.4")
        (left,) = (each for name, each in space.all("ConfigMap").items() if name.endswith("-word"))
        probe = read_word(left["data"][names.WORD_FILE])
        assert probe == read_word(space.find(POD, other)["metadata"]["annotations"][names.BENCHMARK])
        at_rest(space)


def test_a_measurement_that_is_refused_is_said(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """Where a policy of the cluster lets no VLMBenchmark in, the condition says so; it is kept once that is over."""
    _, (first, second) = pods
    refusing(space)
    with agents("127.0.0.11", "127.0.0.12") as made:
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        for each in made:
            each.result = MEASURED

        def said() -> None:
            degraded = condition(space, "Degraded")
            assert degraded["reason"] == "WriteRefused"
            assert degraded["message"].startswith("VLMBenchmark ")
            assert "none of these" in degraded["message"]

        eventually(said)
        assert space.all("VLMBenchmark") == {}
        space.ask("DELETE", f"{POLICIES}bindings/{space.name}")
        eventually(lambda: some(space.all("VLMBenchmark")))
        eventually(lambda: some(condition(space, "Degraded")["reason"] != "WriteRefused"))


def test_what_nobody_measured_is_not_kept(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """Figures that no engine reaches are refused, which the condition says; told rightly, they are kept."""
    _, (first, second) = pods
    best = MEASURED.ladder.best
    assert best is not None
    absurd = replace(MEASURED, ladder=replace(MEASURED.ladder, best=replace(best, requests_per_second=1e6, high=None)))
    with agents("127.0.0.11", "127.0.0.12") as made:
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        for each in made:
            each.result = absurd
        eventually(lambda: some("cannot be believed" in condition(space, "Benchmarked")["message"]))
        assert space.all("VLMBenchmark") == {}
        for each in made:
            each.result = MEASURED
        eventually(lambda: some(space.all("VLMBenchmark")))


def condition(space: Space, kind: str) -> dict[str, str]:
    listed: list[dict[str, str]] = space.find(VLMDEPLOYMENT, "vision")["status"]["conditions"]
    return next(each for each in listed if each["type"] == kind)


def refusing(space: Space) -> None:
    """A policy that lets no measurement into the namespace; returns once it holds."""
    kinds = {"apiGroups": ["vlmctl.dev"], "apiVersions": ["*"], "operations": ["CREATE"]}
    rules = [{**kinds, "resources": ["vlmbenchmarks"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": space.name}}
    validations = [{"expression": "false", "message": "none of these"}]
    constraints = {"resourceRules": rules, "namespaceSelector": here}
    policy = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": validations}
    binding = {"policyName": space.name, "validationActions": ["Deny"]}
    metadata = {"name": space.name}
    space.ask("POST", f"{POLICIES.removesuffix('policy')}policies", {"metadata": metadata, "spec": policy})
    space.ask("POST", f"{POLICIES}bindings", {"metadata": metadata, "spec": binding})
    made = benchmark(MEASURED, KEY, PLANNED, namespace=space.name)

    def refused() -> None:
        body, parameters = msgspec.to_builtins(made), {"dryRun": "All"}
        assert "none of these" in space.http.post(VLMBENCHMARK.path(space.name), json=body, params=parameters).text

    eventually(refused)


def test_what_is_deleted_stays_away(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """A measurement that a user deletes is not made again from the pod that measured it, not even after a restart."""
    operator, (first, second) = pods
    with agents("127.0.0.11", "127.0.0.12") as made:
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        for agent, pod in zip(made, (first, second), strict=True):
            agent.result = MEASURED if told(space, pod) is Task.LADDER else AgentResult(stage=Stage.OPEN)
            ready(space, pod)
        (name,) = eventually(lambda: some(space.all("VLMBenchmark")))
        at_rest(space)
        space.ask("DELETE", VLMBENCHMARK.path(space.name, name))
        operator.kill()
        operator.start()
        eventually(lambda: some(space.find(VLMDEPLOYMENT, "vision")["status"].get("benchmark")))
        at_rest(space)
        assert not space.all("VLMBenchmark")


def test_a_dead_agent_delays_nobody(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """While agents take requests and answer none, a change is written before anybody waits for them."""
    _, (first, second) = pods
    with ExitStack() as stack:
        for address in ("127.0.0.11", "127.0.0.12"):
            mute = stack.enter_context(socket.create_server((address, AGENT_PORT)))
            mute.listen()
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        time.sleep(15)  # they have been asked some times, and are left alone for 10 s and more
        seconds = []
        for replicas in (3, 4, 2):
            began = time.monotonic()
            space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": replicas}}, "scale")
            eventually(lambda wanted=replicas: some(space.find(DEPLOYMENT, "vision")["spec"]["replicas"] == wanted))
            seconds.append(time.monotonic() - began)
        assert statistics.median(seconds) < AGENT_SECONDS  # one may come while they are asked


def test_no_result_is_lost(space: Space, pods: tuple[OperatorProcess, list[str]]) -> None:
    """However often the operator is killed around the moment at which a pod has measured, that is kept, once."""
    operator, (first, second) = pods
    rng = Random(5)
    with agents("127.0.0.11", "127.0.0.12") as made:
        eventually(lambda: some({told(space, first), told(space, second)} == {Task.LADDER, Task.SMOKE}))
        for each in made:
            each.result = MEASURED
        for _ in range(3):
            time.sleep(rng.uniform(0.0, 3.0))
            operator.kill()
            operator.start()
        eventually(lambda: some(space.find(VLMDEPLOYMENT, "vision")["status"].get("benchmark")))
        assert len(space.all("VLMBenchmark")) == 1
