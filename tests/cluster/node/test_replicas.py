"""Replicas of a real engine over their lives: measured once, gated at every start, and served by whoever is left.

One VLMDeployment lives through all the tests of this module, in their order.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlm_operator import names
from vlm_operator.kinds import POD, VLMDEPLOYMENT, Resource
from vlm_operator.load import read_metrics
from vlm_operator.proxy import METRICS_PATH, METRICS_PORT
from vlm_operator.reasons import BenchmarkReason, DegradedReason, ReadyReason
from vlm_operator.results import AgentResult, Stage, Task, read_result

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space, eventually, some
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.operators import Recorder, condition, installed, remove_namespace, scale_operator
from tests.cluster.node.test_node import question
from vlmctl.bench.endpoint import Endpoint

SPACE = "replicas"
NAME = "vision"
CLAIM = "tiny"
ENGINE_SECONDS = 600.0  # of a start with its benchmark: 60 on an idle machine
GONE_SECONDS = 120.0
REQUEST_SECONDS = 30.0
PAUSE_SECONDS = 0.5  # between requests of the client
SLICE = Resource("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", selector=None)
SERVICE = "kubernetes.io/service-name"  # label of a slice
# In the agent's container, where nothing but Python is: it ends the process that the supervisor started.
KILL_AGENT = """
import os, pathlib, signal
commands = {each.name: (each / "cmdline").read_bytes() for each in pathlib.Path("/proc").glob("[0-9]*")}
(agent,) = (pid for pid, command in commands.items() if b"\\0vlm_operator.agent.sidecar\\0" in command)
os.kill(int(agent), signal.SIGKILL)
"""
KILL_ENGINE = "kill -9 $(grep -l VLLM::EngineCor /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"

Body = dict[str, Any]


class Client(threading.Thread):
    """A user who asks about an image again and again, on a new connection each time."""

    def __init__(self, service: Endpoint) -> None:
        super().__init__(daemon=True)
        self._url = f"{service.url}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {service.api_key}"}
        self._over = threading.Event()
        self.answers: list[str] = []

    def run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            body = question() | {"model": CLAIM}
            try:
                answer = httpx.post(
                    self._url, json=body, headers=self._headers, timeout=REQUEST_SECONDS, trust_env=False
                )
                self.answers.append("" if answer.status_code == 200 else answer.text)
            except httpx.HTTPError as error:
                self.answers.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


class Served:
    """The VLMDeployment, and what can be seen of it."""

    def __init__(self, space: Space, recorder: Recorder) -> None:
        self.space = space
        self.cluster = space.cluster
        self.recorder = recorder

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.space.name, *arguments)

    def ready_pods(self) -> dict[str, Body]:
        """Pods that take traffic and are to stay, by name."""
        return {
            name: pod
            for name, pod in self.space.all("Pod").items()
            if condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]
        }

    def until_pods(self, count: int) -> dict[str, Body]:
        """Wait for so many pods that take traffic."""

        def check() -> dict[str, Body]:
            pods = self.ready_pods()
            assert len(pods) == count, list(pods)
            return pods

        return eventually(check, seconds=ENGINE_SECONDS)

    def until(self, **reasons: str) -> Body:
        """Wait for conditions with these reasons."""

        def check() -> Body:
            body = self.space.find(VLMDEPLOYMENT, NAME)
            assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
            found = {kind: condition(body, kind)["reason"] for kind in reasons}
            assert found == reasons, body["status"]
            return body

        return eventually(check, seconds=ENGINE_SECONDS)

    def result(self, pod: Body) -> AgentResult:
        """What the pod's agent tells."""
        answer = httpx.get(f"http://{pod['status']['podIP']}:8081/result", timeout=5, trust_env=False)
        return read_result(answer.raise_for_status().content)

    def endpoints(self) -> list[set[str]]:
        """Addresses that the Service sent requests to, as often as they changed."""
        slices = [
            each for each in self.recorder.of(SLICE.kind, NAME) if each.body["metadata"]["labels"][SERVICE] == NAME
        ]
        return [
            {
                address
                for endpoint in each.body.get("endpoints") or ()
                if endpoint["conditions"].get("ready")
                for address in endpoint["addresses"]
            }
            for each in slices
        ]

    def service(self) -> Endpoint:
        """As users have it: its address, and the key."""
        secret = self.cluster.get("secret", f"{NAME}-api-key", "-n", self.space.name)["data"]["api-key"]
        address = self.cluster.get("service", NAME, "-n", self.space.name)["spec"]["clusterIP"]
        return Endpoint(url=f"http://{address}", api_key=base64.b64decode(secret).decode())

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Requests go on meanwhile, each is answered, and the Service always has an address."""
        client, changes = Client(self.service()), len(self.endpoints())
        client.start()
        try:
            yield
        finally:
            client.stop()
        assert client.answers
        assert [each for each in client.answers if each] == []
        assert all(self.endpoints()[changes:])


@pytest.fixture(scope="module")
def served(node: Cluster, operator_image: str, tiny_model: Path) -> Iterator[Served]:
    """One replica that was measured, and everything that was seen of it."""
    with installed(node), closing(Space(node, SPACE)) as space:
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        recorder = Recorder(space, (POD, SLICE))
        space.make(NAME, manifest(tiny_model))
        found = Served(space, recorder)
        found.until(Ready=ReadyReason.READY)
        yield found
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


def manifest(model: Path) -> Body:
    """A spec for a machine without GPUs."""
    facts = {"config": "config.json", "processor": "processor_config.json"}
    return {
        "model": {
            "source": {"pvc": {"claimName": CLAIM}},
            "facts": {name: (model / file).read_text() for name, file in facts.items()},
        },
        "workload": {"images": [{"size": "224x224"}], "promptTokens": 32, "outputTokens": 16},
        "benchmark": {"budget": "15s", "minimumOfMeasured": "0.1"},  # two replicas share the cores that one measured
        "engine": {"arguments": ["--enforce-eager", "--kv-cache-memory-bytes=16777216", "--dtype=bfloat16"]},
        # With agent and proxy three fit a node of two cores: two replicas, and one more while they are replaced.
        "pod": {"cpu": "350m", "memory": "3Gi"},
    }


def engine(pod: Body) -> Body:
    """The status of its engine's container."""
    found: Body = next(each for each in pod["status"]["containerStatuses"] if each["name"] == names.ENGINE)
    return found


