"""The multimodal architectures that vlmctl reads: how each turns images into tokens, and what joins its two halves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vlmctl.catalog import hf_tiled_rules as tiled
from vlmctl.catalog import hf_whole_rules as whole
from vlmctl.catalog.hf_values import Config, refuse
from vlmctl.specs.tokens import TokenRuleKind

REGISTRY = "vllm-project/vllm@v0.32.0 vllm/model_executor/models/registry.py"


class Architecture(NamedTuple):
    """`rule`: from config.json and the processor's files. `last_vllm`: last version that serves it, None: 0.32 does."""

    rule: Callable[[Config, Config], TokenRuleKind]
    connector: str
    last_vllm: str | None = None


ARCHITECTURES: Mapping[str, Architecture] = {
    "AyaVisionForConditionalGeneration": Architecture(tiled.aya_vision, "pixel-shuffle-mlp", last_vllm="0.24.0"),
    "Blip2ForConditionalGeneration": Architecture(whole.blip2, "q-former"),
    "Cohere2VisionForConditionalGeneration": Architecture(tiled.command_a_vision, "pixel-shuffle-mlp"),
    "DeepseekVLV2ForCausalLM": Architecture(tiled.deepseek_vl2, "pixel-shuffle-mlp"),
    "DotsOCRForCausalLM": Architecture(whole.dots_ocr, "patch-merger"),
    "Gemma3ForConditionalGeneration": Architecture(whole.gemma3, "pooling-linear"),
    "Gemma3nForConditionalGeneration": Architecture(whole.gemma3n, "linear"),
    "Gemma4ForConditionalGeneration": Architecture(whole.gemma4, "pooling-linear"),
    "Glm4vForConditionalGeneration": Architecture(whole.glm4v, "conv-patch-merger"),
    "Glm4vMoeForConditionalGeneration": Architecture(whole.glm4v, "conv-patch-merger"),
    "Idefics3ForConditionalGeneration": Architecture(tiled.idefics3, "pixel-shuffle-linear"),
    "InternVLChatModel": Architecture(tiled.internvl, "pixel-shuffle-mlp"),
    "InternVLForConditionalGeneration": Architecture(tiled.internvl, "pixel-shuffle-mlp"),
    "KimiVLForConditionalGeneration": Architecture(whole.kimi_vl, "patch-merger"),
    "Lfm2VlForConditionalGeneration": Architecture(tiled.lfm2_vl, "pixel-unshuffle-mlp"),
    "Llama4ForConditionalGeneration": Architecture(tiled.llama4, "pixel-shuffle-mlp"),
    "LlavaForConditionalGeneration": Architecture(whole.llava, "mlp"),
    "LlavaNextForConditionalGeneration": Architecture(tiled.llava_next, "mlp"),
    "LlavaOnevisionForConditionalGeneration": Architecture(tiled.llava_onevision, "mlp"),
    "MiniCPMV": Architecture(tiled.minicpmv, "perceiver-resampler"),
    "Mistral3ForConditionalGeneration": Architecture(whole.mistral3, "patch-merger"),
    "MllamaForConditionalGeneration": Architecture(tiled.mllama, "cross-attention", last_vllm="0.10.2"),
    "MolmoForCausalLM": Architecture(tiled.molmo, "attention-pooling-mlp"),
    "PaddleOCRVLForConditionalGeneration": Architecture(whole.paddleocr_vl, "patch-merger"),
    "PaliGemmaForConditionalGeneration": Architecture(whole.paligemma, "linear"),
    "Phi3VForCausalLM": Architecture(tiled.phi3v, "mlp"),
    "Qwen2VLForConditionalGeneration": Architecture(whole.qwen2_vl, "patch-merger"),
    "Qwen2_5_VLForConditionalGeneration": Architecture(whole.qwen2_vl, "patch-merger"),
    "Qwen3VLForConditionalGeneration": Architecture(whole.qwen3_vl, "patch-merger-deepstack"),
    "Qwen3VLMoeForConditionalGeneration": Architecture(whole.qwen3_vl, "patch-merger-deepstack"),
    "Qwen3_5ForConditionalGeneration": Architecture(whole.qwen3_vl, "patch-merger"),
    "Qwen3_5MoeForConditionalGeneration": Architecture(whole.qwen3_vl, "patch-merger"),
    "SmolVLMForConditionalGeneration": Architecture(tiled.idefics3, "pixel-shuffle-linear"),
}
# Files that name no class; the engine is told it by --hf-overrides.
_CLASS_OF_TYPE: Mapping[str, str] = {"deepseek_vl_v2": "DeepseekVLV2ForCausalLM"}


def architecture(config: Config) -> Architecture:
    """What is known of the class that ``architectures`` names; raises UnsupportedModel where nothing is."""
    name = architecture_name(config)
    found = ARCHITECTURES.get(name)
    if found is None:
        raise refuse(f"how {name or 'this model'} turns images into tokens is not known to vlmctl.")
    return found


def architecture_name(config: Config) -> str:
    """The class that the file names first, else the one that its type is always served as; empty where neither is."""
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return str(names[0])
    return _CLASS_OF_TYPE.get(str(config.get("model_type")), "")
