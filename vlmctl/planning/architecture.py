"""What a model's shape implies: parameters by part, KV bytes, floating-point operations. Arithmetic on records only."""

from __future__ import annotations

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.positions import position_table_bytes
from vlmctl.planning.stored_weights import (
    BYTES_PER_WEIGHT,
    GATED_MLP_MATRICES,
    UNQUANTIZED,
    Storage,
    bytes_per_weight,
    decoder_bounds,
    decoder_bytes,
    decoder_parts,
    dense_bytes,
    storage,
)
from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel, ModelSpec, Precision, VisionTower
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import TokenRuleKind

ACTIVATION_BYTES = 2  # bf16 or fp16
PLAIN_MLP_MATRICES = 2  # up and down projection
# Kernels of a decoder layer, where torch.compile has fused what it can.
KERNELS_OF_A_LAYER = 11  # 2 norms, 4 projections, rotation, cache write, attention and its merge, activation
KERNELS_OF_EXPERTS = 4  # more where the feed-forward part is a mixture: router, top-k, sorting and summing up
KERNELS_OF_MLA = 4  # more for latent attention: two low-rank steps and the two absorbed products
KERNELS_OF_BLOCK_SCALES = 4  # one before each projection: published FP8 mixtures scale activations block by block
KERNELS_OF_LINEAR = 4  # more for linear attention: convolution, gates, state update and gated norm for attention's own
ALL_REDUCES_OF_A_LAYER = 2
# Features of several encoder layers enter the decoder (vllm/model_executor/models/qwen3_vl.py).
DEEPSTACK_ARCHITECTURES = ("Qwen3VL", "Qwen3Omni")

# Layers whose KV grows with every token, at least up to a window.
_GROWING = frozenset({AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.CHUNKED, AttentionKind.LATENT})


class Weights(Record, frozen=True, kw_only=True):
    """Parameter counts that decide memory and reads.

    `language`: the decoder, embeddings included; `embedding`: one table; `experts`: all routed experts together;
    `vision`: encoder and projector. `active_language`: read for one token, the output head included.
    """

    language: float
    embedding: float
    experts: float
    vision: float
    active_language: float
    tied: bool


def require_language(model: ModelSpec) -> LanguageModel:
    """The model's decoder; raises UnsupportedModel where the catalog does not know its shape."""
    if model.language is None:
        raise UnsupportedModel(
            f"{model.id}: the architecture of its language model is unknown, so memory and speed cannot be estimated.",
            remedy="Run `vlmctl models import` on its config.json, or add it in an overlay.",
        )
    return model.language


def weights(model: ModelSpec) -> Weights:
    """Parameters by part, from the published totals; the architecture only divides them.

    Totals rule because checkpoints hold parts (linear-attention gates, per-layer embeddings) no formula here knows.
    """
    language = require_language(model)
    counts = model.parameters
    vision = _vision_parameters(model)
    total = counts.total_billions * 1e9
    decoder = total - vision
    embedding = float(language.vocabulary * language.hidden_size)
    experts = _routed_expert_parameters(language)
    tied = _tied(language, decoder)
    if experts and language.experts is not None:
        share = language.experts.active / language.experts.count
        active = decoder - experts * (1 - share) - (0 if tied else embedding)
    else:
        # Per-layer embeddings (Gemma 3n, Gemma 4 E models) are looked up, not multiplied: the published active count.
        active = decoder - (counts.total_billions - counts.active_billions) * 1e9 - (0 if tied else embedding)
    return Weights(
        language=decoder,
        embedding=embedding,
        experts=experts,
        vision=vision,
        active_language=max(active, embedding),
        tied=tied,
    )


class ModelFigures(Record, frozen=True, kw_only=True):
    """What the planner needs of a model in one precision, worked out once. Weights in bytes.

    `read_bytes`: read by every decoding step; `expert_bytes`: all routed experts, read as far as a batch touches them;
    `operations_per_token`: FLOP, 2 x active parameters, routed experts (`expert_operations_per_token`) included;
    `pair_operations`: FLOP of attention per query and key token. `position_bytes`: tables of rotary positions, whole on
    every GPU; `deepstack`: whether features of several encoder layers enter the decoder. `storage`: which parts are in
    which format, in words; `language_bounds`: least and most of `language_bytes` where that is assumed.
    """

    model: str
    precision: Precision
    source: str
    language: LanguageModel
    vision: VisionTower | None
    language_bytes: float
    vision_bytes: float
    read_bytes: float
    expert_bytes: float
    expert_share: float
    operations_per_token: float
    expert_operations_per_token: float
    pair_operations: float
    needs_bf16: bool
    image_rule: TokenRuleKind | None = None
    position_bytes: float = 0.0
    deepstack: bool = False
    storage: str = ""
    language_bounds: tuple[float, float] | None = None


