"""The memory ledger of one GPU, as vLLM would divide it: weights, activations, caches, graphs, and what is left for KV.

The constants were read off vLLM 0.19 start-up logs on H100 (llm-d benchmark runs, 62 models and settings; see
catalog/measurements/engine_memory.yaml): the activation peak is the larger of the decoder's forward pass at
`max_num_batched_tokens` and the sampler's logits at `max_num_seqs`, and does not shrink with tensor parallelism.
"""

from __future__ import annotations

from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures, kv_bytes_per_sequence, kv_bytes_per_token
from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.estimates import EngineSettings, LedgerItem, MemoryLedger
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import LanguageModel, VisionTower
from vlmctl.specs.record import Record
from vlmctl.units import GIB, show_gib

SAMPLER_BYTES_PER_LOGIT = 14.5  # bf16 logits, their fp32 copy, and the sort; slope over vocabularies 32k to 262k
SAMPLER_FIXED_BYTES = 130_000_000  # intercept of the same fit
FORWARD_MLP_TENSORS = 3  # gate, up and their product alive at once
FORWARD_HIDDEN_TENSORS = 4  # residual, normed input, attention output, projection
ENCODER_MLP_TENSORS = 2  # as FORWARD_*, for the encoder's plain MLP
ENCODER_HIDDEN_TENSORS = 6  # residual, query, key, value, attention output, projection
CONTEXT_BYTES = int(0.25 * GIB)  # "non-torch" memory on one GPU
NCCL_BYTES = int(1.9 * GIB)  # more of it once several GPUs share a model (2.06 to 2.21 GiB in all at TP 2 and 4)
GRAPH_FIXED_BYTES = int(0.3 * GIB)  # CUDA graphs: 0.65 GiB at 26 layers, 1.6 to 1.8 GiB at 80
GRAPH_BYTES_PER_LAYER = int(0.019 * GIB)
FRAGMENTATION_BYTES = int(0.15 * GIB)  # blocks that PyTorch's allocator holds but cannot use
BLOCK_TOKENS = 16  # vLLM's default KV block
LOGS = "vLLM 0.19 start-up logs on H100 (catalog/measurements/engine_memory.yaml)"
DEFAULT_ENCODER_HIDDEN = 1280  # where a tower's width is unknown: that of ViT-H, the widest common one


class Footprint(Record, frozen=True, kw_only=True):
    """The ledger's terms for one GPU, in bytes; the planner reads these, people read `memory_ledger`."""

    language_weights: float
    vision_weights: float
    forward_activations: float
    sampler_activations: float
    encoder_activations: float
    expert_workspace: float
    encoder_cache: float
    cuda_graphs: float
    context: float
    fragmentation: float
    budget: float
    sequence: float  # KV of one request at its full length
    longest_sequence: float  # KV of one sequence of `max_model_len`, which vLLM insists on
    token: float  # KV of one token

    @property
    def activations(self) -> float:
        """The peak: the three phases do not overlap."""
        return max(self.forward_activations, self.sampler_activations, self.encoder_activations)

    @property
    def fixed(self) -> float:
        """Everything but the KV cache."""
        return (
            self.language_weights
            + self.vision_weights
            + self.activations
            + self.expert_workspace
            + self.encoder_cache
            + self.cuda_graphs
            + self.context
            + self.fragmentation
        )

    @property
    def kv_cache(self) -> float:
        """Bytes left for the KV cache; below 0 the engine does not start."""
        return self.budget - self.fixed

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
    language = figures.language
    vision_bytes = figures.vision_bytes
    chunk = settings.max_num_batched_tokens
    tokens = min(demand.total_tokens, settings.max_model_len)
    return Footprint(
        language_weights=figures.language_bytes / gpu_count,
        vision_weights=vision_bytes if settings.encoder_data_parallel else vision_bytes / gpu_count,
        forward_activations=_forward_bytes(language, chunk, gpu_count),
        sampler_activations=SAMPLER_BYTES_PER_LOGIT * settings.max_num_seqs * language.vocabulary + SAMPLER_FIXED_BYTES,
        encoder_activations=_encoder_bytes(figures.vision, demand),
        expert_workspace=_expert_workspace_bytes(language, chunk, gpu_count),
        encoder_cache=_encoder_cache_bytes(language, demand, chunk),
        cuda_graphs=0.0 if settings.enforce_eager else GRAPH_FIXED_BYTES + GRAPH_BYTES_PER_LAYER * language.layers,
        context=CONTEXT_BYTES + (NCCL_BYTES if gpu_count > 1 else 0),
        fragmentation=FRAGMENTATION_BYTES,
        budget=gpu.memory_bytes * settings.gpu_memory_utilization,
        sequence=_sequence_bytes(language, tokens, demand, chunk, gpu_count),
        longest_sequence=_sequence_bytes(language, settings.max_model_len, demand, chunk, gpu_count),
        token=kv_bytes_per_token(language, tensor_parallel=gpu_count),
    )


