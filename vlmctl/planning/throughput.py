"""How fast one replica answers: a roofline of the engine's step, with prefill interference and queueing.

A step reads the weights (of a mixture of experts: as many experts as the batch touches) and every sequence's KV cache,
or multiplies, whichever takes longer. Each finished sequence brings a new prefill of image and prompt tokens, which
delays all others: at concurrency b a sequence of n output tokens takes n steps and b prefills, so

    throughput(b) = b / (n x step(b) + b x prefill)

Waiting is that of an M/D/1 queue on the prefill work (Kleinrock, Queueing Systems I, 5.7; an exponential tail).
"""

from __future__ import annotations

import math

from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures, kv_bytes_per_sequence
from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.record import Record

# Fitted together to 836 published text rows of four models on H100, H200, B200 and B300 (catalog/measurements), each
# model weighing alike, then rounded; with each model left out in turn its median throughput error is 9% to 21%.
BANDWIDTH_SHARE = 0.85  # of the peak memory bandwidth that decoding reaches
COMPUTE_SHARE = 0.80  # of the peak dense FLOP/s that prefill reaches
ENCODER_SHARE = 0.40  # the same for the vision encoder: shorter sequences, narrower matrices
STEP_SECONDS = 0.0005  # scheduler, sampler and launch of one step
STEP_SECONDS_PER_LAYER = 0.000012  # kernels of a layer that neither bandwidth nor FLOP/s explain
EXPERT_COMPUTE_SHARE = 0.50  # of the peak in prefill through grouped, smaller matrices
STEP_SECONDS_PER_EXPERT_LAYER = 0.00003  # routing and grouping of tokens in one mixture-of-experts layer
STEP_SECONDS_PER_SEQUENCE = 0.000015  # scheduling, sampling and detokenising one sequence on the host
REQUEST_SECONDS = 0.06  # HTTP, tokenising, scheduling and the first streamed token of one request
ALL_REDUCE_SECONDS = 0.00002  # latency of one all-reduce over NVLink; two per layer
ALL_REDUCE_SHARE = 0.35  # of the link's peak that an all-reduce reaches
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


def speed(
    figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpu_count: int
) -> Speed:
    """Coefficients of a replica on `gpu_count` GPUs."""
    language = figures.language
    bandwidth = gpu.memory_bandwidth_gb_per_second * 1e9 * BANDWIDTH_SHARE * gpu_count
    peak = (gpu.tflops(figures.precision) or 0.0) * 1e12 * (gpu.achievable_compute or 1.0)
    experts = language.experts
    compute = peak * (EXPERT_COMPUTE_SHARE if experts else COMPUTE_SHARE) * gpu_count
    sixteen_bit = (gpu.bf16_tflops or gpu.fp16_tflops or 0.0) * 1e12 * (gpu.achievable_compute or 1.0)
    context = demand.sequence_tokens + demand.output_tokens / 2
    kv = kv_bytes_per_sequence(language, context, cross_tokens=demand.cross_tokens, tensor_parallel=gpu_count)
    overhead, per_token = _communication_seconds(language.layers, language.hidden_size, gpu, gpu_count)
    encoder = demand.encoder_operations / (sixteen_bit * ENCODER_SHARE * gpu_count)
    tokens = demand.sequence_tokens + demand.cross_tokens
    pairs = demand.sequence_tokens**2 / 2
    multiply = (figures.operations_per_token * tokens + figures.pair_operations * pairs) / compute
    prefill = encoder + multiply + per_token * tokens
    dense_read = figures.read_bytes / bandwidth
    expert_read = figures.expert_bytes / bandwidth
    read = dense_read + expert_read * touched_experts(figures.expert_share, tokens)
    sparse_layers = (experts.layers or language.layers) if experts else 0
    step_overhead = (
        STEP_SECONDS
        + STEP_SECONDS_PER_LAYER * language.layers
        + STEP_SECONDS_PER_EXPERT_LAYER * sparse_layers
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
    rate = batch / (c.output_tokens * step_seconds(c, batch) + batch * c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def highest_rate(coefficients: Speed) -> float:
    """An upper bound of the throughput at any batch: only the work that grows with every request."""
    c = coefficients
    growing = max(c.kv_read, c.step_compute) + c.overhead_per_sequence
    rate = 1.0 / (c.output_tokens * growing + c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def tpot_seconds(coefficients: Speed, batch: float, rate: float) -> tuple[float, float]:
    """Mean and 95th percentile time per output token: a step, and the prefills that fall between steps.

    The number of prefills during one request is taken as Poisson.
    """
    c = coefficients
    step = step_seconds(c, batch)
    busy = min(rate * c.prefill, 0.999)
    mean = step / (1.0 - busy)
    arrivals = rate * c.output_tokens * mean
    late = arrivals + P95_NORMAL * math.sqrt(arrivals)
    return mean, step + late * c.prefill / c.output_tokens


def ttft_seconds(coefficients: Speed, batch: float, rate: float) -> tuple[float, float]:
    """Mean and 95th percentile time to first token: host work, the wait for other prefills, the own prefill.

    M/D/1 with service time s = prefill + one step: mean wait s x u / 2(1 - u), and P(wait > t) = u exp(-2(1 - u)t / s).
    """
    c = coefficients
    step = step_seconds(c, max(batch, 1.0))
    service = c.prefill + (step if batch > 1 else 0.0)
    busy = min(rate * service, 0.999)
    base = REQUEST_SECONDS + c.host + c.prefill_latency + (step / 2 if batch > 1 else 0.0)
    mean = base + service * busy / (2.0 * (1.0 - busy))
    tail = service / (2.0 * (1.0 - busy)) * math.log(busy / P95_TAIL) if busy > P95_TAIL else 0.0
    return mean, base + max(tail, mean - base)


def batch_at_rate(coefficients: Speed, rate: float, *, maximum: int) -> float:
    """Sequences in flight when `rate` requests arrive per second (Little's law), at most `maximum`."""
    c = coefficients
    free = 1.0 - rate * c.prefill
    if free <= 0.0:
        return float(maximum)
    batch = 1.0
    for _ in range(40):
        following = rate * c.output_tokens * step_seconds(c, batch) / free
        if following >= maximum:
            return float(maximum)
        if abs(following - batch) <= 1e-3 * batch:
            return following
        batch = following
    return batch


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
