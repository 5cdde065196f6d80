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


TO_ZERO = Means(keda=True, http_add_on=True, settings=READS)
ZERO = replace(by("Auto", min=0), replicas=0)


def asleep(*, told: bool = True, minimum: int | None = 0) -> Observed:
    """KEDA took the last replica. `told`: whether a status says so; `minimum`: of KEDA's object, None: it is gone."""
    seen = observed()
    if minimum is not None:
        seen = with_child(seen, "ScaledObject", NAME)
        seen.children["ScaledObject"][NAME]["spec"] = {"minReplicaCount": minimum}
    if not told:
        return seen
    said = scaling_status(scaled(seen, ZERO, REVISION, TO_ZERO), ZERO, blind=False)
    return answered(seen, build(seen, ZERO, rollout(), scaling=said))


@pytest.mark.parametrize(
    ("spec", "means", "minimum", "wakes_to"),
    [
        pytest.param(ZERO, TO_ZERO, 0, 0, id="as it is"),
        pytest.param(by("Auto", min=2), TO_ZERO, 0, 0, id="minimum raised, not told to KEDA yet"),
        pytest.param(by("Auto", min=2), TO_ZERO, 2, 2, id="minimum raised"),
        pytest.param(by("Operator", min=0), TO_ZERO, 0, 0, id="another engine, KEDA's object there"),
        pytest.param(by("Operator", min=0), TO_ZERO, None, 1, id="another engine"),
        pytest.param(by("HPA", min=3), TO_ZERO, None, 3, id="the autoscaler"),
        pytest.param(by("None", min=3), TO_ZERO, None, 1, id="no engine"),
        pytest.param(by("Auto", min=0), KEDA, 1, 1, id="no add-on any more"),
        pytest.param(by("Auto", min=0), Means(keda=True, http_add_on=True), None, 1, id="no Prometheus any more"),
        pytest.param(by("KEDA", min=0), Means(), None, 1, id="no KEDA any more"),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_what_sleeps_is_woken_once_nobody_else_wakes_it(
    spec: api.VLMDeploymentSpec, means: Means, minimum: int | None, wakes_to: int, told: bool
) -> None:
    """To what is kept from then on, as soon as KEDA does not take it away again; a restart of the operator forgets
    nothing, and where the status was lost KEDA's object tells, as long as it is the one that goes to 0.
    """
    seen, spec = asleep(told=told, minimum=minimum), replace(spec, replicas=0)
    found = scaled(seen, spec, REVISION, means)
    knows = told or minimum == 0
    assert found.asleep is knows
    assert found.wakes_to == (wakes_to if knows else 0)
    said = scaling_status(found, spec, blind=False)
    assert said.asleep is knows
    if knows:
        assert said.reason != "Stopped"


def test_what_is_not_woken_yet_is_not_forgotten() -> None:
    """Each status passes it on, whatever else it says, until there are replicas."""
    spec, seen = replace(by("Operator"), replicas=0), asleep()
    for _ in range(2):
        said = scaling_status(scaled(seen, spec, REVISION, TO_ZERO), spec, blind=False)
        assert (said.reason, said.asleep) == ("HandingOver", True)
        seen = answered(seen, build(seen, spec, rollout(), scaling=said))
    awake = replace(spec, replicas=1)
    said = scaling_status(scaled(seen, awake, REVISION, TO_ZERO), awake, blind=False)
    assert not said.asleep
    seen = answered(seen, build(seen, awake, rollout(), scaling=said))
    stopped = scaled(replace(seen, children={}), spec, REVISION, TO_ZERO)
    assert (stopped.asleep, stopped.wakes_to) == (False, 0)
    assert scaling_status(stopped, spec, blind=False).reason == "Stopped"


@pytest.mark.parametrize("engine", ["Operator", "KEDA", "HPA", "None"])
def test_what_somebody_stopped_is_not_woken(engine: str) -> None:
    """Whoever scales it then; and where KEDA went to 0 but the replicas were awake when somebody wrote both."""
    awake = replace(ZERO, replicas=1)
    seen = with_child(observed(), "ScaledObject", NAME)
    seen.children["ScaledObject"][NAME]["spec"] = {"minReplicaCount": 0}
    said = scaling_status(scaled(seen, awake, REVISION, TO_ZERO), awake, blind=False)
    seen = answered(seen, build(seen, awake, rollout(), scaling=said))
    spec = replace(by(engine), replicas=0)
    for world in (seen, replace(seen, children={})):
        found = scaled(world, spec, REVISION, TO_ZERO)
        assert (found.asleep, found.wakes_to) == (False, 0)


def planned_for(concurrency: int) -> Planned:
    """A plan of replicas that serve so many at once."""
    return replace(PLANNED, plan=replace(PLANNED.plan, speed=replace(PLANNED.plan.speed, concurrency=concurrency)))


@pytest.mark.parametrize("concurrency", [4, 64])
def test_while_a_new_revision_is_fetched_replicas_are_those_of_the_one_that_runs(concurrency: int) -> None:
    """A new spec does not change what a replica that runs serves."""
    before, after = planned_for(16), planned_for(concurrency)
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


@pytest.mark.parametrize(
    ("pods", "reason"), [((UP,), "Scaling"), ((UP, SERVING), "EngineFailing"), ((), "EngineFailing")], ids=str
)
def test_that_a_starting_replica_has_no_figure_is_no_failure(pods: tuple[Any, ...], reason: str) -> None:
    """Its load is not known until it takes traffic; of those that do, and where none is, it should be."""
    there = [pod(each, name=f"p{number}") for number, each in enumerate(pods)]
    seen = with_child(observed(*there), "ScaledObject", NAME)
    seen.children["ScaledObject"][NAME]["status"] = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "no"}]
    }
    spec = by("KEDA")
    assert scaling_status(scaled(seen, spec, REVISION, KEDA), spec, blind=False).reason == reason


