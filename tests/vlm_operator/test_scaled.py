"""How one VLMDeployment is scaled, from its decision to what its status says of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator.actions import Verb
from vlm_operator.decisions import Decision, Setup, decide
from vlm_operator.realised import Realised
from vlm_operator.records import KubernetesObject, Observed, Planned
from vlm_operator.scaled import scaled, scaling_status
from vlm_operator.scalers import Means, ScalingSettings
from vlm_operator.status import build

from tests.vlm_operator.children import AGENT, NAME, PARENT, PLANNED, SPEC
from tests.vlm_operator.deciding import Plans, running
from tests.vlm_operator.worlds import OTHER, REVISION, SERVING, UP, answered, measured, observed, pod, rollout
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType

READS = ScalingSettings(prometheus="http://prometheus:9090", external_metric="in_flight")
KEDA = Means(keda=True, settings=READS)
SCALED = replace(SPEC, scaling=api.Scaling(max=4))


def by(engine: str, **more: Any) -> api.VLMDeploymentSpec:
    """The spec with an engine."""
    return replace(SCALED, scaling=replace(SCALED.scaling, engine=api.ScalingEngine(engine), **more))


def decided(seen: Observed, spec: api.VLMDeploymentSpec, means: Means = KEDA) -> Decision:
    """What is decided where nothing else is to be done."""
    return decide(
        seen,
        spec,
        plans=Plans(),
        node_label=lambda _node, _label: "NVIDIA-L4",
        new_api_key="k",
        setup=Setup(agent_image=AGENT),
        means=means,
    )


def writes(decision: Decision) -> list[tuple[Verb, str, str]]:
    return [(action.verb, action.kind, action.name) for action in decision.actions]


def with_child(seen: Observed, kind: str, name: str, owner: str = PARENT["metadata"]["uid"]) -> Observed:
    """The same world with one more object, which somebody controls."""
    metadata = {"name": name, "uid": f"uid-{name}", "ownerReferences": [{"controller": True, "uid": owner}]}
    child: KubernetesObject = {"kind": kind, "metadata": metadata}
    return replace(seen, children={**seen.children, kind: {**seen.children.get(kind, {}), name: child}})


def test_an_engines_objects_come_and_go() -> None:
    """They are made where the engine is chosen and alone; those of another go first; none are made meanwhile."""
    seen = running()
    assert writes(decided(seen, by("Operator"))) == []
    assert writes(decided(seen, by("KEDA"))) == [(Verb.APPLY, "ScaledObject", NAME)]
    assert writes(decided(seen, by("HPA"))) == [(Verb.APPLY, "HorizontalPodAutoscaler", NAME)]
    with_keda = with_child(seen, "ScaledObject", NAME)
    for engine in ("HPA", "Operator", "None"):
        assert writes(decided(with_keda, by(engine))) == [(Verb.DELETE, "ScaledObject", NAME)]


def test_a_moment_without_kedas_api_moves_nothing() -> None:
    """While its object is there KEDA counts as installed: Auto does not go back to the operator."""
    seen = running()
    (action,) = decided(seen, by("Auto")).actions
    assert action.body is not None
    there = replace(seen, children={**seen.children, "ScaledObject": {NAME: action.body}})
    decision = decided(there, by("Auto"), Means(settings=READS))
    assert decision.actions == ()
    assert decision.scaled is not None
    assert decision.scaled.choice.engine is api.ScalingEngine.KEDA


def test_kedas_own_autoscaler_is_kedas() -> None:
    """It carries our labels and is never ours to delete; while it is there nobody else scales."""
    seen = with_child(running(), "HorizontalPodAutoscaler", f"keda-hpa-{NAME}", owner="uid-of-scaled-object")
    decision = decided(seen, by("Operator"))
    assert decision.actions == ()
    assert decision.scaled is not None
    assert not decision.scaled.by_operator
    assert scaling_status(decision.scaled, by("Operator"), blind=False).reason == "HandingOver"


@pytest.mark.parametrize(
    ("spec", "means", "blind", "reason"),
    [
        (by("Operator"), KEDA, False, "Scaling"),
        (by("Operator"), KEDA, True, "MetricsMissing"),
        (by("KEDA"), KEDA, True, "Scaling"),
        (by("Operator", min=0), KEDA, False, "MinimumRaised"),
        (by("Operator", min=4), KEDA, False, "Scaling"),
        (replace(by("Operator"), replicas=0), KEDA, False, "Stopped"),
        (by("KEDA"), Means(), False, "NotInstalled"),
        (SPEC, KEDA, False, "Fixed"),
    ],
)
def test_the_status_says_who_scales(spec: api.VLMDeploymentSpec, means: Means, blind: bool, reason: str) -> None:
    """What keeps it from scaling comes first; the target and the cold start are told whoever scales."""
    seen = observed(pod(SERVING), results=measured())
    told = scaling_status(scaled(seen, spec, REVISION, means), spec, blind=blind)
    assert told.reason == reason
    assert (told.target_in_flight, told.basis, told.revision) == ("6.4", "measured", REVISION.name)


def test_a_cold_start_is_remembered_while_its_revision_runs() -> None:
    """Measured from the pod's place on a node to its first traffic; the pod's end takes nothing back, and no other
    revision starts as this one does.
    """
    one = pod(SERVING)
    one["metadata"]["creationTimestamp"] = "2026-11-18T09:58:00Z"
    seen = observed(one, results=measured())
    first = scaling_status(scaled(seen, SCALED, REVISION, KEDA), SCALED, blind=False)
    assert (first.cold_start, first.cold_start_basis) == ("360s", "measured")
    assert first.cold_start_made == "2026-11-18T09:58:00Z"
    status = build(seen, SCALED, rollout(), scaling=first)
    gone = replace(answered(seen, status), pods=(), results={})
    assert scaling_status(scaled(gone, SCALED, REVISION, KEDA), SCALED, blind=False).cold_start == "360s"
    assert scaling_status(scaled(gone, SCALED, OTHER, KEDA), SCALED, blind=False).cold_start is None


def planned_for(concurrency: int) -> Planned:
    """A plan of replicas that serve so many at once."""
    return replace(PLANNED, plan=replace(PLANNED.plan, speed=replace(PLANNED.plan.speed, concurrency=concurrency)))


@pytest.mark.parametrize("concurrency", [4, 64])
def test_while_a_new_revision_is_fetched_replicas_are_those_of_the_one_that_runs(concurrency: int) -> None:
    """A new spec changes neither what a replica that runs serves, nor what it costs."""
    before = replace(planned_for(16), usd_per_gpu_hour=1.0)
    after = replace(planned_for(concurrency), usd_per_gpu_hour=9.0)
    seen = running(plan=lambda _: before)
    changed = replace(by("Operator"), workload=api.Workload(output_tokens=7))
    decision = decide(
        seen,
        changed,
        plans=Plans(lambda _: after),
        node_label=lambda _node, _label: "NVIDIA-L4",
        new_api_key="k",
        setup=Setup(agent_image=AGENT),
    )
    assert decision.rollout.wanted != decision.rollout.carried
    assert decision.scaled is not None
    assert decision.scaled.scale.concurrency == 16
    assert decision.scaled.usd_per_replica_hour == before.usd_per_hour


@pytest.mark.parametrize(
    ("serve", "concurrency"), [((), 4), (("old",), 16), (("new",), 4), (("old", "new"), 4)], ids=str
)
def test_replicas_of_two_revisions_are_loaded_as_the_weaker_can_bear(serve: tuple[str, ...], concurrency: int) -> None:
    """Until a replica of the new revision takes traffic, the old ones carry the load; none is asked for too much."""
    old, new = replace(REVISION, planned=planned_for(16)), replace(OTHER, planned=planned_for(4))
    pods = [pod(SERVING if "old" in serve else UP, name="a"), pod(SERVING if "new" in serve else UP, name="b", of=new)]
    seen = observed(*pods, revisions=(old, new))
    assert scaled(seen, by("Operator"), new, KEDA).scale.concurrency == concurrency


@pytest.mark.parametrize(
    ("engine", "kind", "name", "condition", "reason"),
    [
        ("KEDA", "ScaledObject", NAME, ("Ready", "False", "ScaledObjectCheckFailed"), "EngineFailing"),
        ("KEDA", "ScaledObject", NAME, ("Ready", "True", "ScaledObjectReady"), "Scaling"),
        ("KEDA", "HorizontalPodAutoscaler", f"keda-hpa-{NAME}", ("ScalingActive", "False", "Failed"), "EngineFailing"),
        (
            "KEDA",
            "HorizontalPodAutoscaler",
            f"keda-hpa-{NAME}",
            ("ScalingActive", "False", "ScalingDisabled"),
            "Scaling",
        ),
        (
            "HPA",
            "HorizontalPodAutoscaler",
            NAME,
            ("ScalingActive", "False", "FailedGetExternalMetric"),
            "EngineFailing",
        ),
        ("HPA", "HorizontalPodAutoscaler", NAME, ("AbleToScale", "False", "FailedGetScale"), "EngineFailing"),
        ("HPA", "HorizontalPodAutoscaler", NAME, ("ScalingLimited", "False", "DesiredWithinRange"), "Scaling"),
    ],
)
def test_an_engine_that_says_it_does_not_scale_is_not_said_to(
    engine: str, kind: str, name: str, condition: tuple[str, str, str], reason: str
) -> None:
    """Its own words are in the message; an autoscaler that sleeps with its replicas is well."""
    seen = with_child(observed(pod(SERVING), results=measured()), kind, name)
    told = dict(zip(("type", "status", "reason"), condition, strict=True))
    seen.children[kind][name]["status"] = {"conditions": [{**told, "message": "no matching metrics found."}]}
    spec = by(engine)
    found = scaling_status(scaled(seen, spec, REVISION, KEDA), spec, blind=False)
    assert found.reason == reason
    assert (f"{name} says {condition[2]}: no matching metrics found." in found.message) is (reason == "EngineFailing")


def test_what_cannot_be_had_is_in_the_conditions() -> None:
    """An engine that cannot scale makes Degraded; a minimum that cannot be is in Ready's message, which stays True."""
    decision = decided(running(), by("KEDA"), Means())
    assert decision.findings.lesser is not None
    assert decision.findings.lesser.reason == "NotScaled"
    raised = decided(running(), by("Operator", min=0)).findings
    status = build(observed(pod(SERVING), results=measured()), SCALED, rollout(), raised)
    ready = next(each for each in status.conditions if each.type is ConditionType.READY)
    assert ready.status == "True"
    assert "not to 0" in ready.message


