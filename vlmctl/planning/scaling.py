"""How many replicas a load needs: one pure function that operator, simulator and rendered scalers share.

The load is the requests in flight, counted where the server accepts them (images still being decoded included), over
the concurrency that a replica serves within its objectives. Windows and rate limits are those of Kubernetes'
HorizontalPodAutoscaler (autoscaling/v2 `behavior`), the way to zero and back is KEDA's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from enum import StrEnum
from typing import TypeVar

from msgspec.structs import replace

from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record

ROUNDING = 1e-9  # replicas: 6 in flight over 2 each are 3 replicas, whatever the last digit of the quotient
LONGEST_WINDOW_SECONDS = 3600.0  # that autoscaling/v2 accepts as a stabilization window
TREND_POINTS = 4  # observations below which a slope says nothing
ONE_SIDED_95 = 1.645  # standard errors below an estimate that hold it up in 95% of cases, were there many observations

# Back from now, in which an answer keeps replicas awake that KEDA scales to zero: its `cooldownPeriod` begins then.
ANSWERED_SECONDS = 180.0

_Value = TypeVar("_Value", int, float)


class StepKind(StrEnum):
    """What a rate limit counts, in HPA's words."""

    PODS = "Pods"
    PERCENT = "Percent"


class Select(StrEnum):
    """Which of several rate limits counts, in HPA's words."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class Step(Record, frozen=True, kw_only=True):
    """At most `value` replicas, or percent of those at the period's start, within any `period_seconds`."""

    kind: StepKind
    value: int
    period_seconds: float


class Direction(Record, frozen=True, kw_only=True):
    """One direction: HPA `behavior.scaleUp` or `scaleDown`.

    `select`: of several steps, whether the one that allows most or least counts; DISABLED: no load moves anything this
    way. `tolerance`: relative distance from the target that is no reason to move. Without steps there is no limit.
    """

    stabilization_seconds: float = 0.0
    steps: tuple[Step, ...] = ()
    select: Select = Select.MAX
    tolerance: float = 0.1


# The HPA's own defaults (Kubernetes documentation, "Horizontal Pod Autoscaling", default behavior).
UP = Direction(
    steps=(
        Step(kind=StepKind.PERCENT, value=100, period_seconds=15.0),
        Step(kind=StepKind.PODS, value=4, period_seconds=15.0),
    )
)
DOWN = Direction(stabilization_seconds=300.0, steps=(Step(kind=StepKind.PERCENT, value=100, period_seconds=15.0),))


class ScalingPolicy(Record, frozen=True, kw_only=True):
    """What `decide` goes by. In HPA and KEDA terms:

    `target_in_flight`, of one replica: HPA External metric `averageValue`, KEDA `threshold`; `minimum_replicas`,
    `maximum_replicas`: `minReplicas`, `maxReplicas`; KEDA `minReplicaCount`, `maxReplicaCount`; `up`, `down`:
    `behavior`; `idle_seconds`: KEDA `cooldownPeriod`, used where the minimum is 0; `interval_seconds`: the HPA's sync
    period, KEDA `pollingInterval`. Neither has a term for the others, which are the operator's own: `lead_seconds`, how
    far ahead the trend of the load is followed, as long as a cold start; `keeps_missing`, whether replicas that start,
    or do not report, count as full against shrinking.
    """

    target_in_flight: float
    minimum_replicas: int = 1
    maximum_replicas: int = 1
    up: Direction = UP
    down: Direction = DOWN
    idle_seconds: float = 300.0
    lead_seconds: float = 0.0
    keeps_missing: bool = True
    interval_seconds: float = 15.0


class Observation(Record, frozen=True, kw_only=True):
    """What was seen. `replicas`: those that were asked for last, ready or not.

    `in_flight`: requests on all replicas that reported, and those that wait for one; None where nothing is known or
    what is known is stale. `missing`: replicas that did not report, those included that have not started; `silent`: of
    them, those that take traffic, whose load is therefore not in it.
    """

    replicas: int
    in_flight: float | None
    missing: int = 0
    silent: int = 0


class State(Record, frozen=True, kw_only=True):
    """What `decide` remembers: (time, value) pairs no older than its windows, and when a request was last in flight."""

    recommendations: tuple[tuple[float, int], ...] = ()
    changes: tuple[tuple[float, int], ...] = ()
    loads: tuple[tuple[float, float], ...] = ()
    active_at: float | None = None


class Reason(StrEnum):
    """Why the number is what it is, as the operator's log and the simulator tell it."""

    UNKNOWN = "MetricsUnknown"
    STEADY = "WithinTolerance"
    LOAD = "Load"
    AHEAD = "LoadRising"
    WAKE = "RequestsWaiting"
    IDLE = "Idle"
    STABILIZED = "Stabilized"
    LIMITED = "RateLimited"
    BOUNDED = "Bounded"


class Decision(Record, frozen=True, kw_only=True):
    """The replicas to ask for, why, the same in words, and what to remember for the next time."""

    replicas: int
    reason: Reason
    message: str
    state: State


