"""How far estimates are from measurements: predicts a row without looking it up, and sums up the errors."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from msgspec.structs import replace

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.architecture import (
    ModelFigures,
    kv_bytes_per_sequence,
    model_figures,
)
from vlmctl.planning.demand import RequestDemand, request_demand
from vlmctl.planning.engines import Engine, engine_of, with_engine
from vlmctl.planning.latencies import latencies
from vlmctl.planning.memory import footprint
from vlmctl.planning.placement import MAXIMUM_SEQUENCES, engine_settings, is_large
from vlmctl.planning.speed import CONSTANTS, SpeedConstants, speed
from vlmctl.planning.stored_weights import UNQUANTIZED
from vlmctl.planning.throughput import closed_loop
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.measurements import Load, Measurement
from vlmctl.specs.model import (
    ModelSpec,
    Precision,
)
from vlmctl.specs.record import Record
from vlmctl.specs.workload import ImageInput, Objectives, Workload

# Requests of a published benchmark that its opening burst holds up: such runs send about ten requests for every one in
# flight (InferenceMAX, sgl-cookbook), and mean latencies include the first of them. Fitted with the speed model.
BURST_SHARE = 0.15

ENGINE_SEQUENCES = 1024  # the most that vLLM runs at once by default on a large GPU (`max_num_seqs` of its server)

QUEUE_P95 = 1.9  # times the mean wait of requests sent all at once: waits are even, from none to twice the mean

OPEN = "open"  # a load of requests sent at times of their own
SATURATING = "saturating"  # a load of as many requests as the engine takes

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
    """What the planner says of a measured row: seconds, means unless the name says otherwise; requests per second."""

    requests_per_second: float
    ttft_seconds: float
    tpot_seconds: float
    e2e_seconds: float
    ttft_p95_seconds: float
    tpot_p95_seconds: float
    e2e_p50_seconds: float
    e2e_p95_seconds: float


class ErrorSummary(Record, frozen=True, kw_only=True):
    """Relative errors |predicted - measured| / measured over some rows."""

    rows: int
    median: float
    mean: float
    p90: float


def predict(
    row: Measurement,
    model: ModelSpec,
    gpu: GpuSpec,
    *,
    constants: SpeedConstants = CONSTANTS,
    engine: Engine | None = None,
) -> Prediction:
    """The estimate for the row's model, hardware, workload and load; raises UnsupportedModel where there is none.

    Pipeline stages work as lanes, each with its share of the requests. Latencies published for data-parallel replicas
    are those of one rank under the whole concurrency, as runs with one rank show; rates are those of all ranks.
    `engine`: how the row's engine differs from the current one (None: as is known).
    """
    precision, workload = served_precision(row, model), workload_of(row)
    figures = model_figures(model, precision)
    demand = request_demand(model, workload)
    # The request was answered, so the run had room for it, whatever context the model's configuration states.
    context = replace(model.context, tokens=max(model.context.tokens, demand.total_tokens))
    model = replace(model, context=context)
    settings = _published_settings(engine_settings(model, gpu, workload, demand), precision, gpu)
    split = row.parallelism
    engine = engine or engine_of(row.engine, row.engine_version)
    current = speed(figures, gpu, demand, settings, gpu_count=split.tensor, constants=constants)
    coefficients = with_engine(current, engine, figures.language, demand.host_pixels)
    room = _room(figures, gpu, demand, settings, gpus=split.tensor * split.pipeline)
    ranks = split.data if row.measured.requests_per_second is not None else 1
    of_rank = _in_flight(row, engine, gpu, room=room, ranks=ranks)
    lane = closed_loop(
        coefficients,
        -(-of_rank // split.pipeline),
        sequences=max(1, room // split.pipeline),
        burst_share=BURST_SHARE if row.load.concurrency and of_rank > 1 else 0.0,
    )
    whole = latencies(lane, Objectives(), output_tokens=demand.output_tokens)
    of_all = row.load.concurrency or ranks * of_rank
    rate = of_all / whole.e2e
    queue = _queue_seconds(row.load, of_all, rate)
    return Prediction(
        requests_per_second=rate,
        ttft_seconds=lane.ttft + queue,
        tpot_seconds=lane.tpot,
        e2e_seconds=whole.e2e + queue,
        ttft_p95_seconds=lane.ttft_p95 + QUEUE_P95 * queue,
        tpot_p95_seconds=lane.tpot_p95,
        e2e_p50_seconds=whole.e2e_p50 + queue,
        e2e_p95_seconds=whole.e2e_p95 + QUEUE_P95 * queue,
    )


def _queue_seconds(load: Load, sequences: int, rate: float) -> float:
    """Mean wait for a place where all requests were sent at once: they are taken up `sequences` at a time."""
    if load.concurrency is not None or load.requests is None:
        return 0.0
    return max(0, load.requests - sequences) / 2 / rate


def _in_flight(row: Measurement, engine: Engine, gpu: GpuSpec, *, room: int, ranks: int) -> int:
    """Requests in flight on one rank; under a saturating load, as many as were sent and the engine takes."""
    load = row.load
    if load.concurrency is not None:
        return -(-load.concurrency // ranks)
    if load.kind == OPEN:
        raise UnsupportedModel("its load is open: its throughput is the rate at which the client sent.")
    if load.kind != SATURATING:
        raise UnsupportedModel(f"its load is of kind {load.kind!r}, without a concurrency.")
    most = engine.saturated_sequences or (ENGINE_SEQUENCES if is_large(gpu) else MAXIMUM_SEQUENCES)
    return min(room, most, -(-load.requests // ranks) if load.requests else most)


def workload_of(row: Measurement) -> Workload:
    """The row's request; raises UnsupportedModel where the size of its images is not stated."""
    asked = row.workload
    images: tuple[ImageInput, ...] = ()
    if asked.images:
        if asked.image_width is None or asked.image_height is None:
            raise UnsupportedModel("the size of its images is not stated.")
        images = (ImageInput(width_pixels=asked.image_width, height_pixels=asked.image_height, count=asked.images),)
    return Workload(images=images, prompt_tokens=asked.prompt_tokens, output_tokens=asked.output_tokens)


