"""What replicas are scaled by: the spec's bounds and windows, what a replica serves, and how long one takes to start.

The engines all go by the same policy: the operator's own sweep decides with it, and manifests for KEDA and the
HorizontalPodAutoscaler are rendered from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from vlm_operator.records import KubernetesObject, Planned
from vlm_operator.results import AgentResult, Task
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.scaling import (
    DOWN,
    LONGEST_WINDOW_SECONDS,
    UP,
    Direction,
    ScalingPolicy,
    Select,
    Step,
    StepKind,
)
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record

INTERVAL_SECONDS = 15.0  # between looks: the HPA's sync period (kube-controller-manager)


class Start(Record, frozen=True, kw_only=True):
    """How long a replica takes from being made to traffic, and whether one did or it is estimated."""

    seconds: float
    measured: bool


class Scale(Record, frozen=True, kw_only=True):
    """The policy, and what it was made of. `concurrency`: requests in flight that a replica serves, `basis`: as it was
    found (measured within the objectives, or planned). `start` of None: nothing is known of it.
    """

    policy: ScalingPolicy
    concurrency: int
    basis: Basis
    start: Start | None = None


def scale(
    spec: api.Scaling,
    planned: Planned,
    benchmark: api.BenchmarkStatus | None,
    start: Start | None,
    *,
    minimum: int,
    interval_seconds: float = INTERVAL_SECONDS,
) -> Scale:
    """The policy of a revision. `minimum`: the replicas that are really kept, where `spec.min` cannot be."""
    speed = planned.plan.speed
    concurrency = speed.concurrency if benchmark is None else benchmark.concurrency
    asked = spec.behavior or api.ScalingBehavior()
    policy = ScalingPolicy(
        target_in_flight=max(concurrency, 1) * float(spec.target_utilization),
        minimum_replicas=minimum,
        maximum_replicas=max(spec.max, minimum),
        up=_direction(asked.scale_up, UP),
        down=_direction(asked.scale_down, DOWN),
        idle_seconds=reading.seconds(spec.idle),
        lead_seconds=0.0 if start is None else min(start.seconds, LONGEST_WINDOW_SECONDS),
        interval_seconds=interval_seconds,
    )
    basis = speed.basis if benchmark is None else Basis.MEASURED
    return Scale(policy=policy, concurrency=concurrency, basis=basis, start=start)


def start_of(
    pods: Iterable[KubernetesObject],
    results: Mapping[str, AgentResult],
    planned: Planned,
    before: api.ScalingStatus | None = None,
) -> Start | None:
    """How long the latest of a revision's pods took; else as it was said `before` of the revision, else as planned.

    The ladder of loads is taken off: only one replica of a revision climbs it.
    """
    told = [(_created(pod), _seconds(pod, results.get(pod["metadata"]["uid"]))) for pod in pods]
    known = [(created, seconds) for created, seconds in told if seconds is not None]
    if known:
        return Start(seconds=max(known)[1], measured=True)
    if before is not None and before.cold_start is not None and before.cold_start_basis == Basis.MEASURED:
        return Start(seconds=reading.seconds(before.cold_start), measured=True)
    if planned.cold_start_seconds is None:
        return None
    return Start(seconds=planned.cold_start_seconds, measured=False)


def _created(pod: KubernetesObject) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _seconds(pod: KubernetesObject, result: AgentResult | None) -> float | None:
    """From the pod's creation until it first took traffic; None where that is not known."""
    created = _created(pod)
    if not created or result is None or result.opened is None:
        return None
    climbed = 0.0
    if result.task is Task.LADDER and result.smoked is not None and result.smoked <= result.opened:
        climbed = _between(result.smoked, result.opened)
    return max(_between(created, result.opened) - climbed, 1.0)  # times are to the second


def _between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _direction(rules: api.ScalingRules | None, usual: Direction) -> Direction:
    """What is left out is as the HPA has it."""
    if rules is None:
        return usual
    window, tolerance = rules.stabilization_window_seconds, rules.tolerance
    steps = tuple(
        Step(kind=StepKind(each.type.value), value=each.value, period_seconds=float(each.period_seconds))
        for each in rules.policies
    )
    return Direction(
        stabilization_seconds=usual.stabilization_seconds if window is None else float(window),
        steps=steps or usual.steps,
        select=Select(rules.select_policy.value),
        tolerance=usual.tolerance if tolerance is None else float(tolerance),
    )
