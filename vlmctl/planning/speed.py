"""What one replica's steps cost: a roofline of decoding, prefill and the vision encoder, and the time around them.

A step reads the weights (of a mixture of experts: as many experts as the batch touches), or multiplies, whichever takes
longer, then reads every sequence's KV cache, and pays a fixed time for each kernel that it launches.
"""

from __future__ import annotations

from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures, kernels_per_step, kv_bytes_per_sequence
from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import LanguageModel
from vlmctl.specs.record import Record

PCIE_GB_PER_SECOND = 32.0  # where the interconnect's rate is unknown: PCIe 4.0 x16


class SpeedConstants(Record, frozen=True, kw_only=True):
    """The constants of the speed model. Shares are of a GPU's published peak.

    Fitted together to 745 text rows of four models on H100, H200, B200 and B300 (catalog/measurements), each model
    weighing alike, held near physical values, then rounded; the last four to other rows, as they say.
    """

    bandwidth_share: float = 0.85  # of HBM, reading weights
    expert_bandwidth_share: float = 0.90  # routed experts; routing that is skewed, and touches fewer, is in it
    kv_bandwidth_share: float = 0.70  # the KV cache, whose blocks lie scattered
    compute_share: float = 0.55  # matrix products
    expert_compute_share: float = 0.34  # of routed experts: few tokens each, padded to whole tiles
    step_seconds: float = 0.00055  # scheduler, sampler and launch of one step
    kernel_seconds: float = 0.0000047  # one kernel of a CUDA graph, beyond the bytes and FLOPs it moves
    sequence_seconds: float = 0.0000049  # per step: scheduling, sampling and detokenising one sequence on the host
    prefill_step_seconds: float = 0.0087  # a step that carries a new prompt runs outside the CUDA graphs
    request_seconds: float = 0.031  # HTTP, tokenising, scheduling and the first streamed token of one request
    all_reduce_share: float = 0.35  # of the link's bandwidth
    encoder_share: float = 0.345  # the vision encoder (172 rows of vLLM 0.7.2, five models)
    gddr_bandwidth_share: float = 0.97  # as `bandwidth_share`, of GDDR (the same rows, on A6000)
    host_seconds_per_pixel: float = 20e-9  # decode, resize, normalise on one core (Gemma 4 on SGLang, H200, 1280x720)
    rocm_share: float = 0.5  # of the speed of products and attention that CUDA reaches (16 rows, six models, MI300X)


CONSTANTS = SpeedConstants()


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
    request: float  # seconds outside the GPU per request, whatever is in it
    host: float  # seconds of one CPU core per request, to prepare its images
    host_workers: int
    output_tokens: int


def speed(
    figures: ModelFigures,
    gpu: GpuSpec,
    demand: RequestDemand,
    settings: EngineSettings,
    *,
    gpu_count: int,
    constants: SpeedConstants = CONSTANTS,
) -> Speed:
    """Coefficients of a replica on `gpu_count` GPUs."""
    language = figures.language
    bandwidth = gpu.memory_bandwidth_gb_per_second * 1e9 * gpu_count
    product = attainable_tflops(figures, gpu, constants) * 1e12 * gpu_count
    all_reduce = _all_reduce_seconds(language.layers, language.hidden_size, gpu, gpu_count, constants)
    padded = figures.expert_operations_per_token * (constants.compute_share / constants.expert_compute_share - 1.0)
    token = (figures.operations_per_token + padded) / product
    encoder = demand.encoder_operations / (encoder_tflops(gpu, constants) * 1e12 * gpu_count)
    pairs = demand.sequence_tokens**2 / 2
    attention = figures.pair_operations * pairs / (attention_tflops(gpu, constants) * 1e12 * gpu_count)
    tokens = demand.sequence_tokens + demand.cross_tokens
    prefill = encoder + (token + all_reduce) * tokens + attention + constants.prefill_step_seconds
    dense_read = figures.read_bytes / (bandwidth * weights_bandwidth_share(gpu, constants))
    expert_read = figures.expert_bytes / (bandwidth * constants.expert_bandwidth_share)
    read = dense_read + expert_read * touched_experts(figures.expert_share, tokens)
    kernels = kernels_per_step(language, figures.precision, tensor_parallel=gpu_count)
    overhead = constants.step_seconds + constants.kernel_seconds * kernels
    return Speed(
        dense_read=dense_read,
        expert_read=expert_read,
        expert_share=figures.expert_share,
        kv_read=_kv_bytes(language, demand, settings, gpu_count)
        / (bandwidth * constants.kv_bandwidth_share * software_share(gpu, constants)),
        step_compute=token,
        overhead=overhead,
        overhead_per_sequence=all_reduce + constants.sequence_seconds,
        prefill=prefill,
        prefill_latency=max(prefill, encoder + read) + overhead,
        encoder=encoder,
        request=constants.request_seconds,
        host=demand.host_pixels * constants.host_seconds_per_pixel,
        host_workers=settings.renderer_workers,
        output_tokens=max(demand.output_tokens, 1),
    )


