"""A user's own measurements taken in: read, compared with what the planner says, kept in an overlay, and applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from vlmctl.catalog.names import identity, resolve_gpu
from vlmctl.errors import InvalidFile, VlmctlError
from vlmctl.library.calibration import calibration_of
from vlmctl.library.lookup import load_catalog
from vlmctl.library.questions import Question
from vlmctl.planning.accuracy import OPEN, workload_of
from vlmctl.planning.evidence import corrected_prediction, evidence_of
from vlmctl.specs.estimates import Basis, Plan
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Requirements, Workload

if TYPE_CHECKING:  # YAML, which no other question needs
    from vlmctl.catalog.measurements import MeasurementFile

ANSWERS = 6  # shown of those that changed


class _Usable(NamedTuple):
    """A row with the model and the GPU that it is of."""

    row: Measurement
    model: ModelSpec
    gpu: GpuSpec


class Figures(Record, frozen=True, kw_only=True):
    """One operating point of a replica; None where it was not measured."""

    requests_per_second: float | None
    ttft_seconds: float | None
    tpot_seconds: float | None


class Point(Record, frozen=True, kw_only=True):
    """A measured row: what the planner alone says of it, what was measured, and what it says now."""

    id: str
    model: str
    weights: str
    gpu: str
    gpu_count: int
    estimated: Figures
    measured: Figures
    calibrated: Figures
    basis: Basis


class AnswerSide(Record, frozen=True, kw_only=True):
    """What an answer was or is; prices in USD."""

    gpu: str
    gpu_count: int
    quantization: str
    requests_per_second: float
    ttft_p95_seconds: float
    usd_per_1k_requests: float | None
    basis: Basis
    error_median: float | None
    error_p90: float | None


class ChangedAnswer(Record, frozen=True, kw_only=True):
    """The cheapest placement for the request of a measured row, before and after. `gpu`: what it was limited to."""

    model: str
    gpu: str | None
    image_tokens: int
    prompt_tokens: int
    output_tokens: int
    before: AnswerSide
    after: AnswerSide


class RefusedRow(Record, frozen=True, kw_only=True):
    """A row that corrects nothing, with the reason."""

    id: str
    reason: str


class Calibrated(Record, frozen=True, kw_only=True):
    """What came of taking measurements in. `path`: the overlay's file, which holds the rows that are not `refused`."""

    path: str
    points: tuple[Point, ...]
    answers: tuple[ChangedAnswer, ...]
    refused: tuple[RefusedRow, ...]


def calibrate(
    files: Sequence[str | Path], *, overlay: str | Path | None = None, catalog: Catalog | None = None
) -> Calibrated:
    """Take measurement files into an overlay, the user's own where none is named, and say what that changes.

    Models that the catalog does not hold are those of the files, and kept beside the rows. Raises InvalidFile for a
    mistake in a file or where none of its rows can be used, and CannotWrite; then nothing was written. Rows of an
    unknown model or GPU, and those that the planner has no estimate for, are left out and named. So are those of open
    loads, which are no mistake: where there are no others nothing is written, and nothing raised.
    """
    from vlmctl.catalog.results import FILE, keep_results, read_results, user_overlay

    before = catalog or load_catalog()
    folder = Path(overlay) if overlay is not None else user_overlay()
    read = [read_results(Path(path)) for path in files]
    usable, refused = _usable(read, before)
    open_ids = {row.id for file in read for row in file.rows if row.load.kind == OPEN}
    if not usable:
        first = next((each for each in refused if each.id not in open_ids), None)
        if first is None:
            return Calibrated(path=str(folder / FILE), points=(), answers=(), refused=refused)
        raise InvalidFile(str(files[0]), f"no row can be used; {first.id}: {first.reason}")
    described = {name: entry for file in read for name, entry in file.models.items()}
    described = {each.model.id: described[each.model.id] for each in usable if each.model.id in described}
    rows = [each.row for each in usable]
    kept = {identity(row): row for row in (*before.measurements, *rows)}
    after = replace(
        before,
        measurements=tuple(kept[name] for name in sorted(kept)),
        described={**before.described, **described},
    )
    points, answers = _points(usable, after), _changed(usable, before, after)
    path = keep_results(folder, rows, described)
    return Calibrated(path=str(path), points=points, answers=answers, refused=refused)