def served_precision(row: Measurement, model: ModelSpec) -> Precision:
    """The row's precision; a repository that is itself quantised was served so, even where a source calls it 16 bit."""
    precision = WEIGHTS.get(row.weights)
    if precision is None:
        raise UnsupportedModel(f"weights of {row.weights!r} are not known.")
    return model.precision if precision is Precision.BF16 else precision


def _published_settings(settings: EngineSettings, precision: Precision, gpu: GpuSpec) -> EngineSettings:
    """Settings that published runs leave unsaid.

    Quantised models on Blackwell ran with an 8-bit KV cache: at concurrencies beyond their memory they held 2.1 to 2.3
    times the sequences that 16 bit leaves room for, on Hopper 1.1 to 1.3 times (29 rows of MiniMax M2.5 and Llama 3.1).
    """
    eight_bit = gpu.architecture.startswith("blackwell") and precision not in UNQUANTIZED
    return replace(settings, kv_element_bytes=1) if eight_bit else settings


def _room(figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpus: int) -> int:
    """Sequences that run at once: vLLM admits by what they hold now, on average the prompt and half of the answer.

    Where the ledger has no room for one, the run says otherwise: then memory is taken as no limit.
    """
    held = kv_bytes_per_sequence(
        figures.language,
        demand.sequence_tokens + demand.output_tokens / 2,
        cross_tokens=demand.cross_tokens,
        tensor_parallel=gpus,
        element_bytes=settings.kv_element_bytes,
    )
    room = int(footprint(figures, gpu, demand, settings, gpu_count=gpus).kv_cache / held) if held else 0
    return room if room >= 1 else ENGINE_SEQUENCES


def errors(row: Measurement, prediction: Prediction) -> dict[str, float]:
    """Relative error of each quantity that the row measured."""
    read = row.measured
    pairs = {
        "throughput": (prediction.requests_per_second, row.requests_per_second),
        "ttft": (prediction.ttft_seconds * 1000, read.ttft_ms),
        "tpot": (prediction.tpot_seconds * 1000, read.tpot_ms),
        "e2e": (prediction.e2e_seconds * 1000, read.e2e_ms),
        "ttft_p95": (prediction.ttft_p95_seconds * 1000, read.ttft_p95_ms),
        "tpot_p95": (prediction.tpot_p95_seconds * 1000, read.tpot_p95_ms),
        "e2e_p50": (prediction.e2e_p50_seconds * 1000, read.e2e_p50_ms),
        "e2e_p95": (prediction.e2e_p95_seconds * 1000, read.e2e_p95_ms),
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