def model_figures(model: ModelSpec, precision: Precision, kept: Storage | None = None) -> ModelFigures:
    """Figures of a model in a precision; raises UnsupportedModel where its architecture is unknown.

    `kept`: how a certain checkpoint is stored, else as the catalog knows of one, or as is usual.
    """
    language = require_language(model)
    parts = weights(model)
    found = kept or storage(model, precision)
    by_part = decoder_parts(model, language, total=parts.language, experts=parts.experts, tied=parts.tied)
    own = bytes_per_weight(precision, found.stored)
    per_weight = ACTIVATION_BYTES if precision in UNQUANTIZED else own
    dense_weight = dense_bytes(by_part, precision, found.stored) / by_part.dense if by_part.dense else own
    experts = language.experts
    share = experts.active / experts.count if experts else 0.0
    dense = parts.active_language - parts.experts * share - parts.embedding
    wide = BYTES_PER_WEIGHT[precision] if precision in UNQUANTIZED else ACTIVATION_BYTES
    return ModelFigures(
        model=model.id,
        precision=precision,
        source=model.parameters.source,
        language=language,
        vision=model.vision,
        language_bytes=decoder_bytes(by_part, precision, found.stored),
        vision_bytes=parts.vision * wide,
        read_bytes=max(dense, 0.0) * (ACTIVATION_BYTES if precision in UNQUANTIZED else dense_weight)
        + parts.embedding * ACTIVATION_BYTES,
        expert_bytes=parts.experts * per_weight,
        expert_share=share,
        operations_per_token=2.0 * parts.active_language,
        expert_operations_per_token=2.0 * parts.experts * share,
        pair_operations=attention_operations_per_pair(language),
        needs_bf16=model.serving.needs_bf16,
        image_rule=model.image_tokens.rule if model.image_tokens is not None else None,
        position_bytes=position_table_bytes(model, language),
        deepstack=(model.serving.architecture or "").startswith(DEEPSTACK_ARCHITECTURES),
        storage=found.note,
        language_bounds=decoder_bounds(by_part, precision, found.stored) if found.assumed else None,
    )


def kv_bytes_per_token(language: LanguageModel, *, tensor_parallel: int = 1, element_bytes: int = 2) -> int:
    """Bytes that one more token adds to the KV cache of one GPU while no window is full.

    GQA: 2 x kv_heads x head_dim per layer, heads split over `tensor_parallel` and repeated when there are fewer heads
    than GPUs. MLA: one latent vector per layer, held by every GPU (vLLM `MLAAttentionSpec`).
    """
    return sum(
        group.layers * _token_elements(group, tensor_parallel) * element_bytes
        for group in language.attention
        if group.kind in _GROWING
    )


def kv_bytes_per_sequence(
    language: LanguageModel,
    tokens: float,
    *,
    cross_tokens: float = 0,
    tensor_parallel: int = 1,
    element_bytes: int = 2,
) -> float:
    """Bytes that a decoding step reads of a sequence on one GPU; it takes `kv_cache.sequence_bytes`, whole blocks.

    Sliding layers keep their window; linear layers keep a fixed state; cross-attention keeps image features.
    """
    total = 0.0
    for group in language.attention:
        kept = tokens
        if group.kind in (AttentionKind.SLIDING, AttentionKind.CHUNKED) and group.window_tokens:
            kept = min(tokens, group.window_tokens)
        if group.kind is AttentionKind.CROSS:
            kept = cross_tokens
        if group.kind is AttentionKind.SHARED:
            continue
        if group.kind is AttentionKind.LINEAR:
            total += group.layers * (group.state_bytes or 0) / tensor_parallel
            continue
        total += group.layers * _token_elements(group, tensor_parallel) * element_bytes * kept
    return total


