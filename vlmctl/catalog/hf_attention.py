"""The attention of a decoder from its configuration: what each layer keeps of the tokens it has seen."""

from __future__ import annotations

from collections.abc import Mapping

from vlmctl.catalog.hf_unlisted import delta_state_bytes
from vlmctl.catalog.hf_values import Config, integer, names_of, numbers, refuse, required, section, shown
from vlmctl.specs.model import AttentionKind, AttentionLayers

BF16_BYTES = 2
FP32_BYTES = 4

# Names of huggingface/transformers (ALLOWED_LAYER_TYPES) and of older files.
_KINDS: Mapping[str, AttentionKind] = {
    "full_attention": AttentionKind.FULL,
    "indexed_attention": AttentionKind.FULL,  # reads a few tokens of a cache that is kept whole
    "attention": AttentionKind.FULL,
    "sliding_attention": AttentionKind.SLIDING,
    "chunked_attention": AttentionKind.CHUNKED,
    "linear_attention": AttentionKind.LINEAR,
    "deepseek_sparse_attention": AttentionKind.FULL,
    "conv": AttentionKind.LINEAR,
    "feed_forward": AttentionKind.SHARED,  # attends to nothing (Nemotron-H)
}
_MAMBA_2_GROUPS = ("n_groups", "mamba_n_groups", "mamba_ngroups")  # what Mamba 2 has and other linear layers have not
_INDEX_SCALE_ELEMENTS = 128
_LLAMA4_FULL_INTERVAL = 4  # every fourth layer has no position embedding and attends to everything
_MLLAMA_CROSS_START, _MLLAMA_CROSS_STEP = 3, 5  # layers 3, 8, 13 ...: what the configuration class fills in


def attention_layers(config: Config, model_type: str, layers: int, heads: int) -> tuple[AttentionLayers, ...]:
    """Groups of layers with the same attention, in the order in which they first occur. `config`: defaults filled in.

    Raises UnsupportedModel for a kind of layer that is not known, or one whose sizes are not stated.
    """
    kinds = _layer_kinds(config, model_type, layers)
    if len(kinds) < layers:
        raise refuse(f"the configuration names the attention of {len(kinds)} of {layers} layers.")
    kinds = kinds[:layers]  # beyond them: layers for speculative decoding
    shared = integer(config, "num_kv_shared_layers") or 0
    kinds[layers - shared :] = [AttentionKind.SHARED] * shared
    return tuple(_group(config, model_type, kind, kinds.count(kind), heads) for kind in dict.fromkeys(kinds))


def head_dimension(config: Config, heads: int, *names: str) -> int:
    """Elements of one head: as stated, else the hidden size divided evenly among the heads."""
    stated = integer(config, *(names or ("head_dim", "kv_channels", "attention_head_dim")))
    if stated:
        return stated
    hidden = required(config, "hidden_size")
    if hidden % heads:
        raise refuse(f"the hidden size {hidden} cannot be divided among {heads} heads, and no head_dim is stated.")
    return hidden // heads


def _group(config: Config, model_type: str, kind: AttentionKind, layers: int, heads: int) -> AttentionLayers:
    if kind is AttentionKind.LINEAR:
        return AttentionLayers(
            kind=kind,
            layers=layers,
            state_bytes=_state_bytes(config, model_type),
            checkpoint_states=int(any(name in config for name in _MAMBA_2_GROUPS)),
        )
    if kind is AttentionKind.FULL and (rank := integer(config, "kv_lora_rank")):
        # GLM-5-next: 0, its latent layers know no positions.
        rotated = 0 if config.get("qk_rope_head_dim") == 0 else required(config, "qk_rope_head_dim")
        latent = rank + rotated
        dims = required(config, "qk_nope_head_dim") + rotated
        return AttentionLayers(
            kind=AttentionKind.LATENT,
            layers=layers,
            query_heads=heads,
            kv_heads=heads,
            head_dim=dims,
            latent_dim=latent,
            index_bytes=_index_bytes(config),
        )
    if kind is AttentionKind.FULL and (entry := integer(config, "compressed_head_dim")):  # see hf_unlisted
        return AttentionLayers(
            kind=AttentionKind.LATENT, layers=layers, query_heads=heads, kv_heads=1, head_dim=entry, latent_dim=entry
        )
    kv_heads = _kv_heads(config, heads)
    dimension = head_dimension(config, heads)
    same = False
    if model_type == "gemma4_text" and kind is AttentionKind.FULL:
        same = config.get("attention_k_eq_v") is True
        kv_heads = (integer(config, "num_global_key_value_heads") if same else None) or kv_heads
        dimension = required(config, "global_head_dim")
    value_dimension = None
    if model_type == "mimo_v2_flash":
        value_dimension = integer(config, "swa_v_head_dim" if kind is AttentionKind.SLIDING else "v_head_dim")
    if model_type == "mimo_v2_flash" and kind is AttentionKind.SLIDING:
        heads, kv_heads = required(config, "swa_num_attention_heads"), required(config, "swa_num_key_value_heads")
    window = {
        AttentionKind.SLIDING: ("sliding_window", "sliding_window_size"),
        AttentionKind.CHUNKED: ("attention_chunk_size",),
    }.get(kind)
    return AttentionLayers(
        kind=kind,
        layers=layers,
        query_heads=heads,
        kv_heads=kv_heads,
        head_dim=dimension,
        window_tokens=required(config, *window) if window else None,
        value_dim=value_dimension,
        key_is_value=same,
    )


