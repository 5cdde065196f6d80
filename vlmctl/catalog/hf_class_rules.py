"""Image-token rules of classes that no catalog entry is made of: stated by their processor, or assumed by the encoder.

Only what a measurement file brings along is read so (`described`); `vlmctl models import` refuses these classes.
Limits and counts that a file leaves out are those of the class's own processor (huggingface/transformers v5.19.0,
src/transformers/models/<type>/processing_<type>.py and image_processing_<type>.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from vlmctl.catalog import hf_whole_rules as whole
from vlmctl.catalog.hf_config import required_vision, vision_section
from vlmctl.catalog.hf_values import Config, integer, refuse, required, section, within
from vlmctl.specs.tokens import (
    FixedTokens,
    Grid,
    PaddedPatches,
    Resampled,
    RowBreaks,
    SmallSides,
    SmartResize,
    Tiles,
    TokenRuleKind,
)

ASSUMED = "assumed from the sizes of its encoder: no rule here is its processor's own"
_ARIA_PIXELS = {128: 490, 256: 980}  # by tokens; the two sizes that processing_aria.py converts
_CHAMELEON = FixedTokens(tokens=1024, width_pixels=512, height_pixels=512, crops=True, marker_tokens=2)
_SIGLIP_TOKENS = 576  # of a view of 384 pixels in patches of 16: processing_deepseek_vl.py, processing_janus.py
_GOT_TOKENS = 256
_IDEFICS2_SIDES = (378, 980)  # pixels, shortest and longest
_FAST_VLM_PIXELS = 64  # side per token of FastVLM's encoder: 256 tokens of 1024x1024 pixels (arXiv:2412.13303)
_KOSMOS_2_5_SIDE_PATCHES = 64  # 4096 patches at most (image_processing_kosmos2_5.py)
_FUYU_SIDE_PIXELS = 1920  # images higher than 1080 pixels are shrunk further, which the rule does not hold
_EMU3_CELL_PIXELS, _EMU3_AREA = 8, (512 * 512, 1024 * 1024)
_QWEN2_VL_AREA = (56 * 56, 28 * 28 * 1280)  # pixels: cohere_compass, video_llama_3
_COSMOS3_EDGE_AREA = (256 * 256, 4096 * 4096)
_PERCEPTION_TILE_PIXELS, _PERCEPTION_TILES = 448, 36
_PERCEPTION_LEAST_SHARE = 28 / 36  # of the tiles: then half of random images have exactly the processor's count
_PROCESSOR_PATCH_PIXELS = 16  # of kosmos-2.5, whose file states none
# For what nothing states: the patches of CLIP ViT-L/14, and no more tokens than Qwen2-VL's files allow an image.
_USUAL_PATCH_PIXELS = 14
_MOST_TOKENS = 16_384
_MOST_SIDE_PATCHES = 65_535  # none, for any image that there is
_LEAST_AREA = 16_384  # pixels; an upper limit below it is the side of a square, not an area
_COUNTS = ("image_seq_length", "num_image_tokens", "num_query_tokens", "latent_query_num", "image_token_length")
_MERGES = ("spatial_merge_size", "merge_kernel_size", "merge_size", "hidden_stride", "downsample_factor")


def stated_rule(name: str, config: Config, processor: Config) -> TokenRuleKind | None:
    """The rule of a class whose processor states it; None for other classes. Raises UnsupportedModel for odd files."""
    reader = _STATED.get(name)
    return reader(config, processor) if reader is not None else None


def assumed_rule(name: str, config: Config, processor: Config) -> TokenRuleKind | None:
    """What an encoder of such sizes usually makes of an image; None where the file describes no encoder.

    One square view where the file states its side and nothing of merging, else the image's own size in merged patches;
    of some classes the rule that comes nearest to their processor's.
    """
    if (reader := _NEAREST.get(name)) is not None:
        return reader(config, processor)
    vision = vision_section(config)
    if vision is None:
        return None
    patch = integer(vision, "patch_size", "spatial_patch_size") or _USUAL_PATCH_PIXELS
    merge = integer({**config, **vision}, *_MERGES) or 1
    side = integer(vision, "image_size")
    if side and merge == 1:
        tokens = integer({**config, **processor}, *_COUNTS) or max(1, side // patch) ** 2
        return FixedTokens(tokens=tokens, width_pixels=side, height_pixels=side, patch_pixels=patch)
    limits = _stated_area(processor)
    if limits is not None:
        return SmartResize(cell_pixels=patch * merge, patch_pixels=patch, min_pixels=limits[0], max_pixels=limits[1])
    return PaddedPatches(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        max_patches=_MOST_TOKENS * merge**2,
        max_side_patches=_MOST_SIDE_PATCHES,
    )


def _aria(config: Config, processor: Config) -> TokenRuleKind:
    if processor.get("split_image") is True:
        raise refuse("its images are split into tiles, which vlmctl does not count.")
    counts = section(config, "projector_patch_to_query_dict") or {}
    tokens = max(
        (within("projector_patch_to_query_dict", int(count)) for count in counts.values()), default=max(_ARIA_PIXELS)
    )
    side = _ARIA_PIXELS.get(tokens) or required(required_vision(config), "image_size")
    return FixedTokens(tokens=tokens, width_pixels=side, height_pixels=side, patch_pixels=_patch(config))


def _chameleon(_config: Config, _processor: Config) -> TokenRuleKind:
    return _CHAMELEON


def _siglip_view(config: Config, processor: Config) -> FixedTokens:
    """DeepSeek-VL, and Janus, which puts a token before and after."""
    vision = required_vision(config)
    side = required(vision, "image_size")
    tokens = integer({**vision, **processor}, "num_image_tokens") or _SIGLIP_TOKENS
    markers = 2 if config.get("model_type") == "janus" else 0
    return FixedTokens(
        tokens=tokens, width_pixels=side, height_pixels=side, patch_pixels=_patch(config), marker_tokens=markers
    )


def _got_ocr2(config: Config, processor: Config) -> TokenRuleKind:
    if processor.get("crop_to_patches") is True:
        raise refuse("its images are cut into tiles, which vlmctl does not count.")
    side = required(required_vision(config), "image_size")
    tokens = integer(processor, "num_image_tokens") or _GOT_TOKENS
    return FixedTokens(
        tokens=tokens, width_pixels=side, height_pixels=side, patch_pixels=_patch(config), marker_tokens=2
    )


def _idefics2(config: Config, processor: Config) -> TokenRuleKind:
    splits = processor.get("do_image_splitting") is True
    size = section(processor, "size") or {}
    return Resampled(
        tokens_per_view=integer(section(config, "perceiver_config") or {}, "resampler_n_latents") or 64,
        patch_pixels=_patch(config),
        shortest_side_pixels=integer(size, "shortest_edge") or _IDEFICS2_SIDES[0],
        longest_side_pixels=integer(size, "longest_edge") or _IDEFICS2_SIDES[1],
        splits=splits,
        marker_tokens=6 if splits else 2,  # one before each of five views, or of one, and one at the end
    )


def _fast_vlm(config: Config, _processor: Config) -> TokenRuleKind:
    tokens = required(config, "image_seq_length")
    side = math.isqrt(tokens) * _FAST_VLM_PIXELS
    return FixedTokens(tokens=tokens, width_pixels=side, height_pixels=side)


def _kosmos2(config: Config, _processor: Config) -> TokenRuleKind:
    side = integer(required_vision(config), "image_size") or _KOSMOS_2_5_SIDE_PATCHES * _patch(config)
    return FixedTokens(
        tokens=required(config, "latent_query_num"),
        width_pixels=side,
        height_pixels=side,
        patch_pixels=_patch(config),
        marker_tokens=2,
    )


def _perception_lm(config: Config, processor: Config) -> TokenRuleKind:
    """Tiles beside a thumbnail: its processor takes the grid that enlarges an image most, usually a full one."""
    tile = integer(processor, "tile_size") or _PERCEPTION_TILE_PIXELS
    patch = integer(processor, "patch_size") or _USUAL_PATCH_PIXELS
    most = integer(processor, "max_num_tiles") or _PERCEPTION_TILES
    pool = integer(processor, "pooling_ratio") or integer(config, "projector_pooling_ratio") or 1
    return Tiles(
        grid=Grid.CLOSEST_ASPECT,
        tile_pixels=tile,
        patch_pixels=patch,
        tokens_per_tile=(tile // patch // pool) ** 2,
        min_tiles=max(1, int(_PERCEPTION_LEAST_SHARE * most)),
        max_tiles=most,
        overview_always=True,
    )


def _fuyu(config: Config, _processor: Config) -> TokenRuleKind:
    patch = required(config, "patch_size")
    return RowBreaks(cell_pixels=patch, patch_pixels=patch, max_side_pixels=_FUYU_SIDE_PIXELS, marker_tokens=1)


def _emu3(_config: Config, processor: Config) -> TokenRuleKind:
    least, most = _stated_area(processor) or _EMU3_AREA
    cell = integer(processor, "spatial_factor") or _EMU3_CELL_PIXELS
    return SmartResize(
        cell_pixels=cell, patch_pixels=cell, min_pixels=least, max_pixels=most, row_break_tokens=1, marker_tokens=2
    )


def _qwen2_vl_like(config: Config, processor: Config) -> SmartResize:
    return _resized(config, processor, _QWEN2_VL_AREA, SmallSides.ROUND)


def _cosmos3_edge(config: Config, processor: Config) -> SmartResize:
    return _resized(config, processor, _COSMOS3_EDGE_AREA, SmallSides.LIFT)


def _resized(config: Config, processor: Config, area: tuple[int, int], small_sides: SmallSides) -> SmartResize:
    patch = integer(processor, "patch_size") or _patch(config)
    merge = integer(processor, "merge_size") or integer(required_vision(config), "spatial_merge_size") or 1
    least, most = _stated_area(processor) or area
    return SmartResize(
        cell_pixels=patch * merge,
        patch_pixels=patch,
        min_pixels=least,
        max_pixels=most,
        small_sides=small_sides,
        marker_tokens=2,
    )


def _patch(config: Config) -> int:
    return integer(required_vision(config), "patch_size") or _PROCESSOR_PATCH_PIXELS


def _stated_area(processor: Config) -> tuple[int, int] | None:
    """Smallest and largest area in pixels; None where the file states none, or sides."""
    size = {**(section(processor, "size") or {}), **processor}
    least, most = integer(size, "min_pixels", "shortest_edge"), integer(size, "max_pixels", "longest_edge")
    if least is None or most is None or not 0 < least < most or most < _LEAST_AREA:
        return None
    return least, most


_STATED: Mapping[str, Callable[[Config, Config], TokenRuleKind]] = {
    "AriaForConditionalGeneration": _aria,
    "ChameleonForConditionalGeneration": _chameleon,
    "CohereCompassForConditionalGeneration": _qwen2_vl_like,
    "Cosmos3EdgeForConditionalGeneration": _cosmos3_edge,
    "DeepseekVLForConditionalGeneration": _siglip_view,
    "DeepseekVLHybridForConditionalGeneration": _siglip_view,
    "Emu3ForConditionalGeneration": _emu3,
    "FastVlmForConditionalGeneration": _fast_vlm,
    "GotOcr2ForConditionalGeneration": _got_ocr2,
    "Idefics2ForConditionalGeneration": _idefics2,
    "InstructBlipForConditionalGeneration": whole.blip2,
    "InstructBlipVideoForConditionalGeneration": whole.blip2,
    "JanusForConditionalGeneration": _siglip_view,
    "Kosmos2ForConditionalGeneration": _kosmos2,
    "Kosmos2_5ForConditionalGeneration": _kosmos2,
    "VideoLlama3ForConditionalGeneration": _qwen2_vl_like,
    "VideoLlavaForConditionalGeneration": whole.llava,
    "VipLlavaForConditionalGeneration": whole.llava,
}
_NEAREST: Mapping[str, Callable[[Config, Config], TokenRuleKind]] = {
    "FuyuForCausalLM": _fuyu,
    "PerceptionLMForConditionalGeneration": _perception_lm,
}
