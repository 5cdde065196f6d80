"""What replicas are scaled by: the spec makes the policy, and measured figures count before planned ones."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.records import KubernetesObject
from vlm_operator.results import AgentResult, Stage, Task
from vlm_operator.scaling_policy import Start, scale, start_of

from tests.support.crd_strategies import NOTHING, deployment_schema, valid
from tests.vlm_operator.children import PLANNED, revision
from tests.vlm_operator.worlds import pod
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.scaling import DOWN, UP, Direction, Select, Step, StepKind, check_policy
from vlmctl.specs.estimates import Basis

SCALING = api.Scaling(max=8)
MEASURED = api.BenchmarkStatus(
    requests_per_second="2", interval="unknown", concurrency=12, measured="2026-11-18T10:05:00Z"
)
SCHEMA = deployment_schema()["properties"]["spec"]["properties"]["scaling"]


@given(written=valid(SCHEMA, NOTHING, path="spec.scaling"), minimum=st.integers(0, 3), start=st.floats(1, 1e5))
def test_every_spec_makes_a_policy(written: dict[str, object], minimum: int, start: float) -> None:
    """Whatever the API server lets in makes a policy that makes sense, with the target that the share says."""
    spec = msgspec.convert(written, api.Scaling)
    found = scale(spec, PLANNED, MEASURED, Start(seconds=start, measured=True), minimum=minimum)
    check_policy(found.policy)
    assert found.policy.target_in_flight == pytest.approx(12 * float(spec.target_utilization))
    assert found.policy.minimum_replicas == minimum
    assert found.policy.maximum_replicas == max(spec.max, minimum)


def test_what_was_measured_counts_more_than_what_was_planned() -> None:
    """The target is a share of the concurrency that a replica measured; else of the planned one, and that is said."""
    planned = PLANNED.plan.speed
    found = scale(SCALING, PLANNED, None, None, minimum=1)
    assert (found.concurrency, found.basis) == (planned.concurrency, planned.basis)
    found = scale(SCALING, PLANNED, MEASURED, None, minimum=1)
    assert (found.concurrency, found.basis) == (12, Basis.MEASURED)
    assert found.policy.target_in_flight == pytest.approx(9.6)
    assert found.policy.lead_seconds == 0.0


def test_behavior_is_that_of_the_horizontal_pod_autoscaler() -> None:
    """What is left out of `behavior` is as autoscaling/v2 has it; what is given is taken as it stands."""
    assert (scale(SCALING, PLANNED, None, None, minimum=1).policy.up) == UP
    down = api.ScalingRules(
        stabilization_window_seconds=60,
        select_policy=api.SelectPolicy.MIN,
        policies=(api.ScalingRate(type=api.RateType.PODS, value=1, period_seconds=120),),
        tolerance="0.05",
    )
    behavior = api.ScalingBehavior(scale_up=api.ScalingRules(stabilization_window_seconds=30), scale_down=down)
    policy = scale(replace(SCALING, behavior=behavior), PLANNED, None, None, minimum=1).policy
    assert policy.up == replace(UP, stabilization_seconds=30.0)
    assert policy.down == Direction(
        stabilization_seconds=60.0,
        steps=(Step(kind=StepKind.PODS, value=1, period_seconds=120.0),),
        select=Select.MIN,
        tolerance=0.05,
    )
    assert scale(replace(SCALING, behavior=api.ScalingBehavior()), PLANNED, None, None, minimum=1).policy.down == DOWN


def made(name: str, at: str, *, placed: str = "") -> KubernetesObject:
    """A pod that was made at a time, and got its node at once or later."""
    body = pod(name=name)
    body["metadata"]["creationTimestamp"] = at
    body["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": placed or at},
        {"type": "Ready", "status": "True"},
    ]
    return body


REVISION = revision()
FIRST, SECOND = made("a", "2026-11-18T10:00:00Z"), made("b", "2026-11-18T10:00:40Z")
OPENED = AgentResult(stage=Stage.OPEN, task=Task.PROBE, smoked="2026-11-18T10:01:00Z", opened="2026-11-18T10:01:30Z")
CLIMBED = replace(OPENED, task=Task.LADDER, opened="2026-11-18T10:02:30Z")
SAID = api.ScalingStatus(
    engine="Operator",
    reason="Scaling",
    message="",
    cold_start="50s",
    cold_start_basis="measured",
    cold_start_made="2026-11-18T10:00:40Z",
    revision=REVISION.name,
)


def seconds(found: Start | None) -> tuple[float, bool] | None:
    return None if found is None else (found.seconds, found.measured)


def test_a_start_is_from_its_node_to_traffic_without_the_ladder() -> None:
    """The latest replica's start counts; the time on the ladder, which one replica alone climbs, does not."""
    assert seconds(start_of([FIRST], {"uid-a": CLIMBED}, REVISION)) == (60.0, True)
    assert seconds(start_of([FIRST, SECOND], {"uid-a": CLIMBED, "uid-b": OPENED}, REVISION)) == (50.0, True)


