"""A Hugging Face configuration to the decoder it describes. Pure: a mapping in, a record or a refusal out.

Multimodal files nest the decoder under many names, and leave out what its class fills in; both are followed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmctl.catalog import hf_defaults, hf_vision_defaults
from vlmctl.catalog.hf_attention import attention_layers
from vlmctl.catalog.hf_unlisted import completed, restated
from vlmctl.catalog.hf_values import Config, integer, numbers, refuse, required, section, shown
from vlmctl.specs.model import Experts, LanguageModel, Precision

TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config", "llm_backbone_config")
VISION_SECTIONS = ("vision_config", "vit_config", "visual", "vision_tower_config", "visual_tokenizer_config", "vit")
_FUSED_FEED_FORWARD = frozenset({"molmo", "qwen"})  # state gate and up projection as one size
# Decoders that a file describes in a way that the record cannot hold.
_REFUSED: Mapping[str, str] = {
    "nemotron_h": "its layers are attention, state space or feed-forward alone, which the record cannot hold",
    "deepseek_v4": "its compressed attention has no published accounting of its cache that vlmctl knows",
}
_FOUR_BIT = 4
_PRECISIONS: Mapping[str, Precision] = {
    "awq": Precision.AWQ,
    "awq_marlin": Precision.AWQ,
    "gptq": Precision.GPTQ,
    "gptq_marlin": Precision.GPTQ,
    "fp8": Precision.FP8,
    "fbgemm_fp8": Precision.FP8,
    "mxfp4": Precision.MXFP4,
    "nvfp4": Precision.NVFP4,
    "modelopt_fp4": Precision.NVFP4,
}


def language_model_from_config(
    config: Mapping[str, Any], *, name: str = "", source: str = "config.json", unlisted: bool = False
) -> LanguageModel:
    """The decoder of a text or multimodal model. `name`: what to call it, else its model type.

    Raises UnsupportedModel for a model type that vlmctl does not know, unless `unlisted` says to read those as well
    (unverified, see `hf_unlisted`), and for sizes that neither the file nor the model type's own class states.
    """
    model_type, text = decoder(config, unlisted=unlisted)
    layers = required(text, "num_hidden_layers", "num_layers", "n_layer")
    heads = required(text, "num_attention_heads", "n_head")
    experts = _experts(text, model_type, layers)
    dense = integer(text, "dense_intermediate_size", "intermediate_size", "ffn_hidden_size", "ffn_dim") or None
    if model_type in _FUSED_FEED_FORWARD and dense is not None:
        dense //= 2
    if model_type == "lfm2":
        dense = _lfm2_feed_forward(text)
    if model_type == "llama4_text":
        dense = required(text, "intermediate_size_mlp")
    if experts is None and dense is None:
        raise refuse("the configuration does not state 'intermediate_size'.")
    everywhere = experts is not None and experts.layers in (None, layers)
    return LanguageModel(
        name=name or model_type,
        layers=layers,
        hidden_size=required(text, "hidden_size"),
        vocabulary=required(text, "padded_vocab_size", "vocab_size"),
        attention=attention_layers(text, model_type, layers, heads),
        intermediate_size=None if everywhere else dense,
        experts=experts,
        tied_embeddings=_tied(config, model_type),
        position_stretch=_position_stretch(text),
        source=source,
        verified=is_listed(model_type),
    )


def is_listed(model_type: str) -> bool:
    """Whether vlmctl knows how a type of decoder is to be read."""
    return model_type not in _REFUSED and (model_type in hf_defaults.TEXT or model_type in hf_defaults.EXPLICIT)


def decoder(config: Config, *, unlisted: bool = False) -> tuple[str, Config]:
    """The model type of the decoder that a file describes, and its part of the file with the defaults filled in.

    `unlisted`: read a type that is not listed by what its file states, instead of refusing it.
    """
    part = completed(text_section(config)) if unlisted else text_section(config)
    classes = part.get("architectures") or ("",)
    stated = part.get("model_type") or hf_defaults.TYPE_OF_ARCHITECTURE.get(str(classes[0]))
    if not isinstance(stated, str):
        if unlisted:
            return "", restated(part)
        raise refuse("the configuration does not state its 'model_type'.")
    if unlisted and not is_listed(hf_defaults.SAME_AS.get(stated, stated)):
        return stated, restated(part)
    if stated in _REFUSED:
        raise refuse(f"decoders of the type {stated!r} cannot be read: {_REFUSED[stated]}.")
    model_type = hf_defaults.SAME_AS.get(stated, stated)
    defaults = hf_defaults.TEXT.get(model_type)
    if defaults is None:
        if model_type not in hf_defaults.EXPLICIT:
            raise refuse(f"decoders of the type {shown(stated)} are not known to vlmctl.")
        return model_type, part
    filled: dict[str, Any] = {
        "vocab_size": defaults.vocabulary,
        "hidden_size": defaults.hidden_size,
        "num_hidden_layers": defaults.layers,
        "num_attention_heads": defaults.heads,
        **defaults.more,
    }
    if "ffn_dim" not in part and "dense_intermediate_size" not in part:
        filled["intermediate_size"] = defaults.intermediate_size
    if defaults.kv_heads is not None:
        filled["num_key_value_heads"] = defaults.kv_heads
    if defaults.head_dim is not None:
        filled["head_dim"] = defaults.head_dim
    return model_type, {**filled, **part}


def text_section(config: Config) -> Config:
    """The part of a file that describes the decoder: a section, a section of a section (omni models), or the whole."""
    part = section(config, *TEXT_SECTIONS)
    if part is None:
        return config
    return text_section(part)


def vision_section(config: Config) -> Config | None:
    """The part of a file that describes the image encoder, its type's defaults filled in; None where it has none."""
    whole = section(config, "thinker_config") or config
    name = next((name for name in VISION_SECTIONS if isinstance(whole.get(name), Mapping)), None)
    if name is None:
        return None
    stated = whole[name].get("model_type")
    kind = stated if stated in hf_vision_defaults.VISION else whole.get("model_type")
    return {**hf_vision_defaults.VISION.get(str(kind), {}), **whole[name]}


