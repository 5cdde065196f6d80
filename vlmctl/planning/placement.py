"""One placement: a model in a precision on some GPUs. Decides the engine's settings, judges memory, speed, load."""

from __future__ import annotations

import math
from enum import StrEnum

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.architecture import ModelFigures, tensor_parallel_fits
from vlmctl.planning.corrected import (
    UNCORRECTED,
    Factors,
    corrected_capacity,
    corrected_closed_loop,
    corrected_open_loop,
)
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.image_tokens import pixel_cap
from vlmctl.planning.memory import footprint
from vlmctl.planning.speed import Speed, speed
from vlmctl.planning.throughput import Load
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Workload
from vlmctl.units import GIB

GPU_MEMORY_UTILIZATION = 0.90  # below vLLM 0.32's default of 0.92: leaves room for what starts after profiling
LARGE_GPU_BYTES = 70 * GIB  # GPUs that take a batch of 8192 tokens, as vLLM's own default on H100 does
BATCHED_TOKENS_LARGE = 8192
BATCHED_TOKENS_SMALL = 4096
MAXIMUM_SEQUENCES = 256
CONTEXT_STEP_TOKENS = 1024
TARGET_UTILIZATION = 0.8  # replicas are added so that each runs at most at this share of its capacity
GPU_COUNTS = (1, 2, 4, 8)  # GPUs of one replica: the powers of two that one node holds
RATE_SEARCH_STEPS = 12
RATE_SLACK = 0.005  # of an objective: the highest rate found leaves twice as much at most

# Lowest CUDA compute capability at which vLLM runs a weight format, weight-only kernels (Marlin) included
# (`get_min_capability` of vllm/model_executor/layers/quantization in vLLM 0.32).
MINIMUM_CAPABILITY = {
    Precision.BF16: 7.5,
    Precision.FP32: 7.5,
    Precision.FP8: 7.5,
    Precision.INT8: 7.5,
    Precision.AWQ: 7.5,
    Precision.GPTQ: 7.5,
    Precision.W4A16: 7.5,
    Precision.NVFP4: 7.5,
    Precision.MXFP4: 8.0,
}
# Formats that vLLM runs on ROCm (vLLM documentation, "Supported hardware" of quantization methods).
ROCM_PRECISIONS = frozenset({Precision.BF16, Precision.FP8, Precision.GPTQ, Precision.AWQ, Precision.W4A16})


class Obstacle(StrEnum):
    """What keeps a placement from serving the load."""

    MEMORY = "memory"
    TTFT = "ttft"
    TPOT = "tpot"
    CONCURRENCY = "concurrency"


class Evaluation(Record, frozen=True, kw_only=True):
    """A placement under a load. Rates in requests per second of one replica; latencies in seconds.

    `capacity`: saturated rate; `rate`: what this replica is given. With an obstacle, `value` is the best that can be
    had (bytes, seconds or sequences) and `limit` what was asked.
    """

    gpu_count: int
    sequences: int
    replicas: int = 0
    capacity: float = 0.0
    rate: float = 0.0
    batch: float = 0.0
    ttft: float = math.inf
    ttft_p95: float = math.inf
    tpot: float = math.inf
    tpot_p95: float = math.inf
    obstacle: Obstacle | None = None
    value: float = 0.0
    limit: float = 0.0


def is_large(gpu: GpuSpec) -> bool:
    """Whether the engine batches more tokens on this GPU."""
    return gpu.memory_bytes >= LARGE_GPU_BYTES


