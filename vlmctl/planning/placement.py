"""One placement: a model in a precision on some GPUs. Decides the engine's settings, judges memory, speed, load."""

from __future__ import annotations

import math
from enum import StrEnum

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.architecture import ModelFigures, tensor_parallel_fits
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.memory import footprint
from vlmctl.planning.throughput import (
    Speed,
    batch_at_rate,
    requests_per_second,
    speed,
    tpot_seconds,
    ttft_seconds,
)
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Workload

GPU_MEMORY_UTILIZATION = 0.90  # below vLLM 0.32's default of 0.92: leaves room for what starts after profiling
LARGE_GPU_BYTES = 70 * 1024**3  # GPUs that take a batch of 8192 tokens, as vLLM's own default on H100 does
BATCHED_TOKENS_LARGE = 8192
BATCHED_TOKENS_SMALL = 4096
MAXIMUM_SEQUENCES = 256
CONTEXT_STEP_TOKENS = 1024
TARGET_UTILIZATION = 0.8  # replicas are added so that each runs at most at this share of its capacity
GPU_COUNTS = (1, 2, 4, 8)  # of one node; larger replicas are refused elsewhere
RATE_SEARCH_STEPS = 12

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


class Evaluation(Record, frozen=True, kw_only=True):
    """A placement under a load. Rates in requests per second of one replica; latencies in seconds.

    `capacity`: saturated rate; `usable`: highest rate within the objectives; `rate`: what this replica is given.
    With an obstacle, `value` is the best that can be had (free bytes, or seconds) and `limit` what was asked.
    """

    gpu_count: int
    sequences: int
    replicas: int = 0
    capacity: float = 0.0
    usable: float = 0.0
    rate: float = 0.0
    batch: float = 0.0
    ttft: float = math.inf
    ttft_p95: float = math.inf
    tpot: float = math.inf
    tpot_p95: float = math.inf
    obstacle: Obstacle | None = None
    value: float = 0.0
    limit: float = 0.0


def settings_by_size(model: ModelSpec, workload: Workload, demand: RequestDemand, *, large_gpu: bool) -> EngineSettings:
    """The settings a plan and its estimate share; `large_gpu`: memory of at least `LARGE_GPU_BYTES`.

    Raises UnsupportedModel when the request is longer than the model's context.
    """
    needed = demand.total_tokens
    if needed > model.context.tokens:
        raise UnsupportedModel(
            f"{model.id}: a request takes {needed:,} tokens ({demand.sequence_tokens:,} in, "
            f"{demand.output_tokens:,} out) and the context holds {model.context.tokens:,}.",
            remedy="Send fewer or smaller images, or a shorter answer.",
        )
    rounded = -(-needed // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    return EngineSettings(
        max_model_len=min(max(rounded, 2 * CONTEXT_STEP_TOKENS), model.context.tokens),
        gpu_memory_utilization=GPU_MEMORY_UTILIZATION,
        max_num_batched_tokens=BATCHED_TOKENS_LARGE if large_gpu else BATCHED_TOKENS_SMALL,
        max_num_seqs=MAXIMUM_SEQUENCES,
        max_images=workload.image_count,
        max_videos=len(workload.videos),
        max_image_width=max((image.width_pixels for image in workload.images), default=0),
        max_image_height=max((image.height_pixels for image in workload.images), default=0),
    )


def engine_settings(model: ModelSpec, gpu: GpuSpec, workload: Workload, demand: RequestDemand) -> EngineSettings:
    """`settings_by_size` for one GPU."""
    return settings_by_size(model, workload, demand, large_gpu=gpu.memory_bytes >= LARGE_GPU_BYTES)


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
) -> Evaluation:
    """Memory, capacity, replicas and latencies of one placement under one load.

    With a rate: the fewest replicas that carry it within the objectives. With a concurrency: one replica with that many
    requests in flight. With neither: one replica at `TARGET_UTILIZATION` of what it can do within the objectives.
    """
    memory = footprint(figures, gpu, demand, settings, gpu_count=gpu_count)
    longest = memory.sequence * settings.max_model_len / max(demand.total_tokens, 1)
    if memory.maximum_sequences < 1 or longest > memory.kv_cache:
        return Evaluation(
            gpu_count=gpu_count, sequences=0, obstacle=Obstacle.MEMORY, value=memory.kv_cache, limit=longest
        )
    sequences = min(memory.maximum_sequences, settings.max_num_seqs)
    coefficients = speed(figures, gpu, demand, settings, gpu_count=gpu_count)
    if concurrency is not None:
        return _at_concurrency(coefficients, gpu_count, sequences, min(concurrency, sequences), objectives)
    capacity = requests_per_second(coefficients, sequences)
    wanted = requests_per_second_asked
    rate = TARGET_UTILIZATION * capacity
    replicas = 1
    if wanted is not None:
        replicas = max(1, math.ceil(wanted / rate - 1e-9))
        rate = wanted / replicas
    usable = capacity
    if not _meets(coefficients, rate, sequences, objectives):
        usable, failing = _highest_rate_within(coefficients, capacity, sequences, objectives)
        if failing is not None:
            return Evaluation(
                gpu_count=gpu_count,
                sequences=sequences,
                capacity=capacity,
                obstacle=failing[0],
                value=failing[1],
                limit=failing[2],
            )
        rate = usable
        if wanted is not None:
            replicas = math.ceil(wanted / usable - 1e-9)
            rate = wanted / replicas
    return _result(coefficients, gpu_count, sequences, replicas, capacity, usable, rate)


