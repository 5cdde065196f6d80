"""The one change of GPU, precision or replicas that would make a deployment cheaper for sure enough, if any."""

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
    FEWER_REPLICAS = "fewer-replicas"  # of the same, which serve the load there is
    CHEAPEST = "cheapest"  # no other GPU or precision costs less
    WITHIN_ERROR = "within-error"  # something may cost less, but the estimates' errors could explain it
    UNKNOWN = "unknown"  # a figure is missing without which nothing can be said


class Change(Record, frozen=True, kw_only=True):
    """Another placement of the same model, for the same requests and objectives, with the capacity there is now.

    `replicas`: how many of it serve that. `basis`: what its rate is. `saved_share`: of the dollars per 1,000 requests.
    `error`: relative error that both rates together may have, the median of past ones. `saved_usd_per_hour`: 0 where no
    replica is paid for now.
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

    `replicas`, `saved_usd_per_hour`: as many of the same as serve the load, where they are fewer, and what that saves.
    `reason`: why nothing can be said, where the verdict is unknown.
    """

    verdict: Verdict
    change: Change | None = None
    replicas: int | None = None
    saved_usd_per_hour: float | None = None
    reason: str = ""


def outlook(running: Running, choices: Iterable[Choice], *, most_gpus: Mapping[str, int] | None = None) -> Outlook:
    """The change that saves most an hour: another placement, or fewer replicas where nobody scales them.

    `most_gpus`: GPUs that there are, by id; one not in it is not bounded.
    """
    placed, fewer = _placement(running, choices, most_gpus or {}), _fewer(running)
    certain = placed.change if placed.verdict is Verdict.RECOMMENDED else None
    if fewer is None or (certain is not None and certain.saved_usd_per_hour >= (fewer.saved_usd_per_hour or 0.0)):
        return placed
    return fewer


def _fewer(running: Running) -> Outlook | None:
    """As many replicas as serve the load of the last hour with room to spare, where these are fewer."""
    share, price = running.load_share, running.usd_per_hour_of_replica
    if running.is_scaled or share is None:
        return None
    # The share is of the replicas that there were when the requests came, which may be others than there are now.
    used = 0.0 if running.answers_nothing else running.realised_replicas
    if used is None:
        return None
    needed = math.ceil(used * share / running.target_utilization - ROUNDING)
    replicas = max(needed, running.fewest_replicas)
    if replicas >= running.replicas:
        return None
    saved = None if price is None else (running.replicas - replicas) * price
    return Outlook(verdict=Verdict.FEWER_REPLICAS, replicas=replicas, saved_usd_per_hour=saved)


def _placement(running: Running, choices: Iterable[Choice], held: Mapping[str, int]) -> Outlook:
    """The other placement that costs least an hour, of those that are cheaper for sure enough.

    It must cost less an hour for the capacity there is now, and less per 1,000 requests even where its rate falls short
    by the usual error, and by what this deployment fell short of its own plan unless measurements correct the estimate.
    """
    if running.gpu is None:
        return Outlook(verdict=Verdict.UNKNOWN, reason="what runs is not what was planned last")
    if running.usd_per_1k is None:
        return Outlook(verdict=Verdict.UNKNOWN, reason="no price is known")
    if running.usd_per_1k == 0:
        return Outlook(verdict=Verdict.CHEAPEST)
    unknown = False
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
        if there and change.saved_share > 0 and change.usd_per_hour < _comparable_usd_per_hour(running):
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
    now = max(1, running.replicas)
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
        saved_usd_per_hour=_comparable_usd_per_hour(running) - usd_per_hour if running.replicas else 0.0,
        basis=choice.correction.basis,
        error=error,
        price_source=choice.offer.source,
        price_as_of=choice.offer.as_of,
    )


def _comparable_usd_per_hour(running: Running) -> float:
    """What its replicas cost, or one of them where there are none at the moment."""
    assert running.usd_per_hour_of_replica is not None
    return running.usd_per_hour_of_replica * max(1, running.replicas)


def _order(change: Change) -> tuple[float, float, int, str, str]:
    """Least dollars per hour first, then per request; names last, so that ties are stable."""
    return (change.usd_per_hour, change.usd_per_1k, change.gpu_count, change.gpu, change.precision)