def test_realised_cost_stays_until_it_is_known_anew() -> None:
    """A restart of the operator takes no figure away."""
    seen = observed(pod(SERVING), results=measured())
    known = Realised(began=0.0, at=0.0, usd_per_1k=1.25, idle=False)
    status = build(seen, SCALED, rollout(), realised=known)
    assert status.cost is not None
    assert status.cost.realised_per_1k == "1.25"
    for told in (None, Realised(began=0.0, at=0.0)):
        again = build(answered(seen, status), SCALED, rollout(), realised=told)
        assert again.cost == status.cost


def test_idleness_takes_the_place_of_the_figure() -> None:
    """It is said as long as nothing comes, over restarts too; what was paid per request before does not come back."""
    seen = observed(pod(SERVING), results=measured())
    busy = build(seen, SCALED, rollout(), realised=Realised(began=0.0, at=0.0, usd_per_1k=1.25, idle=False))
    idle = build(answered(seen, busy), SCALED, rollout(), realised=Realised(began=0.0, at=0.0, idle=True))
    again = build(answered(seen, idle), SCALED, rollout())
    asked = build(answered(seen, idle), SCALED, rollout(), realised=Realised(began=0.0, at=0.0, idle=False))
    costs = [each.cost for each in (idle, again, asked) if each.cost is not None]
    assert [(each.idle, each.realised_per_1k) for each in costs] == [(True, None), (True, None), (False, None)]


def test_what_another_revision_cost_is_not_said_of_this_one() -> None:
    """Neither what the status had of it, nor what is still counted of it while this one is rolled out."""
    seen = observed(pod(SERVING), results=measured())
    status = build(seen, SCALED, rollout(), realised=Realised(began=0.0, at=0.0, usd_per_1k=1.25, idle=False))
    other = replace(status, current_revision="reader-0000000000")
    counted = api.ScalingStatus(engine="Operator", reason="Scaling", message="", revision="reader-0000000000")
    for found in (
        build(answered(seen, other), SCALED, rollout()),
        build(seen, SCALED, rollout(), realised=Realised(began=0.0, at=0.0, usd_per_1k=1.25), scaling=counted),
    ):
        assert found.cost is not None
        assert found.cost.realised_per_1k is None