def _result(
    coefficients: Speed, gpu_count: int, sequences: int, replicas: int, capacity: float, usable: float, rate: float
) -> Evaluation:
    batch = batch_at_rate(coefficients, rate, maximum=sequences)
    ttft, ttft_p95 = ttft_seconds(coefficients, batch, rate)
    tpot, tpot_p95 = tpot_seconds(coefficients, batch, rate)
    return Evaluation(
        gpu_count=gpu_count,
        sequences=sequences,
        replicas=replicas,
        capacity=capacity,
        usable=usable,
        rate=rate,
        batch=batch,
        ttft=ttft,
        ttft_p95=ttft_p95,
        tpot=tpot,
        tpot_p95=tpot_p95,
    )


def _at_concurrency(
    coefficients: Speed, gpu_count: int, sequences: int, concurrency: int, objectives: Objectives
) -> Evaluation:
    """A closed loop: always `concurrency` requests in flight on one replica."""
    rate = requests_per_second(coefficients, concurrency)
    capacity = requests_per_second(coefficients, sequences)
    ttft, ttft_p95 = ttft_seconds(coefficients, concurrency, rate)
    tpot, tpot_p95 = tpot_seconds(coefficients, concurrency, rate)
    obstacle, value, limit = None, 0.0, 0.0
    if objectives.ttft_seconds is not None and ttft_p95 > objectives.ttft_seconds:
        obstacle, value, limit = Obstacle.TTFT, ttft_p95, objectives.ttft_seconds
    elif objectives.tpot_seconds is not None and tpot_p95 > objectives.tpot_seconds:
        obstacle, value, limit = Obstacle.TPOT, tpot_p95, objectives.tpot_seconds
    return Evaluation(
        gpu_count=gpu_count,
        sequences=sequences,
        replicas=1,
        capacity=capacity,
        usable=rate,
        rate=rate,
        batch=float(concurrency),
        ttft=ttft,
        ttft_p95=ttft_p95,
        tpot=tpot,
        tpot_p95=tpot_p95,
        obstacle=obstacle,
        value=value,
        limit=limit,
    )


def _meets(coefficients: Speed, rate: float, sequences: int, objectives: Objectives) -> bool:
    if objectives.ttft_seconds is None and objectives.tpot_seconds is None:
        return True
    batch = batch_at_rate(coefficients, rate, maximum=sequences)
    if objectives.ttft_seconds is not None and ttft_seconds(coefficients, batch, rate)[1] > objectives.ttft_seconds:
        return False
    return objectives.tpot_seconds is None or tpot_seconds(coefficients, batch, rate)[1] <= objectives.tpot_seconds


def _highest_rate_within(
    coefficients: Speed, capacity: float, sequences: int, objectives: Objectives
) -> tuple[float, tuple[Obstacle, float, float] | None]:
    """The highest rate within the objectives, or what fails even when requests come one at a time."""
    idle_ttft = ttft_seconds(coefficients, 1.0, 0.0)[1]
    if objectives.ttft_seconds is not None and idle_ttft > objectives.ttft_seconds:
        return 0.0, (Obstacle.TTFT, idle_ttft, objectives.ttft_seconds)
    idle_tpot = tpot_seconds(coefficients, 1.0, 0.0)[1]
    if objectives.tpot_seconds is not None and idle_tpot > objectives.tpot_seconds:
        return 0.0, (Obstacle.TPOT, idle_tpot, objectives.tpot_seconds)
    low, high = 0.0, capacity
    for _ in range(RATE_SEARCH_STEPS):
        middle = (low + high) / 2
        if _meets(coefficients, middle, sequences, objectives):
            low = middle
        else:
            high = middle
    if low == 0.0:
        return 0.0, (Obstacle.TTFT, idle_ttft, objectives.ttft_seconds or idle_ttft)
    return low, None
