"""A node that is lost, and comes back: what is said of its replicas, and how all is right again without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from vlm_operator import names
from vlm_operator.kinds import DEPLOYMENT, NODE, POD, VLMDEPLOYMENT
from vlm_operator.reported import holds

from tests.cluster.clusters import CONTROL_PLANE, cluster_up, crds
from tests.cluster.control_plane.fleet import fleet
from tests.cluster.control_plane.operators import MANIFEST, OperatorProcess, Space, at_rest, eventually, running, some

SILENT_SECONDS = 20  # without a heartbeat, until a node counts as lost; 50 where nobody says anything
KEPT_SECONDS = 25  # for which its pods are kept; 300 where nobody says anything
FLAGS = (
    "--controllers",
    f"--node-monitor-grace-period={SILENT_SECONDS}s --node-monitor-period=1s",
    "--apiserver",
    f"--default-unreachable-toleration-seconds={KEPT_SECONDS} --default-not-ready-toleration-seconds={KEPT_SECONDS}",
)
RECOVERY_SECONDS = 60.0
INTERVAL_SECONDS = 0.5
METER_SECONDS = 1.0
ASKED = 12  # times for load: all that are metered were among them
IN_FLIGHT = 7.0  # at each replica, of the ten that it can take: one alone would do for what one alone tells
# What requests cost is looked at every second instead of every minute.
HURRIED = f"""
import sys
from vlm_operator import __main__, scaler
scaler.METER_SECONDS = {METER_SECONDS}
sys.exit(__main__.main())
"""
# The operator scales, and would take a replica away four seconds after it is not needed.
SCALED = {
    "min": 1,
    "max": 6,
    "engine": "Operator",
    "targetUtilization": "1",
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 4}},
}
PAIR, ALONE = "pair", "alone"
NODES = ("gpu-0", "gpu-1")
REPLICAS = {PAIR: 2, ALONE: 1}


@pytest.fixture
def space(cluster_bin: Path, tmp_path: Path) -> Iterator[Space]:
    """A namespace of a control plane that gives a lost node's pods up soon."""
    with cluster_up(CONTROL_PLANE, cluster_bin, tmp_path / "plane", FLAGS) as cluster:
        definitions = crds(cluster_bin)
        cluster.apply(*definitions)
        found = [f"crd/{each['metadata']['name']}" for each in definitions]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *found)
        with closing(Space(cluster, "lost")) as made:
            yield made


