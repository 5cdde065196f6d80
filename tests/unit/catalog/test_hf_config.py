"""Configurations to decoders: every kind of attention and mixture, and what the files leave out."""

from __future__ import annotations

from typing import Any

import pytest

from vlmctl.catalog.hf_config import context_tokens, language_model_from_config, precision
from vlmctl.errors import UnsupportedModel
from vlmctl.specs.model import AttentionKind, AttentionLayers, Precision

FULL, SLIDING, LINEAR = AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.LINEAR


def groups(config: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Kind, layers, query heads, KV heads and head size of each group."""
    return [
        (group.kind, group.layers, group.query_heads, group.kv_heads, group.head_dim)
        for group in language_model_from_config(config).attention
    ]


def sizes(**values: int) -> dict[str, Any]:
    """The sizes that files of code of their own always state."""
    names = {"hidden": "hidden_size", "ffn": "intermediate_size", "layers": "num_hidden_layers"}
    names |= {"heads": "num_attention_heads", "kv": "num_key_value_heads", "vocabulary": "vocab_size"}
    return {names[name]: value for name, value in values.items()}


ATTENTION: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    ("llama fills in its class", {"model_type": "llama"}, [(FULL, 32, 32, 32, 128)]),
    ("llama 13B: KV heads follow", {"model_type": "llama", **sizes(hidden=5120, heads=40)}, [(FULL, 32, 40, 40, 128)]),
    ("mistral 0.1 slides", {"model_type": "mistral"}, [(SLIDING, 32, 32, 8, 128)]),
    ("mistral 0.2 does not", {"model_type": "mistral", "sliding_window": None}, [(FULL, 32, 32, 8, 128)]),
    (
        "qwen2 states a window that is off",
        {
            "model_type": "qwen2",
            "sliding_window": 4096,
            "use_sliding_window": False,
            **sizes(heads=28, kv=4, hidden=3584),
        },
        [(FULL, 32, 28, 4, 128)],
    ),
    (
        "qwen2 with the window on",
        {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 20},
        [(FULL, 20, 32, 32, 128), (SLIDING, 12, 32, 32, 128)],
    ),
    ("gemma 2 alternates", {"model_type": "gemma2"}, [(SLIDING, 13, 8, 4, 256), (FULL, 13, 8, 4, 256)]),
    (
        "gemma 3 nested: five to one",
        {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 34}},
        [(SLIDING, 29, 8, 4, 256), (FULL, 5, 8, 4, 256)],
    ),
    (
        "gemma 3n: the last layers share",
        {"model_type": "gemma3n_text"},
        [(SLIDING, 16, 8, 2, 256), (FULL, 4, 8, 2, 256), (AttentionKind.SHARED, 15, 8, 2, 256)],
    ),
    (
        "phi-3: a window as long as the context",
        {"model_type": "phi3", "sliding_window": 262144},
        [(SLIDING, 32, 32, 32, 96)],
    ),
    (
        "phi-3-vision: a window as long as the context",
        {
            "model_type": "phi3_v",
            "sliding_window": 131072,
            "max_position_embeddings": 131072,
            **sizes(hidden=3072, ffn=8192, layers=32, heads=32, kv=32, vocabulary=32064),
        },
        [(FULL, 32, 32, 32, 96)],
    ),
    ("gpt-oss alternates", {"model_type": "gpt_oss"}, [(SLIDING, 18, 64, 8, 64), (FULL, 18, 64, 8, 64)]),
    (
        "gpt-oss: layers beyond the decoder's are for drafts",
        {"model_type": "gpt_oss", "num_hidden_layers": 2, "layer_types": ["full_attention"] * 3},
        [(FULL, 2, 64, 8, 64)],
    ),
    (
        "llama 4: three of four in chunks",
        {"model_type": "llama4", "text_config": {"model_type": "llama4_text"}},
        [(AttentionKind.CHUNKED, 36, 40, 8, 128), (FULL, 12, 40, 8, 128)],
    ),
    (
        "llama 3.2 vision: layers that read the image",
        {"model_type": "mllama", "text_config": {"model_type": "mllama_text_model"}},
        [(FULL, 32, 32, 8, 128), (AttentionKind.CROSS, 8, 32, 8, 128)],
    ),
    ("qwen3-next: one in four", {"model_type": "qwen3_next"}, [(LINEAR, 36, 0, 0, 0), (FULL, 12, 16, 2, 256)]),
    (
        "gemma 4: global heads of their own",
        {
            "model_type": "gemma4_text",
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 2,
            **sizes(layers=30, heads=16, kv=8),
        },
        [(SLIDING, 25, 16, 8, 256), (FULL, 5, 16, 2, 512)],
    ),
    (
        "mimo-v2: windows with heads of their own",
        {
            "model_type": "mimo_v2_flash",
            "hybrid_layer_pattern": [0, 1, 1],
            "sliding_window": 128,
            "head_dim": 192,
            "swa_num_attention_heads": 64,
            "swa_num_key_value_heads": 8,
            **sizes(hidden=4096, ffn=16384, layers=3, heads=64, kv=4, vocabulary=152576),
        },
        [(FULL, 1, 64, 4, 192), (SLIDING, 2, 64, 8, 192)],
    ),
    (
        "chatglm: groups under other names",
        {
            "model_type": "chatglm",
            "num_layers": 40,
            "ffn_hidden_size": 13696,
            "padded_vocab_size": 151552,
            "multi_query_attention": True,
            "multi_query_group_num": 2,
            "kv_channels": 128,
            **sizes(hidden=4096, heads=32),
        },
        [(FULL, 40, 32, 2, 128)],
    ),
]


@pytest.mark.parametrize(("config", "expected"), [case[1:] for case in ATTENTION], ids=[case[0] for case in ATTENTION])
def test_attention(config: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    """Each architecture's layers fall into the groups that its code makes of them."""
    assert groups(config) == expected


def test_latent_attention_keeps_one_vector() -> None:
    """MLA keeps the compressed vector and the rotary part: 576 numbers a token for DeepSeek-V3 and Kimi-K2."""
    (group,) = language_model_from_config({"model_type": "kimi_k2", "num_attention_heads": 64}).attention
    assert (group.kind, group.layers, group.latent_dim, group.head_dim) == (AttentionKind.LATENT, 61, 576, 192)


def test_an_absent_latent_rank_means_plain_heads() -> None:
    """DeepSeek-VL2-Tiny says `kv_lora_rank: null`: its decoder is of the type but attends with plain heads."""
    config: dict[str, Any] = {
        "model_type": "deepseek_vl_v2",
        "language_config": {
            "model_type": "deepseek_v2",
            "kv_lora_rank": None,
            **sizes(hidden=1280, heads=10, layers=12),
        },
    }
    assert groups(config) == [(FULL, 12, 10, 10, 128)]
    config["language_config"].pop("kv_lora_rank")
    assert language_model_from_config(config).attention[0].kind is AttentionKind.LATENT


def test_a_linear_layer_keeps_a_state() -> None:
    """Qwen3.5-27B: a convolution over 10,240 channels in bf16 and 48 states of 128 x 128 in fp32 a layer."""
    config = {"model_type": "qwen3_5_text", "linear_num_value_heads": 48, "mamba_ssm_dtype": "float32"}
    linear = language_model_from_config(config).attention[0]
    assert linear.state_bytes == 3 * (2 * 16 * 128 + 48 * 128) * 2 + 48 * 128 * 128 * 4


def test_a_short_convolution_keeps_its_taps() -> None:
    """LFM2: all but one of the taps of each channel; the feed-forward size is the one its class derives."""
    config = {"model_type": "lfm2", "full_attn_idxs": [2, 5], **sizes(hidden=1024, layers=16, ffn=6656, heads=16)}
    decoder = language_model_from_config(config)
    assert decoder.attention[0] == AttentionLayers(kind=LINEAR, layers=14, state_bytes=2 * 1024 * 2)
    assert decoder.intermediate_size == 4608


def test_kimi_delta_attention_counts_layers_from_one() -> None:
    """Kimi Linear lists its full layers from 1; their cache is latent."""
    linear = {"full_attn_layers": [4, 8], "num_heads": 32, "head_dim": 128, "short_conv_kernel_size": 4}
    decoder = language_model_from_config(
        {"model_type": "kimi_linear", "num_hidden_layers": 8, "linear_attn_config": linear, "num_experts": 0}
    )
    assert [(group.kind, group.layers) for group in decoder.attention] == [(LINEAR, 6), (AttentionKind.LATENT, 2)]
    assert decoder.attention[0].state_bytes == 3 * 32 * 128 * 3 * 2 + 32 * 128 * 128 * 4


EXPERTS: list[tuple[dict[str, Any], tuple[int, int, int, int, int | None, int | None], int | None]] = [
    ({"model_type": "mixtral"}, (8, 2, 14336, 0, None, None), None),
    ({"model_type": "deepseek_v3"}, (256, 8, 2048, 1, None, 58), 18432),
    ({"model_type": "qwen3_moe"}, (128, 8, 768, 0, None, None), None),
    ({"model_type": "qwen3_moe", "mlp_only_layers": [0, 1]}, (128, 8, 768, 0, None, 22), 6144),
    ({"model_type": "qwen3_5_moe_text"}, (256, 8, 512, 1, None, None), None),
    ({"model_type": "glm4_moe", "head_dim": 128}, (128, 8, 1408, 1, None, 45), 10944),
    ({"model_type": "gpt_oss"}, (128, 4, 2880, 0, None, None), None),
    ({"model_type": "minimax_m2"}, (256, 8, 1536, 0, None, None), None),
    ({"model_type": "llama4_text"}, (16, 1, 8192, 1, None, None), None),
    (
        {"model_type": "llama4_text", "interleave_moe_layer_step": 2, "num_local_experts": 128},
        (128, 1, 8192, 1, None, 24),
        16384,
    ),
    (
        {
            "model_type": "gemma4_text",
            "enable_moe_block": True,
            "num_experts": 128,
            "top_k_experts": 8,
            "moe_intermediate_size": 704,
            "intermediate_size": 2112,
        },
        (128, 8, 704, 1, 2112, None),
        None,
    ),
]


@pytest.mark.parametrize(("config", "expected", "dense"), EXPERTS)
def test_experts(config: dict[str, Any], expected: tuple[Any, ...], dense: int | None) -> None:
    """Count, active, size, shared ones with their size, and how many layers are sparse; dense ones keep their size."""
    decoder = language_model_from_config(config)
    found = decoder.experts
    assert found is not None
    assert (
        found.count,
        found.active,
        found.intermediate_size,
        found.shared,
        found.shared_intermediate_size,
        found.layers,
    ) == expected
    assert decoder.intermediate_size == dense


def test_a_fused_feed_forward_is_halved() -> None:
    """Molmo states gate and up projection as one size."""
    config = {"model_type": "molmo", **sizes(hidden=3584, ffn=37888, layers=28, heads=28, kv=4, vocabulary=152064)}
    assert language_model_from_config(config).intermediate_size == 18944


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"model_type": "llama"}, False),
        ({"model_type": "gemma2"}, True),
        ({"model_type": "qwen2", "tie_word_embeddings": True}, True),
        ({"model_type": "qwen3_vl", "tie_word_embeddings": True, "text_config": {"model_type": "qwen3_vl_text"}}, True),
        (
            {
                "model_type": "x",
                "tie_word_embeddings": True,
                "llm_config": {"model_type": "qwen2", "tie_word_embeddings": False},
            },
            False,
        ),
    ],
)
def test_tied_embeddings(config: dict[str, Any], tied: bool) -> None:
    """What the decoder's part states rules over the whole file, and that over the class."""
    assert language_model_from_config(config).tied_embeddings is tied


