"""Parameters of a decoder, counted from its configuration: for models whose checkpoint nobody has counted.

Matrices only: norms, biases and gates of a few elements are left out. Shapes: huggingface/transformers v5,
src/transformers/models/<type>/modeling_<type>.py.
"""

from __future__ import annotations

from typing import NamedTuple

from vlmctl.catalog.hf_config import decoder
from vlmctl.catalog.hf_unlisted import mamba_sizes
from vlmctl.catalog.hf_values import Config, integer, section
from vlmctl.specs.model import AttentionKind, AttentionLayers, Experts, LanguageModel

GATED, PLAIN = 3, 2  # matrices of a feed-forward layer: gate, up and down; up and down
_PLAIN_ACTIVATIONS = frozenset({"relu2", "xielu"})
_PLAIN_TYPES = frozenset(
    {
        "bloom",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "gptj",
        "kosmos_2_5_text_model",
        "kosmos_2_text_model",
        "mpt",
        "opt",
        "phi",
        "starcoder2",
    }
)
_GATED_ATTENTION = frozenset(
    {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "afmoe"}
)  # query size of gates beside it
_DELTA_NET_PER_HEAD = 2  # decay and write strength of each value head


class DecoderCount(NamedTuple):
    """`active`: those that one token is multiplied with, embeddings that are only looked up left out of the routed."""

    total: float
    active: float


def count_decoder(config: Config, language: LanguageModel) -> DecoderCount:
    """Parameters of the decoder that `language` was read as from the same configuration."""
    model_type, text = decoder(config, unlisted=True)
    hidden = language.hidden_size
    attention = sum(group.layers * _attention(group, text, model_type, hidden) for group in language.attention)
    matrices = _matrices(text, model_type)
    experts = language.experts
    sparse = (language.layers if experts.layers is None else experts.layers) if experts else 0
    blind = sum(group.layers for group in language.attention if _is_feed_forward(group))
    dense_layers = _dense_layers(language, text, sparse, blind)
    rest = attention + dense_layers * matrices * hidden * (language.intermediate_size or 0)
    rest += language.vocabulary * hidden * (1 if language.tied_embeddings else 2)
    routed = 0.0
    if experts is not None:
        per_expert = (matrices if experts.gated else PLAIN) * hidden
        routed = float(sparse * experts.count * per_expert * experts.intermediate_size)
        rest += sparse * (per_expert * _shared_width(experts) + hidden * experts.count)
    looked_up = _looked_up(text, language.layers)
    active = rest + (routed * experts.active / experts.count if experts is not None else 0.0)
    return DecoderCount(total=rest + routed + looked_up, active=active)


def _dense_layers(language: LanguageModel, text: Config, sparse: int, blind: int) -> int:
    if "layers_block_type" in text or "hybrid_override_pattern" in text:  # each layer is one thing
        shared = integer(text, "num_mem_blocks")
        return blind - sparse if blind else shared or language.layers
    if all(group.kind is AttentionKind.LINEAR for group in language.attention):
        return 0
    return language.layers if "zero_expert_num" in text else language.layers - sparse  # LongCat: beside its experts


def _is_feed_forward(group: AttentionLayers) -> bool:
    return group.kind is AttentionKind.SHARED


def _shared_width(experts: Experts) -> int:
    return experts.shared * (experts.shared_intermediate_size or experts.intermediate_size)


def _matrices(text: Config, model_type: str) -> int:
    activation = text.get("mlp_hidden_act") or text.get("hidden_act") or text.get("hidden_activation")
    return PLAIN if model_type in _PLAIN_TYPES or activation in _PLAIN_ACTIVATIONS else GATED


def _looked_up(text: Config, layers: int) -> float:
    """Embeddings of each layer (Gemma 3n, Gemma 4 E models), read one row a token."""
    width = integer(text, "hidden_size_per_layer_input") or 0
    return float(layers * width * (integer(text, "vocab_size_per_layer_input") or 0))


