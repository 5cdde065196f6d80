"""How one VLMDeployment is scaled now: by whom, by which policy, and what of it its status tells."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from vlm_operator import proxy
from vlm_operator.benchmarks import decimal
from vlm_operator.engine_logs import quote
from vlm_operator.facts import is_serving, live_pods, measured
from vlm_operator.reasons import ScalingReason
from vlm_operator.records import KubernetesObject, Observed, Revision
from vlm_operator.reported import condition, revision_of
from vlm_operator.results import AgentResult
from vlm_operator.scalers import (
    AUTOSCALER,
    HTTP_SCALED_OBJECT,
    SCALED_OBJECT,
    Choice,
    Means,
    choose,
    goes_to_zero,
    is_of,
    objects,
    others,
)
from vlm_operator.scaling_policy import Scale, scale, start_of
from vlm_operator.status import previous
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.api.spec import ScalingEngine
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record

# What is True of an object whose engine can scale. While nothing runs, an autoscaler is not active, and that is right.
GOOD_CONDITIONS = {
    SCALED_OBJECT: ("Ready",),
    HTTP_SCALED_OBJECT: ("Ready",),
    AUTOSCALER: ("AbleToScale", "ScalingActive"),
}
ASLEEP = "ScalingDisabled"
# What KEDA and an autoscaler say where a query has no value, as the load has none while no replica takes traffic.
NO_VALUE = frozenset({"TriggerError", "FailedGetExternalMetric"})
SAID_LENGTH = 300  # characters of what another program says


class Scaled(Record, frozen=True, kw_only=True):
    """What a pass decided. `generation`: of the VLMDeployment that it is about; `revision`: that new replicas are of.
    `in_the_way`: objects of other engines that are not gone yet. `hindrance`: what the engine's object says keeps it
    from scaling, empty where nothing does. `asleep`: that there is no replica is KEDA's doing, and nobody's word.
    `wakes_to`: the replicas to write, as KEDA brings none back any more; 0: none. `ladder_seconds`: the longest that a
    replica may measure itself before it takes traffic.
    """

    generation: int
    choice: Choice
    scale: Scale
    revision: str = ""
    in_the_way: tuple[str, ...] = ()
    hindrance: str = ""
    asleep: bool = False
    wakes_to: int = 0
    ladder_seconds: float = 0.0

    @property
    def by_operator(self) -> bool:
        """Whether the operator's own sweep may write replicas."""
        return self.choice.engine is ScalingEngine.OPERATOR and not self.in_the_way


def scaled(observed: Observed, spec: api.VLMDeploymentSpec, revision: Revision, means: Means) -> Scaled:
    """`revision`: whose template the Deployment has, or is to have first."""
    metadata, before = observed.parent["metadata"], previous(observed.parent)
    choice = choose(spec.scaling, _seen(observed, means))
    results = {uid: each for uid, each in observed.results.items() if isinstance(each, AgentResult)}
    start = start_of(live_pods(observed, revision), results, revision, before.scaling)
    each_made_of = [
        scale(
            spec.scaling,
            each.planned,
            measured(observed, each, before),
            start,
            minimum=choice.minimum,
            interval_seconds=means.settings.interval_seconds,
        )
        for each in _serving(observed) or [revision]
    ]
    children = {kind: tuple(each) for kind, each in observed.children.items()}
    in_the_way = others(children, metadata["name"], choice.engine)
    asleep = spec.replicas == 0 and (choice.to_zero or _slept(observed, before))
    return Scaled(
        generation=metadata.get("generation", 0),
        revision=revision.name,
        choice=choice,
        # Where replicas of two revisions share the load, the weaker must not be overloaded.
        scale=min(each_made_of, key=lambda each: each.concurrency),
        in_the_way=in_the_way,
        hindrance=_hindrance(observed, choice.engine),
        asleep=asleep,
        wakes_to=_wakes_to(observed, choice) if asleep and not in_the_way else 0,
        ladder_seconds=_ladder_seconds(spec.benchmark),
    )