@pytest.mark.parametrize("name", ["text_config", "llm_config", "language_config"])
def test_decoders_are_found_where_they_are_nested(name: str) -> None:
    """The decoder's section goes by several names, one deeper in omni models."""
    decoder = {"model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14}
    assert language_model_from_config({"model_type": "outer", name: decoder}).hidden_size == 896
    assert language_model_from_config({"thinker_config": {name: decoder}}).hidden_size == 896


def test_a_class_stands_for_a_missing_type() -> None:
    """A section that names only its class is read as that class's type."""
    config = {"text_config": {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 896, "num_attention_heads": 14}}
    assert language_model_from_config(config).name == "qwen2"


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        (None, (Precision.BF16, None)),
        ({"quant_method": "awq", "bits": 4}, (Precision.AWQ, 4)),
        ({"quant_method": "gptq", "bits": 8}, (Precision.GPTQ, 8)),
        ({"quant_method": "fp8"}, (Precision.FP8, None)),
        ({"quant_method": "mxfp4"}, (Precision.MXFP4, None)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, (Precision.NVFP4, None)),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, (Precision.FP8, None)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}, "input_activations": None}},
            },
            (Precision.W4A16, 4),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}
                },
            },
            (Precision.INT8, 8),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            (Precision.FP8, 8),
        ),
    ],
)
def test_precision(quantization: dict[str, Any] | None, expected: tuple[Precision, int | None]) -> None:
    """Each method of quantization is the precision that memory and speed are counted with."""
    config = {"model_type": "llama", "torch_dtype": "float16"}
    assert precision(config if quantization is None else {**config, "quantization_config": quantization}) == expected


