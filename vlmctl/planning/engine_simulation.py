"""Continuous batching in one replica, simulated: what the closed forms of `throughput` are checked against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vlmctl.planning.arrivals import Randomness
from vlmctl.planning.engine_steps import Engine, EngineLimits, Served
from vlmctl.planning.speed import Speed
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives

NO_OBJECTIVES = Objectives()


class GammaRandomness(Randomness, Protocol):
    """What lengths are drawn from: `random.Random` does."""

    def gammavariate(self, alpha: float, beta: float, /) -> float:
        """From a gamma distribution of that shape and scale."""
        ...


class Latency(Record, frozen=True, kw_only=True):
    """A latency over the requests that count, in seconds."""

    mean: float
    p50: float
    p95: float


class Simulated(Record, frozen=True, kw_only=True):
    """A load served: seconds and requests per second. `goodput`: share of the requests that met the objectives."""

    rate: float
    ttft: Latency
    tpot: Latency
    e2e: Latency
    goodput: float
    preemptions: int  # all, those that are not counted among the requests too
    batch: float  # sequences in the engine, mean over time
    requests: int


def simulate_closed_loop(
    coefficients: Speed,
    limits: EngineLimits,
    *,
    concurrency: int,
    outputs: Sequence[int],
    objectives: Objectives = NO_OBJECTIVES,
    warm_up: int = 0,
) -> Simulated:
    """`concurrency` requests sent at once, then one as each is answered, until all `outputs` (tokens) were asked for.

    The first `warm_up` answers are not counted, nor are those after the last request was sent.
    """
    engine = Engine(coefficients, limits, outputs)
    served = engine.run([0.0] * min(concurrency, len(outputs)))
    return _summary(engine, served[: max(len(served) - concurrency, warm_up + 1)], warm_up, objectives)


def simulate_open_loop(
    coefficients: Speed,
    limits: EngineLimits,
    *,
    arrivals: Sequence[float],
    outputs: Sequence[int],
    objectives: Objectives = NO_OBJECTIVES,
    warm_up: int = 0,
) -> Simulated:
    """Requests that come at `arrivals` (ascending seconds) whatever the engine does; as many `outputs` (tokens).

    The first `warm_up` answers are not counted.
    """
    engine = Engine(coefficients, limits, outputs)
    return _summary(engine, engine.run(arrivals), warm_up, objectives)


def poisson_arrivals(rate: float, count: int, rng: Randomness) -> list[float]:
    """Times of `count` arrivals at random, `rate` of them per second."""
    now, found = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        found.append(now)
    return found


def output_lengths(mean: int, count: int, rng: GammaRandomness, *, variation: float = 0.0) -> list[int]:
    """Tokens of `count` answers: `variation` is their standard deviation over their mean (gamma), 0 all alike."""
    if not variation:
        return [mean] * count
    shape = variation**-2
    return [max(1, round(rng.gammavariate(shape, mean / shape))) for _ in range(count)]


def _summary(engine: Engine, served: Sequence[Served], warm_up: int, objectives: Objectives) -> Simulated:
    counted, since = served[warm_up:], served[warm_up - 1].finished_at if warm_up else 0.0
    ttft, tpot = objectives.ttft_seconds, objectives.tpot_seconds
    good = sum((ttft is None or s.ttft <= ttft) and (tpot is None or s.tpot <= tpot) for s in counted)
    return Simulated(
        rate=len(counted) / (counted[-1].finished_at - since),
        ttft=_latency([each.ttft for each in counted]),
        tpot=_latency([each.tpot for each in counted]),
        e2e=_latency([each.e2e for each in counted]),
        goodput=good / len(counted),
        preemptions=engine.preemptions,
        batch=engine.sequence_seconds / engine.now,
        requests=len(counted),
    )


def _latency(found: list[float]) -> Latency:
    found.sort()
    return Latency(
        mean=sum(found) / len(found), p50=found[len(found) // 2], p95=found[min(len(found) - 1, int(0.95 * len(found)))]
    )
