"""Faults of every kind for as long as is asked: after each burst of them all is right again, and nothing is lost.

VLMCTL_SOAK_SECONDS=3600 VLMCTL_SOAK_SEED=7 make soak
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest
from vlm_operator.kinds import DEPLOYMENT, VLMDEPLOYMENT
from vlm_operator.reasons import AvailableReason, BenchmarkReason, ReadyReason
from vlm_operator.results import Task

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import CHILDREN, Space, at_rest, eventually, some
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.faults import STARTING, WITH_ENGINE, WITHOUT_ENGINE, Faults
from tests.cluster.node.operators import NAMESPACE, Recorder, condition, installed, remove_namespace
from tests.cluster.node.test_replicas import CLAIM, NAME, SERVICE, SLICE, Client, Served, engine, manifest

SPACE = "soak"
SECONDS = float(os.environ.get("VLMCTL_SOAK_SECONDS", "120"))
SEED = int(os.environ.get("VLMCTL_SOAK_SEED", "0"))
REPLICAS = 2
SCALING = {"min": REPLICAS, "max": REPLICAS + 1, "engine": "Operator"}  # one client never asks for more
ASLEEP = "asleep"  # another VLMDeployment, which has no replicas
FAULTS_AT_ONCE = 3
RIGHT_SECONDS = 60.0  # from the last fault; an engine that has to start takes its start more
STARTS = 2.0  # times as long as alone a start may take beside another replica's work
LOOK_SECONDS = 0.5
LOOKED_SHARE = 0.1  # of the time, in seconds, of which faults take a part
LAG = timedelta(seconds=5)

Body = dict[str, Any]


class Known(NamedTuple):
    """How all was at first: the names of everything by kind, and what children say."""

    names: dict[str, list[str]]
    contents: dict[str, Any]


class Guard(threading.Thread):
    """Looks all the time whether a replica takes traffic that has answered no request since its engine's start, or has
    not done the probe or ladder that it was told to; and whether anybody asks for other replicas.
    """

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self._served = served
        self._over = threading.Event()
        self.looks = 0
        self.unmeasured: list[str] = []
        self.asked_for: set[int] = set()

    def run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            pods: dict[str, Body] = {}
            with suppress(httpx.HTTPError):  # the API server is away
                self.asked_for.add(self._served.space.find(VLMDEPLOYMENT, NAME)["spec"]["replicas"])
                pods = self._served.space.all("Pod")
            for pod in pods.values():
                with suppress(httpx.HTTPError, KeyError):  # its agent is, or it has not started
                    self._look(pod)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _look(self, pod: Body) -> None:
        ready, running = condition(pod, "Ready"), engine(pod)["state"].get("running")
        if ready.get("status") != "True" or running is None:
            return
        started = datetime.fromisoformat(running["startedAt"])
        if started > datetime.fromisoformat(ready["lastTransitionTime"]) and datetime.now(UTC) - started < LAG:
            return  # the kubelet tells of an engine's new start a moment before it takes the pod out of traffic
        told = self._served.result(pod)
        self.looks += 1
        is_done = told.task is Task.SMOKE or told.probe is not None or told.measured
        if told.smoked is None or datetime.fromisoformat(told.smoked) < started or not is_done:
            self.unmeasured.append(f"{pod['metadata']['name']}: engine {started}, {told}")


@pytest.fixture(scope="module")
def served(node: Cluster, operator_image: str, tiny_model: Path) -> Iterator[Served]:
    """Two replicas, of which the first was measured, and two operators."""
    with installed(node, "operator.replicas=2"), closing(Space(node, SPACE)) as space:
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        space.make(NAME, {**manifest(tiny_model), "replicas": REPLICAS, "scaling": SCALING})
        found = Served(space, Recorder(space, ()))
        found.until(Ready=ReadyReason.READY, Benchmarked=BenchmarkReason.MEASURED)
        found.until_pods(REPLICAS)
        space.make(ASLEEP, {**manifest(tiny_model), "replicas": 0})  # now that there is a measurement for it too
        eventually(lambda: some(condition(space.find(VLMDEPLOYMENT, ASLEEP), "Ready")))
        at_rest(space)
        yield found
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


def test_faults_of_every_kind(served: Served) -> None:
    """Bursts of faults until the time is over. Replicas that no fault touches answer every request meanwhile."""
    rng, faults = Random(SEED), Faults(served, Random(SEED))
    known = Known(objects(served), contents(served))
    start_seconds, guard = seconds_of_start(served), Guard(served)
    guard.start()
    order = rng.sample(WITHOUT_ENGINE, k=len(WITHOUT_ENGINE))
    begun, bursts = time.monotonic(), 0
    try:
        while time.monotonic() < begun + SECONDS or bursts < 2 * len(WITH_ENGINE):  # each of all kinds at least once
            burst = [order[bursts % len(order)], *rng.choices(WITHOUT_ENGINE, k=rng.randrange(FAULTS_AT_ONCE))]
            touched = WITH_ENGINE[bursts // 2 % len(WITH_ENGINE)] if bursts % 2 else None
            if touched is not None:  # one of these at a time: two cores start no two engines at once
                burst.append(touched)
                rng.shuffle(burst)
            client = Client(served.service())
            client.start()
            for fault in burst:
                eventually(partial(fault, faults))
                time.sleep(rng.uniform(0.0, 3.0))
            ended = time.monotonic()
            limit = RIGHT_SECONDS + (STARTS * start_seconds if touched in STARTING else 0.0)
            eventually(lambda: is_right(served, known), seconds=limit)
            seconds = time.monotonic() - ended
            client.stop()
            lost = [each for each in client.answers if each]
            names = ", ".join(each.__name__ for each in burst)
            print(f"{names}: right after {seconds:.1f} s, {len(client.answers)} requests, {len(lost)} lost", flush=True)
            assert client.answers
            assert touched or not lost, lost
            bursts += 1
    finally:
        guard.stop()
    assert guard.looks > LOOKED_SHARE * (time.monotonic() - begun)
    assert guard.unmeasured == []
    assert guard.asked_for == {REPLICAS}
    at_rest(served.space)
    assert "Traceback" not in logs_of_operators(served)


def objects(served: Served) -> dict[str, list[str]]:
    """The names of all that belongs to the VLMDeployments, pods left out."""
    kinds = (*CHILDREN, "Secret", "VLMDeployment", "VLMBenchmark")
    return {kind: sorted(served.space.all(kind)) for kind in kinds}


def contents(served: Served) -> dict[str, Any]:
    """What is asked for in each child; counts are judged on their own, and a Deployment's revision is Kubernetes'."""
    return {
        f"{kind}/{name}": {part: body.get(part) for part in ("spec", "data", "automountServiceAccountToken")}
        for kind in CHILDREN
        for name, body in served.space.all(kind).items()
    }


def seconds_of_start(served: Served) -> float:
    """From a pod's being made to its engine's first answer, the longest of those that are there."""

    def seconds(pod: Body) -> float:
        begun = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        return (datetime.fromisoformat(condition(pod, "Ready")["lastTransitionTime"]) - begun).total_seconds()

    return max(map(seconds, served.ready_pods().values()))


def is_right(served: Served, known: Known) -> None:
    """Every object is there once and as it should be, all replicas take traffic, and the status says so."""
    assert objects(served) == known.names
    assert contents(served) == known.contents
    for kind in CHILDREN:
        for child in served.space.all(kind).values():
            assert len(child["metadata"]["ownerReferences"]) == 1, child["metadata"]["name"]
    for name, reason, replicas in ((NAME, ReadyReason.READY, REPLICAS), (ASLEEP, AvailableReason.SCALED_TO_ZERO, 0)):
        body = served.space.find(VLMDEPLOYMENT, name)
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        assert condition(body, "Ready")["reason"] == reason, body["status"]["conditions"]
        assert body["status"].get("readyReplicas", 0) == replicas
    assert served.space.find(DEPLOYMENT, NAME)["spec"]["replicas"] == REPLICAS
    pods = [pod for pod in served.space.all("Pod").values() if "deletionTimestamp" not in pod["metadata"]]
    assert len(pods) == len(served.ready_pods()) == REPLICAS
    slices = served.space.ask("GET", SLICE.path(SPACE), params={"labelSelector": f"{SERVICE}={NAME}"})["items"]
    open_ = [one for each in slices for one in each["endpoints"] or () if one["conditions"]["ready"]]
    assert {at for one in open_ for at in one["addresses"]} == {pod["status"]["podIP"] for pod in pods}
    for pod in pods:
        smoked = served.result(pod).smoked
        assert smoked is not None
        assert smoked >= engine(pod)["state"]["running"]["startedAt"]


def logs_of_operators(served: Served) -> str:
    """All that is kept of what they said."""
    text = ""
    for pod in served.cluster.get("pods", "-n", NAMESPACE)["items"]:
        name = pod["metadata"]["name"]
        text += served.cluster.kubectl("logs", name, "-n", NAMESPACE)
        if pod["status"]["containerStatuses"][0]["restartCount"]:
            text += served.cluster.kubectl("logs", name, "-n", NAMESPACE, "--previous")
    return text
