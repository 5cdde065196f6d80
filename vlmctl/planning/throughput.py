"""How fast one replica answers: a roofline of the engine's step, with prefill interference and queueing.

A step reads the weights (of a mixture of experts: as many experts as the batch touches) and every sequence's KV cache,
or multiplies, whichever takes longer. Each finished sequence brings a new prefill of image and prompt tokens, which
delays all others: at concurrency b a request of n output tokens takes n steps and b prefills, so

    throughput(b) = b / (time outside the GPU + n x step(b) + b x prefill)

Under random arrivals requests wait as in an M/D/1 queue of prefills (Kleinrock, Queueing Systems I, 5.7).
"""

from __future__ import annotations

import math

from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures, kv_bytes_per_sequence, sparse_layers
from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.record import Record

# Fitted together to 836 published text rows of four models on H100, H200, B200 and B300 (catalog/measurements), each
# model weighing alike, then rounded; with each model left out in turn its median throughput error is 8% to 17%.
BANDWIDTH_SHARE = 0.85  # of the peak memory bandwidth that decoding reaches
COMPUTE_SHARE = 0.50  # of the peak dense FLOP/s that prefill reaches
ENCODER_SHARE = 0.40  # the same for the vision encoder: shorter sequences, narrower matrices
STEP_SECONDS = 0.0003  # scheduler, sampler and launch of one step
STEP_SECONDS_PER_LAYER = 0.000014  # kernels of a layer that neither bandwidth nor FLOP/s explain
STEP_SECONDS_PER_EXPERT_LAYER = 0.000027  # routing and grouping of tokens in one mixture-of-experts layer
STEP_SECONDS_PER_SEQUENCE = 0.000011  # scheduling, sampling and detokenising one sequence on the host
REQUEST_SECONDS = 0.065  # HTTP, tokenising, scheduling and the first streamed token of one request
ALL_REDUCE_SECONDS = 0.000022  # latency of one all-reduce over NVLink; two per layer
ALL_REDUCE_SHARE = 0.25  # of the link's peak that an all-reduce reaches
PCIE_GB_PER_SECOND = 32.0  # where the interconnect's rate is unknown: PCIe 4.0 x16
HOST_SECONDS_PER_PIXEL = 20e-9  # decode, resize and normalise one pixel on one CPU core (Gemma 4 on SGLang, H200, 720p)
P95_NORMAL = 1.645  # standard deviations above the mean, one-sided 95th percentile
P95_TAIL = 0.05


class Speed(Record, frozen=True, kw_only=True):
    """Coefficients of one replica on one workload; seconds and requests. Read by the functions below."""

    dense_read: float  # seconds per step to read what every step reads
    expert_read: float  # seconds to read all experts once
    expert_share: float
    kv_read: float  # seconds per step and sequence, at the mean context
    step_compute: float  # seconds per step and sequence
    overhead: float  # seconds per step: launch and all-reduce latency
    overhead_per_sequence: float
    prefill: float  # seconds of GPU work to prefill one request, encoder included
    prefill_latency: float  # the same when alone: never less than reading the weights
    encoder: float  # the encoder's part of `prefill`
    host: float  # seconds of one CPU core per request
    host_workers: int
    output_tokens: int


class Load(Record, frozen=True, kw_only=True):
    """A replica at work: sequences decoded at once, requests per second, latencies in seconds."""

    batch: float
    rate: float
    ttft: float
    ttft_p95: float
    tpot: float
    tpot_p95: float


