"""The image-token rule of a model, from its configuration and that of its processor. Pure; a refusal in place of a guess.

One reader per architecture. What a reader states itself (markers, grids) is in the code of the architecture's processor
in huggingface/transformers or vllm-project/vllm; everything that differs between checkpoints is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vlmctl.catalog.hf_config import TEXT_SECTIONS, vision_section
from vlmctl.catalog.hf_values import Config, integer, refuse, required, section
from vlmctl.specs.tokens import (
    AnyRes,
    FixedTokens,
    FrameBudget,
    FrameResize,
    Grid,
    OverlappingCrops,
    PaddedPatches,
    ResizeOrTile,
    RowBreaks,
    Slices,
    SmallSides,
    SmartResize,
    Tiles,
    TokenBudget,
    TokenRuleKind,
)

GEMMA3N_PIXELS = 768  # the encoder's input; no file states it (processing_gemma3n.py of transformers)
MOONVIT_MAX_SIDE_PATCHES = 512  # image_processing_kimi_vl.py of moonshotai/Kimi-VL-A3B-Instruct
PHI3_CELLS = 12  # tokens along a side of one tile: 24 patches, merged two by two
MINICPM_VERSIONS = frozenset({"2.6", "4.0", "4", "4.5"})  # those whose processor gives every image an id


def token_rule(architecture: str, config: Config, processor: Config) -> TokenRuleKind:
    """The rule of an architecture (the class that ``architectures`` names); raises UnsupportedModel where none is known.

    `processor`: preprocessor_config.json, with what processor_config.json and the video file add under
    ``video_processor``.
    """
    reader = READERS.get(architecture)
    if reader is None:
        raise refuse(f"how {architecture or 'this model'} turns images into tokens is not known to vlmctl.")
    return reader(config, processor)


def _vision(config: Config) -> Config:
    found = vision_section(config)
    if found is None:
        raise refuse("the configuration does not describe its image encoder.")
    return found


def _limits(processor: Config) -> tuple[int, int]:
    """Smallest and largest area in pixels, under either of the names that transformers has used."""
    size = section(processor, "size") or {}
    least, most = integer(processor, "min_pixels"), integer(processor, "max_pixels")
    return least or required(size, "shortest_edge", "min_pixels"), most or required(size, "longest_edge", "max_pixels")


def _llava(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    patch, side = required(vision, "patch_size"), required(vision, "image_size")
    if vision.get("model_type") == "pixtral":
        return RowBreaks(cell_pixels=patch, patch_pixels=patch, max_side_pixels=side)
    if vision.get("model_type") not in ("clip_vision_model", "siglip_vision_model"):
        raise refuse(f"the image encoder {vision.get('model_type')!r} is not known with this architecture.")
    with_class_token = config.get("vision_feature_select_strategy") == "full" and "clip" in str(vision["model_type"])
    return FixedTokens(
        tokens=(side // patch) ** 2 + with_class_token,
        width_pixels=side,
        height_pixels=side,
        patch_pixels=patch,
        crops=processor.get("do_center_crop") is True,
    )


def _mistral3(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    patch = required(vision, "patch_size")
    merge = integer(config, "spatial_merge_size") or 2  # the class's own (configuration_mistral3.py)
    side = integer(section(processor, "size") or {}, "longest_edge") or required(vision, "image_size")
    return RowBreaks(cell_pixels=patch * merge, patch_pixels=patch, max_side_pixels=side)


def _llava_next(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    pinpoints = config.get("image_grid_pinpoints") or processor.get("image_grid_pinpoints")
    if not pinpoints:
        raise refuse("the configuration does not state 'image_grid_pinpoints'.")
    shrink = str(config.get("vision_aspect_ratio") or "").partition("anyres_max_")[2]
    return AnyRes(
        tile_pixels=required(vision, "image_size"),
        patch_pixels=required(vision, "patch_size"),
        pinpoints=tuple((int(height), int(width)) for height, width in pinpoints),
        shrink_above_tiles=int(shrink) if shrink.isdigit() else None,
    )


def _qwen2_vl(config: Config, processor: Config) -> TokenRuleKind:
    least, most = _limits(processor)
    frames = section(processor, "video_processor")
    frame_least, frame_most = _limits(frames) if frames is not None else (least, most)
    video = FrameResize(min_pixels=frame_least, max_pixels=frame_most, clip_marker_tokens=2)
    return _resized(config, processor, video=video)


def _qwen3_vl(config: Config, processor: Config) -> TokenRuleKind:
    frames = section(processor, "video_processor")
    video = None
    if frames is not None:
        least, most = _limits(frames)
        video = FrameResize(
            min_pixels=least, max_pixels=most, over_clip=True, small_sides=SmallSides.LIFT, frame_marker_tokens=2
        )
    return _resized(config, processor, video=video)


def _resized(config: Config, processor: Config, *, video: FrameResize | None = None) -> SmartResize:
    vision = _vision(config)
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


def _plain_resize(config: Config, processor: Config) -> TokenRuleKind:
    return _resized(config, processor)


def _glm4v(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    patch, merge = required(vision, "patch_size"), required(vision, "spatial_merge_size")
    least, most = _limits(processor)
    return SmartResize(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        min_pixels=least,
        max_pixels=most,
        area_frames=required({**vision, **processor}, "temporal_patch_size"),
        small_sides=SmallSides.LIFT,
        marker_tokens=2,
    )


def _gemma3(config: Config, processor: Config) -> TokenRuleKind:
    if processor.get("do_pan_and_scan") is True:
        raise refuse("pan-and-scan is switched on, whose tokens vlmctl does not count.")
    vision = _vision(config)
    side = required(vision, "image_size")
    return FixedTokens(
        tokens=integer(config, "mm_tokens_per_image") or 256,  # the class's own (configuration_gemma3.py)
        width_pixels=side,
        height_pixels=side,
        patch_pixels=required(vision, "patch_size"),
        marker_tokens=4,
    )


def _gemma3n(config: Config, _processor: Config) -> TokenRuleKind:
    tokens = integer(config, "vision_soft_tokens_per_image") or 256  # the class's own (configuration_gemma3n.py)
    return FixedTokens(tokens=tokens, width_pixels=GEMMA3N_PIXELS, height_pixels=GEMMA3N_PIXELS, marker_tokens=4)


def _gemma4(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    patch = required(vision, "patch_size")
    frames = section(processor, "video_processor") or {}
    return TokenBudget(
        cell_pixels=patch * required(vision, "pooling_kernel_size"),
        patch_pixels=patch,
        budget_tokens=required(config, "vision_soft_tokens_per_image"),
        marker_tokens=2,
        # 70: the class's own (video_processing_gemma4.py)
        video=FrameBudget(budget_tokens=integer(frames, "max_soft_tokens") or 70, frame_marker_tokens=2),
    )


def _paligemma(config: Config, _processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    return FixedTokens(tokens=(side // patch) ** 2, width_pixels=side, height_pixels=side, patch_pixels=patch)


def _blip2(config: Config, _processor: Config) -> TokenRuleKind:
    vision = {"image_size": 224, "patch_size": 14, **_vision(config)}  # the class's own (configuration_blip_2.py)
    side = required(vision, "image_size")
    return FixedTokens(
        tokens=integer(config, "num_query_tokens") or 32,
        width_pixels=side,
        height_pixels=side,
        patch_pixels=required(vision, "patch_size"),
    )


def _internvl(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    side = integer(config, "force_image_size") or required(vision, "image_size")
    patch = required(vision, "patch_size")
    ratio = config.get("downsample_ratio", 0.5)  # the class's own
    tokens = int((side // patch * float(ratio)) ** 2)
    if config.get("dynamic_image_size") is False:
        return FixedTokens(tokens=tokens, width_pixels=side, height_pixels=side, patch_pixels=patch, marker_tokens=2)
    limits = {**processor, **config}
    return Tiles(
        grid=Grid.CLOSEST_ASPECT,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=tokens,
        min_tiles=required(limits, "min_dynamic_patch", "min_patches"),
        max_tiles=required(limits, "max_dynamic_patch", "max_patches"),
        overview=limits.get("use_thumbnail") is not False,
        marker_tokens=2,
    )


def _cohere(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    cells = side // patch // (integer(config, "downsample_factor") or 2)  # the class's own
    return Tiles(
        grid=Grid.CLOSEST_ASPECT,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=cells**2,
        max_tiles=required(processor, "max_patches"),
        marker_tokens=3,
        tile_marker_tokens=1,
    )


def _idefics3(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    patch = required(vision, "patch_size")
    tile = required(section(processor, "max_image_size") or {}, "longest_edge")
    whole = required(section(processor, "size") or {}, "longest_edge")
    tokens = (tile // patch // required(config, "scale_factor")) ** 2
    if processor.get("do_image_splitting") is False:
        return FixedTokens(tokens=tokens, width_pixels=tile, height_pixels=tile, patch_pixels=patch, marker_tokens=3)
    return Tiles(
        grid=Grid.LONGEST_SIDE,
        tile_pixels=tile,
        patch_pixels=patch,
        tokens_per_tile=tokens,
        longest_side_tiles=whole // tile,
        marker_tokens=3,
        tile_marker_tokens=2,
        row_marker_tokens=1,
        tiled_marker_tokens=1,
    )


def _mllama(config: Config, _processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    return Tiles(
        grid=Grid.LEAST_UPSCALE,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=(side // patch) ** 2 + 1,
        max_tiles=required(vision, "max_num_tiles"),
        pads=True,
        overview=False,
        marker_tokens=1,
    )


def _llama4(config: Config, processor: Config) -> TokenRuleKind:
    vision = _vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    ratio = float(vision.get("pixel_shuffle_ratio", 0.5))
    return Tiles(
        grid=Grid.LEAST_UPSCALE,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=int((side // patch * ratio) ** 2),
        max_tiles=required(processor, "max_patches"),
        pads=True,
        marker_tokens=3,
        tile_marker_tokens=1,
    )


def _phi3v(config: Config, processor: Config) -> TokenRuleKind:
    if "clip-vit-large-patch14-336" not in str((section(config, "img_processor") or {}).get("model_name", "")):
        raise refuse("the image encoder is not the CLIP ViT-L/14 of 336 pixels that this architecture is known with.")
    return Tiles(
        grid=Grid.STRIP,
        tile_pixels=336,
        patch_pixels=14,
        tokens_per_tile=PHI3_CELLS**2,
        max_tiles=required(processor, "num_crops"),
        pads=True,
        overview_always=True,
        overview_tokens=PHI3_CELLS * (PHI3_CELLS + 1),
        row_tokens=PHI3_CELLS,
        separator_tokens=1,
    )


def _deepseek_vl2(config: Config, processor: Config) -> TokenRuleKind:
    candidates = processor.get("candidate_resolutions") or config.get("candidate_resolutions")
    if not candidates:
        raise refuse("the configuration does not state 'candidate_resolutions'.")
    side = min(int(size) for pair in candidates for size in pair)
    patch = required(_vision(config), "patch_size")
    cells = -(-(side // patch) // (integer(processor, "downsample_ratio") or 2))
    return Tiles(
        grid=Grid.BEST_FIT,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=cells**2,
        max_tiles=max(int(width) * int(height) for width, height in candidates) // side**2,
        candidates=tuple((int(width), int(height)) for width, height in candidates),
        pads=True,
        overview_always=True,
        overview_tokens=cells * (cells + 1),
        most_images_tiled=2,
        row_tokens=cells,
        separator_tokens=1,
    )


def _minicpmv(config: Config, processor: Config) -> TokenRuleKind:
    if str(config.get("version")) not in MINICPM_VERSIONS:
        raise refuse(f"MiniCPM-V of the version {config.get('version')!r} is not known to vlmctl.")
    patch = required({**config, **processor}, "patch_size")
    return Slices(
        slice_pixels=required(processor, "scale_resolution"),
        patch_pixels=patch,
        unit_pixels=patch,
        max_slices=required(processor, "max_slice_nums"),
        tokens_per_view=required(config, "query_num"),
        marker_tokens=5,
        slice_marker_tokens=2,
        row_gap_tokens=1,
    )


def _kimi_vl(config: Config, processor: Config) -> TokenRuleKind:
    patch = required(_vision(config), "patch_size")
    merge = required(_vision(config), "merge_kernel_size")
    return PaddedPatches(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        max_patches=required(processor, "in_token_limit"),
        max_side_patches=MOONVIT_MAX_SIDE_PATCHES,
        refuses_long_sides=True,
    )


def _molmo(_config: Config, processor: Config) -> TokenRuleKind:
    margins = processor.get("overlap_margins") or (0, 0)
    return OverlappingCrops(
        crop_pixels=required(processor, "base_image_input_size"),
        patch_pixels=required(processor, "image_patch_size"),
        pool=required(processor, "image_token_length_h") and 2,
        max_crops=required(processor, "max_crops"),
        margin_patches=(int(margins[0]), int(margins[1])),
        pooled_as_one=False,
        marker_tokens=4,
    )


def _lfm2_vl(config: Config, processor: Config) -> TokenRuleKind:
    limits = {**config, **processor}
    patch = required(limits, "encoder_patch_size")
    return ResizeOrTile(
        cell_pixels=patch * required(limits, "downsample_factor"),
        patch_pixels=patch,
        min_image_tokens=required(limits, "min_image_tokens"),
        max_image_tokens=required(limits, "max_image_tokens"),
        tolerance=float(limits.get("max_pixels_tolerance", 2.0)),
        tile_pixels=required(limits, "tile_size"),
        min_tiles=required(limits, "min_tiles"),
        max_tiles=required(limits, "max_tiles"),
        marker_tokens=2,
        tile_marker_tokens=1,
        tiled_marker_tokens=1,
    )


READERS: Mapping[str, Callable[[Config, Config], TokenRuleKind]] = {
    "AyaVisionForConditionalGeneration": _cohere,
    "Blip2ForConditionalGeneration": _blip2,
    "Cohere2VisionForConditionalGeneration": _cohere,
    "DeepseekVLV2ForCausalLM": _deepseek_vl2,
    "DotsOCRForCausalLM": _plain_resize,
    "Gemma3ForConditionalGeneration": _gemma3,
    "Gemma3nForConditionalGeneration": _gemma3n,
    "Gemma4ForConditionalGeneration": _gemma4,
    "Glm4vForConditionalGeneration": _glm4v,
    "Glm4vMoeForConditionalGeneration": _glm4v,
    "Idefics3ForConditionalGeneration": _idefics3,
    "InternVLChatModel": _internvl,
    "InternVLForConditionalGeneration": _internvl,
    "KimiVLForConditionalGeneration": _kimi_vl,
    "Lfm2VlForConditionalGeneration": _lfm2_vl,
    "Llama4ForConditionalGeneration": _llama4,
    "LlavaForConditionalGeneration": _llava,
    "LlavaNextForConditionalGeneration": _llava_next,
    "LlavaOnevisionForConditionalGeneration": _llava_next,
    "MiniCPMV": _minicpmv,
    "Mistral3ForConditionalGeneration": _mistral3,
    "MllamaForConditionalGeneration": _mllama,
    "MolmoForCausalLM": _molmo,
    "PaddleOCRVLForConditionalGeneration": _plain_resize,
    "PaliGemmaForConditionalGeneration": _paligemma,
    "Phi3VForCausalLM": _phi3v,
    "Qwen2VLForConditionalGeneration": _qwen2_vl,
    "Qwen2_5_VLForConditionalGeneration": _qwen2_vl,
    "Qwen3VLForConditionalGeneration": _qwen3_vl,
    "Qwen3VLMoeForConditionalGeneration": _qwen3_vl,
    "Qwen3_5ForConditionalGeneration": _qwen3_vl,
    "Qwen3_5MoeForConditionalGeneration": _qwen3_vl,
    "SmolVLMForConditionalGeneration": _idefics3,
}
assert TEXT_SECTIONS