@pytest.mark.parametrize(("policy", "first_seconds"), [("FirstOfRevision", 90), ("None", 0)])
def test_what_a_replica_measures_itself_in_is_part_of_its_start(policy: str, first_seconds: int) -> None:
    """A replica that measures nothing has no ladder to wait for."""
    spec = replace(by("Auto", min=0), benchmark=api.BenchmarkSpec(policy=api.BenchmarkPolicy(policy)))
    assert scaled(observed(), spec, REVISION, TO_ZERO).ladder_seconds == first_seconds
    decision = decided(running(), spec, TO_ZERO)
    (found,) = (each.body for each in decision.actions if each.kind == "ScaledObject")
    assert found is not None
    assert decision.scaled is not None
    start = decision.scaled.scale.start
    seconds = (600 if start is None else start.seconds) + first_seconds
    assert found["spec"]["initialCooldownPeriod"] == int(300 + seconds)


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
    known = Realised(began=0.0, at=0.0, replica_hours_per_1k=1.25, idle=False)
    status = build(seen, SCALED, rollout(), realised=known)
    assert status.cost is not None
    assert status.cost.realised_replica_hours_per_1k == "1.25"
    assert status.cost.realised_per_1k == "1"  # at 0.8 USD an hour
    for told in (None, Realised(began=0.0, at=0.0)):
        again = build(answered(seen, status), SCALED, rollout(), realised=told)
        assert again.cost == status.cost


def test_idleness_takes_the_place_of_the_figure() -> None:
    """It is said as long as nothing comes, over restarts too; what was paid per request before does not come back."""
    seen = observed(pod(SERVING), results=measured())
    busy = build(seen, SCALED, rollout(), realised=Realised(began=0.0, at=0.0, replica_hours_per_1k=1.25, idle=False))
    idle = build(answered(seen, busy), SCALED, rollout(), realised=Realised(began=0.0, at=0.0, idle=True))
    again = build(answered(seen, idle), SCALED, rollout())
    asked = build(answered(seen, idle), SCALED, rollout(), realised=Realised(began=0.0, at=0.0, idle=False))
    costs = [each.cost for each in (idle, again, asked) if each.cost is not None]
    assert [each.idle for each in costs] == [True, True, False]
    assert [each.realised_replica_hours_per_1k for each in costs] == [None] * 3


def test_what_another_revision_cost_is_not_said_of_this_one() -> None:
    """Neither what the status had of it, nor what is still counted of it while this one is rolled out."""
    seen = observed(pod(SERVING), results=measured())
    known = Realised(began=0.0, at=0.0, replica_hours_per_1k=1.25, idle=False)
    status = build(seen, SCALED, rollout(), realised=known)
    other = replace(status, current_revision="reader-0000000000")
    counted = api.ScalingStatus(engine="Operator", reason="Scaling", message="", revision="reader-0000000000")
    for found in (
        build(answered(seen, other), SCALED, rollout()),
        build(seen, SCALED, rollout(), realised=known, scaling=counted),
    ):
        assert found.cost is not None
        assert found.cost.realised_per_1k is None