def speed(
    figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpu_count: int
) -> Speed:
    """Coefficients of a replica on `gpu_count` GPUs."""
    language = figures.language
    bandwidth = gpu.memory_bandwidth_gb_per_second * 1e9 * BANDWIDTH_SHARE * gpu_count
    compute = prefill_tflops(figures, gpu) * 1e12 * gpu_count
    context = demand.sequence_tokens + demand.output_tokens / 2
    kv = kv_bytes_per_sequence(language, context, cross_tokens=demand.cross_tokens, tensor_parallel=gpu_count)
    overhead, per_token = _communication_seconds(language.layers, language.hidden_size, gpu, gpu_count)
    encoder = demand.encoder_operations / (encoder_tflops(gpu) * 1e12 * gpu_count)
    tokens = demand.sequence_tokens + demand.cross_tokens
    pairs = demand.sequence_tokens**2 / 2
    multiply = (figures.operations_per_token * tokens + figures.pair_operations * pairs) / compute
    prefill = encoder + multiply + per_token * tokens
    dense_read = figures.read_bytes / bandwidth
    expert_read = figures.expert_bytes / bandwidth
    read = dense_read + expert_read * touched_experts(figures.expert_share, tokens)
    step_overhead = (
        STEP_SECONDS
        + STEP_SECONDS_PER_LAYER * language.layers
        + STEP_SECONDS_PER_EXPERT_LAYER * sparse_layers(language)
        + overhead
    )
    return Speed(
        dense_read=dense_read,
        expert_read=expert_read,
        expert_share=figures.expert_share,
        kv_read=kv * gpu_count / bandwidth,
        step_compute=figures.operations_per_token / compute,
        overhead=step_overhead,
        overhead_per_sequence=per_token + STEP_SECONDS_PER_SEQUENCE,
        prefill=prefill,
        prefill_latency=encoder + max(multiply, read) + per_token * tokens + step_overhead,
        encoder=encoder,
        host=demand.host_pixels * HOST_SECONDS_PER_PIXEL,
        host_workers=settings.renderer_workers,
        output_tokens=max(demand.output_tokens, 1),
    )


def prefill_tflops(figures: ModelFigures, gpu: GpuSpec) -> float:
    """TFLOP/s that one GPU reaches in prefill: its peak at the precision of the multiplications, times the share."""
    return (gpu.tflops(figures.precision) or 0.0) * (gpu.achievable_compute or 1.0) * COMPUTE_SHARE


def encoder_tflops(gpu: GpuSpec) -> float:
    """TFLOP/s that one GPU reaches in the vision encoder, which runs in 16 bit."""
    return (gpu.sixteen_bit_tflops or 0.0) * (gpu.achievable_compute or 1.0) * ENCODER_SHARE


def touched_experts(share: float, tokens: float) -> float:
    """Share of the experts that `tokens` read when each picks `share` of them at random: 1 - (1 - share)^n."""
    return 1.0 - (1.0 - share) ** tokens if share else 0.0


def step_seconds(coefficients: Speed, batch: float) -> float:
    """One decoding step with `batch` sequences."""
    c = coefficients
    experts = c.expert_read * (1.0 - (1.0 - c.expert_share) ** batch) if c.expert_share else 0.0
    memory = c.dense_read + experts + c.kv_read * batch
    compute = c.step_compute * batch
    return (memory if memory > compute else compute) + c.overhead + c.overhead_per_sequence * batch


