"""The one change of GPU or precision that would make a deployment cheaper for sure enough, if there is one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

from vlmctl.planning.choices import Choice
from vlmctl.planning.cost import usd_per_1k_requests
from vlmctl.planning.running import Running
from vlmctl.planning.search import ROUNDING
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record


class Verdict(StrEnum):
    """Why a change is recommended, or none is."""

    RECOMMENDED = "recommended"
    CHEAPEST = "cheapest"  # nothing else costs less
    WITHIN_ERROR = "within-error"  # something may cost less, but the estimates' errors could explain it
    UNKNOWN = "unknown"  # a figure is missing without which nothing can be said


class Change(Record, frozen=True, kw_only=True):
    """Another placement of the same model, for the same requests and objectives, with the capacity there is now.

    `replicas`: how many of it serve that. `basis`: what its rate is. `saved_share`: of the dollars per 1,000 requests.
    `error`: relative error that both rates together may have, the median of past ones.
    """

    precision: str
    checkpoint: str
    gpu: str
    gpu_count: int
    replicas: int
    requests_per_second: float
    usd_per_1k: float
    usd_per_hour: float
    saved_share: float
    saved_usd_per_hour: float
    basis: Basis
    error: float
    price_source: str
    price_as_of: str


class Outlook(Record, frozen=True, kw_only=True):
    """What could be done about a deployment's price. `change`: the one, also where it is within the error.

    `reason`: why nothing can be said, where the verdict is unknown.
    """

    verdict: Verdict
    change: Change | None = None
    reason: str = ""


def outlook(running: Running, choices: Iterable[Choice], *, most_gpus: Mapping[str, int] | None = None) -> Outlook:
    """The change that costs least an hour, of those that are cheaper for sure enough.

    It must cost less an hour for the capacity there is now, and less per 1,000 requests even where its rate falls short
    by the usual error, and by what this deployment fell short of its own plan unless measurements correct the estimate.
    `most_gpus`: GPUs that there are, by id; one not in it is not bounded.
    """
    if running.gpu is None:
        return Outlook(verdict=Verdict.UNKNOWN, reason="what runs is not what was planned last")
    if running.usd_per_1k is None:
        return Outlook(verdict=Verdict.UNKNOWN, reason="no price is known")
    if running.usd_per_1k == 0:
        return Outlook(verdict=Verdict.CHEAPEST)
    held, unknown = most_gpus or {}, False
    sure: list[Change] = []
    likely: list[Change] = []
    for choice in choices:
        if _is_present(running, choice):
            continue
        error = _error(running, choice)
        if error is None:
            unknown = True
            continue
        change = _change(running, choice, error)
        there = change.replicas * change.gpu_count <= held.get(change.gpu, math.inf)
        if there and change.saved_share > 0 and change.saved_usd_per_hour > 0:
            short = change.usd_per_1k * (1 + error) / _shortfall(running, choice)
            (sure if short < running.usd_per_1k else likely).append(change)
    if sure:
        return Outlook(verdict=Verdict.RECOMMENDED, change=min(sure, key=_order))
    if likely:
        return Outlook(verdict=Verdict.WITHIN_ERROR, change=min(likely, key=_order))
    if unknown:
        return Outlook(verdict=Verdict.UNKNOWN, reason="the error of the estimates is not known")
    return Outlook(verdict=Verdict.CHEAPEST)


def _is_present(running: Running, choice: Choice) -> bool:
    return (choice.figures.precision.value, choice.gpu.id, choice.gpu_count) == (
        running.precision,
        running.gpu,
        running.gpu_count,
    )


def _error(running: Running, choice: Choice) -> float | None:
    """Of the ratio of two rates whose errors are independent: the root of the sum of squares."""
    here, there = running.error, choice.error("throughput")
    return None if here is None or there is None else math.hypot(here, there.median)


def _shortfall(running: Running, choice: Choice) -> float:
    if choice.correction.basis is not Basis.ESTIMATED or running.drift is None:
        return 1.0
    return min(1.0, running.drift)


def _change(running: Running, choice: Choice, error: float) -> Change:
    assert running.requests_per_second is not None
    assert running.usd_per_1k is not None
    assert running.usd_per_hour_of_replica is not None
    now = max(1, running.replicas)  # one to compare with where there are none at the moment
    needed = math.ceil(running.requests_per_second * now / choice.usable - ROUNDING)
    replicas = max(needed, min(running.fewest_replicas, now))
    usd_per_hour = replicas * choice.usd_per_hour
    usd_per_1k = usd_per_1k_requests(choice.usd_per_hour, choice.usable)
    return Change(
        precision=choice.figures.precision.value,
        checkpoint=choice.checkpoint,
        gpu=choice.gpu.id,
        gpu_count=choice.gpu_count,
        replicas=replicas,
        requests_per_second=choice.usable,
        usd_per_1k=usd_per_1k,
        usd_per_hour=usd_per_hour,
        saved_share=1 - usd_per_1k / running.usd_per_1k,
        saved_usd_per_hour=running.usd_per_hour_of_replica * now - usd_per_hour,
        basis=choice.correction.basis,
        error=error,
        price_source=choice.offer.source,
        price_as_of=choice.offer.as_of,
    )


def _order(change: Change) -> tuple[float, float, int, str, str]:
    """Least dollars per hour first, then per request; names last, so that ties are stable."""
    return (change.usd_per_hour, change.usd_per_1k, change.gpu_count, change.gpu, change.precision)
