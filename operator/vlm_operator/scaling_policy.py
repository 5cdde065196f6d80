"""What replicas are scaled by: the spec's bounds and windows, what a replica serves, and how long one takes to start.

The engines all go by the same policy: the operator's own sweep decides with it, and manifests for KEDA and the
HorizontalPodAutoscaler are rendered from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter

from vlm_operator.records import KubernetesObject, Planned, Revision
from vlm_operator.reported import condition
from vlm_operator.results import AgentResult, Task
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue
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
START_DIGITS = 2  # significant, of a measured start: no two take equally long


class Start(Record, frozen=True, kw_only=True):
    """How long a replica takes from its place on a node to traffic, and whether one did or it is estimated. `made`:
    when the pod was made that did, RFC 3339.
    """

    seconds: float
    measured: bool
    made: str = ""


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
    revision: Revision,
    before: api.ScalingStatus | None = None,
) -> Start | None:
    """How long the latest of a revision's pods took, gone ones included as far as the status said it `before`; else as
    planned.
    """
    starts = (*(_measured(pod, results.get(pod["metadata"]["uid"])) for pod in pods), _said(before, revision))
    known = [each for each in starts if each is not None]
    if known:
        return max(known, key=attrgetter("made"))
    estimate = revision.planned.cold_start_seconds
    return None if estimate is None else Start(seconds=estimate, measured=False)


def _said(before: api.ScalingStatus | None, revision: Revision) -> Start | None:
    """The start that the status tells, if a pod of the same revision took it."""
    if before is None or before.revision != revision.name or before.cold_start_basis != Basis.MEASURED:
        return None
    try:
        seconds = reading.seconds(before.cold_start or "")
    except InvalidValue:  # whoever may write a status may write anything
        return None
    return Start(seconds=seconds, measured=True, made=before.cold_start_made or "")


def _measured(pod: KubernetesObject, result: AgentResult | None) -> Start | None:
    """From the pod's place on a node until it first took traffic; None where that is not known.

    Waiting for a GPU that is not there is no start. The ladder of loads is taken off, which one replica of a revision
    alone climbs; once its engine was restarted nothing tells how long that took.
    """
    made = str(pod["metadata"].get("creationTimestamp", ""))
    placed = condition(pod, "PodScheduled").get("lastTransitionTime") or made
    if not placed or result is None or result.opened is None:
        return None
    seconds, climbed = _between(placed, result.opened), 0.0
    if result.smoked is not None:
        since_smoke = _between(result.smoked, result.opened)
        if since_smoke is None or since_smoke < 0:
            return None
        climbed = since_smoke if result.task is Task.LADDER else 0.0
    if seconds is None:
        return None
    rounded = float(f"{max(seconds - climbed, 1.0):.{START_DIGITS}g}")  # times are to the second
    return Start(seconds=rounded, measured=True, made=made)


def _between(earlier: str, later: str) -> float | None:
    """Seconds; None where one is no moment, such as the 30th of February."""
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except ValueError:
        return None


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