def _attention(group: AttentionLayers, text: Config, model_type: str, hidden: int) -> float:
    """Of one layer of the group."""
    if group.kind is AttentionKind.LINEAR:
        return _linear(text, hidden)
    if integer(text, "compressed_head_dim"):
        return _grouped(text, hidden)
    if group.kind is AttentionKind.LATENT:
        return _latent(group, text, hidden)
    if _is_feed_forward(group) and "num_kv_shared_layers" not in text:
        return 0.0
    queries = group.query_heads * group.head_dim
    gates = queries if model_type in _GATED_ATTENTION or text.get("attn_output_gate") is True else 0
    keys = group.kv_heads * group.head_dim
    values = 0 if group.key_is_value else group.kv_heads * (integer(text, "v_head_dim") or group.head_dim)
    outputs = group.query_heads * (integer(text, "v_head_dim") or group.head_dim)
    return float(hidden * (queries + gates + keys + values + outputs))


def _latent(group: AttentionLayers, text: Config, hidden: int) -> float:
    """Multi-head latent attention: queries through their own low rank, keys and values through the one that is kept."""
    heads, rank = group.query_heads, integer(text, "kv_lora_rank") or 0
    position = (group.latent_dim or 0) - rank
    plain = group.head_dim - position
    value = integer(text, "v_head_dim") or plain
    query_rank = integer(text, "q_lora_rank")
    queries = heads * group.head_dim
    total = query_rank * (hidden + queries) if query_rank else hidden * queries
    total += hidden * (rank + position) + rank * heads * (plain + value) + heads * value * hidden
    indexed = integer(text, "index_n_heads") or 0  # DeepSeek-V3.2: a small head chooses what is attended to
    width = integer(text, "index_head_dim") or 0
    return float(total + (query_rank or hidden) * indexed * width + hidden * (width + indexed))


def _grouped(text: Config, hidden: int) -> float:
    """DeepSeek-V4: low-rank queries, one head of keys that are the values, outputs in groups through a low rank."""
    queries = (integer(text, "num_attention_heads") or 0) * (integer(text, "head_dim") or 0)
    query_rank, rank = integer(text, "q_lora_rank") or 0, integer(text, "o_lora_rank") or 0
    groups = integer(text, "o_groups") or 1
    return float(
        query_rank * (hidden + queries) + hidden * (integer(text, "head_dim") or 0) + rank * (queries + groups * hidden)
    )


def _linear(text: Config, hidden: int) -> float:
    """Gated DeltaNet, Kimi Delta Attention, a short convolution, Mamba or lightning attention."""
    kernel = integer(text, "linear_conv_kernel_dim", "conv_kernel", "mamba_d_conv", "conv_L_cache") or 4
    if "linear_num_key_heads" in text:
        values = (integer(text, "linear_num_value_heads") or 0) * (integer(text, "linear_value_head_dim") or 0)
        keys = (integer(text, "linear_num_key_heads") or 0) * (integer(text, "linear_key_head_dim") or 0)
        heads = _DELTA_NET_PER_HEAD * (integer(text, "linear_num_value_heads") or 0)
        return float(hidden * (2 * keys + 2 * values + heads) + (2 * keys + values) * kernel + values * hidden)
    if (delta := section(text, "linear_attn_config")) is not None:
        dimension = integer(delta, "head_dim") or 0
        inner = (integer(delta, "num_heads") or 0) * dimension
        return float(4 * hidden * inner + 2 * dimension * (hidden + inner))  # and two gates through a low rank
    if "conv_L_cache" in text:
        return float(4 * hidden * hidden + hidden * kernel)
    inner, channels, state = mamba_sizes(text, hidden)
    if not state:
        width = (integer(text, "num_attention_heads") or 0) * (integer(text, "head_dim") or 0)
        return float(5 * hidden * width)  # queries, keys, values, gate and output
    if channels > inner:  # Mamba 2: gate, convolved channels and a step per head in one projection
        return float(hidden * (inner + channels) + channels * kernel + inner * hidden)
    steps = integer(text, "mamba_dt_rank", "time_step_rank") or hidden // 16
    width = state // inner
    return float(3 * hidden * inner + inner * (kernel + 2 * steps + 3 * width))