def answered(pod: Body) -> float:
    """Requests with 2xx, as its proxy counts them."""
    url = f"http://{pod['status']['podIP']}:{METRICS_PORT}{METRICS_PATH}"
    return read_metrics(httpx.get(url, timeout=5, trust_env=False).raise_for_status().text).answered


def became_ready(pod: Body) -> str:
    return condition(pod, "Ready")["lastTransitionTime"]


def test_measured_before_traffic(served: Served) -> None:
    """The first replica climbs the ladder, and takes requests only once it is measured."""
    (pod,) = served.until_pods(1).values()
    result = served.result(pod)
    body = served.until(Benchmarked=BenchmarkReason.MEASURED)
    assert (result.task, result.stage, result.ladder.attempts) == (Task.LADDER, Stage.OPEN, 1)
    assert body["status"]["timeline"]["benchmarked"] <= became_ready(pod)
    assert len(served.space.all("VLMBenchmark")) == 1


def test_the_benchmarks_own_requests_are_no_traffic(served: Served) -> None:
    """The proxy, by whose count replicas are scaled and requests cost, saw each user's and none of the ladder's."""
    (pod,) = served.until_pods(1).values()
    assert served.result(pod).ladder.best is not None
    assert answered(pod) == 0
    client = Client(served.service())
    client.start()
    eventually(lambda: some(client.answers))
    client.stop()
    assert answered(pod) == len(client.answers)


def test_second_replica_probes(served: Served) -> None:
    """A second replica holds a short load instead of the ladder, and what was measured stays."""
    first = set(served.ready_pods())
    measured = served.space.all("VLMBenchmark")
    served.kubectl("scale", f"vlmd/{NAME}", "--replicas=2")
    pods = served.until_pods(2)
    (second,) = (pod for name, pod in pods.items() if name not in first)
    result = served.result(second)
    assert (result.task, result.stage, result.ladder.attempts) == (Task.PROBE, Stage.OPEN, 0)
    assert result.probe is not None
    assert served.space.all("VLMBenchmark") == measured