def test_waiting_for_a_gpu_is_no_start() -> None:
    """A pod that was pending for six hours starts no slower than one that found a node at once."""
    late = made("a", "2026-11-18T04:00:00Z", placed="2026-11-18T10:00:00Z")
    assert seconds(start_of([late], {"uid-a": OPENED}, REVISION)) == (90.0, True)


def test_a_start_moves_for_no_second_more_or_less() -> None:
    """Two significant digits: each replica takes a little longer or shorter, and the status is not written for it."""
    slow = replace(OPENED, smoked=None, opened="2026-11-18T10:05:01Z")
    assert seconds(start_of([FIRST], {"uid-a": slow}, REVISION)) == (300.0, True)


def test_the_latest_start_holds_when_its_replica_goes() -> None:
    """What an older replica took does not come back; one that was made later takes its place; of the same, the pod."""
    older = {"uid-a": replace(OPENED, opened="2026-11-18T10:15:00Z")}
    assert seconds(start_of([FIRST], older, REVISION, SAID)) == (50.0, True)
    newer = made("c", "2026-11-18T10:00:41Z")
    assert seconds(start_of([newer], {"uid-c": OPENED}, REVISION, SAID)) == (49.0, True)


def test_a_start_of_an_engine_that_was_restarted_is_not_known() -> None:
    """The smoke request was sent again, and nothing tells how long the ladder took: the last word holds."""
    again = {"uid-b": replace(CLIMBED, smoked="2026-11-18T12:00:00Z")}
    assert start_of([SECOND], again, REVISION) is None
    assert seconds(start_of([SECOND], again, REVISION, SAID)) == (50.0, True)


def test_without_a_start_the_last_word_and_then_the_estimate_hold() -> None:
    """Replicas that went take no figure along; before the first start there is the plan's estimate, or nothing."""
    estimated = replace(REVISION, planned=replace(PLANNED, cold_start_seconds=200.0))
    assert seconds(start_of([], {}, estimated, SAID)) == (50.0, True)
    assert seconds(start_of([], {}, estimated, replace(SAID, cold_start_basis="estimated"))) == (200.0, False)
    assert seconds(start_of([], {}, estimated, replace(SAID, revision="another"))) == (200.0, False)
    assert start_of([FIRST], {}, REVISION) is None


@pytest.mark.parametrize("written", ["abc", "0s", "", None])
def test_a_last_word_that_cannot_be_read_is_none(written: str | None) -> None:
    """Whoever may write a status stops no pass with it."""
    assert start_of([], {}, REVISION, replace(SAID, cold_start=written)) is None


@pytest.mark.parametrize("moment", ["2026-02-30T00:00:00Z", "2026-11-18T25:00:00Z"])
@pytest.mark.parametrize("field", ["opened", "smoked"])
def test_a_moment_that_never_was_is_not_known(field: str, moment: str) -> None:
    """An agent may say the 30th of February."""
    assert start_of([FIRST], {"uid-a": replace(OPENED, **{field: moment})}, REVISION) is None
