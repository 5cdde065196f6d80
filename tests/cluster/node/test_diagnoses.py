"""What stands in the way of a replica, made to happen: each is named in the status within seconds of its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from vlm_operator.kinds import DEPLOYMENT, POD, VLMDEPLOYMENT

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space, eventually, some
from tests.cluster.node import hub
from tests.cluster.node.failing import CASES, REFUSED, SPACE, Body, Case, surroundings
from tests.cluster.node.operators import Recorder, condition, installed, remove_namespace

WITHIN_SECONDS = 10.0  # of the state's appearance in the API
STATE_SECONDS = 240.0  # until the state is there: engines and downloads import Python side by side on two cores


def test_diagnosis(failing: Recorder, case: Case) -> None:
    """Its condition and Ready say within 10 s of the state what it is and what to do, and say nothing else later."""

    def is_told(body: Body) -> bool:
        return condition(body, "Ready").get("reason") == case.reason

    told = failing.until(VLMDEPLOYMENT.kind, case.name, is_told, seconds=STATE_SECONDS)
    appeared = failing.until(case.kind, case.name, case.shows, seconds=WITHIN_SECONDS)  # another watch may lag behind
    late_seconds = told.at - appeared.at
    assert late_seconds <= WITHIN_SECONDS
    status = condition(told.body, case.condition)
    assert (status["status"], status["reason"]) == ("False", case.reason)
    assert case.says in status["message"]
    assert condition(told.body, "Ready")["message"] == status["message"]
    later = [each.body for each in failing.of(VLMDEPLOYMENT.kind, case.name) if each.at >= told.at]
    assert {(each["reason"], each["message"]) for each in (condition(body, "Ready") for body in later)} == {
        (case.reason, status["message"])
    }


@pytest.fixture(params=CASES, ids=lambda each: each.name)
def case(request: pytest.FixtureRequest, space: Space, failing: Recorder) -> Iterator[Case]:
    """Each in turn, which makes room at its end."""
    given: Case = request.param
    if downloads(given):
        space.make(given.name, given.spec)
    yield given
    space.remove(given.name)


@pytest.fixture(scope="module")
def space(node: Cluster, operator_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """A namespace with what some of the cases need, on a cluster whose operator sends pods to the stand-in."""
    needed = surroundings(tmp_path_factory.mktemp("volumes"))
    cluster_wide = [each for each in needed if "namespace" not in each["metadata"]]
    node.apply(*cluster_wide)  # long before the first pod: API servers take up policies in their own time
    with (
        hub.hub(node.host) as address,
        installed(node, f"hub.endpoint={address}", "policy.imageRegistries={localhost,registry.example}"),
        closing(Space(node, SPACE)) as found,
    ):
        node.apply(*(each for each in needed if each not in cluster_wide))
        # Admission passes over a quota whose controller has not counted yet.
        eventually(lambda: some(node.get("resourcequota", REFUSED, "-n", SPACE)["status"]["hard"]))
        yield found
    for each in cluster_wide:
        node.kubectl("delete", f"{each['kind']}/{each['metadata']['name']}", "--wait=false")
    remove_namespace(node, SPACE)


@pytest.fixture(scope="module")
def failing(space: Space) -> Recorder:
    """All cases at once, as none of them gets as far as a model, but for downloads: each takes a whole core."""
    recorder = Recorder(space, (VLMDEPLOYMENT, DEPLOYMENT, POD))
    at_once = [each for each in CASES if not downloads(each)]
    for each in sorted(at_once, key=lambda each: each.name == "gpus"):
        space.make(each.name, each.spec)
    return recorder


def downloads(case: Case) -> bool:
    """Whether a Job fills a cache before there is a pod."""
    return "cache" in case.spec
