"""A step of the load on real engines: replicas follow it and go back, and every request is answered meanwhile."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from vlm_operator.kinds import POD, VLMDEPLOYMENT
from vlm_operator.reasons import BenchmarkReason, ReadyReason, ScalingReason

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space, eventually
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.operators import Recorder, installed, remove_namespace
from tests.cluster.node.test_replicas import CLAIM, ENGINE_SECONDS, NAME, SLICE, Client, Served, manifest

SPACE = "scaling"
DOWN_SECONDS = 20
SCALING = {
    "min": 1,
    "max": 2,
    "engine": "Operator",
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": DOWN_SECONDS}},
}
INTERVAL_SECONDS = 2


@pytest.fixture(scope="module")
def scaled(node: Cluster, operator_image: str, tiny_model: Path) -> Iterator[Served]:
    """One replica that measured itself, scaled by the operator between 1 and 2."""
    with installed(node, f"scaling.intervalSeconds={INTERVAL_SECONDS}"), closing(Space(node, SPACE)) as space:
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        recorder = Recorder(space, (POD, SLICE))
        budget = {"budget": "60s", "minimumOfMeasured": "0.1"}
        space.make(NAME, {**manifest(tiny_model), "scaling": SCALING, "benchmark": budget})
        found = Served(space, recorder)
        found.until(Ready=ReadyReason.READY, Benchmarked=BenchmarkReason.MEASURED)
        yield found
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


@contextmanager
def clients(served: Served, count: int) -> Iterator[list[Client]]:
    """So many users at once, each with one request after the other."""
    secret = served.cluster.get("secret", f"{NAME}-api-key", "-n", served.space.name)
    key = base64.b64decode(secret["data"]["api-key"]).decode()
    address = served.cluster.get("service", NAME, "-n", served.space.name)["spec"]["clusterIP"]
    with ExitStack() as stack:
        made = [Client(f"http://{address}", key, pause_seconds=0.0) for _ in range(count)]
        for each in made:
            each.start()
            stack.callback(each.stop)
        yield made


def test_replicas_follow_the_load_and_no_request_fails(scaled: Served) -> None:
    """Users beyond a replica's target bring the second one, and when they leave it goes without a failed request."""
    told = scaled.space.find(VLMDEPLOYMENT, NAME)["status"]["scaling"]
    assert (told["engine"], told["reason"], told["basis"]) == ("Operator", ScalingReason.SCALING, "measured")
    many = math.ceil(float(told["targetInFlight"]) * 1.5) + 1
    with clients(scaled, 1) as faithful:
        with clients(scaled, many) as passing:
            scaled.until_pods(2)
        eventually(lambda: _replicas(scaled, 1), seconds=ENGINE_SECONDS)
        scaled.until_pods(1)
    answers = [answer for client in (*faithful, *passing) for answer in client.answers]
    assert answers
    assert [each for each in answers if each] == []
    assert scaled.space.find(VLMDEPLOYMENT, NAME)["status"]["scaling"]["coldStartBasis"] == "measured"


def _replicas(served: Served, count: int) -> None:
    assert served.space.find(VLMDEPLOYMENT, NAME)["spec"]["replicas"] == count
