"""Laws of a status, over any world: nothing in it moves by itself."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.reasons import Phase
from vlm_operator.records import Observed
from vlm_operator.results import Stage
from vlm_operator.rollout import Rollout

from tests.vlm_operator.test_status import BACK, BOTH, NO_GPU, RESULTS, STORED, of, said
from tests.vlm_operator.worlds import (
    CRASHED,
    CREATING,
    NOW,
    OTHER,
    RUNNING,
    SERVING,
    UP,
    answered,
    container,
    job,
    observed,
    pod,
    rollout,
)
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType

STATES = {
    "none": None,
    "creating": CREATING,
    "loading": container(RUNNING),
    "crashed": CRASHED,
    "up": UP,
    "serving": SERVING,
}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Observed, Rollout]:
    """A VLMDeployment with up to three pods of two revisions, in any states."""
    pods, results = [], {}
    for index in range(draw(st.integers(0, 3))):
        name, state = f"reader-{index}", draw(st.sampled_from(sorted(STATES)))
        lost = draw(st.sampled_from(["", "", NO_GPU]))
        of = draw(st.sampled_from(BOTH))
        pods.append(pod(STATES[state], name=name, of=of, unschedulable=lost, deleted=draw(st.booleans())))
        result = RESULTS[draw(st.sampled_from(sorted(RESULTS)))]
        if result is not None:
            results[f"uid-{name}"] = result
    children = draw(st.sampled_from([{}, job(), job(complete=True)]))
    kept = draw(st.sampled_from([(), (STORED,)]))
    seen = observed(*pods, results=results, children=children, benchmarks=kept, revisions=BOTH)
    return seen, draw(st.sampled_from([rollout(), rollout(OTHER), rollout(OTHER, OTHER), BACK, rollout(None, None)]))


@given(worlds(), st.floats(1, 1e8))
def test_a_status_once_written_stays_while_the_world_does(world: tuple[Observed, Rollout], later: float) -> None:
    """The same world at any later moment gives the very status that was written: nothing in it moves by itself."""
    seen, where = world
    first = said(seen, where)
    again = said(replace(answered(seen, first), now=NOW + later), where)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(first)


@given(worlds())
def test_a_restart_of_the_operator_changes_no_status(world: tuple[Observed, Rollout]) -> None:
    """As long as agents have not told again what they told before, what was said of it stays."""
    seen, where = world
    assume(not any(each.stage is Stage.SHUT for each in seen.results.values()))  # a verdict is judged when it is told
    assume(where != BACK)  # while another revision runs, the status names only the one that serves
    first = said(seen, where)
    again = said(replace(answered(seen, first), results={}), where)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(first)


@given(worlds())
def test_the_order_of_pods_does_not_matter(world: tuple[Observed, Rollout]) -> None:
    """Watches bring pods in any order."""
    seen, where = world
    statuses = [said(replace(seen, pods=order), where) for order in itertools.permutations(seen.pods)]
    assert all(each == statuses[0] for each in statuses)


@given(worlds())
def test_a_status_is_one_that_the_api_takes_and_gives_back(world: tuple[Observed, Rollout]) -> None:
    """It reads back as it was written, holds all conditions, and counts what it says."""
    status = said(*world)
    assert msgspec.convert(msgspec.to_builtins(status), api.VLMDeploymentStatus) == status
    assert [each.type for each in status.conditions] == list(ConditionType)
    assert status.ready_replicas <= status.replicas
    assert (of(status, ConditionType.AVAILABLE).status == "True") is (status.ready_replicas > 0)
    assert (status.current_revision is not None) is (status.ready_replicas > 0)
    if of(status, ConditionType.READY).status == "True":
        assert status.update_revision is None
        assert status.phase in (Phase.READY, Phase.DEGRADED)


@given(worlds(), st.integers(0, 500))
def test_messages_hold_no_counts_of_pods_or_restarts(world: tuple[Observed, Rollout], restarts: int) -> None:
    """A container that restarts once more gives no new status."""
    seen, where = world
    pods = []
    for each in seen.pods:
        statuses = each["status"].get("containerStatuses", [])
        more = [
            {**status, "restartCount": status["restartCount"] + restarts * bool(status["lastState"])}
            for status in statuses
        ]
        pods.append({**each, "status": {**each["status"], "containerStatuses": more}})
    assert said(replace(seen, pods=tuple(pods)), where) == said(seen, where)