def _index_bytes(config: Config) -> int | None:
    """Bytes per token of the keys by which sparse attention picks: 8 bit, and a 32-bit scale for each 128.

    `DeepseekV32IndexerCache`, vllm-project/vllm@v0.32.0 vllm/model_executor/models/deepseek_v2.py. None where there are
    none, or where only some of the layers have them.
    """
    width = integer(config, "index_head_dim")
    if width is None or config.get("index_topk_pattern") or (integer(config, "index_topk_freq") or 1) > 1:
        return None
    return width + width // _INDEX_SCALE_ELEMENTS * FP32_BYTES


def _kv_heads(config: Config, heads: int) -> int:
    if config.get("multi_query_attention") is True:
        return required(config, "multi_query_group_num")
    return integer(config, "num_key_value_heads") or heads


def _layer_kinds(config: Config, model_type: str, layers: int) -> list[AttentionKind]:
    full, sliding = AttentionKind.FULL, AttentionKind.SLIDING
    if named := names_of(config, "layer_types"):
        unknown = sorted(set(named) - set(_KINDS))
        if unknown:
            raise refuse(f"the configuration has layers of the type {shown(unknown[0])}, which vlmctl does not know.")
        return [_KINDS[name] for name in named]
    if model_type == "mllama_text_model":
        stated = numbers(config, "cross_attention_layers")
        crossing = set(stated if stated is not None else range(_MLLAMA_CROSS_START, layers, _MLLAMA_CROSS_STEP))
        return [AttentionKind.CROSS if index in crossing else full for index in range(layers)]
    if model_type == "llama4_text":
        positions = numbers(config, "no_rope_layers") or tuple(
            int((index + 1) % _LLAMA4_FULL_INTERVAL != 0) for index in range(layers)
        )
        return [AttentionKind.CHUNKED if has_position else full for has_position in positions]
    if pattern := numbers(config, "hybrid_layer_pattern"):
        return [sliding if windowed else full for windowed in pattern]
    if interval := integer(config, "full_attention_interval"):
        return [full if (index + 1) % interval == 0 else AttentionKind.LINEAR for index in range(layers)]
    if model_type == "kimi_linear":
        return _kimi_linear(config, layers)
    if model_type == "lfm2":
        attending = set(numbers(config, "full_attn_idxs") or range(layers))
        return [full if index in attending else AttentionKind.LINEAR for index in range(layers)]
    return _windowed(config, layers)


def _kimi_linear(config: Config, layers: int) -> list[AttentionKind]:
    linear = section(config, "linear_attn_config")
    attending = numbers(linear, "full_attn_layers") if linear is not None else None
    if attending is None:
        raise refuse("the configuration does not state which layers attend linearly.")
    # The lists count layers from 1.
    return [AttentionKind.FULL if index in attending else AttentionKind.LINEAR for index in range(1, layers + 1)]


def _windowed(config: Config, layers: int) -> list[AttentionKind]:
    """No list of layers: a window on all of them, on all but every n-th, on the upper ones, or on none."""
    full, sliding = AttentionKind.FULL, AttentionKind.SLIDING
    window = integer(config, "sliding_window")
    context = integer(config, "max_position_embeddings")
    if not window or (context is not None and window >= context):
        return [full] * layers
    if pattern := integer(config, "sliding_window_pattern", "_sliding_window_pattern"):
        return [full if (index + 1) % pattern == 0 else sliding for index in range(layers)]
    if "max_window_layers" in config:  # Qwen: off unless switched on, and then only above this layer
        start = required(config, "max_window_layers") if config.get("use_sliding_window") is True else layers
        return [full if index < start else sliding for index in range(layers)]
    return [sliding] * layers


def _state_bytes(config: Config, model_type: str) -> int:
    """Bytes that a linear layer keeps per sequence, in bf16 unless the configuration asks for more.

    Shapes: vllm-project/vllm@v0.32.0 vllm/model_executor/layers/mamba/mamba_utils.py (MambaStateShapeCalculator).
    """
    if (stated := integer(config, "state_bytes")) is not None:  # worked out by hf_unlisted
        return stated
    precise = config.get("mamba_ssm_dtype") == "float32"
    if model_type == "lfm2":
        return (required(config, "conv_L_cache") - 1) * required(config, "hidden_size") * BF16_BYTES
    if model_type == "kimi_linear":
        return delta_state_bytes(section(config, "linear_attn_config") or {})
    keys, values = required(config, "linear_num_key_heads"), required(config, "linear_num_value_heads")
    key_dim, value_dim = required(config, "linear_key_head_dim"), required(config, "linear_value_head_dim")
    channels = 2 * keys * key_dim + values * value_dim
    convolution = channels * (required(config, "linear_conv_kernel_dim") - 1)
    return convolution * BF16_BYTES + values * value_dim * key_dim * (FP32_BYTES if precise else BF16_BYTES)