def _slept(observed: Observed, before: api.VLMDeploymentStatus) -> bool:
    """Whether the replicas slept at the last pass, as the status says, or KEDA's object where that says nothing."""
    if before.scaling is None:
        return any(map(goes_to_zero, _scaled_objects(observed)))
    return before.scaling.asleep


def _wakes_to(observed: Observed, choice: Choice) -> int:
    """The replicas that were to be there all the time, once KEDA is told so too: it would take them away again."""
    if choice.to_zero or any(map(goes_to_zero, _scaled_objects(observed))):
        return 0
    return 1 if choice.engine is ScalingEngine.NONE else choice.minimum


def _scaled_objects(observed: Observed) -> Collection[KubernetesObject]:
    return observed.children.get(SCALED_OBJECT, {}).values()


def _ladder_seconds(asked: api.BenchmarkSpec) -> float:
    return 0.0 if asked.policy is api.BenchmarkPolicy.NONE else reading.seconds(asked.budget)


def _serving(observed: Observed) -> list[Revision]:
    """The revisions whose replicas take traffic."""
    digests = {revision_of(pod) for pod in live_pods(observed) if is_serving(pod)}
    return [each for each in observed.revisions if each.digest in digests]


def _hindrance(observed: Observed, engine: ScalingEngine) -> str:
    """What the engine's objects say keeps it from scaling, as a sentence; empty where nothing does."""
    is_right = NO_VALUE | {ASLEEP} if live_pods(observed) and not _serving(observed) else {ASLEEP}
    for kind, conditions in GOOD_CONDITIONS.items():
        for name, body in sorted(observed.children.get(kind, {}).items()):
            if not is_of(engine, kind, name == observed.parent["metadata"]["name"]):
                continue
            for found in (condition(body, each) for each in conditions):
                if found.get("status") == "False" and found.get("reason") not in is_right:
                    told = f"{found.get('reason', '')}: {found.get('message', '')}"
                    said = quote(told, limit=SAID_LENGTH).strip(" .:")
                    return f"{engine.value} does not scale now: {kind} {name} says {said}."
    return ""


def _seen(observed: Observed, means: Means) -> Means:
    """With the kinds of objects that are there: an API server that has just started may not serve them for a moment."""
    there = {kind for kind, named in observed.children.items() if named}
    keda, http_add_on = SCALED_OBJECT in there, HTTP_SCALED_OBJECT in there
    return replace(means, keda=means.keda or keda, http_add_on=means.http_add_on or http_add_on)


def wanted(parent: KubernetesObject, found: Scaled, means: Means) -> tuple[KubernetesObject, ...]:
    """The chosen engine's objects, once it is alone."""
    if found.in_the_way:
        return ()
    return objects(parent, found.choice, found.scale, means, ladder_seconds=found.ladder_seconds)


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
        cold_start_made=None if start is None else start.made or None,
        revision=found.revision,
        asleep=found.asleep,
    )


def _reason(found: Scaled, spec: api.VLMDeploymentSpec, *, blind: bool) -> tuple[ScalingReason, str]:
    """What keeps it from scaling, else what the choice said."""
    choice = found.choice
    if choice.engine is ScalingEngine.NONE:
        return choice.reason, choice.message
    if found.in_the_way:
        left = ", ".join(found.in_the_way)
        return ScalingReason.HANDING_OVER, f"{choice.engine.value} scales as soon as {left} is gone."
    if spec.replicas == 0 and choice.minimum > 0 and not found.asleep:
        return (
            ScalingReason.STOPPED,
            "Nobody scales while spec.replicas is 0, as with a HorizontalPodAutoscaler. Set it to 1 to go on.",
        )
    if blind and choice.engine is ScalingEngine.OPERATOR:
        return (
            ScalingReason.METRICS_MISSING,
            "Replicas stay as they are: no replica's proxy tells the operator its load. Look whether a NetworkPolicy "
            f"lets the operator reach port {proxy.METRICS_PORT} of the pods, and at the log of the proxy.",
        )
    if found.hindrance:
        return ScalingReason.ENGINE_FAILING, found.hindrance
    return choice.reason, choice.message
