"""What a run of a fleet amounts to: dollars, requests that came later than the objectives, and the course over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from vlmctl.planning.arrivals import SECONDS_PER_DAY, Arrivals, arrivals_within
from vlmctl.planning.replica import NEVER, Requests
from vlmctl.planning.scaling import ScalingPolicy
from vlmctl.planning.traffic import Run, Sample
from vlmctl.specs.hardware import Offer, OfferKind
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives
from vlmctl.units import SECONDS_PER_HOUR

MISSES_ALLOWED = 0.05  # share of the requests: objectives are 95th percentiles
TIMELINE_POINTS = 72  # of a run: twenty minutes each in a day, and what a line of a terminal holds


class Machine(Record, frozen=True, kw_only=True):
    """What replicas run on: paid whole from the start of their first replica, owned ones always."""

    usd_per_hour: float
    replicas_per_machine: int = 1
    owned: bool = False


class Point(Record, frozen=True, kw_only=True):
    """A stretch of a run from `seconds` on: means over it, and the most requests whose prefill had not begun."""

    seconds: float
    requests_per_second: float
    replicas: float
    ready: float
    in_flight: float
    waiting: int


class Outcome(Record, frozen=True, kw_only=True):
    """What one policy did with the traffic. `missed`: requests later than an objective; `keeps`: at most 5% were.

    `utilization`: the policy's target as a share of a replica's concurrency, None where the replicas never change.
    Requests not answered at the end are `unfinished`; their wait counts as long as it had lasted. Percentiles are None
    without requests. `pareto`: no other policy is cheaper and misses less.
    """

    name: str
    policy: ScalingPolicy
    utilization: float | None
    replicas_at_start: int
    requests: int
    served: int
    unfinished: int
    missed: int
    missed_ttft: int
    missed_tpot: int
    missed_share: float
    ttft_p50_seconds: float | None
    ttft_p95_seconds: float | None
    tpot_p95_seconds: float | None
    usd: float
    usd_per_day: float
    usd_per_1k_requests: float | None
    replica_hours: float
    replicas_mean: float
    replicas_peak: int
    cold_starts: int
    waiting_peak: int
    keeps: bool
    timeline: tuple[Point, ...]
    pareto: bool = False


def machine_of(offer: Offer, gpu_count: int) -> Machine:
    """The machine of an offer, for replicas of so many GPUs."""
    return Machine(
        usd_per_hour=offer.usd_per_hour,
        replicas_per_machine=offer.gpu_count // gpu_count,
        owned=offer.kind is OfferKind.OWNED,
    )


def outcome(
    run: Run, arrivals: Arrivals, policy: ScalingPolicy, objectives: Objectives, machine: Machine,
    *, name: str, utilization: float | None,
) -> Outcome:  # fmt: skip
    """A run, judged and priced."""
    ttft, tpot = ttft_seconds(run.requests, run.duration_seconds), tpot_seconds(run.requests)
    late_ttft, late_tpot = _later(ttft, objectives.ttft_seconds), _later(tpot, objectives.tpot_seconds)
    count, missed = len(ttft), len(late_ttft | late_tpot)
    served = sum(at < NEVER for at in run.requests.finished_at)
    usd = bill_usd(run.bill, run.duration_seconds, machine)
    replica_hours = machine_seconds(run.bill, run.duration_seconds, 1) / SECONDS_PER_HOUR
    ttft.sort()
    answered = sorted(value for value in tpot if value >= 0.0)
    return Outcome(
        name=name,
        policy=policy,
        utilization=utilization,
        replicas_at_start=run.bill[0][1],
        requests=count,
        served=served,
        unfinished=count - served,
        missed=missed,
        missed_ttft=len(late_ttft),
        missed_tpot=len(late_tpot),
        missed_share=missed / count if count else 0.0,
        ttft_p50_seconds=percentile(ttft, 0.5),
        ttft_p95_seconds=percentile(ttft, 0.95),
        tpot_p95_seconds=percentile(answered, 0.95),
        usd=usd,
        usd_per_day=usd / run.duration_seconds * SECONDS_PER_DAY,
        usd_per_1k_requests=usd / served * 1000 if served else None,
        replica_hours=replica_hours,
        replicas_mean=replica_hours * SECONDS_PER_HOUR / run.duration_seconds,
        replicas_peak=max(accumulate(change for _, change in run.bill)),
        cold_starts=run.cold_starts,
        waiting_peak=max(sample.waiting for sample in run.samples),
        keeps=missed <= MISSES_ALLOWED * count,
        timeline=timeline(run, arrivals),
    )


def ttft_seconds(requests: Requests, end: float) -> list[float]:
    """Time to the first token by request; a wait that had not ended, as long as it had lasted."""
    return [min(first, end) - at for first, at in zip(requests.first_token_at, requests.arrived_at, strict=True)]


def tpot_seconds(requests: Requests) -> list[float]:
    """Time per token after the first by request; 0 for answers of one token, -1 where the answer had not ended."""
    return [
        (last - first) / max(tokens - 1, 1) if last < NEVER else -1.0
        for first, last, tokens in zip(
            requests.first_token_at, requests.finished_at, requests.output_tokens, strict=True
        )
    ]


def late_requests(requests: Requests, end: float, objectives: Objectives) -> set[int]:
    """The numbers of the requests that came later than an objective allows."""
    late = _later(ttft_seconds(requests, end), objectives.ttft_seconds)
    return late | _later(tpot_seconds(requests), objectives.tpot_seconds)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of ordered values, None without any."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def bill_usd(bill: Sequence[tuple[float, int]], duration_seconds: float, machine: Machine) -> float:
    """USD for the replicas of a bill: whole machines, or the owned one for all the time."""
    seconds = duration_seconds
    if not machine.owned:
        seconds = machine_seconds(bill, duration_seconds, machine.replicas_per_machine)
    return machine.usd_per_hour * seconds / SECONDS_PER_HOUR


def machine_seconds(bill: Sequence[tuple[float, int]], duration_seconds: float, replicas_per_machine: int) -> float:
    """Seconds of machines that carry the replicas of a bill, each up to so many."""
    counts = accumulate(change for _, change in bill)
    ends = (*(at for at, _ in bill[1:]), duration_seconds)
    stretches = zip(bill, ends, counts, strict=True)
    return sum(-(-count // replicas_per_machine) * (end - start) for (start, _), end, count in stretches)


def timeline(run: Run, arrivals: Arrivals) -> tuple[Point, ...]:
    """The run in at most `TIMELINE_POINTS` stretches with about as many samples each."""
    samples = [sample for sample in run.samples if sample.seconds < run.duration_seconds]
    count = min(TIMELINE_POINTS, len(samples))
    firsts = [number * len(samples) // count for number in range(count + 1)]
    ends = [*(samples[first].seconds for first in firsts[1:-1]), run.duration_seconds]
    return tuple(
        _point(samples[first:following], end, arrivals)
        for first, following, end in zip(firsts, firsts[1:], ends, strict=False)
    )


def _point(samples: Sequence[Sample], end: float, arrivals: Arrivals) -> Point:
    start = samples[0].seconds
    return Point(
        seconds=start,
        requests_per_second=arrivals_within(arrivals, start, end) / (end - start),
        replicas=sum(sample.replicas for sample in samples) / len(samples),
        ready=sum(sample.ready for sample in samples) / len(samples),
        in_flight=sum(sample.in_flight for sample in samples) / len(samples),
        waiting=max(sample.waiting for sample in samples),
    )


def _later(values: Sequence[float], limit: float | None) -> set[int]:
    return set() if limit is None else {number for number, value in enumerate(values) if value > limit}
