"""The memory ledger of one GPU, as vLLM would divide it: weights, activations, caches, graphs, and what is left for KV.

`footprint` is quick and for the planner, `memory_ledger` the same for people. Activations are in `activations`, the
encoder's largest batch in `encoder_profile`, pages in `kv_cache`. The constants here were read off start-up logs
(catalog/measurements/engine_memory.yaml).
"""

from __future__ import annotations

from vlmctl.planning.activations import (
    Activations,
    encoder_bytes,
    forward_bytes,
    held_bytes,
    sampler_bytes,
    workspace_bytes,
)
from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.encoder_profile import EncoderProfile, encoder_profile
from vlmctl.planning.kv_cache import (
    BATCHES_IN_FLIGHT,
    KvPaging,
    kv_cache_tokens,
    kv_paging,
    least_cache_bytes,
    sequence_bytes,
)
from vlmctl.planning.loading import loaded_language_bytes, loaded_vision_bytes
from vlmctl.specs.estimates import EngineSettings, LedgerItem, MemoryLedger
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import Precision
from vlmctl.specs.record import Record
from vlmctl.units import GIB, show_gib

# "Non-torch" memory of one GPU: CUDA context, kernels, libraries (median of 41 runs of vLLM 0.18 and 0.19 on H100).
CONTEXT_BYTES = int(0.25 * GIB)
# More of it once several GPUs share a model. With multicast over NVLink (compute capability 9.0 on), where vLLM also
# registers symmetric memory: 1.82 GiB at 2 GPUs and 1.92 at 4 (18 runs of 0.19 on H100).
NCCL_MULTICAST_BYTES = int(1.72 * GIB)
NCCL_MULTICAST_BYTES_PER_GPU = int(0.05 * GIB)
NCCL_BYTES = int(0.41 * GIB)  # without: 0.54 instead of 0.13 GiB at 2 GPUs (2 runs of vLLM 0.11)
MULTICAST_CAPABILITY = 9.0
# CUDA graphs, which vLLM takes off before it sizes the KV cache (4 logs of 0.22 and 0.23, 28 to 60 layers).
GRAPH_FIXED_BYTES = int(0.35 * GIB)
GRAPH_BYTES_PER_LAYER = int(0.0075 * GIB)
# What the driver has handed out above PyTorch's tensors: weights by free memory are 0.08 to 0.10 GiB above tensors and
# position tables (3 of the same logs).
FRAGMENTATION_BYTES = int(0.1 * GIB)
LOGS = "vLLM start-up logs (catalog/measurements/engine_memory.yaml)"
RUNNER = "vllm-project/vllm@v0.32.0 vllm/v1/worker/gpu_model_runner.py, profile_run"
PAGES = "vllm-project/vllm@v0.32.0 vllm/v1/core/encoder_cache_manager.py"


class Footprint(Record, frozen=True, kw_only=True):
    """The ledger's terms for one GPU, in bytes; the planner reads these, people read `memory_ledger`."""

    language_weights: float
    vision_weights: float
    position_tables: float
    activations: Activations
    cuda_graphs: float
    context: float
    fragmentation: float
    budget: float
    kv_cache: float  # what the others leave of the budget; below 0 the engine does not start
    sequence: float  # KV of one request at its full length
    longest_sequence: float  # KV without which vLLM refuses to start: one sequence of `max_model_len`

    @property
    def fixed(self) -> float:
        """Everything but the KV cache."""
        return self.budget - self.kv_cache

    @property
    def fits(self) -> bool:
        """Whether the engine starts: room for the planned request and for the longest sequence it may be sent."""
        return self.maximum_sequences >= 1 and self.longest_sequence <= self.kv_cache

    @property
    def maximum_sequences(self) -> int:
        """Requests of the planned length that fit at once."""
        if self.kv_cache <= 0 or self.sequence <= 0:
            return 0
        return int(self.kv_cache / self.sequence)


