"""How many tokens an image or a video becomes under a model's token rule: pure arithmetic, the rule holds the figures.

Counts are what vLLM's placeholders hold, since they are what is served; where transformers counts otherwise in an
edge case, the function says so. The checks against the models' own processors are in `tests/engine`.
"""

from __future__ import annotations

import msgspec

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning import resizing, tiled_counts, whole_counts
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.tokens import (
    AnyRes,
    ClampedPatches,
    FixedTokens,
    FrameBudget,
    FrameImages,
    FrameResize,
    FrameTokens,
    NativePatches,
    NearestGrid,
    OverlappingCrops,
    PaddedPatches,
    Resampled,
    ResizeOrTile,
    RowBreaks,
    Slices,
    SmartResize,
    Tiles,
    TokenBudget,
    TokenRuleKind,
    UnpaddedHd,
    Windows,
)

MAX_SIDE_PIXELS = 65535  # a JPEG's largest side
BUDGETED = (TokenBudget, NearestGrid, PaddedPatches, NativePatches)  # the rules that a FrameBudget may stand in


def image_tokens(
    rule: TokenRuleKind, width_pixels: int, height_pixels: int, *, images: int = 1, max_pixels: int | None = None
) -> ImageTokens:
    """Tokens of one image of a request that carries `images` images.

    `max_pixels` is the cap that `--mm-processor-kwargs` would carry, as the processor reads it. Raises InvalidValue
    for sides outside 1 to 65535, for a cap that the rule does not have, and for an image that the processor refuses.
    """
    if not (1 <= width_pixels <= MAX_SIDE_PIXELS and 1 <= height_pixels <= MAX_SIDE_PIXELS):
        raise InvalidValue(
            f"an image of {width_pixels}x{height_pixels} is outside 1x1 to {MAX_SIDE_PIXELS}x{MAX_SIDE_PIXELS} pixels."
        )
    if images < 1:
        raise InvalidValue(f"a request holds at least one image, not {images}.")
    if max_pixels is not None:
        rule = _capped(rule, max_pixels)
    return _counted(rule, width_pixels, height_pixels, images)


def video_tokens(rule: TokenRuleKind, *, frames: int, width_pixels: int, height_pixels: int) -> ImageTokens:
    """Tokens of a whole video of `frames` frames as sampled; timestamps between frames are not counted.

    Raises UnsupportedModel where the model takes no video or its rule is unknown, InvalidValue as `image_tokens` does.
    """
    if frames < 1:
        raise InvalidValue(f"a video holds at least one frame, not {frames}.")
    match rule.video:
        case FrameTokens() as video:
            return _fixed_frames(video, frames)
        case FrameImages() as video:
            return _frames_as_images(_counted(rule, width_pixels, height_pixels, 1), video, frames)
        case FrameResize() as video if isinstance(rule, SmartResize):
            return _resized_frames(rule, video, frames, width_pixels, height_pixels)
        case FrameBudget() as video if isinstance(rule, BUDGETED):
            return _budgeted_frames(_frame(rule, video, width_pixels, height_pixels), video, frames)
    raise UnsupportedModel("this model takes no video, or no public source states how its frames become tokens.")


def _counted(rule: TokenRuleKind, width: int, height: int, images: int) -> ImageTokens:
    match rule:
        case SmartResize():
            return whole_counts.smart_resize(rule, width, height)
        case Tiles():
            return tiled_counts.tiles(rule, width, height, images)
        case AnyRes():
            return tiled_counts.anyres(rule, width, height)
        case FixedTokens():
            return whole_counts.fixed(rule)
        case RowBreaks():
            return whole_counts.row_breaks(rule, width, height)
        case PaddedPatches():
            return whole_counts.padded_patches(rule, width, height)
        case NativePatches():
            return whole_counts.native_patches(rule, width, height)
        case ClampedPatches():
            return whole_counts.clamped_patches(rule, width, height)
        case NearestGrid():
            return whole_counts.nearest_grid(rule, width, height)
        case TokenBudget():
            return whole_counts.token_budget(rule, width, height)
        case Resampled():
            return whole_counts.resampled(rule, width, height)
        case Slices():
            return tiled_counts.slices(rule, width, height)
        case ResizeOrTile():
            return tiled_counts.resize_or_tile(rule, width, height)
        case UnpaddedHd():
            return tiled_counts.unpadded_hd(rule, width, height)
        case OverlappingCrops():
            return tiled_counts.overlapping_crops(rule, width, height)
        case Windows():
            return tiled_counts.windows(rule, width, height)


def pixel_cap(rule: TokenRuleKind, largest: ImageTokens) -> int | None:
    """The `max_pixels` that leaves an image as `largest` is and shrinks every larger one; None where none can be set.

    In the processor's own measure (GLM-4V counts a still image as two frames); None also where the model's own limit is
    no higher.
    """
    if not isinstance(rule, SmartResize):
        return None
    cap = max(largest.resized_width_pixels * largest.resized_height_pixels * rule.area_frames, rule.min_pixels)
    return cap if cap < rule.max_pixels else None


