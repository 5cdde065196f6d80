"""Decoders whose type vlmctl has no entry for: what their configuration states, under the names that the others use.

Good enough to predict the speed of a measured run; a catalog entry asks for more and is refused. Nothing read here is
verified. Field names: the configuration classes of huggingface/transformers v5, and of files that bring their own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmctl.catalog.hf_values import Config, integer, names_of, numbers, refuse, required, section

# The name that is read, and the other names that files use for it.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "model_dim", "embed_dim", "emb_dim"),
    "num_hidden_layers": ("decoder_layers", "num_decoder_layers", "num_layers", "n_layer", "n_layers", "layers"),
    "num_attention_heads": (
        "decoder_attention_heads",
        "num_decoder_attention_heads",
        "n_head",
        "n_heads",
        "num_heads",
        "attention_heads",
    ),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "num_query_groups", "num_attention_groups", "kv_n_heads"),
    "intermediate_size": ("decoder_ffn_dim", "ffn_hidden_size", "n_inner", "ffn_dim"),
    "moe_intermediate_size": ("expert_ffn_hidden_size",),
    "num_experts_per_tok": ("moe_topk", "moe_k", "moe_top_k", "num_experts_per_token"),
    "n_routed_experts": ("num_experts", "num_local_experts", "moe_num_experts"),
    "sliding_window": ("sliding_window_size",),
    "max_position_embeddings": (
        "n_positions",
        "max_seq_len",
        "seq_length",
        "n_ctx",
        "max_sequence_length",
        "max_target_positions",
    ),
    "shared_expert_intermediate_size": ("moe_shared_expert_intermediate_size",),
    "sliding_window_pattern": ("_sliding_window_pattern", "global_attn_every_n_layers"),
}
_HEAD_DIMS = ("head_dim", "kv_channels", "attention_head_dim", "kv_lora_rank")
# Routed experts per token of DeepSeek-V2, V2-Lite (arXiv:2405.04434) and DeepSeek-OCR (arXiv:2510.18234), which the
# class leaves open.
_DEEPSEEK_V2, _DEEPSEEK_V2_ACTIVE = frozenset({"deepseek_v2", "deepseek_ocr2_text"}), 6
_DELTA = frozenset({"kimi_linear", "glm5_next_text"})  # Kimi Delta Attention
_SLIDING_KEY_HEADS = 2  # MiMo-V2-Flash: for each of full attention (modeling_mimo_v2_flash.py)
_SECTIONS = ("attn_config", "ffn_config")  # DBRX, MPT: flattened
_PLAIN_WIDTH = 4  # hidden sizes of a feed-forward layer that the file leaves to its class (GPT-2, GPT-J, BLOOM, Falcon)
_UNBOUNDED_CONTEXT = 131_072  # tokens, for state-space models, which have no positions; only bounds what is asked
# A letter per layer, as in Nemotron-H.
_PATTERN = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_BF16_BYTES, _FP32_BYTES = 2, 4


def completed(part: Config) -> Config:
    """The decoder's part of a file, of any type, with what its class derives and what newer files name otherwise.

    Raises UnsupportedModel for an encoder-decoder, unless the file is that of its decoder alone.
    """
    if part.get("is_encoder_decoder") is True and not _is_causal(part):
        raise refuse("it is an encoder-decoder, and vlmctl describes decoders alone.")
    flat: dict[str, Any] = dict(part)
    heads, hidden = integer(part, "num_attention_heads"), integer(part, "hidden_size")
    if heads and hidden and hidden % heads and not any(integer(part, name) for name in _HEAD_DIMS):
        flat["head_dim"] = hidden // heads  # as classes do: glm4_moe, qwen3_omni_moe
    kind = str(part.get("model_type"))
    if kind in _DEEPSEEK_V2 and part.get("num_experts_per_tok") is None and part.get("n_routed_experts"):
        flat["num_experts_per_tok"] = _DEEPSEEK_V2_ACTIVE
    if kind in _DELTA and "linear_attn_config" not in part and (linear := integer(part, "linear_num_heads")):
        flat["linear_attn_config"] = {
            "num_heads": linear,
            "head_dim": integer(part, "linear_head_dim"),
            "short_conv_kernel_size": integer(part, "linear_conv_kernel_dim"),
        }
    if kind == "mimo_v2_flash" and "swa_num_attention_heads" not in part and heads:
        flat["swa_num_attention_heads"] = heads
        flat["swa_num_key_value_heads"] = _SLIDING_KEY_HEADS * (integer(part, "num_key_value_heads") or heads)
    if numbers(part, "moe_layer_freq") is None and (named := names_of(part, "mlp_layer_types")):
        flat["moe_layer_freq"] = [int("sparse" in layer or "moe" in layer) for layer in named]
    return flat


def _is_causal(part: Config) -> bool:
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in part.get("architectures") or ())


def restated(part: Config) -> Config:
    """The decoder's part of a file with everything under the usual names; raises UnsupportedModel without sizes."""
    flat: dict[str, Any] = dict(part)
    for name in _SECTIONS:
        flat.update({key: value for key, value in (section(part, name) or {}).items() if key not in flat})
    for name, others in _NAMES.items():
        if not isinstance(flat.get(name), int):
            found = next((flat[other] for other in others if flat.get(other) is not None), None)
            if found is not None:
                flat[name] = found
        if isinstance(sizes := flat.get(name), list) and sizes:
            flat[name] = sizes[0]  # ERNIE-4.5-VL: experts for text, then those for images
    kinds = _kinds(flat)
    if kinds:
        flat["num_hidden_layers"] = integer(flat, "num_hidden_layers") or len(kinds)
    layers = integer(flat, "num_hidden_layers") or 0
    if "zero_expert_num" in flat:  # LongCat: each layer attends twice, and has experts once
        flat["moe_layer_freq"], layers = [1, 0] * layers, 2 * layers
        flat["num_hidden_layers"] = layers
    flat["compressed_head_dim"] = _compressed_head_dim(part)
    flat["layer_types"] = kinds or None
    sparse = _sparse(flat, layers)
    if sparse is not None:
        flat["moe_layer_freq"] = sparse
    hidden = integer(flat, "hidden_size")
    if hidden is None or not layers:
        raise refuse("the configuration does not state the size of its decoder.")
    if not integer(flat, "num_attention_heads"):
        flat["num_attention_heads"] = max(1, hidden // 128)  # of a decoder without attention: never multiplied
    if not any(integer(flat, name) for name in _HEAD_DIMS):
        flat["head_dim"] = hidden // flat["num_attention_heads"]
    if flat.get("multi_query") is True and flat.get("new_decoder_architecture") is not True:
        flat["num_key_value_heads"] = 1
    if integer(flat, "intermediate_size") is None:
        flat["intermediate_size"] = _PLAIN_WIDTH * hidden
    flat.setdefault("max_position_embeddings", _UNBOUNDED_CONTEXT)
    if "state_bytes" not in flat and "linear_num_key_heads" not in flat and "linear_attention" in (kinds or ()):
        flat["state_bytes"] = _state_bytes(flat, hidden)
    return flat


def _compressed_head_dim(config: Config) -> int | None:
    """DeepSeek-V4 keeps one entry for every so many tokens: elements per token, on average over such layers."""
    rates = section(config, "compress_rates")
    kinds = [kind for kind in names_of(config, "layer_types") or () if "compressed" in kind]
    if rates is None or not kinds:
        return None
    dimension = integer(config, "head_dim") or 0
    return max(1, round(sum(dimension / float(rates.get(kind) or 1) for kind in kinds) / len(kinds)))


def _kinds(config: Config) -> list[str]:
    """One of the names that vlmctl knows for each layer; empty where the file has no list."""
    pattern = config.get("hybrid_override_pattern")
    listed: Sequence[str] | None = None
    if isinstance(pattern, str):
        listed = [_PATTERN.get(letter, "attention") for letter in pattern]
    listed = listed or names_of(config, "layers_block_type") or names_of(config, "layer_types")
    layers = integer(config, "num_hidden_layers")
    if listed is None and (period := integer(config, "attn_layer_period")) and layers:
        offset = integer(config, "attn_layer_offset") or 0
        listed = ["attention" if index % period == offset else "mamba" for index in range(layers)]
    if listed is None and "mamba" in str(config.get("model_type")) and layers:
        listed = ["mamba"] * layers
    if listed is None and (types := numbers(config, "attn_type_list")):  # MiniMax-01: 0 is lightning attention
        listed = ["attention" if kind else "linear" for kind in types]
    return [_known_kind(kind) for kind in listed or ()]


def _known_kind(kind: str) -> str:
    if kind in ("mlp", "moe"):
        return "feed_forward"
    if any(word in kind for word in ("mamba", "linear", "conv", "recurrent", "lightning", "ssm")):
        return "linear_attention"
    return "sliding_attention" if "sliding" in kind else "full_attention"


def _sparse(config: Config, layers: int) -> list[int] | None:
    """1 for each layer that is a mixture of experts; None where the usual fields decide."""
    if (listed := numbers(config, "moe_layer_freq")) is not None:
        return list(listed)
    if named := names_of(config, "layers_block_type"):
        if "moe" in named:
            return [int(kind == "moe") for kind in named]
    elif isinstance(pattern := config.get("hybrid_override_pattern"), str):
        return [int(letter == "E") for letter in pattern]
    if written := config.get("moe_layers_enum"):  # Step: "4,5,6,..."
        chosen = {int(index) for index in str(written).split(",")}
        return [int(index in chosen) for index in range(layers)]
    if period := integer(config, "expert_layer_period"):
        offset = integer(config, "expert_layer_offset") or 0
        return [int(index % period == offset) for index in range(layers)]
    start = integer(config, "moe_layer_start_index")
    if start is not None:
        last, step = integer(config, "moe_layer_end_index"), integer(config, "moe_layer_interval") or 1
        end = layers - 1 if last is None or last < 0 else last
        return [int(start <= index <= end and (index + 1) % step == 0) for index in range(layers)]
    if dense := integer(config, "num_dense_layers"):
        return [int(index >= dense) for index in range(layers)]
    return None


def delta_state_bytes(delta: Config) -> int:
    """Bytes that a layer of Kimi Delta Attention keeps per sequence: a convolution in 16 bit, a square a head in 32."""
    heads, dimension = required(delta, "num_heads"), required(delta, "head_dim")
    convolution = 3 * heads * dimension * (required(delta, "short_conv_kernel_size") - 1)
    return convolution * _BF16_BYTES + heads * dimension * dimension * _FP32_BYTES


def mamba_sizes(config: Config, hidden: int) -> tuple[int, int, int]:
    """Inner size, elements of the convolution's channels, and elements of the state of one state-space layer."""
    heads = integer(config, "mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
    if heads is None and config.get("model_type") == "mamba2":
        heads = integer(config, "num_heads")
    dimension = integer(config, "mamba_head_dim", "mamba_d_head", "mamba_headdim", "head_dim") or 1
    inner = integer(config, "mamba_d_ssm", "mamba_intermediate_size")
    inner = inner or (heads * dimension if heads else (integer(config, "mamba_expand", "expand") or 2) * hidden)
    state = integer(config, "ssm_state_size", "mamba_d_state", "state_size", "mamba_state_dim") or 0
    groups = integer(config, "n_groups", "mamba_n_groups", "mamba_ngroups") or 1
    return inner, inner + (2 * groups * state if heads else 0), inner * state


def _state_bytes(config: Config, hidden: int) -> int:
    """Bytes that a linear layer keeps per sequence; the state in 32 bit where the file says so.

    Shapes: vllm-project/vllm@v0.32.0 vllm/model_executor/layers/mamba/mamba_utils.py (MambaStateShapeCalculator).
    """
    if (delta := section(config, "linear_attn_config")) is not None:
        return delta_state_bytes(delta)
    if (kept := integer(config, "conv_L_cache")) is not None:  # LFM2: a short convolution alone
        return (kept - 1) * hidden * _BF16_BYTES
    _, channels, state = mamba_sizes(config, hidden)
    kernel = integer(config, "conv_kernel", "mamba_d_conv", "d_conv") or 4
    precise = "float32" in (config.get("mamba_ssm_cache_dtype"), config.get("mamba_ssm_dtype"))
    if not state:  # lightning attention: a square per head
        heads = integer(config, "num_attention_heads") or 1
        return heads * (integer(config, "head_dim") or hidden // heads) ** 2 * _FP32_BYTES
    return (kernel - 1) * channels * _BF16_BYTES + state * (_FP32_BYTES if precise else _BF16_BYTES)