def test_dead_agent(served: Served) -> None:
    """An agent that is killed takes no replica out of traffic, and is back with all that it knew."""
    pods = served.ready_pods()
    known = {name: served.result(pod) for name, pod in pods.items()}
    addresses = {pod["status"]["podIP"] for pod in pods.values()}
    changes = len(served.endpoints())
    with served.traffic():
        for name in pods:
            served.kubectl("exec", name, "-c", names.AGENT, "--", "python3", "-c", KILL_AGENT)
        assert eventually(lambda: {name: served.result(pod) for name, pod in pods.items()}) == known
    assert all(each == addresses for each in served.endpoints()[changes:])
    for name, pod in served.ready_pods().items():
        assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0, 0], name


def test_engine_starts_again(served: Served) -> None:
    """An engine that crashed, and one reported as stuck, take requests again once they answered one, and no ladder."""
    crashed, stuck = served.until_pods(2).values()
    served.kubectl("exec", crashed["metadata"]["name"], "-c", names.ENGINE, "--", "sh", "-c", KILL_ENGINE)
    served.kubectl("exec", stuck["metadata"]["name"], "-c", names.ENGINE, "--", "touch", "/run/vlmctl/stuck")

    def restarted() -> dict[str, Body]:
        pods = served.ready_pods()
        assert [engine(pod)["restartCount"] for pod in pods.values()] == [1, 1]
        return pods

    pods = eventually(restarted, seconds=ENGINE_SECONDS)
    for before in (crashed, stuck):
        pod = pods[before["metadata"]["name"]]
        result = served.result(pod)
        assert result.smoked is not None
        assert engine(pod)["state"]["running"]["startedAt"] < result.smoked <= became_ready(pod)
        assert result.ladder.attempts <= 1
    assert set(pods) == {each["metadata"]["name"] for each in (crashed, stuck)}


def test_without_operator(served: Served) -> None:
    """With the operator away a new pod is held to what was measured before, and takes requests by itself."""
    leaving, staying = served.until_pods(2).items()
    scale_operator(served.cluster, 0)
    with served.traffic():
        served.kubectl("delete", "pod", leaving[0], "--wait=false")
        pods = served.until_pods(2)
    (new,) = (pod for name, pod in pods.items() if name not in (leaving[0], staying[0]))
    result = served.result(new)
    assert names.BENCHMARK not in new["metadata"].get("annotations", {})
    scale_operator(served.cluster, 1)
    assert (result.task, result.stage) == (Task.PROBE, Stage.OPEN)
    assert result.smoked is not None
    assert result.smoked <= became_ready(new)


def test_failed_revision(served: Served) -> None:
    """A revision whose engine refuses its arguments gives way to the last good one, whose pods served throughout."""
    pods = set(served.ready_pods())
    good = served.until(Ready=ReadyReason.READY)
    arguments = good["spec"]["engine"]["arguments"]
    with served.traffic():
        change(served, [*arguments, "--max-num-seqs=many"])
        body = served.until(Ready=ReadyReason.ROLLED_BACK, Degraded=DegradedReason.ROLLED_BACK)
        told = condition(body, "Degraded")["message"]
        assert "vLLM refuses --max-num-seqs: invalid int value: 'many'" in told
        assert body["status"]["currentRevision"] == good["status"]["currentRevision"]
        change(served, arguments)
        served.until(Ready=ReadyReason.READY)
    assert set(served.ready_pods()) == pods


def test_deletion_without_operator(served: Served) -> None:
    """With the operator away a VLMDeployment is deleted with all that it had; only its measurement stays."""
    scale_operator(served.cluster, 0)
    served.kubectl("delete", "vlmd", NAME, "--timeout=10s")
    kinds = "deployments,replicasets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,"
    kinds += "poddisruptionbudgets,networkpolicies,controllerrevisions,jobs"

    def check() -> None:
        left = served.kubectl("get", kinds, "-o", "name").split()
        own = [each for each in left if not each.endswith(("/kube-root-ca.crt", "serviceaccount/default"))]
        assert own == []

    eventually(check, seconds=GONE_SECONDS)
    assert len(served.space.all("VLMBenchmark")) == 1


def change(served: Served, arguments: list[str]) -> None:
    served.space.change(VLMDEPLOYMENT, NAME, {"spec": {"engine": {"arguments": arguments}}})
