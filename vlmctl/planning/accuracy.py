"""How far estimates are from measurements: predicts a row without looking it up, and sums up the errors."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.architecture import counted_parameters, model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.engines import engine_of, with_engine
from vlmctl.planning.memory import footprint
from vlmctl.planning.placement import engine_settings
from vlmctl.planning.throughput import closed_loop, speed
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import (
    Context,
    LanguageModel,
    License,
    Modality,
    ModelSpec,
    Parameters,
    Precision,
    Serving,
)
from vlmctl.specs.record import Record
from vlmctl.specs.workload import ImageInput, Workload

# Names that measurements use for weights.
WEIGHTS = {
    "bf16": Precision.BF16,
    "fp16": Precision.BF16,
    "fp8": Precision.FP8,
    "int8": Precision.INT8,
    "w8a8": Precision.INT8,
    "int4": Precision.W4A16,
    "w4a16": Precision.W4A16,
    "nvfp4": Precision.NVFP4,
    "mxfp4": Precision.MXFP4,
}


class Prediction(Record, frozen=True, kw_only=True):
    """What the planner says of a measured row: seconds, requests per second."""

    requests_per_second: float
    ttft_seconds: float
    tpot_seconds: float
    e2e_seconds: float


class ErrorSummary(Record, frozen=True, kw_only=True):
    """Relative errors |predicted - measured| / measured over some rows."""

    rows: int
    median: float
    mean: float
    p90: float


def predict(row: Measurement, model: ModelSpec, gpu: GpuSpec) -> Prediction:
    """The estimate for the row's model, hardware, workload and load; raises UnsupportedModel where there is none."""
    split = row.parallelism
    if split.pipeline != 1 or split.data != 1 or split.tensor != row.gpu_count:
        raise UnsupportedModel("only tensor parallelism inside one replica is estimated.")
    precision = WEIGHTS.get(row.weights)
    if precision is None:
        raise UnsupportedModel(f"weights of {row.weights!r} are not known.")
    workload = Workload(
        images=_images(row), prompt_tokens=row.workload.prompt_tokens, output_tokens=row.workload.output_tokens
    )
    figures = model_figures(model, precision)
    demand = request_demand(model, workload)
    settings = engine_settings(model, gpu, workload, demand)
    current = speed(figures, gpu, demand, settings, gpu_count=row.gpu_count)
    coefficients = with_engine(current, engine_of(row.engine, row.engine_version))
    memory = footprint(figures, gpu, demand, settings, gpu_count=row.gpu_count)
    room = min(memory.maximum_sequences, settings.max_num_seqs)
    if room < 1:
        raise UnsupportedModel("the ledger says that it does not fit.")
    batch = min(row.load.concurrency or room, room)
    load = closed_loop(coefficients, batch)
    return Prediction(
        requests_per_second=load.rate,
        ttft_seconds=load.ttft,
        tpot_seconds=load.tpot,
        e2e_seconds=load.ttft + load.tpot * (demand.output_tokens - 1),
    )


def text_model(repository: str, language: LanguageModel, context_tokens: int) -> ModelSpec:
    """A text model known by its configuration alone: parameters counted from the shape, everything else unknown."""
    total, active = counted_parameters(language)
    source = language.source
    return ModelSpec(
        id=repository,
        name=repository,
        repository=repository,
        family="",
        modality=Modality.TEXT,
        parameters=Parameters(
            total_billions=total / 1e9,
            active_billions=active / 1e9,
            language_billions=total / 1e9,
            vision_billions=0.0,
            basis="computed",
            source=source,
        ),
        license=License(name="unknown", source=source),
        context=Context(tokens=context_tokens, source=source),
        serving=Serving(source=source),
        language=language,
    )


def errors(row: Measurement, prediction: Prediction) -> dict[str, float]:
    """Relative error of each quantity that the row measured."""
    read = row.measured
    pairs = {
        "throughput": (prediction.requests_per_second, row.requests_per_second),
        "ttft": (prediction.ttft_seconds * 1000, read.ttft_ms),
        "tpot": (prediction.tpot_seconds * 1000, read.tpot_ms),
        "e2e": (prediction.e2e_seconds * 1000, read.e2e_ms),
    }
    return {name: abs(said - seen) / seen for name, (said, seen) in pairs.items() if seen}


def summarize(found: Sequence[float]) -> ErrorSummary:
    """Median, mean and 90th percentile of errors; needs at least one."""
    ordered = sorted(found)
    return ErrorSummary(
        rows=len(ordered),
        median=median(ordered),
        mean=fmean(ordered),
        p90=ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
    )


def _images(row: Measurement) -> tuple[ImageInput, ...]:
    asked = row.workload
    if not asked.images:
        return ()
    if asked.image_width is None or asked.image_height is None:
        raise UnsupportedModel("the size of its images is not stated.")
    return (ImageInput(width_pixels=asked.image_width, height_pixels=asked.image_height, count=asked.images),)
