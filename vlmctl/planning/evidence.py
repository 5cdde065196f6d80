"""Measured rows as evidence: under which circumstances, and how far the planner's own estimate is from each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from vlmctl.errors import InvalidValue
from vlmctl.planning.accuracy import Prediction, predict, served_precision, workload_of
from vlmctl.planning.calibration import Evidence
from vlmctl.planning.circumstances import TENSOR_PARALLEL, Circumstances, circumstances
from vlmctl.planning.corrected import Factors, corrected
from vlmctl.planning.demand import request_demand
from vlmctl.planning.placement import MAXIMUM_SEQUENCES
from vlmctl.planning.throughput import Load
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import ModelSpec

# Beyond it a throughput is more likely a slip of units than news: no open row of a current engine is so far off.
CREDIBLE_RATIO = 10.0
ALIKE_DIGITS = 3  # decimals of ln(measured / estimated) within which two rows are the same run, copied


def evidence_of(row: Measurement, model: ModelSpec, gpu: GpuSpec) -> tuple[Evidence, Prediction]:
    """The row as evidence, and what the planner alone says of it.

    Raises UnsupportedModel where the planner has no estimate for it, InvalidValue where the row has no throughput or
    one that cannot be believed.
    """
    prediction = predict(row, model, gpu)
    measured, read = row.requests_per_second, row.measured
    if measured is None:
        raise InvalidValue("no throughput was measured, and none follows from its latencies.")
    pairs = {
        "throughput": (measured, prediction.requests_per_second),
        "ttft": ((read.ttft_ms or 0.0) / 1000, prediction.ttft_seconds),
        "tpot": ((read.tpot_ms or 0.0) / 1000, prediction.tpot_seconds),
    }
    residuals = {name: math.log(seen / said) for name, (seen, said) in pairs.items() if seen > 0}
    if abs(residuals["throughput"]) > math.log(CREDIBLE_RATIO):
        raise InvalidValue(
            f"{measured:.3g} requests/s were measured where {prediction.requests_per_second:.3g} are expected: "
            "more than tenfold, as where a unit is wrong."
        )
    return Evidence(ids=(row.id,), at=_measured_at(row, model, gpu), residuals=residuals), prediction


def corrected_prediction(said: Prediction, factors: Factors, *, output_tokens: int) -> Prediction:
    """The prediction with a correction applied."""
    alone = Load(
        batch=0.0,
        rate=said.requests_per_second,
        ttft=said.ttft_seconds,
        ttft_p95=said.ttft_p95_seconds,
        tpot=said.tpot_seconds,
        tpot_p95=said.tpot_p95_seconds,
    )
    load = corrected(alone, factors, output_tokens=output_tokens)
    e2e = load.ttft + load.tpot * (output_tokens - 1)
    return Prediction(
        requests_per_second=load.rate,
        ttft_seconds=load.ttft,
        tpot_seconds=load.tpot,
        e2e_seconds=e2e,
        ttft_p95_seconds=load.ttft_p95,
        tpot_p95_seconds=load.tpot_p95,
        e2e_p50_seconds=said.e2e_p50_seconds * e2e / said.e2e_seconds,
        e2e_p95_seconds=said.e2e_p95_seconds * e2e / said.e2e_seconds,
    )


def without_repeats(found: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """One piece of evidence for each run. Repeats are averaged, and copies of one row among them count once."""
    runs: dict[Circumstances, list[Evidence]] = {}
    for each in sorted(found, key=lambda each: each.ids):
        runs.setdefault(each.at, []).append(each)
    return tuple(
        Evidence(ids=tuple(name for each in alike for name in each.ids), at=at, residuals=_averaged(alike))
        for at, alike in runs.items()
    )


def _measured_at(row: Measurement, model: ModelSpec, gpu: GpuSpec) -> Circumstances:
    split = row.parallelism
    return circumstances(
        model,
        served_precision(row, model),
        gpu,
        request_demand(model, workload_of(row)),
        gpu_count=row.gpu_count,
        concurrency=row.load.concurrency or MAXIMUM_SEQUENCES,
        engine=row.engine,
        engine_version=row.engine_version,
        split=TENSOR_PARALLEL if split.pipeline == split.data == 1 else f"{split.pipeline} stages, {split.data} ranks",
    )


def _averaged(repeats: Iterable[Evidence]) -> dict[str, float]:
    distinct: dict[float, Evidence] = {}
    for each in repeats:
        distinct.setdefault(round(each.residuals["throughput"], ALIKE_DIGITS), each)
    names = sorted({name for each in distinct.values() for name in each.residuals})
    return {name: fmean(each.residuals[name] for each in distinct.values() if name in each.residuals) for name in names}
