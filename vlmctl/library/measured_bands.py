"""The error bands, from the predictions of measured rows and from leaving models and GPUs out of the fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median, quantiles

from vlmctl.library.judging import Predicted, distinct_runs
from vlmctl.library.left_out import LeaveOneOut, LeftOut
from vlmctl.planning.engines import FIRST_VLLM, engine_of
from vlmctl.specs.error_bands import ErrorBand, Novelty, Spread, Workloads

QUANTITIES = ("throughput", "ttft", "tpot")
ENOUGH = 20  # rows from which a 90th percentile means something
FULL_GROUP = 10  # rows from which a group weighs as much as any other
DIGITS = 3  # of an error: more would only show where platforms round differently
_BASIS = {
    Novelty.NONE: "of measured models on measured GPUs",
    Novelty.MODEL: "each model weighing alike, and left out of the fit in turn",
    Novelty.GPU: "each GPU weighing alike, and left out of the fit in turn",
}


def measured_bands(predicted: Sequence[Predicted], left_out: LeaveOneOut | None) -> tuple[ErrorBand, ...]:
    """A band for each kind of workload and novelty; what is new never has a narrower one than what was measured.

    Rows with images weigh so that old and current engines count alike, since nearly all of them are of one old version;
    and since plans are for current engines, the band is no narrower than that of those few rows.
    A run that was published twice, for two models, counts once.
    """
    predicted = distinct_runs(predicted)
    found: list[ErrorBand] = []
    for kind in Workloads:
        rows = [each for each in predicted if bool(each.row.workload.images) is (kind is Workloads.IMAGES)]
        rows = [each for each in rows if "throughput" in each.errors]
        if rows:
            found += _bands(kind, rows, left_out)
    return tuple(found)


def _bands(kind: Workloads, rows: Sequence[Predicted], left_out: LeaveOneOut | None) -> list[ErrorBand]:
    weights = _alike(rows, is_current) if kind is Workloads.IMAGES else [1.0] * len(rows)
    measured = {name: sum(name in each.errors for each in rows) for name in QUANTITIES}
    spreads = {name: _spread(rows, weights, name) if measured[name] >= ENOUGH else None for name in QUANTITIES}
    current = [each for each in rows if is_current(each)]
    of_current = _interpolated(current)
    if kind is Workloads.IMAGES and of_current and spreads["throughput"]:
        spreads["throughput"] = _wider(spreads["throughput"], of_current)
    found: list[ErrorBand] = []
    for novelty in Novelty:
        if novelty is not Novelty.NONE:
            fold = left_out.every(novelty.value, kind) if left_out is not None else None
            spreads = {name: _widest(spread, fold, rows, novelty, name) for name, spread in spreads.items()}
        throughput = spreads["throughput"]
        if throughput is None:
            return []
        found.append(
            ErrorBand(
                id=kind.value if novelty is Novelty.NONE else f"{kind.value}-new-{novelty.value}",
                workloads=kind,
                novelty=novelty,
                basis=_BASIS[novelty],
                rows=len(rows),
                throughput=throughput,
                ttft=spreads["ttft"],
                tpot=spreads["tpot"],
                current_rows=len(current),
                current=of_current,
                models=tuple(sorted({each.model.id for each in rows})) if novelty is Novelty.NONE else (),
                gpus=tuple(sorted({each.gpu.id for each in rows})) if novelty is Novelty.NONE else (),
            )
        )
    return found


def is_current(each: Predicted) -> bool:
    """Whether the row's engine is of a kind that is still made."""
    return engine_of(each.row.engine, each.row.engine_version) is not FIRST_VLLM


def _widest(
    spread: Spread | None, fold: LeftOut | None, rows: Sequence[Predicted], novelty: Novelty, name: str
) -> Spread | None:
    """The widest of a narrower band, of the rows with each model or GPU weighing alike, and of leaving them out."""
    if spread is None:
        return None
    found = [spread]
    if (alike := _spread(rows, _alike(rows, lambda each: _told_apart(each, novelty)), name)) is not None:
        found.append(alike)
    if fold is not None and (errors := getattr(fold, name)).median is not None:
        found.append(_rounded(errors.median, errors.p90))
    return _wider(*found)


def _wider(*spreads: Spread) -> Spread:
    return Spread(median=max(each.median for each in spreads), p90=max(each.p90 for each in spreads))


def _interpolated(rows: Sequence[Predicted]) -> Spread | None:
    """Throughput errors of a handful of rows, where one row alone would be the 90th percentile."""
    errors = [each.errors["throughput"] for each in rows]
    return _rounded(median(errors), quantiles(errors, n=10, method="inclusive")[-1]) if len(errors) > 1 else None


def _told_apart(each: Predicted, novelty: Novelty) -> str:
    return each.model.id if novelty is Novelty.MODEL else each.gpu.id


def _alike(rows: Sequence[Predicted], of: Callable[[Predicted], object]) -> list[float]:
    """Weights with which each group has the same in all, but for those of only a few rows."""
    sizes = Counter(of(each) for each in rows)
    return [1.0 / max(sizes[of(each)], FULL_GROUP) for each in rows]


def _spread(rows: Sequence[Predicted], weights: Sequence[float], name: str) -> Spread | None:
    pairs = sorted(
        (each.errors[name], weight) for each, weight in zip(rows, weights, strict=True) if name in each.errors
    )
    if not pairs:
        return None
    return _rounded(_quantile(pairs, 0.5), _quantile(pairs, 0.9))


def _quantile(pairs: Sequence[tuple[float, float]], share: float) -> float:
    """The smallest error that rows with at least `share` of all weight do not exceed."""
    wanted = share * sum(weight for _, weight in pairs)
    reached = 0.0
    for error, weight in pairs:
        reached += weight
        if reached >= wanted - 1e-9 * wanted:
            return error
    return pairs[-1][0]


def _rounded(median: float, p90: float) -> Spread:
    return Spread(median=round(median, DIGITS), p90=round(p90, DIGITS))
