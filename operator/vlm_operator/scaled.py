"""How one VLMDeployment is scaled now: by whom, by which policy, and what of it its status tells."""

from __future__ import annotations

from msgspec.structs import replace

from vlm_operator.benchmarks import decimal
from vlm_operator.facts import live_pods, measured
from vlm_operator.reasons import ScalingReason
from vlm_operator.records import KubernetesObject, Observed, Revision
from vlm_operator.results import AgentResult
from vlm_operator.scalers import HTTP_SCALED_OBJECT, SCALED_OBJECT, Choice, Means, choose, objects, others
from vlm_operator.scaling_policy import Scale, scale, start_of
from vlm_operator.status import previous, was_about
from vlmctl.api import v1alpha1 as api
from vlmctl.api.spec import ScalingEngine
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record


class Scaled(Record, frozen=True, kw_only=True):
    """What a pass decided. `generation`: of the VLMDeployment that it is about. `in_the_way`: objects of other engines
    that are not gone yet. `usd_per_replica_hour` of None: no price is known.
    """

    generation: int
    choice: Choice
    scale: Scale
    in_the_way: tuple[str, ...] = ()
    usd_per_replica_hour: float | None = None

    @property
    def by_operator(self) -> bool:
        """Whether the operator's own sweep may write replicas."""
        return self.choice.engine is ScalingEngine.OPERATOR and not self.in_the_way


def scaled(observed: Observed, spec: api.VLMDeploymentSpec, revision: Revision, means: Means) -> Scaled:
    """By `revision`, the one that runs."""
    metadata, planned, before = observed.parent["metadata"], revision.planned, previous(observed.parent)
    choice = choose(spec.scaling, _seen(observed, means))
    results = {uid: each for uid, each in observed.results.items() if isinstance(each, AgentResult)}
    made_of = scale(
        spec.scaling,
        planned,
        measured(observed, revision, before),
        start_of(
            live_pods(observed, revision),
            results,
            planned,
            before.scaling if was_about(before) == revision.name else None,
        ),
        minimum=choice.minimum,
        interval_seconds=means.settings.interval_seconds,
    )
    children = {kind: tuple(each) for kind, each in observed.children.items()}
    return Scaled(
        generation=metadata.get("generation", 0),
        choice=choice,
        scale=made_of,
        in_the_way=others(children, metadata["name"], choice.engine),
        usd_per_replica_hour=planned.usd_per_hour,
    )


def _seen(observed: Observed, means: Means) -> Means:
    """With the kinds of objects that are there: an API server that has just started may not serve them for a moment."""
    there = {kind for kind, named in observed.children.items() if named}
    keda, http_add_on = SCALED_OBJECT in there, HTTP_SCALED_OBJECT in there
    return replace(means, keda=means.keda or keda, http_add_on=means.http_add_on or http_add_on)


def wanted(parent: KubernetesObject, found: Scaled, means: Means) -> tuple[KubernetesObject, ...]:
    """The chosen engine's objects, once it is alone."""
    return () if found.in_the_way else objects(parent, found.choice, found.scale, means.settings)


def scaling_status(found: Scaled, spec: api.VLMDeploymentSpec, *, blind: bool) -> api.ScalingStatus:
    """As the status tells it, the same while nothing changes. `blind`: the sweep is not told the load."""
    reason, message = _reason(found, spec, blind=blind)
    start = found.scale.start
    return api.ScalingStatus(
        engine=found.choice.engine.value,
        reason=reason.value,
        message=message,
        target_in_flight=decimal(found.scale.policy.target_in_flight),
        basis=found.scale.basis.value,
        cold_start=None if start is None else api.duration(round(start.seconds)),
        cold_start_basis=None if start is None else (Basis.MEASURED if start.measured else Basis.ESTIMATED).value,
    )


def _reason(found: Scaled, spec: api.VLMDeploymentSpec, *, blind: bool) -> tuple[ScalingReason, str]:
    """What keeps it from scaling, else what the choice said."""
    choice = found.choice
    if choice.engine is ScalingEngine.NONE:
        return choice.reason, choice.message
    if found.in_the_way:
        left = ", ".join(found.in_the_way)
        return ScalingReason.HANDING_OVER, f"{choice.engine.value} scales as soon as {left} is gone."
    if spec.replicas == 0 and choice.minimum > 0:
        return (
            ScalingReason.STOPPED,
            "Nobody scales while spec.replicas is 0, as with a HorizontalPodAutoscaler. Set it to 1 to go on.",
        )
    if blind and choice.engine is ScalingEngine.OPERATOR:
        return (
            ScalingReason.METRICS_MISSING,
            "Replicas stay as they are: no replica's proxy tells the operator its load. Look whether a NetworkPolicy "
            "lets the operator reach port 8082 of the pods, and at the log of the proxy.",
        )
    return choice.reason, choice.message