def as_external_metric(policy: ScalingPolicy) -> ScalingPolicy:
    """The policy as the HPA has it, and KEDA through one, for an External metric: the load of now over the target.

    Replicas that start are let go where the load alone does not ask for them (Kubernetes, `replica_calculator.go`,
    GetExternalPerPodMetricReplicas: neither readiness nor a trend comes in).
    """
    return replace(policy, lead_seconds=0.0, keeps_missing=False)


def check_policy(policy: ScalingPolicy) -> None:
    """Raise InvalidValue for a policy that makes no sense."""
    if not 0 <= policy.minimum_replicas <= policy.maximum_replicas or policy.maximum_replicas < 1:
        raise InvalidValue(
            f"replicas from {policy.minimum_replicas} to {policy.maximum_replicas} are no range.",
            remedy="The minimum is 0 or more, the maximum at least 1 and no less.",
        )
    windows = (policy.up.stabilization_seconds, policy.down.stabilization_seconds, policy.lead_seconds)
    if not all(0 <= seconds <= LONGEST_WINDOW_SECONDS for seconds in windows):
        raise InvalidValue("windows and looking ahead are 0 to 3,600 seconds.", remedy="Give a shorter time.")
    lowest = min(policy.idle_seconds, policy.up.tolerance, policy.down.tolerance)
    if not (policy.target_in_flight > 0 and policy.interval_seconds > 0 and lowest >= 0):
        raise InvalidValue(
            "a scaling policy needs a target and an interval above 0, and no negative time or tolerance.",
            remedy="Give requests in flight per replica, and seconds.",
        )


def decide(policy: ScalingPolicy, state: State, seen: Observation, now: float) -> Decision:
    """The replicas to ask for at `now`, in seconds of any clock that only goes forward.

    Nothing known: they stay, and to the windows and the idle time it is as if all of them had been needed. Part of it
    known: the replicas that did not report count as empty against growing, and as full against shrinking where the
    policy keeps them. No request in flight for `idle_seconds` and a minimum of 0: none, at once. A request in flight
    and no replica: at least one, at once. Replicas outside new bounds: to the bound, at once.
    """
    current = seen.replicas
    nearest = min(max(current, policy.minimum_replicas), policy.maximum_replicas)
    if nearest != current:
        return _result(state, current, nearest, Reason.BOUNDED, f"{current} replicas are out of bounds", now)
    state = _remembering(policy, state, seen, now)
    if seen.in_flight is None:
        return _result(state, current, current, Reason.UNKNOWN, "the load is unknown", now)
    idle_seconds = now - (now if state.active_at is None else state.active_at)
    empty = seen.in_flight <= 0 and not seen.missing
    if empty and (current == 0 or (policy.minimum_replicas == 0 and idle_seconds >= policy.idle_seconds)):
        return _result(state, current, 0, Reason.IDLE, f"idle for {idle_seconds:.0f} s", now)
    wanted, reason, message = _wanted(policy, state, seen, seen.in_flight)
    floor = max(policy.minimum_replicas, 1)
    bounded = min(max(wanted, floor), policy.maximum_replicas)
    if bounded != wanted:
        reason, message = Reason.BOUNDED, f"{message}, bounds are {floor} to {policy.maximum_replicas}"
    stable = _stabilized(policy, state, current, bounded, now)
    if stable != bounded:
        reason, message = Reason.STABILIZED, f"{message}, held at {stable} by the window"
    state = replace(state, recommendations=(*state.recommendations, (now, bounded)))
    limited = max(_limited(policy, state, current, stable, now), 1)
    if limited != stable:
        reason, message = Reason.LIMITED, f"{message}, limited to {limited} by the rate"
    return _result(state, current, limited, reason, message, now)


def _wanted(policy: ScalingPolicy, state: State, seen: Observation, in_flight: float) -> tuple[int, Reason, str]:
    """Replicas for the load alone: no bounds, windows or rates."""
    current, target = seen.replicas, policy.target_in_flight
    ahead = max(in_flight, _ahead(policy, state, in_flight))
    message = f"{in_flight:.4g} in flight over {target:.4g} each"
    if ahead > target * current * (1.0 + policy.up.tolerance):
        if current == 0:
            return _replicas(ahead, target), Reason.WAKE, message
        rising = _replicas(ahead, target) > _replicas(in_flight, target)
        if rising:
            message += f", rising to {ahead:.4g}"
        return _replicas(ahead, target), Reason.AHEAD if rising else Reason.LOAD, message
    most = max(in_flight + (seen.missing * target if policy.keeps_missing else 0.0), ahead)
    if most < target * current * (1.0 - policy.down.tolerance):
        return min(current, _replicas(most, target)), Reason.LOAD, message
    return current, Reason.STEADY, message


def _replicas(load: float, target: float) -> int:
    return math.ceil(load / target - ROUNDING)