def settings_by_size(
    model: ModelSpec, workload: Workload, demand: RequestDemand, *, large_gpu: bool, context_tokens: int = 0
) -> EngineSettings:
    """The settings a plan and its estimate share; `large_gpu`: memory of at least `LARGE_GPU_BYTES`.

    `context_tokens`: a longest sequence to make room for, where it is more than the planned request.

    Raises UnsupportedModel when the request is longer than the model's context.
    """
    needed = demand.total_tokens
    if needed > model.context.tokens:
        raise UnsupportedModel(
            f"{model.id}: a request takes {needed:,} tokens ({demand.sequence_tokens:,} in, "
            f"{demand.output_tokens:,} out) and the context holds {model.context.tokens:,}.",
            remedy="Send fewer or smaller images, or a shorter answer.",
        )
    largest = max(workload.images, key=lambda image: image.width_pixels * image.height_pixels, default=None)
    cap = None
    if model.image_tokens is not None and workload.images and demand.worst_image is not None:
        cap = pixel_cap(model.image_tokens.rule, demand.worst_image)
    rounded = -(-max(needed, context_tokens) // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    return EngineSettings(
        max_model_len=min(max(rounded, 2 * CONTEXT_STEP_TOKENS), model.context.tokens),
        gpu_memory_utilization=GPU_MEMORY_UTILIZATION,
        max_num_batched_tokens=BATCHED_TOKENS_LARGE if large_gpu else BATCHED_TOKENS_SMALL,
        max_num_seqs=MAXIMUM_SEQUENCES,
        max_images=workload.image_count,
        max_videos=len(workload.videos),
        max_image_width=largest.width_pixels if largest else 0,
        max_image_height=largest.height_pixels if largest else 0,
        max_image_pixels=None if workload.videos else cap,
    )


def engine_settings(model: ModelSpec, gpu: GpuSpec, workload: Workload, demand: RequestDemand) -> EngineSettings:
    """`settings_by_size` for one GPU."""
    return settings_by_size(model, workload, demand, large_gpu=is_large(gpu))


def runs_on(figures: ModelFigures, gpu: GpuSpec, gpu_count: int) -> str | None:
    """None if the engine can run this precision on this many of these GPUs, else the reason in a few words."""
    precision = figures.precision
    if "vllm" not in gpu.served_by:
        return f"vLLM does not run on {gpu.id}"
    if gpu.vendor == "nvidia":
        minimum = MINIMUM_CAPABILITY.get(precision)
        if minimum is None:
            return f"vLLM does not serve {precision.value} checkpoints"
        if gpu.compute_capability is None or float(gpu.compute_capability) < minimum:
            return f"{precision.value} needs compute capability {minimum}, {gpu.id} has {gpu.compute_capability}"
    elif precision not in ROCM_PRECISIONS:
        return f"{precision.value} is not supported on {gpu.vendor}"
    if not gpu.tflops(precision):
        return f"the 16-bit compute of {gpu.id} is unknown"
    if figures.needs_bf16 and gpu.bf16_tflops is None:
        return f"{figures.model} needs bfloat16, which {gpu.id} lacks"
    if not tensor_parallel_fits(figures.language, gpu_count):
        return f"the attention heads do not divide over {gpu_count} GPUs"
    return None


def evaluate(
    figures: ModelFigures,
    gpu: GpuSpec,
    demand: RequestDemand,
    settings: EngineSettings,
    *,
    gpu_count: int,
    objectives: Objectives,
    requests_per_second_asked: float | None = None,
    concurrency: int | None = None,
    factors: Factors = UNCORRECTED,
) -> Evaluation:
    """Memory, capacity, replicas and latencies of one placement under one load, corrected by `factors`.

    With a rate: the fewest replicas that carry it within the objectives. With a concurrency: one replica with that many
    requests in flight. With neither: one replica at `TARGET_UTILIZATION` of what it can do within the objectives.
    """
    memory = footprint(figures, gpu, demand, settings, gpu_count=gpu_count)
    if not memory.fits:
        return _refused(gpu_count, 0, (Obstacle.MEMORY, memory.kv_cache, memory.longest_sequence))
    sequences = min(memory.maximum_sequences, settings.max_num_seqs)
    coefficients = speed(figures, gpu, demand, settings, gpu_count=gpu_count)
    if concurrency is not None:
        return _at_concurrency(coefficients, gpu_count, sequences, concurrency, objectives, factors)
    capacity = corrected_capacity(coefficients, sequences, factors)
    rate, replicas = TARGET_UTILIZATION * capacity, 1
    wanted = requests_per_second_asked
    if wanted is not None:
        replicas = max(1, math.ceil(wanted / rate - 1e-9))
        rate = wanted / replicas
    load = corrected_open_loop(coefficients, rate, factors, maximum=sequences)
    missed = _missed(load, objectives)
    if missed is not None:
        usable = usable_rate(coefficients, sequences, objectives, factors, missed=load)
        if usable <= 0.0:
            idle = _missed(corrected_open_loop(coefficients, 0.0, factors, maximum=sequences), objectives)
            return _refused(gpu_count, sequences, idle or missed, capacity=capacity)
        rate = usable
        if wanted is not None:
            replicas = math.ceil(wanted / usable - 1e-9)
            rate = wanted / replicas
        load = corrected_open_loop(coefficients, rate, factors, maximum=sequences)
    return _served(load, gpu_count, sequences, replicas=replicas, capacity=capacity)