def attainable_tflops(figures: ModelFigures, gpu: GpuSpec, constants: SpeedConstants = CONSTANTS) -> float:
    """TFLOP/s that one GPU reaches in matrix products: its peak at their precision, times the share."""
    return (gpu.tflops(figures.precision) or 0.0) * _compute_share(gpu, constants) * constants.compute_share


def attention_tflops(gpu: GpuSpec, constants: SpeedConstants = CONSTANTS) -> float:
    """TFLOP/s that one GPU reaches in attention, which runs in 16 bit whatever the weights are."""
    return (gpu.sixteen_bit_tflops or 0.0) * _compute_share(gpu, constants) * constants.compute_share


def encoder_tflops(gpu: GpuSpec, constants: SpeedConstants = CONSTANTS) -> float:
    """TFLOP/s that one GPU reaches in the vision encoder, which runs in 16 bit."""
    return (gpu.sixteen_bit_tflops or 0.0) * _compute_share(gpu, constants) * constants.encoder_share


def software_share(gpu: GpuSpec, constants: SpeedConstants = CONSTANTS) -> float:
    """Share of the speed of CUDA's attention and matrix products, beside the peaks, that the GPU's own reach."""
    return constants.rocm_share if gpu.vendor == "amd" else 1.0


def weights_bandwidth_share(gpu: GpuSpec, constants: SpeedConstants = CONSTANTS) -> float:
    """Share of the peak memory bandwidth that reading weights reaches on this GPU's kind of memory."""
    return constants.gddr_bandwidth_share if gpu.memory_type.startswith("gddr") else constants.bandwidth_share


def touched_experts(share: float, tokens: float) -> float:
    """Share of the experts that `tokens` read when each picks `share` of them at random: 1 - (1 - share)^n."""
    return 1.0 - (1.0 - share) ** tokens if share else 0.0


def _compute_share(gpu: GpuSpec, constants: SpeedConstants) -> float:
    return (gpu.achievable_compute or 1.0) * software_share(gpu, constants)


def _kv_bytes(language: LanguageModel, demand: RequestDemand, settings: EngineSettings, gpu_count: int) -> float:
    """KV cache of one sequence at its mean length, on all GPUs together."""
    one = kv_bytes_per_sequence(
        language,
        demand.sequence_tokens + demand.output_tokens / 2,
        cross_tokens=demand.cross_tokens,
        tensor_parallel=gpu_count,
        element_bytes=settings.kv_element_bytes,
    )
    return one * gpu_count


def _all_reduce_seconds(
    layers: int, hidden_size: int, gpu: GpuSpec, gpu_count: int, constants: SpeedConstants
) -> float:
    """Seconds per token of two all-reduces per layer (ring: 2(n - 1)/n of the message each way)."""
    if gpu_count == 1:
        return 0.0
    link = (gpu.interconnect.gb_per_second or PCIE_GB_PER_SECOND) * 1e9 * constants.all_reduce_share
    message = hidden_size * ACTIVATION_BYTES * 2 * (gpu_count - 1) / gpu_count
    return 2 * layers * message / link
