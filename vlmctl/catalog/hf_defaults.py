"""What configuration files leave out: the values that each model type's own configuration class fills in.

Repositories store only what differs from their class, so a nested ``text_config`` may name two fields of ten.
Source of all values: huggingface/transformers v5, src/transformers/models/<type>/configuration_<type>.py; for
deepseek_v2 the configuration file in the model repositories (deepseek-ai/DeepSeek-V2). A model type that is not
listed is not read at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Value = int | bool | None


class TextDefaults(NamedTuple):
    """Sizes of a decoder. `kv_heads` None: as many as query heads. `head_dim` None: hidden size over query heads."""

    vocabulary: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    more: Mapping[str, Value] = {}


def _sliding(window_tokens: int, pattern: int) -> Mapping[str, Value]:
    """Every `pattern`-th layer attends fully, the others within the window."""
    return {"sliding_window": window_tokens, "sliding_window_pattern": pattern}


_CONTEXT_128K: Mapping[str, Value] = {"max_position_embeddings": 131072}
_CONTEXT_8K: Mapping[str, Value] = {"max_position_embeddings": 8192}
_MLA: Mapping[str, Value] = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64}
_DELTA_NET: Mapping[str, Value] = {
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}

TEXT: Mapping[str, TextDefaults] = {
    "llama": TextDefaults(32000, 4096, 11008, 32, 32),
    "mistral": TextDefaults(32000, 4096, 14336, 32, 32, 8, None, {"sliding_window": 4096}),
    "ministral3": TextDefaults(131072, 4096, 14336, 34, 32, 8, 128),
    "mixtral": TextDefaults(32000, 4096, 14336, 32, 32, 8, None, {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "qwen2": TextDefaults(151936, 4096, 22016, 32, 32, 32, None, {"max_window_layers": 28}),
    "qwen2_vl_text": TextDefaults(152064, 8192, 29568, 80, 64, 8, None, {"max_window_layers": 80}),
    "qwen2_5_vl_text": TextDefaults(152064, 8192, 29568, 80, 64, 8, None, {"max_window_layers": 80}),
    "qwen2_5_omni_text": TextDefaults(152064, 3584, 18944, 28, 28, 4, None, {"max_window_layers": 28}),
    "qwen3": TextDefaults(151936, 4096, 22016, 32, 32, 32, 128, {"max_window_layers": 28}),
    "qwen3_vl_text": TextDefaults(151936, 4096, 22016, 32, 32, 32, 128),
    "qwen3_moe": TextDefaults(
        151936,
        2048,
        6144,
        24,
        32,
        4,
        None,
        {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    ),
    "qwen3_vl_moe_text": TextDefaults(
        151936,
        2048,
        5632,
        24,
        16,
        16,
        None,
        {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408},
    ),
    "qwen3_omni_moe_text": TextDefaults(
        3584, 2048, 18944, 28, 28, 4, None, {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
    ),
    "qwen3_next": TextDefaults(
        151936,
        2048,
        5632,
        48,
        16,
        2,
        256,
        {
            **_DELTA_NET,
            "num_experts": 512,
            "num_experts_per_tok": 10,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
    ),
    "qwen3_5_text": TextDefaults(248320, 4096, 12288, 32, 16, 4, 256, _DELTA_NET),
    "qwen3_5_moe_text": TextDefaults(
        248320,
        2048,
        0,
        40,
        16,
        2,
        256,
        {
            **_DELTA_NET,
            "num_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
    ),
    "gemma": TextDefaults(256000, 3072, 24576, 28, 16, 16, 256, _CONTEXT_8K),
    "gemma2": TextDefaults(256000, 2304, 9216, 26, 8, 4, 256, {**_sliding(4096, 2), **_CONTEXT_8K}),
    "gemma3_text": TextDefaults(262208, 2304, 9216, 26, 8, 4, 256, {**_sliding(4096, 6), **_CONTEXT_128K}),
    "gemma3n_text": TextDefaults(
        262400,
        2048,
        16384,
        35,
        8,
        2,
        256,
        {**_sliding(512, 5), "num_kv_shared_layers": 15, "max_position_embeddings": 32768},
    ),
    "gemma4_text": TextDefaults(
        262144, 2304, 9216, 30, 8, 4, 256, {**_sliding(512, 6), **_CONTEXT_128K, "global_head_dim": 512}
    ),
    "phi3": TextDefaults(32064, 3072, 8192, 32, 32),
    "opt": TextDefaults(50272, 768, 3072, 12, 12, None, None, {"max_position_embeddings": 2048}),
    "cohere": TextDefaults(256000, 8192, 22528, 40, 64),
    "cohere2": TextDefaults(256000, 8192, 22528, 40, 64, None, None, _sliding(4096, 4)),
    "deepseek_v2": TextDefaults(102400, 4096, 11008, 30, 32, None, None, _MLA),
    "deepseek_v3": TextDefaults(
        129280,
        7168,
        18432,
        61,
        128,
        None,
        None,
        {
            **_MLA,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "n_shared_experts": 1,
            "first_k_dense_replace": 3,
        },
    ),
    "mistral4": TextDefaults(
        131072,
        4096,
        12288,
        36,
        32,
        None,
        None,
        {
            "kv_lora_rank": 256,
            "qk_nope_head_dim": 64,
            "qk_rope_head_dim": 64,
            "n_routed_experts": 128,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 2048,
            "n_shared_experts": 1,
        },
    ),
    "glm4": TextDefaults(151552, 4096, 13696, 40, 32, 2, 128),
    "glm4v_text": TextDefaults(151552, 4096, 13696, 40, 32, 2),
    "glm_ocr_text": TextDefaults(59392, 1024, 4096, 16, 16, 8),
    "glm4_moe": TextDefaults(
        151552,
        4096,
        10944,
        46,
        96,
        8,
        None,
        {
            "n_routed_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1408,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
    ),
    "gpt_oss": TextDefaults(
        201088, 2880, 2880, 36, 64, 8, 64, {**_sliding(128, 2), "num_local_experts": 128, "num_experts_per_tok": 4}
    ),
    "llama4_text": TextDefaults(
        202048,
        5120,
        8192,
        48,
        40,
        8,
        128,
        {
            "attention_chunk_size": 8192,
            "interleave_moe_layer_step": 1,
            "intermediate_size_mlp": 16384,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
        },
    ),
    "mllama_text_model": TextDefaults(128256, 4096, 14336, 40, 32, 8, None, _CONTEXT_128K),
    "minimax_m2": TextDefaults(
        200064, 3072, 1536, 62, 48, 8, 128, {"num_local_experts": 256, "num_experts_per_tok": 8}
    ),
    "ernie4_5": TextDefaults(103424, 1024, 3072, 18, 16, 2, 128),
    "olmo2": TextDefaults(50304, 4096, 11008, 32, 32),
    "olmo3": TextDefaults(50304, 4096, 11008, 32, 32, None, None, _sliding(4096, 4)),
    "smollm3": TextDefaults(128256, 2048, 11008, 36, 16, 4),
    "granite": TextDefaults(32000, 4096, 11008, 32, 32),
    "seed_oss": TextDefaults(155136, 4096, 27648, 64, 80, 8, 128),
    "lfm2": TextDefaults(65536, 2560, 12288, 32, 32, 8, None, {"conv_L_cache": 3}),
    "kimi_linear": TextDefaults(163840, 2304, 9216, 27, 32, None, None, _MLA),
}


# Types that are read by another's rules: the same decoder under another name, or inside a flat multimodal file.
SAME_AS: Mapping[str, str] = {
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "glm4v_moe_text": "glm4_moe",
    "deepseek_v32": "deepseek_v3",
    "kimi_k2": "deepseek_v3",
    "glm_moe_dsa": "deepseek_v3",
    "glm4_moe_lite": "deepseek_v3",
    "paddleocr_vl_text": "ernie4_5",
    "mllama_text": "mllama_text_model",
    "mimo": "qwen2",
}

# Types whose class ties input and output embeddings unless a file says otherwise; the others do not.
TIED = frozenset(
    {
        "cohere",
        "cohere2",
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gemma3n_text",
        "gemma4_text",
        "lfm2",
        "opt",
        "smollm3",
    }
)

# Files that name the class instead of the type.
TYPE_OF_ARCHITECTURE: Mapping[str, str] = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "DeepseekV2ForCausalLM": "deepseek_v2",
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "MiniMaxM3SparseForCausalLM": "minimax_m3_vl_text",
}

# Types that come with code of their own, whose files state every size: nothing is filled in.
EXPLICIT = frozenset(
    {
        "baichuan",
        "chatglm",
        "dots_ocr",
        "internlm2",
        "internlm3",
        "llava",
        "llava_llama",
        "llava_mistral",
        "llava_qwen",
        "minicpm",
        "minicpm3",
        "minicpmv",
        "mimo_v2_flash",
        "minimax_m3_vl_text",
        "molmo",
        "phi3_v",
        "phi4mm",
        "qwen",
        "stablelm",
        "xverse",
    }
)
