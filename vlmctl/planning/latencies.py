"""Latencies of one answer as distributions, and its goodput: worked out for what is shown, not while searching."""

from __future__ import annotations

from vlmctl.planning.throughput import Load
from vlmctl.planning.waiting import (
    MEDIAN,
    P95,
    Distribution,
    quantile,
    queued_quantile,
    queued_share_below,
    share_below,
)
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives


class Latencies(Record, frozen=True, kw_only=True):
    """Seconds beside those of a Load; `goodput`: share of the requests that meet all objectives, None without any."""

    ttft_p50: float
    tpot_p50: float
    e2e: float
    e2e_p50: float
    e2e_p95: float
    goodput: float | None


def latencies(load: Load, objectives: Objectives, *, output_tokens: int) -> Latencies:
    """The distributions of a load; `output_tokens` of every request.

    The time to the first token and the time from there to the last are taken as independent.
    """
    following = max(output_tokens - 1, 1)
    first, decoding = _spreads(load, following)
    share, queued = load.queued_share, load.queued
    after = decoding if output_tokens > 1 else Distribution(0.0, 0.0, 0.0)
    whole = Distribution(first.least + after.least, first.mean + after.mean, first.variance + after.variance)
    met = 1.0
    if objectives.ttft_seconds is not None:
        met *= queued_share_below(first, share, queued, objectives.ttft_seconds)
    if objectives.tpot_seconds is not None:
        met *= share_below(decoding, objectives.tpot_seconds * following)
    e2e = load.ttft + load.tpot * (output_tokens - 1)
    return Latencies(
        ttft_p50=min(queued_quantile(first, share, queued, MEDIAN), load.ttft_p95),
        tpot_p50=min(quantile(decoding, MEDIAN) / following, load.tpot_p95),
        e2e=e2e,
        e2e_p50=queued_quantile(whole, share, queued, MEDIAN),
        e2e_p95=max(e2e, queued_quantile(whole, share, queued, P95)),
        goodput=None if objectives == Objectives() else met,
    )


def _spreads(load: Load, following: int) -> tuple[Distribution, Distribution]:
    """Of the first token, and of all others with the mean that the batch's limit leaves; all alike where unknown."""
    first = load.first_token or Distribution(load.ttft, load.ttft, 0.0)
    mean, found = load.tpot * following, load.decoding
    if found is None:
        return first, Distribution(mean, mean, 0.0)
    variance = min(found.variance, ((load.tpot_p95 - load.tpot) * following / P95.deviations) ** 2)
    return first, Distribution(min(found.least, mean), mean, variance)