def attention_operations_per_pair(language: LanguageModel) -> float:
    """Floating-point operations for one query token and one key token over all growing layers: 4 x heads x head_dim."""
    return sum(
        4.0 * group.layers * group.query_heads * group.head_dim
        for group in language.attention
        if group.kind in (AttentionKind.FULL, AttentionKind.LATENT)
    )


def encoder_operations(tower: VisionTower | None, vision_parameters: float, *, patches: int, views: int) -> float:
    """Floating-point operations of the encoder for one image: 2 x parameters x patches, and attention within each view.

    Attention costs 4 x hidden x patches per patch and layer (Dao et al., FlashAttention, count both matrix products);
    windowed towers attend within a window except in their few full-attention layers.
    """
    linear = 2.0 * vision_parameters * patches
    if tower is None or not tower.layers or not tower.hidden_size or patches == 0:
        return linear
    per_view = patches / max(views, 1)
    full_layers = tower.layers
    windowed = 0.0
    if tower.window_pixels and tower.patch_pixels and tower.full_attention_layers is not None:
        full_layers = tower.full_attention_layers
        window = (tower.window_pixels / tower.patch_pixels) ** 2
        windowed = 4.0 * tower.hidden_size * min(window, per_view) * patches * (tower.layers - full_layers)
    return linear + windowed + 4.0 * tower.hidden_size * per_view * patches * full_layers


def kernels_per_step(language: LanguageModel, precision: Precision, *, tensor_parallel: int) -> int:
    """Kernels that one decoding step launches, counted off the models of vLLM 0.19 (vllm/model_executor/models)."""
    kernels = KERNELS_OF_A_LAYER * language.layers + KERNELS_OF_EXPERTS * sparse_layers(language)
    more = {AttentionKind.LATENT: KERNELS_OF_MLA, AttentionKind.LINEAR: KERNELS_OF_LINEAR}
    kernels += sum(group.layers * more.get(group.kind, 0) for group in language.attention)
    if tensor_parallel > 1:
        kernels += ALL_REDUCES_OF_A_LAYER * language.layers
    if precision is Precision.FP8 and language.experts is not None:
        kernels += KERNELS_OF_BLOCK_SCALES * language.layers
    return kernels


def crosses(language: LanguageModel) -> bool:
    """Whether images stay outside the sequence and are seen by cross-attention alone (mllama)."""
    return any(group.kind is AttentionKind.CROSS for group in language.attention)


def sparse_layers(language: LanguageModel) -> int:
    """Layers that are a mixture of experts; 0 for a dense model."""
    if language.experts is None:
        return 0
    return language.layers if language.experts.layers is None else language.experts.layers


def tensor_parallel_fits(language: LanguageModel, gpu_count: int) -> bool:
    """Whether vLLM can split the attention heads over the GPUs: query heads divide, KV heads divide or repeat."""
    for group in language.attention:
        if group.query_heads and group.query_heads % gpu_count:
            return False
        if group.kv_heads and group.kv_heads % gpu_count and gpu_count % group.kv_heads:
            return False
    return True


def _token_elements(group: AttentionLayers, tensor_parallel: int) -> int:
    if group.kind is AttentionKind.LATENT:
        return group.latent_dim or 0
    return max(1, group.kv_heads // tensor_parallel) * (group.head_dim + (group.value_dim or group.head_dim))


def _vision_parameters(model: ModelSpec) -> float:
    counts = model.parameters
    tower = counts.vision_billions
    if tower is None and model.vision is not None:
        tower = model.vision.parameters_billions
    if tower is None and model.vision is None:
        tower = 0.0
    return ((tower or 0.0) + (counts.projector_billions or 0.0)) * 1e9


def _routed_expert_parameters(language: LanguageModel) -> float:
    experts = language.experts
    if experts is None:
        return 0.0
    layers = sparse_layers(language)
    matrices = GATED_MLP_MATRICES if experts.gated else PLAIN_MLP_MATRICES
    return float(layers * experts.count * matrices * language.hidden_size * experts.intermediate_size)


def _tied(language: LanguageModel, decoder: float) -> bool:
    """Whether input and output embeddings are one table; where unknown, small models (under 4 billion) usually tie."""
    return language.tied_embeddings if language.tied_embeddings is not None else decoder < 4e9
