"""Image-token rules of models that cut an image into tiles, from their files. Pure; a refusal in place of a guess.

What a reader states itself (markers, grids) is in the processor's code in huggingface/transformers or the model's own
repository; everything that differs between checkpoints is read.
"""

from __future__ import annotations

import math

from vlmctl.catalog.hf_config import required_vision
from vlmctl.catalog.hf_values import MOST_TILES, Config, integer, refuse, required, section, shown, sizes, within
from vlmctl.specs.tokens import (
    AnyRes,
    FixedTokens,
    FrameTokens,
    Grid,
    OverlappingCrops,
    ResizeOrTile,
    Slices,
    Tiles,
    TokenRuleKind,
)

PHI3_CELLS = 12  # tokens along a side of one tile: 24 patches, merged two by two
MINICPM_VERSIONS = frozenset({"2.6", "4.0", "4", "4.5"})  # those whose processor gives every image an id


def llava_next(config: Config, processor: Config) -> TokenRuleKind:
    """LLaVA-NeXT: a base view and the best grid among the pinpoints."""
    return _anyres(config, processor)


def llava_onevision(config: Config, processor: Config) -> TokenRuleKind:
    """LLaVA-OneVision: as LLaVA-NeXT, large grids shrunk, frames pooled two by two."""
    vision = required_vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    pooled = -(-(side // patch) // 2)
    frame = FrameTokens(tokens=pooled**2, width_pixels=side, height_pixels=side, patch_pixels=patch, clip_tokens=1)
    shrink = str(config.get("vision_aspect_ratio") or "").partition("anyres_max_")[2]
    most = within("vision_aspect_ratio", int(shrink), MOST_TILES) if shrink.isdigit() else None
    return _anyres(config, processor, video=frame, shrink_above_tiles=most)


def internvl(config: Config, processor: Config) -> TokenRuleKind:
    """InternVL in either format: the grid of the nearest aspect, and a thumbnail."""
    vision = required_vision(config)
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


def aya_vision(config: Config, processor: Config) -> TokenRuleKind:
    """Aya Vision: the grid of the nearest aspect, and a thumbnail."""
    return _cohere(Grid.CLOSEST_ASPECT, config, processor)


def command_a_vision(config: Config, processor: Config) -> TokenRuleKind:
    """Command A Vision: the grid that shrinks least, and a thumbnail."""
    return _cohere(Grid.LEAST_UPSCALE, config, processor)


def idefics3(config: Config, processor: Config) -> TokenRuleKind:
    """Idefics3 and SmolVLM: the longest side scaled, cut into tiles, and an overview."""
    vision = required_vision(config)
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
        longest_side_tiles=within("size / max_image_size", whole // tile, math.isqrt(MOST_TILES)),
        marker_tokens=3,
        tile_marker_tokens=2,
        row_marker_tokens=1,
        tiled_marker_tokens=1,
    )


def mllama(config: Config, _processor: Config) -> TokenRuleKind:
    """Llama 3.2 Vision: up to four tiles, read through cross-attention."""
    vision = required_vision(config)
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


def llama4(config: Config, processor: Config) -> TokenRuleKind:
    """Llama 4: the grid that shrinks least, and an overview."""
    vision = required_vision(config)
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


def phi3v(config: Config, processor: Config) -> TokenRuleKind:
    """Phi-3-Vision and Phi-3.5-Vision: crops in a strip, and an overview."""
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


def deepseek_vl2(config: Config, processor: Config) -> TokenRuleKind:
    """DeepSeek-VL2: the candidate resolution that keeps most of the image, and an overview."""
    candidates = sizes("candidate_resolutions", processor, config)
    side = min(size for pair in candidates for size in pair)
    patch = required(required_vision(config), "patch_size")
    cells = -(-(side // patch) // (integer(processor, "downsample_ratio") or 2))
    return Tiles(
        grid=Grid.BEST_FIT,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=cells**2,
        max_tiles=max(width * height for width, height in candidates) // side**2,
        candidates=candidates,
        pads=True,
        overview_always=True,
        overview_tokens=cells * (cells + 1),
        most_images_tiled=2,
        row_tokens=cells,
        separator_tokens=1,
    )


def minicpmv(config: Config, processor: Config) -> TokenRuleKind:
    """MiniCPM-V 2.6 to 4.5: an overview and slices in native aspect."""
    if str(config.get("version")) not in MINICPM_VERSIONS:
        raise refuse(f"MiniCPM-V of the version {shown(config.get('version'))} is not known to vlmctl.")
    patch = required({**config, **processor}, "patch_size")
    side, queries = required(processor, "scale_resolution"), required(config, "query_num")
    frame = FrameTokens(
        tokens=queries, width_pixels=side, height_pixels=side, patch_pixels=patch, frame_marker_tokens=2
    )
    return Slices(
        slice_pixels=side,
        patch_pixels=patch,
        unit_pixels=patch,
        max_slices=required(processor, "max_slice_nums"),
        tokens_per_view=queries,
        video=frame,
        marker_tokens=5,
        slice_marker_tokens=2,
        row_gap_tokens=1,
    )


def molmo(_config: Config, processor: Config) -> TokenRuleKind:
    """Molmo: overlapping crops beside the whole image."""
    margins = processor.get("overlap_margins") or (0, 0)
    side, patch = required(processor, "base_image_input_size"), required(processor, "image_patch_size")
    return OverlappingCrops(
        crop_pixels=side,
        patch_pixels=patch,
        pool=side // patch // required(processor, "image_token_length_h"),
        max_crops=required(processor, "max_crops"),
        margin_patches=(within("overlap_margins", int(margins[0])), within("overlap_margins", int(margins[1]))),
        pooled_as_one=False,
        marker_tokens=4,
    )


def lfm2_vl(config: Config, processor: Config) -> TokenRuleKind:
    """LFM2-VL: resized, and cut into tiles where too large."""
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


def _cohere(grid: Grid, config: Config, processor: Config) -> Tiles:
    vision = required_vision(config)
    side, patch = required(vision, "image_size"), required(vision, "patch_size")
    cells = side // patch // (integer(config, "downsample_factor") or 2)  # the class's own
    return Tiles(
        grid=grid,
        tile_pixels=side,
        patch_pixels=patch,
        tokens_per_tile=cells**2,
        max_tiles=required(processor, "max_patches"),
        marker_tokens=3,
        tile_marker_tokens=1,
    )


def _anyres(
    config: Config, processor: Config, *, video: FrameTokens | None = None, shrink_above_tiles: int | None = None
) -> AnyRes:
    vision = required_vision(config)
    return AnyRes(
        tile_pixels=required(vision, "image_size"),
        patch_pixels=required(vision, "patch_size"),
        pinpoints=sizes("image_grid_pinpoints", config, processor),
        shrink_above_tiles=shrink_above_tiles,
        video=video,
    )
