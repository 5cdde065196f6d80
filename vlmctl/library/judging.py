"""Every row of measurement files predicted, never looked up, and the errors of the predictions.

What could not be read or predicted is named with its reason; it does not count as right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from vlmctl.catalog.names import resolve_gpu
from vlmctl.errors import UnsupportedModel, VlmctlError
from vlmctl.planning.accuracy import Prediction, errors, predict, summarize
from vlmctl.planning.calibration import Calibration, Evidence
from vlmctl.planning.evidence import corrected_prediction, evidence_of, without_repeats
from vlmctl.specs.accuracy import Summary
from vlmctl.specs.estimates import Basis
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import ModelSpec

if TYPE_CHECKING:  # YAML and the readers of configurations, which no other question needs
    from vlmctl.catalog.measured_models import MeasuredModels
    from vlmctl.catalog.measurements import MeasurementFile, SetAside

QUANTITIES = ("throughput", "ttft", "tpot", "e2e", "requests_per_second")
PERCENTILES = ("ttft_p95", "tpot_p95", "e2e_p50", "e2e_p95")  # told only where they were measured
IMAGES, NO_IMAGES = "with images", "without images"


class Predicted(NamedTuple):
    """A row with what was said of it."""

    row: Measurement
    model: ModelSpec
    gpu: GpuSpec
    prediction: Prediction
    errors: Mapping[str, float]


class Judged(NamedTuple):
    """Every row of some files: those that were predicted, and the others with the reason."""

    predicted: tuple[Predicted, ...]
    refused: tuple[tuple[Measurement, str], ...]
    unread: tuple[SetAside, ...]


def read_file(path: str | Path) -> MeasurementFile:
    """The rows and models of a measurement file; raises InvalidFile."""
    from vlmctl.catalog.measurements import read_measurements

    return read_measurements(Path(path))


def judge(files: Iterable[MeasurementFile], catalog: Catalog, *, basis: Basis = Basis.ESTIMATED) -> Judged:
    """The prediction of every row, each by itself."""
    from vlmctl.catalog.measured_models import MeasuredModels

    predicted: list[Predicted] = []
    refused: list[tuple[Measurement, str]] = []
    unread: list[SetAside] = []
    for file in files:
        models = MeasuredModels(catalog, file.models)
        unread += file.set_aside
        for row in file.rows:
            try:
                predicted.append(_predicted(row, models, catalog))
            except VlmctlError as error:
                refused.append((row, str(error)))
    if basis is Basis.CALIBRATED:
        predicted = _calibrated(predicted)
    return Judged(tuple(predicted), tuple(refused), tuple(unread))


def group_keys(row: Measurement) -> tuple[tuple[str, str], ...]:
    """What a row is grouped by, and under which value."""
    return (
        ("model", row.model),
        ("gpu", row.gpu),
        ("engine_version", engine_name(row)),
        ("images", IMAGES if row.workload.images else NO_IMAGES),
    )


def engine_name(row: Measurement) -> str:
    """Engine and version as published; "version not stated" where it is not."""
    return f"{row.engine} {row.engine_version or '(version not stated)'}"


def summaries(predicted: Iterable[Predicted]) -> dict[str, Summary]:
    """The errors of some rows, by quantity; percentiles only where a row measured them."""
    found: dict[str, list[float]] = {name: [] for name in (*QUANTITIES, *PERCENTILES)}
    for each in predicted:
        for name, value in each.errors.items():
            found[name].append(value)
    return {name: _summary(values) for name, values in found.items() if values or name in QUANTITIES}


def distinct_runs(predicted: Iterable[Predicted]) -> list[Predicted]:
    """One of each run: sources repeat some under several names, or for two models."""
    runs: dict[object, Predicted] = {}
    for each in predicted:
        row = each.row
        runs.setdefault((row.gpu, row.gpu_count, row.weights, row.workload, row.load, row.measured), each)
    return list(runs.values())


def _summary(values: Sequence[float]) -> Summary:
    if not values:
        return Summary()
    found = summarize(values)
    return Summary(rows=found.rows, median=found.median, mean=found.mean, p90=found.p90)


def _predicted(row: Measurement, models: MeasuredModels, catalog: Catalog) -> Predicted:
    model, gpu = models.find(row.model), resolve_gpu(catalog, row.gpu)
    return _compared(row, model, gpu, predict(row, model, gpu))


def _compared(row: Measurement, model: ModelSpec, gpu: GpuSpec, prediction: Prediction) -> Predicted:
    """The prediction with its errors; raises UnsupportedModel where it is no number, or where none can be judged."""
    found = errors(row, prediction)
    if row.measured.requests_per_second is not None and "throughput" in found:
        found["requests_per_second"] = found["throughput"]
    if not all(math.isfinite(value) for value in found.values()):
        raise UnsupportedModel("the estimate is not a number.")
    if not found:
        raise UnsupportedModel("it states no figure that is predicted.")
    return Predicted(row=row, model=model, gpu=gpu, prediction=prediction, errors=found)


def _calibrated(predicted: Sequence[Predicted]) -> list[Predicted]:
    """Each prediction corrected by what the other rows say; a row, and repeats of its run, never correct themselves."""
    known = [_evidence(each, place) for place, each in enumerate(predicted)]
    calibration = Calibration(without_repeats(each for each in known if each is not None))
    return [_corrected(each, calibration, own) for each, own in zip(predicted, known, strict=True)]


def _evidence(each: Predicted, place: int) -> Evidence | None:
    try:
        found = evidence_of(each.row, each.model, each.gpu)[0]
    except VlmctlError:  # nothing to learn from; it may still be predicted
        return None
    return replace(found, ids=(f"{each.row.id} {place}",))  # rows of two files may share an id


def _corrected(each: Predicted, calibration: Calibration, own: Evidence | None) -> Predicted:
    if own is None:
        return each
    factors = calibration.correction(own.at, without=lambda other: own.ids[0] in other.ids).factors
    prediction = corrected_prediction(each.prediction, factors, output_tokens=each.row.workload.output_tokens)
    return _compared(each.row, each.model, each.gpu, prediction)