def memory_ledger(
    figures: ModelFigures, gpu: GpuSpec, demand: RequestDemand, settings: EngineSettings, *, gpu_count: int
) -> MemoryLedger:
    """The same memory as `footprint`, itemised with formula and source for people."""
    terms = footprint(figures, gpu, demand, settings, gpu_count=gpu_count)
    language = figures.language
    split = f" / {gpu_count} GPUs" if gpu_count > 1 else ""
    chunk, sequences = settings.max_num_batched_tokens, settings.max_num_seqs
    logits = f"{sequences} sequences x {language.vocabulary:,} logits x {SAMPLER_BYTES_PER_LOGIT} B"
    peak = {
        terms.forward_activations: f"decoder forward pass of {chunk:,} tokens",
        terms.sampler_activations: f"sampler: {logits}",
        terms.encoder_activations: f"encoder at the largest image, {demand.encoder_patches:,} patches",
    }[terms.activations]
    rows = (
        ("language weights", terms.language_weights, f"{figures.precision.value}{split}", figures.source),
        ("vision weights", terms.vision_weights, f"16 bit{split}", figures.source),
        ("activations", terms.activations, peak, LOGS),
        ("expert workspace", terms.expert_workspace, "tokens x active experts x (hidden + 2 x intermediate)", LOGS),
        ("encoder cache", terms.encoder_cache, "encoder budget x hidden size x 2 B", "vLLM encoder cache manager"),
        (
            "CUDA graphs",
            terms.cuda_graphs,
            f"{show_gib(GRAPH_FIXED_BYTES)} + {language.layers} layers x {GRAPH_BYTES_PER_LAYER / GIB:.3f} GiB",
            LOGS,
        ),
        (
            "CUDA context, NCCL",
            terms.context,
            f"{CONTEXT_BYTES / GIB:.2f} GiB, {(CONTEXT_BYTES + NCCL_BYTES) / GIB:.2f} GiB with several GPUs",
            LOGS,
        ),
        (
            "fragmentation",
            terms.fragmentation,
            f"allowance of {FRAGMENTATION_BYTES / GIB:.2f} GiB",
            "PyTorch caching allocator",
        ),
    )
    kv_cache = terms.kv_cache
    return MemoryLedger(
        items=tuple(LedgerItem(name=n, bytes=int(b), formula=f, source=s) for n, b, f, s in rows if b > 0),
        gpu_bytes=gpu.memory_bytes,
        budget_bytes=int(terms.budget),
        kv_cache_bytes=int(kv_cache),
        kv_bytes_per_sequence=int(terms.sequence),
        kv_cache_tokens=max(0, int(kv_cache / terms.token)) if terms.token else 0,
        maximum_sequences=terms.maximum_sequences,
        longest_sequence_bytes=int(terms.longest_sequence),
        fits=terms.fits,
    )


def _sequence_bytes(
    language: LanguageModel, tokens: int, demand: RequestDemand, chunk_tokens: int, gpu_count: int
) -> float:
    return kv_bytes_per_sequence(
        language,
        -(-tokens // BLOCK_TOKENS) * BLOCK_TOKENS,
        cross_tokens=demand.cross_tokens,
        chunk_tokens=chunk_tokens,
        tensor_parallel=gpu_count,
    )


def _forward_bytes(language: LanguageModel, chunk_tokens: int, gpu_count: int) -> float:
    experts = language.experts
    inner = language.intermediate_size or (experts.intermediate_size if experts else 4 * language.hidden_size)
    width = FORWARD_MLP_TENSORS * inner / gpu_count + FORWARD_HIDDEN_TENSORS * language.hidden_size
    return chunk_tokens * width * ACTIVATION_BYTES


def _expert_workspace_bytes(language: LanguageModel, chunk_tokens: int, gpu_count: int) -> float:
    """vLLM's fused-experts kernel keeps its work buffers beside the activation peak."""
    experts = language.experts
    if experts is None:
        return 0.0
    width = language.hidden_size + 2 * experts.intermediate_size / gpu_count
    return chunk_tokens * experts.active * width * ACTIVATION_BYTES


def _encoder_bytes(tower: VisionTower | None, demand: RequestDemand) -> float:
    worst = demand.worst_image
    if tower is None or worst is None:
        return 0.0
    hidden = tower.hidden_size or DEFAULT_ENCODER_HIDDEN
    inner = tower.intermediate_size or 4 * hidden
    width = ENCODER_HIDDEN_TENSORS * hidden + ENCODER_MLP_TENSORS * inner
    return worst.patches * width * ACTIVATION_BYTES


def _encoder_cache_bytes(language: LanguageModel, demand: RequestDemand, chunk_tokens: int) -> float:
    """vLLM keeps encoder outputs up to the batch budget or the largest image (`compute_encoder_budget`)."""
    if demand.worst_image is None:
        return 0.0
    budget = max(chunk_tokens, demand.worst_image.image_tokens)
    return float(budget * language.hidden_size * ACTIVATION_BYTES)
