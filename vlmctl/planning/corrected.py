"""The speed of a replica with what was measured nearby taken in: the same loads, on a clock that runs as was measured.

A replica that is s times as fast as estimated does at a rate of r what the estimate does at r / s. Time to first token
and time per output token have corrections of their own; they are then levelled so that the latency of a whole answer
still follows from the throughput (Little's law).
"""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.planning.speed import Speed
from vlmctl.planning.throughput import Load, closed_loop, open_loop, requests_per_second
from vlmctl.planning.waiting import Distribution
from vlmctl.specs.error_bands import Spread
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record

# Nothing is known better than this: the relative error at left-out runs that have the nearest neighbours. (Repeats of
# one run in the open rows differ by 1% at the median and by 9% at the 90th percentile.)
FLOOR = Spread(median=0.03, p90=0.10)


class Factors(Record, frozen=True, kw_only=True):
    """What to multiply estimates with: throughput, mean time to first token, mean time per output token."""

    throughput: float = 1.0
    ttft: float = 1.0
    tpot: float = 1.0


UNCORRECTED = Factors()


class Influence(Record, frozen=True, kw_only=True):
    """A measurement that moved an estimate. `throughput_ratio`: measured over estimated."""

    ids: tuple[str, ...]
    similarity: float
    throughput_ratio: float


class Correction(Record, frozen=True, kw_only=True):
    """What measurements do to an estimate. `spread`: what is left of the error's standard deviation, 0 to 1."""

    factors: Factors = UNCORRECTED
    basis: Basis = Basis.ESTIMATED
    spread: float = 1.0
    influences: tuple[Influence, ...] = ()

    def narrowed(self, estimated: Spread) -> Spread:
        """What is left of the relative error that an estimate has by itself."""
        if self.basis is Basis.ESTIMATED:
            return estimated
        return Spread(
            median=min(estimated.median, max(estimated.median * self.spread, FLOOR.median)),
            p90=min(estimated.p90, max(estimated.p90 * self.spread, FLOOR.p90)),
        )


NO_CORRECTION = Correction()


def corrected_capacity(coefficients: Speed, batch: float, factors: Factors) -> float:
    """Requests per second with `batch` always in flight."""
    return requests_per_second(coefficients, batch) * factors.throughput


def corrected_closed_loop(coefficients: Speed, batch: int, factors: Factors) -> Load:
    """`batch` requests always in flight."""
    load = closed_loop(coefficients, batch)
    if factors is UNCORRECTED:
        return load
    return corrected(load, factors, output_tokens=coefficients.output_tokens)


def corrected_open_loop(coefficients: Speed, rate: float, factors: Factors, *, maximum: int) -> Load:
    """`rate` requests arrive per second at random, and at most `maximum` sequences are decoded at once."""
    if factors is UNCORRECTED:
        return open_loop(coefficients, rate, maximum=maximum)
    load = open_loop(coefficients, rate / factors.throughput, maximum=maximum)
    return corrected(load, factors, output_tokens=coefficients.output_tokens)


def corrected(load: Load, factors: Factors, *, output_tokens: int) -> Load:
    """A load with the factors applied; percentiles and what else tells of a latency go with its mean."""
    following = output_tokens - 1
    estimated = load.ttft + load.tpot * following
    apart = load.ttft * factors.ttft + load.tpot * factors.tpot * following
    level = estimated / (factors.throughput * apart)
    ttft, tpot = factors.ttft * level, factors.tpot * level
    return replace(
        load,
        rate=load.rate * factors.throughput,
        ttft=load.ttft * ttft,
        ttft_p95=load.ttft_p95 * ttft,
        tpot=load.tpot * tpot,
        tpot_p95=load.tpot_p95 * tpot,
        first_token=_stretched(load.first_token, ttft),
        decoding=_stretched(load.decoding, tpot),
        queued=load.queued * ttft,
    )


def _stretched(spread: Distribution | None, factor: float) -> Distribution | None:
    if spread is None:
        return None
    return Distribution(spread.least * factor, spread.mean * factor, spread.variance * factor**2)