def _ahead(policy: ScalingPolicy, state: State, in_flight: float) -> float:
    """The load in `lead_seconds`, were its trend (least squares over as long a time) to go on.

    Random arrivals alone look like a trend: only what of the slope is surely there (one-sided 95%) counts. So does a
    step, which is over: the slope counts no further than that of each half of the time. And what was seen for a minute,
    after a restart or a gap, says nothing of the next ten: it counts no further ahead than it was seen.
    """
    points, half = state.loads, len(state.loads) // 2
    if len(points) < TREND_POINTS:
        return in_flight
    slope, error = _slope(points)
    if slope <= 0.0:
        return in_flight
    sure = min(slope - _one_sided_95(len(points) - 2) * error, _slope(points[:half])[0], _slope(points[half:])[0])
    seen_seconds = points[-1][0] - points[0][0] + policy.interval_seconds
    return in_flight + max(sure, 0.0) * min(policy.lead_seconds, seen_seconds)


def _one_sided_95(freedom: int) -> float:
    """The same of Student's t, for few of them (Abramowitz and Stegun 26.7.5, to the second term)."""
    z = ONE_SIDED_95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _slope(points: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """Least squares through two (time, load) points or more: load per second, and its standard error."""
    first, count = points[0][0], len(points)
    times, loads, squares, products, load_squares = 0.0, 0.0, 0.0, 0.0, 0.0
    for at, load in points:
        after = at - first
        times += after
        loads += load
        squares += after * after
        products += after * load
        load_squares += load * load
    spread = squares - times * times / count
    if spread <= 0.0:
        return 0.0, 0.0
    slope = (products - times * loads / count) / spread
    rest = max(load_squares - loads * loads / count - slope * slope * spread, 0.0)
    return slope, math.sqrt(rest / max(count - 2, 1) / spread)


def _remembering(policy: ScalingPolicy, state: State, seen: Observation, now: float) -> State:
    """The state with this look in it, and without what no window or period reaches any more.

    At the first look, and where the load is not known, the replicas that are there count as recommended: neither a
    restart nor a gap in the metrics shrinks anything at once.
    """
    periods = [step.period_seconds for step in (*policy.up.steps, *policy.down.steps)]
    window = max(policy.up.stabilization_seconds, policy.down.stabilization_seconds)
    unknown, is_first = seen.in_flight is None, state.active_at is None
    recommendations = _since(state.recommendations, now - window)
    # However short a start is, there are looks enough for a trend, one that comes late included.
    trend_seconds = max(policy.lead_seconds, (TREND_POINTS + 0.5) * policy.interval_seconds)
    loads: tuple[tuple[float, float], ...] = ()  # replicas that tell again one by one would look like a load that rises
    if seen.in_flight is not None and policy.lead_seconds and not seen.silent:
        loads = (*_since(state.loads, now - trend_seconds), (now, seen.in_flight))
    return State(
        recommendations=(*recommendations, (now, seen.replicas)) if unknown or is_first else recommendations,
        changes=_since(state.changes, now - max(periods, default=0.0)),
        loads=loads,
        active_at=now if seen.in_flight != 0 or seen.missing or is_first else state.active_at,
    )


def _stabilized(policy: ScalingPolicy, state: State, current: int, wanted: int, now: float) -> int:
    """Up only as far as every recommendation within the window for up agrees to, down likewise."""
    earlier_up = _since(state.recommendations, now - policy.up.stabilization_seconds)
    earlier_down = _since(state.recommendations, now - policy.down.stabilization_seconds)
    up = min((count for _, count in earlier_up), default=wanted)
    down = max((count for _, count in earlier_down), default=wanted)
    return min(max(current, min(up, wanted)), max(down, wanted))


def _limited(policy: ScalingPolicy, state: State, current: int, wanted: int, now: float) -> int:
    """As far towards `wanted` as the rate limits of its direction allow."""
    if wanted == current:
        return current
    grows = wanted > current
    direction = policy.up if grows else policy.down
    if direction.select is Select.DISABLED:
        return current
    limits = []
    for step in direction.steps:
        changed = sum(change for _, change in _since(state.changes, now - step.period_seconds))
        limits.append(_limit(step, current - changed, grows=grows))
    if not limits:
        return wanted
    farthest = max if grows is (direction.select is Select.MAX) else min
    limit = farthest(limits)
    return min(wanted, max(current, limit)) if grows else max(wanted, min(current, limit))


def _limit(step: Step, start: int, *, grows: bool) -> int:
    """The replicas that one step allows, from those at the start of its period."""
    change = step.value if step.kind is StepKind.PODS else start * step.value / 100
    return math.ceil(start + change - ROUNDING) if grows else math.floor(max(start - change, 0.0) + ROUNDING)


def _result(state: State, current: int, replicas: int, reason: Reason, message: str, now: float) -> Decision:
    if replicas != current:
        state = replace(state, changes=(*state.changes, (now, replicas - current)))
    return Decision(replicas=replicas, reason=reason, message=message, state=state)


def _since(pairs: tuple[tuple[float, _Value], ...], start: float) -> tuple[tuple[float, _Value], ...]:
    """The pairs younger than `start`, of pairs in the order of their times."""
    return pairs[bisect_right(pairs, (start, math.inf)) :]
