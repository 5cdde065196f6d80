"""Scaling policies compared on the same traffic, and the cheapest that keeps the objectives."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from msgspec.structs import replace

from vlmctl.errors import NothingFits
from vlmctl.planning.arrivals import Arrivals, Randomness, arrivals_within
from vlmctl.planning.outcomes import MISSES_ALLOWED, Machine, Outcome, late_requests, outcome
from vlmctl.planning.replica import NEVER, Replica, ReplicaSpeed, Requests
from vlmctl.planning.scaling import (
    ANSWERED_SECONDS,
    LONGEST_WINDOW_SECONDS,
    ScalingPolicy,
    as_external_metric,
    check_policy,
)
from vlmctl.planning.traffic import run_fleet
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives
from vlmctl.units import show_seconds

TARGETS = (0.6, 0.8, 1.0)  # shares of a replica's concurrency that the load is spread to
IDLE_SECONDS = (300.0, 1800.0)  # KEDA's default cooldown, and a patient one
ROOM_FOR_BURSTS = 2  # the most replicas of a policy, over those that are enough when always on
START_WINDOW_SECONDS = 600.0  # of the traffic, which the replicas at the start are enough for
BUSY_WINDOW_SECONDS = 300.0  # the busiest of which the search for the always-on replicas starts from
PROBE_REQUESTS = 2000  # to one replica, for its concurrency within the objectives
PROBE_STEPS = 10  # halvings of the range of rates: to a thousandth of it
SHORTEST_PROBE_SECONDS = 1e-3  # of GPU work in a probe, so that rates stay finite
MAXIMUM_REPLICAS = 512  # always on, beyond which nobody searches


class Capacity(Record, frozen=True, kw_only=True):
    """One replica at the highest random load that misses no more than is allowed; `in_flight` is the mean there."""

    requests_per_second: float
    in_flight: float
    e2e_seconds: float


class Scenario(Record, frozen=True, kw_only=True):
    """What is the same for all policies that are compared. `maximum_replicas`: where no more can be had at all."""

    arrivals: Arrivals
    speed: ReplicaSpeed
    objectives: Objectives
    machine: Machine
    cold_start_seconds: float
    maximum_replicas: int | None = None


class Grid(Record, frozen=True, kw_only=True):
    """The policies to try, beside always-on ones.

    `targets`: shares of a replica's concurrency; `minimums`: None takes none, one, and half of what is enough when
    always on, where 0 is tried with each of `idle_seconds`; `maximum`: None takes twice of it; `lead_seconds`: None
    takes the cold start. `external_metric`: whether KEDA or the HPA scale, which know the load of now alone.
    `to_zero`: whether 0 is among the minimums that None takes; to 0 it is always KEDA that scales. `base` holds the
    rest.
    """

    targets: tuple[float, ...] = TARGETS
    minimums: tuple[int, ...] | None = None
    maximum: int | None = None
    idle_seconds: tuple[float, ...] = IDLE_SECONDS
    lead_seconds: float | None = None
    external_metric: bool = False
    to_zero: bool = True
    base: ScalingPolicy = ScalingPolicy(target_in_flight=1.0)


class Comparison(Record, frozen=True, kw_only=True):
    """All policies, the cheapest first; `cheapest`: the name of the cheapest that keeps the objectives, if any does."""

    capacity: Capacity
    outcomes: tuple[Outcome, ...]
    cheapest: str | None


Progress = Callable[[str], None]


def compare_policies(
    scenario: Scenario, grid: Grid, rng: Randomness, *, progress: Progress = lambda _: None
) -> Comparison:
    """Every policy of the grid on the scenario's traffic; `progress` is told the name of each before it runs.

    Raises NothingFits where not even an idle replica answers within the objectives.
    """
    capacity = replica_capacity(scenario, rng)
    cap = min(scenario.maximum_replicas or MAXIMUM_REPLICAS, grid.maximum or MAXIMUM_REPLICAS)
    found = _always_on(scenario, capacity, cap, progress)
    enough = min((each.replicas_peak for each in found if each.keeps), default=cap)
    for utilization, policy in _policies(scenario, grid, capacity, enough, cap):
        found.append(_tried(scenario, policy, capacity, utilization, progress))
    ranked = sorted(found, key=lambda each: (each.usd, each.missed, each.name))
    marked = tuple(replace(each, pareto=_is_pareto(each, ranked)) for each in ranked)
    return Comparison(
        capacity=capacity, outcomes=marked, cheapest=next((each.name for each in marked if each.keeps), None)
    )


def policy_name(policy: ScalingPolicy, utilization: float | None) -> str:
    """``80%, 1 to 6`` or ``always on, 3``: what tells a policy from others of the same comparison."""
    if utilization is None:
        return f"always on, {policy.minimum_replicas}"
    name = f"{utilization:.0%}, {policy.minimum_replicas} to {policy.maximum_replicas}"
    return f"{name}, zero after {show_seconds(policy.idle_seconds)}" if policy.minimum_replicas == 0 else name


def replica_capacity(scenario: Scenario, rng: Randomness) -> Capacity:
    """What one replica serves within the objectives under random arrivals of the traffic's own sizes, by bisection.

    Without objectives: what it serves at all. Raises NothingFits where it misses too many even when idle.
    """
    gaps = [rng.expovariate(1.0) for _ in range(PROBE_REQUESTS)]
    probe = _probe_sizes(scenario.arrivals)
    low, high = 0.0, _saturated_rate(probe, scenario.speed)
    best = _probed(scenario, probe, gaps, high / 2**PROBE_STEPS)
    if best is None:
        limits = {"TTFT": scenario.objectives.ttft_seconds, "TPOT": scenario.objectives.tpot_seconds}
        wanted = " or ".join(f"{name} {show_seconds(limit)}" for name, limit in limits.items() if limit is not None)
        raise NothingFits(
            f"more than {MISSES_ALLOWED:.0%} of these requests miss {wanted} even on an idle replica.",
            remedy="Loosen --ttft or --tpot, or name a faster --gpu.",
        )
    for _ in range(PROBE_STEPS):
        rate = (low + high) / 2
        found = _probed(scenario, probe, gaps, rate)
        if found is None:
            high = rate
        else:
            low, best = rate, found
    return best


def _probe_sizes(arrivals: Arrivals) -> Arrivals:
    """As many requests as a probe sends, of the traffic's sizes in its order; when they come is decided later."""
    count = len(arrivals.seconds)
    picked = [number * count // PROBE_REQUESTS for number in range(PROBE_REQUESTS)]

    def sizes(column: Sequence[int] | None) -> Sequence[int] | None:
        return [column[number] for number in picked] if column else None

    return Arrivals(
        seconds=(0.0,) * PROBE_REQUESTS,
        duration_seconds=0.0,
        prompt_tokens=sizes(arrivals.prompt_tokens),
        output_tokens=sizes(arrivals.output_tokens),
        images=sizes(arrivals.images),
    )


def _saturated_rate(probe: Arrivals, speed: ReplicaSpeed) -> float:
    """Requests per second of one replica whose batch is always full: no random load can be above it."""
    requests, batch = Requests(probe, speed), len(speed.step_seconds) - 1
    steps = sum(requests.output_tokens) * speed.step_seconds[-1] / batch
    gpu, host = sum(requests.prefill_seconds) + steps, sum(requests.host_seconds) / speed.host_workers
    return PROBE_REQUESTS / max(gpu, host, SHORTEST_PROBE_SECONDS)


def _probed(scenario: Scenario, probe: Arrivals, gaps: Sequence[float], rate: float) -> Capacity | None:
    """One replica at that rate until all are answered; None where more are late than is allowed."""
    arrivals = replace(probe, seconds=array("d", accumulate(gap / rate for gap in gaps)))
    requests = Requests(arrivals, scenario.speed)
    replica = Replica(scenario.speed, requests)
    for number, at in enumerate(arrivals.seconds):
        replica.advance(at)
        replica.submit(number, at)
    replica.finish()
    if len(late_requests(requests, NEVER, scenario.objectives)) > MISSES_ALLOWED * PROBE_REQUESTS:
        return None
    pairs = zip(requests.finished_at, requests.arrived_at, strict=True)
    e2e = sum(finished - arrived for finished, arrived in pairs) / PROBE_REQUESTS
    return Capacity(requests_per_second=rate, in_flight=rate * e2e, e2e_seconds=e2e)


def _always_on(scenario: Scenario, capacity: Capacity, cap: int, progress: Progress) -> list[Outcome]:
    """The fewest replicas that keep the objectives by always being there, and what else was tried on the way."""
    busiest = scenario.arrivals.busiest_rate(BUSY_WINDOW_SECONDS)
    low, high = 0, cap + 1
    guess = min(max(math.ceil(busiest / capacity.requests_per_second), 1), cap)
    found = []
    while high - low > 1:
        policy = ScalingPolicy(
            target_in_flight=capacity.in_flight, minimum_replicas=guess, maximum_replicas=guess, idle_seconds=0.0
        )
        found.append(_tried(scenario, policy, capacity, None, progress))
        if found[-1].keeps:
            high = guess
        else:
            low = guess
        guess = min(2 * low, cap) if high > cap else (low + high) // 2
    return found


def _policies(
    scenario: Scenario, grid: Grid, capacity: Capacity, enough: int, cap: int
) -> Iterator[tuple[float, ScalingPolicy]]:
    """The grid's policies with the share that each one's target is."""
    maximum = min(grid.maximum or ROOM_FOR_BURSTS * enough, cap)
    # Between equal bounds nothing scales.
    usual = sorted({0 if grid.to_zero else 1, 1, -(-enough // 2)} - {maximum})
    minimums = usual if grid.minimums is None else grid.minimums
    lead = min(scenario.cold_start_seconds, LONGEST_WINDOW_SECONDS) if grid.lead_seconds is None else grid.lead_seconds
    gap = scenario.arrivals.longest_gap_seconds()
    idle = tuple(seconds for seconds in grid.idle_seconds if seconds + ANSWERED_SECONDS <= gap)
    for minimum in minimums:
        # A fleet that is never idle for long enough never goes to zero: one such policy shows it.
        never = minimum == 0 and not idle
        for seconds in idle if minimum == 0 and idle else grid.idle_seconds[:1]:
            for target in grid.targets[:1] if never else grid.targets:
                policy = replace(
                    grid.base,
                    target_in_flight=target * capacity.in_flight,
                    minimum_replicas=minimum,
                    maximum_replicas=maximum,
                    idle_seconds=seconds,
                    lead_seconds=lead,
                )
                check_policy(policy)
                yield target, as_external_metric(policy) if grid.external_metric or minimum == 0 else policy


def _tried(
    scenario: Scenario, policy: ScalingPolicy, capacity: Capacity, utilization: float | None, progress: Progress
) -> Outcome:
    """One policy on the scenario's traffic."""
    name = policy_name(policy, utilization)
    progress(name)
    run = run_fleet(
        scenario.arrivals,
        scenario.speed,
        _as_keda_has_it(policy) if policy.minimum_replicas == 0 else policy,
        cold_start_seconds=scenario.cold_start_seconds,
        replicas_at_start=_replicas_at_start(scenario.arrivals, policy, capacity),
    )
    return outcome(
        run,
        scenario.arrivals,
        policy,
        scenario.objectives,
        scenario.machine,
        name=name,
        utilization=utilization,
    )


def _as_keda_has_it(policy: ScalingPolicy) -> ScalingPolicy:
    """The idle time begins when answers no longer count as recent."""
    return replace(policy, idle_seconds=policy.idle_seconds + ANSWERED_SECONDS)


def _replicas_at_start(arrivals: Arrivals, policy: ScalingPolicy, capacity: Capacity) -> int:
    """What the policy would have come to, had the traffic of the first minutes been there before."""
    window = min(START_WINDOW_SECONDS, arrivals.duration_seconds)
    rate = arrivals_within(arrivals, 0.0, window) / window
    needed = math.ceil(rate * capacity.e2e_seconds / policy.target_in_flight)
    return min(max(needed, policy.minimum_replicas), policy.maximum_replicas)


def _is_pareto(one: Outcome, others: Sequence[Outcome]) -> bool:
    """Whether no other is better in cost or misses without being worse in the other."""
    mine = (one.usd, one.missed)
    return not any(
        each.usd <= one.usd and each.missed <= one.missed and (each.usd, each.missed) != mine for each in others
    )