def footprint(
    figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpu_count: int
) -> Footprint:
    """Memory of one GPU of a tensor-parallel group of `gpu_count`."""
    needed = activations(figures, settings, profiled_batch(figures, settings), gpu_count=gpu_count)
    paging = paging_of(figures, settings, gpu_count=gpu_count)
    language = loaded_language_bytes(figures, settings, gpu_count=gpu_count)
    vision = loaded_vision_bytes(figures, settings, gpu_count=gpu_count)
    graphs, context = graph_bytes(figures, settings), context_bytes(gpu, gpu_count)
    budget = gpu.memory_bytes * settings.gpu_memory_utilization
    fixed = language + vision + figures.position_bytes + needed.peak + graphs + context + FRAGMENTATION_BYTES
    in_flight = BATCHES_IN_FLIGHT * settings.max_num_batched_tokens
    crossing = demand.cross_tokens
    return Footprint(
        language_weights=language,
        vision_weights=vision,
        position_tables=figures.position_bytes,
        activations=needed,
        cuda_graphs=graphs,
        context=context,
        fragmentation=FRAGMENTATION_BYTES,
        budget=budget,
        kv_cache=budget - fixed,
        sequence=sequence_bytes(
            paging,
            min(demand.total_tokens, settings.max_model_len),
            in_flight_tokens=BATCHES_IN_FLIGHT,
            cross_tokens=crossing,
        ),
        longest_sequence=least_cache_bytes(
            paging, settings.max_model_len, in_flight_tokens=in_flight, cross_tokens=crossing
        ),
    )


def paging_of(figures: ModelFigures, settings: EngineSettings, *, gpu_count: int) -> KvPaging:
    """The pages of the KV cache on each GPU."""
    return kv_paging(figures.language, tensor_parallel=gpu_count, element_bytes=settings.kv_element_bytes)


def profiled_batch(figures: ModelFigures, settings: EngineSettings) -> EncoderProfile | None:
    """The largest batch of images or videos that the limits allow; None where there is no encoder, or it stays out."""
    if figures.image_rule is None:
        return None
    return encoder_profile(
        figures.image_rule,
        images=settings.max_images,
        videos=settings.max_videos,
        max_model_len=settings.max_model_len,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        max_num_seqs=settings.max_num_seqs,
        max_pixels=settings.max_image_pixels,
    )


def activations(
    figures: ModelFigures,
    settings: EngineSettings,
    profile: EncoderProfile | None,
    *,
    gpu_count: int,
    sorting_sampler: bool = False,
    samples: bool = True,
) -> Activations:
    """What the profile run needs. `samples`: False for the earlier stages of a pipeline, which have no output head."""
    language, precision = figures.language, figures.precision
    element = 2 * ACTIVATION_BYTES if precision is Precision.FP32 else ACTIVATION_BYTES
    chunk = settings.max_num_batched_tokens
    shape = {"tokens": chunk, "tensor_parallel": gpu_count, "element_bytes": element}
    encoder = held = 0.0
    if profile is not None and figures.image_rule is not None:
        tower, ranks = figures.vision, 1 if settings.encoder_data_parallel else gpu_count
        parameters = 1e9 * (tower.parameters_billions or 0.0) if tower else 0.0
        encoder = encoder_bytes(
            tower, parameters, patches=profile.patches, tensor_parallel=ranks, element_bytes=element
        )
        held = held_bytes(
            profile,
            figures.image_rule,
            language,
            patch_pixels=tower.patch_pixels if tower else None,
            deepstack=figures.deepstack,
            element_bytes=element,
        )
    return Activations(
        forward=forward_bytes(language, precision=precision, **shape),
        sampler=sampler_bytes(
            language,
            sequences=settings.max_num_seqs,
            tokens=chunk,
            element_bytes=element,
            sorting=sorting_sampler,
        )
        if samples
        else 0.0,
        encoder=encoder,
        held=held,
        workspace=workspace_bytes(language, precision=precision, **shape),
    )


def context_bytes(gpu: GpuSpec | None, gpu_count: int) -> float:
    """CUDA context and, with several GPUs, NCCL. A GPU that is not known is taken as one without multicast."""
    if gpu_count == 1:
        return float(CONTEXT_BYTES)
    if gpu is not None and has_multicast(gpu):
        return float(CONTEXT_BYTES + NCCL_MULTICAST_BYTES + NCCL_MULTICAST_BYTES_PER_GPU * gpu_count)
    return float(CONTEXT_BYTES + NCCL_BYTES)


def has_multicast(gpu: GpuSpec) -> bool:
    """Whether GPUs of one node reach each other at once: NVLink from compute capability 9.0 on."""
    if gpu.vendor != "nvidia" or gpu.compute_capability is None:
        return False
    return float(gpu.compute_capability) >= MULTICAST_CAPABILITY and "NVLink" in gpu.interconnect.name


def graph_bytes(figures: ModelFigures, settings: EngineSettings) -> float:
    """CUDA graphs of the decoder."""
    return 0.0 if settings.enforce_eager else float(GRAPH_FIXED_BYTES + GRAPH_BYTES_PER_LAYER * figures.language.layers)