def status(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = space.find(VLMDEPLOYMENT, name)["status"]
    return found


def conditions(space: Space, name: str) -> dict[str, tuple[str, str]]:
    """By type, the status and the reason."""
    return {each["type"]: (each["status"], each["reason"]) for each in status(space, name)["conditions"]}


def pods(space: Space, name: str, *, leaving: bool = False) -> list[dict[str, Any]]:
    """Its pods; or those of them that are being deleted."""
    query = {"labelSelector": f"{names.COMPONENT}={names.ENGINE},{names.DEPLOYMENT}={name}"}
    listed = space.ask("GET", POD.path(space.name), params=query)["items"]
    return [each for each in listed if ("deletionTimestamp" in each["metadata"]) is leaving]


def taken_in(space: Space) -> None:
    """The scheduler may use both nodes."""
    listed = space.ask("GET", NODE.path())["items"]
    assert [each["spec"].get("taints") for each in listed] == [None] * len(NODES)


def on_nodes(space: Space, name: str, nodes: Sequence[str]) -> None:
    assert {each["spec"].get("nodeName") for each in pods(space, name)} == {*nodes}


def all_right(space: Space, *, held: int = 0) -> None:
    """Each has its replicas, once, and all of them take traffic. `held`: on the lost node, of all."""
    paid = 0
    for name, replicas in REPLICAS.items():
        told, there = status(space, name), pods(space, name)
        assert space.find(VLMDEPLOYMENT, name)["spec"]["replicas"] == replicas
        assert space.find(DEPLOYMENT, name)["spec"]["replicas"] == replicas
        assert (told["replicas"], told["readyReplicas"]) == (replicas, replicas)
        assert (told["ready"], told["phase"]) == (f"{replicas}/{replicas}", "Ready")
        assert [holds(each, "Ready") for each in there] == [True] * replicas
        found = conditions(space, name)
        assert (found["Ready"], found["Degraded"]) == (("True", "Ready"), ("False", "AsPlanned"))
        assert found["Benchmarked"][0] == "True"
        paid += told["cost"]["replicas"]
    assert paid == sum(REPLICAS.values()) + held


def seen_to_be_lost(space: Space, node: str) -> None:
    """Its replicas take no traffic, which is said where none is left, and as many are there and paid for as before."""
    pair, alone = status(space, PAIR), status(space, ALONE)
    assert (pair["ready"], pair["replicas"], pair["cost"]["replicas"]) == ("1/2", 2, 2)
    assert (alone["ready"], alone["replicas"], alone["cost"]["replicas"]) == ("0/1", 1, 1)
    assert conditions(space, PAIR)["Available"] == ("True", "Available")
    found = conditions(space, ALONE)
    assert found["Available"] == found["Ready"] == ("False", "NotReady")
    told = next(each["message"] for each in alone["conditions"] if each["type"] == "Ready")
    assert f"its node {node} is not ready" in told


def leaving(space: Space, *counts: int) -> None:
    """So many pods of each are being deleted."""
    assert tuple(len(pods(space, name, leaving=True)) for name in REPLICAS) == counts


def terms(operator: OperatorProcess) -> int:
    """In which it has led so far."""
    return operator.log.read_text().count("Leading as")


def still_right(space: Space, before: dict[str, str], *, held: int = 0) -> None:
    """And the operator is at rest, and nothing is there that was not `before`."""
    assert at_rest(space).keys() == before.keys()
    all_right(space, held=held)


def test_a_lost_node(space: Space, tmp_path: Path) -> None:
    """Its replicas are said to take no traffic; once they are given up, others do, and what is left is not counted."""
    settings = {"scaling": {"intervalSeconds": INTERVAL_SECONDS}}
    with (
        fleet(space, nodes=NODES) as engines,
        running(space, tmp_path, namespaces=(), program=("-c", HURRIED), settings=settings) as operator,
    ):
        told: list[float] = []  # each time that a replica tells its load

        def in_flight(ready: Sequence[str]) -> dict[str, float]:
            told.append(IN_FLIGHT)
            return dict.fromkeys(ready, IN_FLIGHT)

        engines.in_flight = in_flight
        eventually(lambda: taken_in(space))
        space.make(PAIR, {**MANIFEST, "replicas": REPLICAS[PAIR], "scaling": SCALED})
        eventually(lambda: on_nodes(space, PAIR, NODES))
        space.make(ALONE, MANIFEST)
        eventually(lambda: all_right(space))
        before = at_rest(space)
        lost = pods(space, ALONE)[0]["spec"]["nodeName"]
        (kept,) = set(NODES) - {lost}

        engines.away.add(lost)
        eventually(lambda: seen_to_be_lost(space, lost))
        eventually(lambda: leaving(space, 1, 1))
        eventually(lambda: all_right(space, held=2), seconds=RECOVERY_SECONDS)
        for name in REPLICAS:
            on_nodes(space, name, [kept])
        asked = len(engines.asked_in_vain)
        still_right(space, before, held=2)
        operator.kill()
        before_restart = terms(operator)
        operator.start()
        eventually(lambda: some(terms(operator) > before_restart))
        at_start = len(told)
        eventually(lambda: some(len(told) >= at_start + ASKED))
        still_right(space, before, held=2)
        leaving(space, 1, 1)
        assert len(engines.asked_in_vain) == asked

        engines.away.clear()
        eventually(lambda: leaving(space, 0, 0))
        eventually(lambda: all_right(space))
        still_right(space, before)
        assert scaled_by_the_operator(space) == []
        assert not [line for line in operator.lines() if line["level"] in ("error", "critical")]


def scaled_by_the_operator(space: Space) -> list[dict[str, Any]]:
    """Its writes to VLMDeployments' replicas."""
    return [
        each
        for each in space.writes()
        if each["objectRef"]["resource"] == VLMDEPLOYMENT.plural and each["objectRef"].get("subresource") == "scale"
    ]