def _capped(rule: TokenRuleKind, max_pixels: int) -> TokenRuleKind:
    if not isinstance(rule, SmartResize):
        raise InvalidValue("this model's image processor has no max_pixels.", remedy="Leave it out.")
    if max_pixels < rule.min_pixels:
        raise InvalidValue(f"max_pixels of {max_pixels} is below this model's minimum of {rule.min_pixels} pixels.")
    return msgspec.structs.replace(rule, max_pixels=max_pixels)


def _fixed_frames(video: FrameTokens, frames: int) -> ImageTokens:
    groups = -(-frames // video.temporal_patch)
    patch = video.patch_pixels
    columns, rows = (video.width_pixels // patch, video.height_pixels // patch) if patch else (1, 1)
    return ImageTokens(
        resized_width_pixels=video.width_pixels,
        resized_height_pixels=video.height_pixels,
        columns=columns,
        rows=rows,
        views=groups,
        patches=groups * (columns * rows if patch else video.tokens),
        image_tokens=groups * video.tokens + video.clip_tokens,
        marker_tokens=groups * video.frame_marker_tokens + video.clip_marker_tokens,
    )


def _frames_as_images(image: ImageTokens, video: FrameImages, frames: int) -> ImageTokens:
    """Source: vLLM models/minicpmv4_6.py, get_video_prompt_texts."""
    shared = video.clip_marker_tokens
    return msgspec.structs.replace(
        image,
        views=frames * image.views,
        patches=frames * image.patches,
        image_tokens=frames * image.image_tokens,
        marker_tokens=frames * (image.marker_tokens - shared) + shared,
    )


def _resized_frames(
    rule: SmartResize, video: FrameResize, frames: int, width_pixels: int, height_pixels: int
) -> ImageTokens:
    """Frames resized as images are.

    Sources: transformers video_processing_qwen2_vl.py, video_processing_qwen3_vl.py, video_processing_glm4v.py; vLLM
    models/ernie45_vl.py, transformers_utils/processors/ovis2_5.py and minimax_m3.py.
    """
    group = video.temporal_patch
    if video.over_clip and frames < group:
        raise InvalidValue(f"this model takes videos of at least {group} frames, not {frames}.")
    groups = -(-frames // group)
    width, height = resizing.fit_area(
        width_pixels,
        height_pixels,
        cell=rule.cell_pixels,
        min_area=video.min_pixels,
        max_area=video.max_pixels,
        frames=frames if video.over_clip else 1,
        counted_frames=round(frames / group) * group if video.over_clip else 1,
        small_sides=video.small_sides,
        long_sides=video.long_sides,
        keeps_one_cell=video.keeps_one_cell,
    )
    columns, rows = width // rule.cell_pixels, height // rule.cell_pixels
    return ImageTokens(
        resized_width_pixels=width,
        resized_height_pixels=height,
        columns=columns,
        rows=rows,
        views=groups,
        patches=(groups * group if video.encodes_every_frame else groups)
        * (width // rule.patch_pixels)
        * (height // rule.patch_pixels),
        image_tokens=groups * columns * rows,
        marker_tokens=groups * video.frame_marker_tokens + video.clip_marker_tokens,
    )


def _frame(
    rule: TokenBudget | NearestGrid | PaddedPatches | NativePatches, video: FrameBudget, width: int, height: int
) -> ImageTokens:
    """One frame within the budget.

    Sources: vLLM models/gemma4_mm.py, transformers_utils/processors/kimi_k25_vision_fused.py and nano_nemotron_vl.py;
    transformers models/muse_glimmer/video_processing_muse_glimmer.py.
    """
    budget = video.budget_tokens
    match rule:
        case TokenBudget():
            return whole_counts.token_budget(msgspec.structs.replace(rule, budget_tokens=budget), width, height)
        case NearestGrid():
            return whole_counts.nearest_grid(msgspec.structs.replace(rule, max_tokens=budget), width, height)
        case PaddedPatches():
            patches = budget * (rule.cell_pixels // rule.patch_pixels) ** 2
            return whole_counts.padded_patches(msgspec.structs.replace(rule, max_patches=patches), width, height)
        case NativePatches():
            cell, patch = rule.cell_patches, rule.patch_pixels
            size = resizing.fill_patches(width, height, patch=patch, cell_patches=cell, budget=budget * cell**2)
            return whole_counts.cells(size, cell * patch, patch, 0)


def _budgeted_frames(frame: ImageTokens, video: FrameBudget, frames: int) -> ImageTokens:
    groups = -(-frames // video.temporal_patch)
    return msgspec.structs.replace(
        frame,
        views=groups,
        patches=(frames if video.encodes_every_frame else groups) * frame.patches,
        image_tokens=groups * frame.image_tokens,
        marker_tokens=groups * video.frame_marker_tokens + video.clip_marker_tokens,
    )
