"""Image-token rules of models that see the whole image at once, from their files. Pure; a refusal in place of a guess.

What a reader states itself (markers, how sides are rounded) is in the processor's code in huggingface/transformers;
everything that differs between checkpoints is read.
"""

from __future__ import annotations

import msgspec

from vlmctl.catalog.hf_config import required_vision
from vlmctl.catalog.hf_values import Config, integer, refuse, required, section, shown
from vlmctl.specs.tokens import (
    FixedTokens,
    FrameBudget,
    FrameResize,
    PaddedPatches,
    RowBreaks,
    SmallSides,
    SmartResize,
    TokenBudget,
    TokenRuleKind,
)

GEMMA3N_PIXELS = 768  # the encoder's input; no file states it (processing_gemma3n.py)
GEMMA4_VIDEO_TOKENS = 70  # the class's own (video_processing_gemma4.py)
SMALLEST_CELL_PIXELS = (
    28  # of the models here; limits below its area are sides of a square, meant for another processor
)
MOONVIT_MAX_SIDE_PATCHES = 512  # image_processing_kimi_vl.py of moonshotai/Kimi-VL-A3B-Instruct


def llava(config: Config, processor: Config) -> TokenRuleKind:
    """LLaVA: one square view; or Pixtral, where its encoder is the one inside."""
    vision = required_vision(config)
    patch, side = required(vision, "patch_size"), required(vision, "image_size")
    if vision.get("model_type") == "pixtral":
        return RowBreaks(cell_pixels=patch, patch_pixels=patch, max_side_pixels=side)
    if vision.get("model_type") not in ("clip_vision_model", "siglip_vision_model"):
        raise refuse(f"the image encoder {shown(vision.get('model_type'))} is not known with this architecture.")
    with_class_token = config.get("vision_feature_select_strategy") == "full" and "clip" in str(vision["model_type"])
    return FixedTokens(
        tokens=(side // patch) ** 2 + with_class_token,
        width_pixels=side,
        height_pixels=side,
        patch_pixels=patch,
        crops=processor.get("do_center_crop") is True,
    )


def mistral3(config: Config, processor: Config) -> TokenRuleKind:
    """Mistral Small 3, Ministral 3: native aspect, patches merged, a break token per row."""
    vision = required_vision(config)
    patch = required(vision, "patch_size")
    merge = integer(config, "spatial_merge_size") or 2  # the class's own (configuration_mistral3.py)
    side = integer(section(processor, "size") or {}, "longest_edge") or required(vision, "image_size")
    return RowBreaks(cell_pixels=patch * merge, patch_pixels=patch, max_side_pixels=side)


def qwen2_vl(config: Config, processor: Config) -> TokenRuleKind:
    """Qwen2-VL and Qwen2.5-VL: resized within the limits, images and frames alike."""
    least, most = _limits(processor)
    frames = section(processor, "video_processor")
    frame_least, frame_most = _limits(frames) if frames is not None else (least, most)
    video = FrameResize(min_pixels=frame_least, max_pixels=frame_most, clip_marker_tokens=2)
    return _resized(config, processor, video=video)


def qwen3_vl(config: Config, processor: Config) -> TokenRuleKind:
    """Qwen3-VL and Qwen3.5: resized within the limits, those of a clip over all of its frames."""
    frames = section(processor, "video_processor")
    video = None
    if frames is not None:
        least, most = _limits(frames)
        video = FrameResize(
            min_pixels=least, max_pixels=most, over_clip=True, small_sides=SmallSides.LIFT, frame_marker_tokens=2
        )
    return _resized(config, processor, video=video)


def dots_ocr(config: Config, processor: Config) -> TokenRuleKind:
    """dots.ocr: resized as Qwen2-VL, without video."""
    return _resized(config, processor)


def paddleocr_vl(config: Config, processor: Config) -> TokenRuleKind:
    """PaddleOCR-VL: resized, short sides lifted one after the other, without video."""
    return msgspec.structs.replace(
        _resized(config, processor), small_sides=SmallSides.LIFT_IN_TURN, keeps_one_cell=False
    )


def glm4v(config: Config, processor: Config) -> TokenRuleKind:
    """GLM-4.1V to 4.6V: resized within limits that count a still image as two frames."""
    frames = section(processor, "video_processor")
    video = None
    if frames is not None:
        least, most = _limits(frames)
        video = FrameResize(
            min_pixels=least,
            max_pixels=most,
            over_clip=True,
            small_sides=SmallSides.LIFT,
            frame_marker_tokens=2,
            clip_marker_tokens=2,
        )
    return msgspec.structs.replace(
        _resized(config, processor, video=video),
        area_frames=required({**required_vision(config), **processor}, "temporal_patch_size"),
        small_sides=SmallSides.LIFT,
    )


def gemma3(config: Config, processor: Config) -> TokenRuleKind:
    """Gemma 3: one square view pooled to a fixed number of tokens."""
    if processor.get("do_pan_and_scan") is True:
        raise refuse("pan-and-scan is switched on, whose tokens vlmctl does not count.")
    vision = required_vision(config)
    side = required(vision, "image_size")
    return FixedTokens(
        tokens=integer(config, "mm_tokens_per_image") or 256,  # the class's own (configuration_gemma3.py)
        width_pixels=side,
        height_pixels=side,
        patch_pixels=required(vision, "patch_size"),
        marker_tokens=4,
    )


def gemma3n(config: Config, _processor: Config) -> TokenRuleKind:
    """Gemma 3n: one square view of a convolutional encoder."""
    tokens = integer(config, "vision_soft_tokens_per_image") or 256  # the class's own (configuration_gemma3n.py)
    return FixedTokens(tokens=tokens, width_pixels=GEMMA3N_PIXELS, height_pixels=GEMMA3N_PIXELS, marker_tokens=4)


def gemma4(config: Config, processor: Config) -> TokenRuleKind:
    """Gemma 4: the largest size within a budget of tokens."""
    vision = required_vision(config)
    patch = required(vision, "patch_size")
    frames = section(processor, "video_processor") or {}
    return TokenBudget(
        cell_pixels=patch * required(vision, "pooling_kernel_size"),
        patch_pixels=patch,
        budget_tokens=required(config, "vision_soft_tokens_per_image"),
        marker_tokens=2,
        video=FrameBudget(
            budget_tokens=integer(frames, "max_soft_tokens") or GEMMA4_VIDEO_TOKENS, frame_marker_tokens=2
        ),
    )


def paligemma(config: Config, _processor: Config) -> TokenRuleKind:
    """PaliGemma: one square view, a token per patch."""
    vision = required_vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    return FixedTokens(tokens=(side // patch) ** 2, width_pixels=side, height_pixels=side, patch_pixels=patch)


def blip2(config: Config, _processor: Config) -> TokenRuleKind:
    """BLIP-2: one square view, as many tokens as learned queries."""
    vision = {
        "image_size": 224,
        "patch_size": 14,
        **required_vision(config),
    }  # the class's own (configuration_blip_2.py)
    side = required(vision, "image_size")
    return FixedTokens(
        tokens=integer(config, "num_query_tokens") or 32,
        width_pixels=side,
        height_pixels=side,
        patch_pixels=required(vision, "patch_size"),
    )


def kimi_vl(config: Config, processor: Config) -> TokenRuleKind:
    """Kimi-VL: MoonViT, never enlarged, padded to whole cells."""
    patch = required(required_vision(config), "patch_size")
    merge = required(required_vision(config), "merge_kernel_size")
    return PaddedPatches(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        max_patches=required(processor, "in_token_limit"),
        max_side_patches=MOONVIT_MAX_SIDE_PATCHES,
        refuses_long_sides=True,
        marker_tokens=4,
    )


def _resized(config: Config, processor: Config, *, video: FrameResize | None = None) -> SmartResize:
    vision = required_vision(config)
    patch = integer(processor, "patch_size") or required(vision, "patch_size", "spatial_patch_size")
    merge = integer(processor, "merge_size") or required(vision, "spatial_merge_size")
    least, most = _limits(processor)
    return SmartResize(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        min_pixels=least,
        max_pixels=most,
        marker_tokens=2,
        video=video,
    )


def _limits(processor: Config) -> tuple[int, int]:
    """Smallest and largest area in pixels, under either of the names that transformers has used."""
    size = section(processor, "size") or {}
    least = integer(processor, "min_pixels") or required(size, "shortest_edge", "min_pixels")
    most = integer(processor, "max_pixels") or required(size, "longest_edge", "max_pixels")
    if not SMALLEST_CELL_PIXELS**2 <= least < most:
        raise refuse(f"the processor's limits, {least} to {most}, are not areas in pixels.")
    return least, most