def _usable(files: Iterable[MeasurementFile], catalog: Catalog) -> tuple[tuple[_Usable, ...], tuple[RefusedRow, ...]]:
    """Rows by id, those of later files in place of earlier ones, each with what it is of."""
    from vlmctl.catalog.measured_models import MeasuredModels

    found: dict[str, _Usable | RefusedRow] = {}
    for file in files:
        models = MeasuredModels(catalog, file.models)
        for row in file.rows:
            try:
                model, gpu = models.find(row.model), resolve_gpu(catalog, row.gpu)
                evidence_of(row, model, gpu)
                found[row.id] = _Usable(row, model, gpu)
            except VlmctlError as error:
                found[row.id] = RefusedRow(id=row.id, reason=str(error))
    usable = tuple(each for each in found.values() if isinstance(each, _Usable))
    return usable, tuple(each for each in found.values() if isinstance(each, RefusedRow))


def _points(rows: Iterable[_Usable], catalog: Catalog) -> tuple[Point, ...]:
    calibration, points = calibration_of(catalog), []
    assert calibration is not None  # every row can be used
    for row, model, gpu in rows:
        evidence, said = evidence_of(row, model, gpu)
        correction = calibration.correction(evidence.at)
        now = corrected_prediction(said, correction.factors, output_tokens=row.workload.output_tokens)
        points.append(
            Point(
                id=row.id,
                model=model.id,
                weights=row.weights,
                gpu=gpu.id,
                gpu_count=row.gpu_count,
                estimated=Figures(
                    requests_per_second=said.requests_per_second,
                    ttft_seconds=said.ttft_seconds,
                    tpot_seconds=said.tpot_seconds,
                ),
                measured=Figures(
                    requests_per_second=row.requests_per_second,
                    ttft_seconds=_seconds(row.measured.ttft_ms),
                    tpot_seconds=_seconds(row.measured.tpot_ms),
                ),
                calibrated=Figures(
                    requests_per_second=now.requests_per_second,
                    ttft_seconds=now.ttft_seconds,
                    tpot_seconds=now.tpot_seconds,
                ),
                basis=correction.basis,
            )
        )
    return tuple(points)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _changed(rows: Iterable[_Usable], before: Catalog, after: Catalog) -> tuple[ChangedAnswer, ...]:
    """Answers that the rows move, a few of them: to the request of each, on its own GPU and on any.

    Only of models that the catalog holds: nobody can ask about others.
    """
    known = {model.id for model in before.models}
    found: dict[tuple[str, str | None, Workload], ChangedAnswer] = {}
    seen: set[tuple[str, str | None, Workload]] = set()
    for row, model, gpu in rows:
        if model.id not in known:
            continue
        for limit in (gpu.id, None):
            key = (model.id, limit, workload_of(row))
            if key in seen or len(found) == ANSWERS:
                continue
            seen.add(key)
            change = _change(model, limit, workload_of(row), before, after)
            if change is not None:
                found[key] = change
    return tuple(found.values())


def _change(
    model: ModelSpec, gpu: str | None, workload: Workload, before: Catalog, after: Catalog
) -> ChangedAnswer | None:
    """One answer before and after; None where there is none, or where it stays as it was."""
    asked = Requirements(workload=workload, gpus=() if gpu is None else (gpu,))
    try:
        earlier, later = (Question(asked, catalog=catalog).plan(model) for catalog in (before, after))
    except VlmctlError:
        return None
    sides = _side(earlier), _side(later)
    if sides[0] == sides[1]:
        return None
    return ChangedAnswer(
        model=model.id,
        gpu=gpu,
        image_tokens=earlier.image_tokens,
        prompt_tokens=workload.prompt_tokens,
        output_tokens=workload.output_tokens,
        before=sides[0],
        after=sides[1],
    )


def _side(plan: Plan) -> AnswerSide:
    return AnswerSide(
        gpu=plan.placement.gpu,
        gpu_count=plan.placement.gpu_count,
        quantization=plan.placement.precision.value,
        requests_per_second=plan.speed.requests_per_second,
        ttft_p95_seconds=plan.speed.ttft_p95_seconds,
        usd_per_1k_requests=plan.cost.usd_per_1k_requests if plan.cost is not None else None,
        basis=plan.speed.basis,
        error_median=plan.speed.error_median,
        error_p90=plan.speed.error_p90,
    )