@pytest.mark.parametrize(
    "quantization", [{"quant_method": "bitsandbytes"}, {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}]
)
def test_unknown_precision_is_refused(quantization: dict[str, Any]) -> None:
    """Weights whose precision cannot be told are refused."""
    with pytest.raises(UnsupportedModel, match="not known"):
        precision({"model_type": "llama", "quantization_config": quantization})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "does not state its 'model_type'"),
        ({"model_type": "bert"}, "'bert' are not known"),
        ({"model_type": "nemotron_h"}, "cannot be read"),
        ({"model_type": "internlm2"}, "does not state 'num_hidden_layers'"),
        ({"model_type": "kimi_linear", "linear_attn_config": None}, "which layers attend linearly"),
        ({"model_type": "deepseek_v3", "routed_expert_hidden_size": 3584}, "a hidden size of their own"),
        ({"model_type": "glm4_moe"}, "cannot be divided among 96 heads"),
        ({"model_type": "llama", "num_hidden_layers": 0}, "does not state 'num_hidden_layers'"),
        ({"model_type": "llama", "num_hidden_layers": -4}, "'num_hidden_layers' is -4 .* numbers from -1 to 2000"),
        ({"model_type": "llama", "num_hidden_layers": 10**9}, "'num_hidden_layers' is 1000000000"),
        ({"model_type": "llama", "hidden_size": "x" * 1000}, "'hidden_size' is 'x{79}… in"),
        ({"model_type": "llama", "layer_types": ["full_attention"] * 5000}, "'layer_types' has 5000 entries"),
    ],
)
def test_what_cannot_be_told_is_refused(config: dict[str, Any], problem: str) -> None:
    """An unknown type, a size that nothing states, and what the record cannot hold are refused, never guessed."""
    with pytest.raises(UnsupportedModel, match=problem):
        language_model_from_config(config)


def test_context() -> None:
    """The longest sequence is the decoder's own, filled in where the class knows it."""
    assert context_tokens({"text_config": {"model_type": "gemma3_text"}}) == 131072
    assert context_tokens({"model_type": "llama", "max_position_embeddings": 8192}) == 8192
    with pytest.raises(UnsupportedModel, match="max_position_embeddings"):
        context_tokens({"model_type": "llama"})