def memory_ledger(
    figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpu_count: int
) -> MemoryLedger:
    """The same memory as `footprint`, itemised with formula and source for people."""
    terms = footprint(figures, gpu, demand, settings, gpu_count=gpu_count)
    items = (
        *_weight_items(figures, terms, gpu_count),
        *_activation_items(figures, terms, settings),
        *_runtime_items(figures, terms, gpu_count),
    )
    kv_cache = terms.kv_cache
    return MemoryLedger(
        items=tuple(item for item in items if item.bytes > 0),
        gpu_bytes=gpu.memory_bytes,
        budget_bytes=int(terms.budget),
        kv_cache_bytes=int(kv_cache),
        kv_bytes_per_sequence=int(terms.sequence),
        kv_cache_tokens=kv_cache_tokens(
            paging_of(figures, settings, gpu_count=gpu_count),
            int(kv_cache),
            max_model_len=settings.max_model_len,
            in_flight_tokens=BATCHES_IN_FLIGHT * settings.max_num_batched_tokens,
            cross_tokens=demand.cross_tokens,
        ),
        maximum_sequences=terms.maximum_sequences,
        longest_sequence_bytes=int(terms.longest_sequence),
        fits=terms.fits,
    )


def _weight_items(figures: ModelFigures, terms: Footprint, gpu_count: int) -> tuple[LedgerItem, ...]:
    split = f" / {gpu_count} GPUs" if gpu_count > 1 else ""
    formats = figures.storage or figures.precision.value
    if figures.language_bounds is not None:
        least, most = (show_gib(bound) for bound in figures.language_bounds)
        formats += f"; checkpoints differ, {least} to {most}"
    return (
        _item("language weights", terms.language_weights, f"{formats}{split}", figures.source),
        _item("vision weights", terms.vision_weights, f"16 bit{split}", figures.source),
        _item("position tables", terms.position_tables, "context x rotated elements x 2 B, on every GPU", RUNNER),
    )


def _activation_items(figures: ModelFigures, terms: Footprint, settings: EngineSettings) -> tuple[LedgerItem, ...]:
    """The parts of the peak: what is alive at that moment."""
    peak, chunk = terms.activations, settings.max_num_batched_tokens
    logits = f"{settings.max_num_seqs} sequences x {figures.language.vocabulary:,} logits"
    profile = profiled_batch(figures, settings)
    images = ""
    if profile is not None:
        kind, number = profile.item.modality, profile.items
        images = f"{number} {kind}{'s' if number > 1 else ''}, {profile.patches:,} patches, {profile.tokens:,} tokens"
    if peak.encoder + peak.held >= peak.peak:
        return (
            _item("activations", peak.encoder, f"encoder on {images}", RUNNER),
            _item("encoder cache", peak.held, f"{images}: inputs and outputs", PAGES),
        )
    moment = f"sampler: {logits}" if peak.sampler >= peak.forward else f"decoder forward pass of {chunk:,} tokens"
    workspace = f"{chunk:,} tokens x active experts x 2 buffers"
    return (
        _item("activations", max(peak.sampler, peak.forward), moment, RUNNER),
        _item("expert workspace", peak.workspace, workspace, "vLLM fused_moe, TritonExperts.workspace_shapes"),
        _item("encoder cache", peak.held, f"{images}: inputs and outputs", PAGES),
    )


def _runtime_items(figures: ModelFigures, terms: Footprint, gpu_count: int) -> tuple[LedgerItem, ...]:
    layers = figures.language.layers
    graphs = f"{show_gib(GRAPH_FIXED_BYTES)} + {layers} layers x {GRAPH_BYTES_PER_LAYER / GIB:.4f} GiB"
    context = f"{CONTEXT_BYTES / GIB:.2f} GiB"
    nccl = f"between {gpu_count} GPUs"
    return (
        _item("CUDA graphs", terms.cuda_graphs, graphs, LOGS),
        _item("CUDA context", min(terms.context, CONTEXT_BYTES), context, LOGS),
        _item("NCCL", max(0.0, terms.context - CONTEXT_BYTES), nccl, LOGS),
        _item("fragmentation", terms.fragmentation, f"{FRAGMENTATION_BYTES / GIB:.2f} GiB", LOGS),
    )


def _item(name: str, size: float, formula: str, source: str) -> LedgerItem:
    return LedgerItem(name=name, bytes=int(size), formula=formula, source=source)