def required_vision(config: Config) -> Config:
    """As `vision_section`, but raises UnsupportedModel where there is none."""
    found = vision_section(config)
    if found is None:
        raise refuse("the configuration does not describe its image encoder.")
    return found


def context_tokens(config: Config, *, unlisted: bool = False) -> int:
    """Longest sequence that the positions of the decoder were made for; raises UnsupportedModel where not stated."""
    _, text = decoder(config, unlisted=unlisted)
    return required(text, "max_position_embeddings", "max_sequence_length", "seq_length", "model_max_length")


def precision(config: Config) -> tuple[Precision, int | None]:
    """Precision of the decoder's weights, and its bits where stated; raises UnsupportedModel for unknown methods."""
    quantized = section(config, "quantization_config", "compression_config") or section(
        text_section(config), "quantization_config"
    )
    if quantized is None:
        dtype = str(config.get("dtype") or config.get("torch_dtype") or text_section(config).get("dtype") or "bfloat16")
        return (Precision.FP32 if dtype.endswith("float32") else Precision.BF16), None
    method = str(quantized.get("quant_method") or quantized.get("quant_algo") or "").lower()
    bits = integer(quantized, "bits", "w_bit")
    if method == "compressed-tensors":
        return _compressed(quantized)
    if method == "modelopt":
        method = str(quantized.get("quant_algo")).lower().removeprefix("w4a8_").removeprefix("w4a16_")
    if method not in _PRECISIONS:
        raise refuse(f"weights quantized by {shown(method or 'an unnamed method')} are not known to vlmctl.")
    return _PRECISIONS[method], bits


def _tied(config: Config, model_type: str) -> bool | None:
    """Whether input and output embeddings are one tensor: as stated for the decoder or the whole, else by the class."""
    for part in (text_section(config), config):
        value = part.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
    return None if model_type in hf_defaults.EXPLICIT else model_type in hf_defaults.TIED


def _position_stretch(text: Config) -> int:
    """The factor of linear position scaling, in full attention where the file tells kinds apart; else 1."""
    stated = section(text, "rope_scaling", "rope_parameters") or {}
    scaling = section(stated, "full_attention") or stated
    factor = scaling.get("factor")
    linear = "linear" in (scaling.get("rope_type"), scaling.get("type"))
    return max(1, round(factor)) if linear and isinstance(factor, int | float) else 1


def _compressed(quantized: Config) -> tuple[Precision, int | None]:
    groups = section(quantized, "config_groups") or {}
    for group in groups.values():
        weights, inputs = group.get("weights") or {}, group.get("input_activations")
        bits, kind = integer(weights, "num_bits"), weights.get("type")
        if kind == "float":
            return (Precision.NVFP4 if bits == _FOUR_BIT else Precision.FP8), bits
        if kind == "int":
            return (Precision.INT8 if inputs else Precision.W4A16), bits
    raise refuse("the configuration does not state how its compressed tensors are stored.")


def _experts(text: Config, model_type: str, layers: int) -> Experts | None:
    count = integer(text, "num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
    if not count or (model_type == "gemma4_text" and text.get("enable_moe_block") is not True):
        return None
    if integer(text, "routed_expert_hidden_size"):
        raise refuse("its experts work at a hidden size of their own, which the record cannot hold.")
    active = required(
        text, "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_topk", "moe_k"
    )
    size = required(text, "moe_intermediate_size", "intermediate_size")
    shared = integer(text, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts") or 0
    shared_size = (
        integer(text, "shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim") or None
    )
    if model_type == "llama4_text":
        shared, shared_size = 1, size
    elif model_type == "gemma4_text":  # the dense feed-forward of every layer runs beside its experts
        shared, shared_size = 1, required(text, "intermediate_size")
    elif shared_size:
        shared = shared or 1
    sparse = _sparse_layers(text, model_type, layers)
    return Experts(
        count=count,
        active=active,
        intermediate_size=size,
        shared=shared,
        shared_intermediate_size=shared_size if shared_size != size else None,
        layers=sparse if sparse != layers else None,
    )


def _sparse_layers(text: Config, model_type: str, layers: int) -> int:
    if pattern := numbers(text, "moe_layer_freq"):
        return sum(pattern[:layers])
    if model_type == "llama4_text":
        listed = numbers(text, "moe_layers")
        return len(listed) if listed else layers // required(text, "interleave_moe_layer_step")
    first = integer(text, "first_k_dense_replace") or 0
    frequency = integer(text, "moe_layer_freq", "decoder_sparse_step") or 1
    dense = set(numbers(text, "mlp_only_layers") or ())
    if "decoder_sparse_step" in text:
        return sum(1 for index in range(layers) if (index + 1) % frequency == 0 and index not in dense)
    return sum(1 for index in range(first, layers) if index % frequency == 0 and index not in dense)


def _lfm2_feed_forward(text: Config) -> int:
    """The size that the class derives from the stated one (configuration_lfm2.py, modeling_lfm2.py of transformers)."""
    stated = required(text, "block_ff_dim", "intermediate_size")
    if text.get("block_auto_adjust_ff_dim") is False:
        return stated
    multiple = integer(text, "block_multiple_of") or 256
    size = int(float(text.get("block_ffn_dim_multiplier") or 1.0) * int(2 * stated / 3))
    return -(-size // multiple) * multiple
