"""What the engine keeps of a model beside the tensors of its checkpoint: padding, absorbed projections, buffers."""

from __future__ import annotations

from vlmctl.planning.activations import DEEPSTACK_LEVELS
from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures
from vlmctl.planning.positions import LATENT_ROTATED_ELEMENTS
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.model import AttentionKind, Precision

# Sizes that kernels of MXFP4 experts round up to (vllm/model_executor/layers/fused_moe/oracle/mxfp4.py: Marlin and
# TensorRT-LLM, the defaults on Ampere, Hopper and Blackwell).
MXFP4_INNER_STEP = 128
MXFP4_HIDDEN_STEP = 256


def loaded_language_bytes(figures: ModelFigures, settings: EngineSettings, *, gpu_count: int) -> float:
    """Bytes of the decoder on one of `gpu_count` GPUs once it is loaded, position tables left out."""
    shared = figures.language_bytes + _padding_bytes(figures, gpu_count) + _absorbed_bytes(figures)
    return shared / gpu_count + _deepstack_bytes(figures, settings)


def loaded_vision_bytes(figures: ModelFigures, settings: EngineSettings, *, gpu_count: int) -> float:
    """Bytes of encoder and projector; none where the limits allow no image and no video (`_mark_tower_model`)."""
    if figures.image_rule is not None and not settings.max_images and not settings.max_videos:
        return 0.0
    return figures.vision_bytes / (1 if settings.encoder_data_parallel else gpu_count)


def _padding_bytes(figures: ModelFigures, gpu_count: int) -> float:
    experts = figures.language.experts
    if experts is None or figures.precision is not Precision.MXFP4:
        return 0.0
    hidden, inner = figures.language.hidden_size, experts.intermediate_size / gpu_count
    padded = _rounded_up(inner, MXFP4_INNER_STEP) * _rounded_up(hidden, MXFP4_HIDDEN_STEP)
    return figures.expert_bytes * (padded / (inner * hidden) - 1)


def _absorbed_bytes(figures: ModelFigures) -> float:
    """MLA's expansion of keys and values, kept a second time in the shape that decoding multiplies with.

    Source: vllm-project/vllm@v0.32.0 vllm/model_executor/layers/attention/mla_attention.py (W_UK_T, W_UV).
    """
    elements = 0
    for group in figures.language.attention:
        if group.kind is AttentionKind.LATENT:
            rank = (group.latent_dim or 0) - LATENT_ROTATED_ELEMENTS
            elements += group.layers * group.query_heads * rank * 2 * (group.head_dim - LATENT_ROTATED_ELEMENTS)
    return float(elements * ACTIVATION_BYTES)


def _deepstack_bytes(figures: ModelFigures, settings: EngineSettings) -> float:
    """Buffers for the features that deepstack hands to the decoder (qwen3_vl.py, deepstack_input_embeds)."""
    if not figures.deepstack or not (settings.max_images or settings.max_videos):
        return 0.0
    width = DEEPSTACK_LEVELS * figures.language.hidden_size * ACTIVATION_BYTES
    return float(settings.max_num_batched_tokens * width)


def _rounded_up(size: float, step: int) -> float:
    return -(-size // step) * step
