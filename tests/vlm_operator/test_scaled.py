"""How one VLMDeployment is scaled, from its decision to what its status says of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator.actions import Verb
from vlm_operator.decisions import Decision, Setup, decide
from vlm_operator.records import KubernetesObject, Observed
from vlm_operator.scaled import scaled, scaling_status
from vlm_operator.scalers import Means, ScalingSettings
from vlm_operator.status import build

from tests.vlm_operator.children import AGENT, NAME, PARENT, SPEC
from tests.vlm_operator.deciding import Plans, running
from tests.vlm_operator.worlds import REVISION, SERVING, answered, measured, observed, pod, rollout
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
    assert (told.target_in_flight, told.basis) == ("6.4", "measured")


def test_a_cold_start_is_remembered_while_its_revision_runs() -> None:
    """Measured from the pod's creation to its first traffic; the pod's end takes nothing back."""
    one = pod(SERVING)
    one["metadata"]["creationTimestamp"] = "2026-11-18T10:00:00Z"
    seen = observed(one, results=measured())
    first = scaling_status(scaled(seen, SCALED, REVISION, KEDA), SCALED, blind=False)
    assert (first.cold_start, first.cold_start_basis) == ("301s", "measured")
    status = build(seen, SCALED, rollout(), scaling=first)
    gone = replace(answered(seen, status), pods=(), results={})
    assert scaling_status(scaled(gone, SCALED, REVISION, KEDA), SCALED, blind=False).cold_start == "301s"


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
    status = build(seen, SCALED, rollout(), realised_usd_per_1k=1.25)
    assert status.cost is not None
    assert status.cost.realised_per_1k == "1.25"
    again = build(answered(seen, status), SCALED, rollout())
    assert again.cost is not None
    assert again.cost.realised_per_1k == "1.25"