def requests_per_second(coefficients: Speed, batch: float) -> float:
    """Throughput with `batch` requests always in flight, bounded by what the host can decode."""
    c = coefficients
    rate = batch / (REQUEST_SECONDS + c.host + c.output_tokens * step_seconds(c, batch) + batch * c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def highest_rate(coefficients: Speed) -> float:
    """An upper bound of the throughput at any batch: only the work that grows with every request."""
    c = coefficients
    growing = max(c.kv_read, c.step_compute) + c.overhead_per_sequence
    rate = 1.0 / (c.output_tokens * growing + c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def closed_loop(coefficients: Speed, batch: int) -> Load:
    """`batch` requests always in flight: each is held up by the prefills of the others, evenly over its time.

    Time to first token and time per output token are stretched alike, so that together they are batch / rate.
    """
    c = coefficients
    rate = requests_per_second(c, batch)
    step = step_seconds(c, batch)
    busy = rate * c.prefill * (batch - 1) / batch
    stretch = 1.0 / (1.0 - busy)
    alone = REQUEST_SECONDS + c.host + c.prefill_latency + (step / 2 if batch > 1 else 0.0)
    mean = alone + c.prefill * (stretch - 1.0)
    worst = alone + min(_late_wait(c.prefill, busy), (batch - 1) * c.prefill)
    tpot = step * stretch
    return Load(
        batch=float(batch),
        rate=rate,
        ttft=mean,
        ttft_p95=max(mean, worst),
        tpot=tpot,
        tpot_p95=max(tpot, _late_tpot(c, step, busy / c.prefill if c.prefill else 0.0, tpot)),
    )


def open_loop(coefficients: Speed, rate: float, *, maximum: int) -> Load:
    """`rate` requests arrive per second at random, and at most `maximum` sequences are decoded at once.

    The wait before the own prefill is that of an M/D/1 queue of prefills: mean s u / 2(1 - u), and
    P(wait > t) = u exp(-2(1 - u) t / s) with service time s and utilization u.
    """
    c = coefficients
    batch = batch_at_rate(c, rate, maximum=maximum)
    step = step_seconds(c, max(batch, 1.0))
    busy = min(rate * c.prefill, 0.999)
    alone = REQUEST_SECONDS + c.host + c.prefill_latency + (step / 2 if batch > 1 else 0.0)
    mean = alone + c.prefill * busy / (2.0 * (1.0 - busy))
    tpot = step / (1.0 - busy)
    return Load(
        batch=batch,
        rate=rate,
        ttft=mean,
        ttft_p95=max(mean, alone + _late_wait(c.prefill, busy)),
        tpot=tpot,
        tpot_p95=_late_tpot(c, step, rate, tpot),
    )


def batch_at_rate(coefficients: Speed, rate: float, *, maximum: int) -> float:
    """Sequences being decoded when `rate` requests arrive per second (Little's law), at most `maximum`."""
    c = coefficients
    free = 1.0 - rate * c.prefill
    if free <= 0.0:
        return float(maximum)
    share = rate * c.output_tokens
    # A dense model that waits for memory is a straight line in the batch: solved at once, it starts the search for all.
    slope = free - share * (c.kv_read + c.overhead_per_sequence)
    batch = share * (c.dense_read + c.overhead) / slope if slope > 0.0 else float(maximum)
    batch = min(batch, float(maximum))
    for _ in range(40):
        following = min(share * step_seconds(c, max(batch, 1.0)) / free, float(maximum))
        if abs(following - batch) <= 1e-3 * batch:
            return following
        batch = following
    return batch


def _late_wait(service: float, busy: float) -> float:
    """95th percentile of the wait in an M/D/1 queue, by the exponential bound of its tail."""
    return service / (2.0 * (1.0 - busy)) * math.log(busy / P95_TAIL) if busy > P95_TAIL else 0.0


def _late_tpot(coefficients: Speed, step: float, rate: float, mean: float) -> float:
    """95th percentile time per output token, the prefills that fall into one request's decoding taken as Poisson."""
    c = coefficients
    arrivals = rate * c.output_tokens * mean
    return step + (arrivals + P95_NORMAL * math.sqrt(arrivals)) * c.prefill / c.output_tokens


def bottleneck(coefficients: Speed, batch: float) -> str:
    """What takes most of the time at that batch, in the field's words."""
    c = coefficients
    experts = c.expert_read * touched_experts(c.expert_share, batch)
    per_request = {
        "weights read (memory bandwidth)": c.output_tokens * (c.dense_read + experts) / batch,
        "KV cache read (memory bandwidth)": c.output_tokens * c.kv_read,
        "decode compute": c.output_tokens * c.step_compute,
        "step overhead": c.output_tokens * (c.overhead / batch + c.overhead_per_sequence),
        "vision encoder": c.encoder,
        "prefill compute": c.prefill - c.encoder,
        "image decoding on the host": c.host / c.host_workers,
    }
    return max(per_request, key=lambda name: per_request[name])


def _communication_seconds(layers: int, hidden_size: int, gpu: GpuSpec, gpu_count: int) -> tuple[float, float]:
    """Latency per step and time per token of two all-reduces per layer (ring: 2(n - 1)/n of the message each way)."""
    if gpu_count == 1:
        return 0.0, 0.0
    link = (gpu.interconnect.gb_per_second or PCIE_GB_PER_SECOND) * 1e9 * ALL_REDUCE_SHARE
    message = hidden_size * ACTIVATION_BYTES * 2 * (gpu_count - 1) / gpu_count
    return 2 * layers * ALL_REDUCE_SECONDS, 2 * layers * message / link
