"""What configuration files leave out of their image encoder: the values that each type's own class fills in.

Source of all values: huggingface/transformers v5, src/transformers/models/<type>/configuration_<type>.py.
"""

from __future__ import annotations

from collections.abc import Mapping

Value = int | None


def _vit(hidden_size: int, intermediate_size: int, layers: int, patch: int, image: int | None) -> Mapping[str, Value]:
    sizes = {"hidden_size": hidden_size, "intermediate_size": intermediate_size, "num_hidden_layers": layers}
    return {**sizes, "patch_size": patch, "image_size": image}


def _native(hidden_size: int, intermediate_size: int, layers: int, patch: int) -> Mapping[str, Value]:
    sizes = {"hidden_size": hidden_size, "intermediate_size": intermediate_size, "depth": layers}
    return {**sizes, "patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2}


_QWEN2_VIT: Mapping[str, Value] = {
    "embed_dim": 1280,
    "mlp_ratio": 4,
    "depth": 32,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
# `window_size` and the four layers that attend fully belong to the type as well; see hf_vision.
_QWEN2_5_VIT: Mapping[str, Value] = {**_native(1280, 3420, 32, 14), "window_size": 112}
QWEN2_5_FULL_ATTENTION_LAYERS = (7, 15, 23, 31)

# Image encoders, by the type of their section, else by that of the file.
VISION: Mapping[str, Mapping[str, Value]] = {
    "blip-2": _vit(1408, 6144, 39, 14, 224),
    "blip_2_vision_model": _vit(1408, 6144, 39, 14, 224),
    "clip_vision_model": _vit(768, 3072, 12, 32, 224),
    "gemma4_vision": {**_vit(768, 3072, 16, 16, None), "pooling_kernel_size": 3},
    "glm4v": _native(1536, 13696, 24, 14),
    "glm4v_moe": _native(1536, 13696, 24, 14),
    "idefics3": _vit(1152, 3072, 12, 32, 224),
    "idefics3_vision": _vit(1152, 3072, 12, 32, 224),
    "internvl_vision": _vit(1024, 4096, 24, 14, 448),
    "llama4_vision_model": _vit(768, 5632, 34, 14, 448),
    "mllama_vision_model": {**_vit(1280, 5120, 32, 14, 448), "num_global_layers": 8, "max_num_tiles": 4},
    "pixtral": _vit(1024, 4096, 24, 16, 1024),
    "qwen2_vl": _QWEN2_VIT,
    "qwen2_5_vl": _QWEN2_5_VIT,
    "qwen3_vl": _native(1152, 4304, 27, 16),
    "qwen3_vl_moe": _native(1152, 4304, 27, 16),
    "qwen3_5": _native(1152, 4304, 27, 16),
    "qwen3_5_moe": _native(1152, 4304, 27, 16),
    "siglip_vision_model": _vit(768, 3072, 12, 16, 224),
    "siglip2_vision_model": _vit(768, 3072, 12, 16, None),
    "smolvlm_vision": _vit(1152, 3072, 12, 32, 224),
}

# Encoders that no file describes: their sizes are in the code of the model's repository
# (allenai/molmo olmo/config.py VisionBackboneConfig; microsoft/Phi-3-vision-128k-instruct image_embedding_phi3_v.py).
CODED: Mapping[str, Mapping[str, Value]] = {
    "MolmoForCausalLM": _vit(1024, 4096, 23, 14, 336),
    "Phi3VForCausalLM": _vit(1024, 4096, 24, 14, 336),
}