def usable_rate(
    coefficients: Speed,
    sequences: int,
    objectives: Objectives,
    factors: Factors = UNCORRECTED,
    *,
    missed: Load | None = None,
) -> float:
    """The highest rate of one replica whose 95th percentiles hold; the capacity without objectives.

    `missed`: a load that is known to miss them. Latencies grow like 1 / (1 - utilization), so that what they leave of
    an objective is nearly a straight line in the rate: the secant method finds its zero.
    """
    capacity = corrected_capacity(coefficients, sequences, factors)
    if objectives.ttft_seconds is None and objectives.tpot_seconds is None:
        return capacity

    def left_at(rate: float) -> float:
        return _left(corrected_open_loop(coefficients, rate, factors, maximum=sequences), objectives)

    low, high = 0.0, capacity if missed is None else missed.rate
    before, left_before = low, left_at(low)
    last, left = high, left_at(high) if missed is None else _left(missed, objectives)
    if left >= 0.0:
        return high
    if left_before < 0.0:
        return 0.0
    for _ in range(RATE_SEARCH_STEPS):
        rate = last - left * (last - before) / (left - left_before) if left != left_before else high
        if not low < rate < high:
            rate = (low + high) / 2.0
        before, left_before, last, left = last, left, rate, left_at(rate)
        if abs(left) <= RATE_SLACK:
            return rate
        if left > 0.0:
            low = rate
        else:
            high = rate
    return low


def _left(load: Load, objectives: Objectives) -> float:
    """Share of the objective that its percentile leaves, of the tighter one, less a slack."""
    ttft, tpot = objectives.ttft_seconds, objectives.tpot_seconds
    return min(
        math.inf if ttft is None else ttft / load.ttft_p95 - 1.0 - RATE_SLACK,
        math.inf if tpot is None else tpot / load.tpot_p95 - 1.0 - RATE_SLACK,
    )


def _at_concurrency(
    coefficients: Speed, gpu_count: int, sequences: int, concurrency: int, objectives: Objectives, factors: Factors
) -> Evaluation:
    """A closed loop on one replica; refused where so many sequences do not fit at once."""
    capacity = corrected_capacity(coefficients, sequences, factors)
    if concurrency > sequences:
        missed = (Obstacle.CONCURRENCY, float(sequences), float(concurrency))
        return _refused(gpu_count, sequences, missed, capacity=capacity)
    load = corrected_closed_loop(coefficients, concurrency, factors)
    missed_objective = _missed(load, objectives)
    if missed_objective is not None:
        return _refused(gpu_count, sequences, missed_objective, capacity=capacity)
    return _served(load, gpu_count, sequences, replicas=1, capacity=capacity)


def _missed(load: Load, objectives: Objectives) -> tuple[Obstacle, float, float] | None:
    """The first objective whose 95th percentile is above its limit, with both."""
    if objectives.ttft_seconds is not None and load.ttft_p95 > objectives.ttft_seconds:
        return Obstacle.TTFT, load.ttft_p95, objectives.ttft_seconds
    if objectives.tpot_seconds is not None and load.tpot_p95 > objectives.tpot_seconds:
        return Obstacle.TPOT, load.tpot_p95, objectives.tpot_seconds
    return None


def _served(load: Load, gpu_count: int, sequences: int, *, replicas: int, capacity: float) -> Evaluation:
    return Evaluation(
        gpu_count=gpu_count,
        sequences=sequences,
        replicas=replicas,
        capacity=capacity,
        rate=load.rate,
        batch=load.batch,
        ttft=load.ttft,
        ttft_p95=load.ttft_p95,
        tpot=load.tpot,
        tpot_p95=load.tpot_p95,
    )


def _refused(
    gpu_count: int, sequences: int, missed: tuple[Obstacle, float, float], *, capacity: float = 0.0
) -> Evaluation:
    obstacle, value, limit = missed
    return Evaluation(
        gpu_count=gpu_count, sequences=sequences, capacity=capacity, obstacle=obstacle, value=value, limit=limit
    )
