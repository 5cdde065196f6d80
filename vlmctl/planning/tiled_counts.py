"""The arithmetic of rules that cut an image into views: one function per kind, from whole pixels to `ImageTokens`.

Sides have been checked by the caller. Sources of the formulas are the processors named in each function.
"""

from __future__ import annotations

import math

from vlmctl.errors import InvalidValue
from vlmctl.planning import resizing, tiling
from vlmctl.planning.whole_counts import cells, one_view
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.tokens import (
    AnyRes,
    LongSides,
    OverlappingCrops,
    ResizeOrTile,
    Slices,
    SmallSides,
    Tiles,
    UnpaddedHd,
    Windows,
)

ANYRES_SHRINK_THRESHOLD = 1.1  # LLaVA-OneVision's processor: a smaller ratio is not interpolated
ANYRES_DECIMALS = 7  # LLaVA-NeXT's processor rounds before it cuts, against drift in the last bits
STEP3_LONG_ASPECT = 4.0  # this and the next three: vLLM transformers_utils/processors/step3_vl.py, ImagePatcher
STEP3_SMALL_LONG_ASPECT = 1.5
STEP3_PADDED_BELOW_PIXELS = 32
STEP3_EXTRA_WINDOW_SHARE = 0.2


def anyres(rule: AnyRes, width: int, height: int) -> ImageTokens:
    """A base view and an unpadded grid. Source: vLLM models/llava_next.py and models/llava_onevision.py."""
    side = rule.tile_pixels // rule.patch_pixels
    best_height, best_width = tiling.best_fit(height, width, rule.pinpoints)
    columns, rows = best_width // rule.tile_pixels, best_height // rule.tile_pixels
    feature_columns, feature_rows = _unpadded(width, height, columns * side, rows * side)
    if rule.shrink_above_tiles is not None:
        shrink = math.sqrt(feature_columns * feature_rows / (rule.shrink_above_tiles * side * side))
        if shrink > ANYRES_SHRINK_THRESHOLD:
            feature_columns, feature_rows = int(feature_columns // shrink), int(feature_rows // shrink)
    scale = min(best_width / width, best_height / height)
    return ImageTokens(
        resized_width_pixels=max(1, round(width * scale)),
        resized_height_pixels=max(1, round(height * scale)),
        columns=columns,
        rows=rows,
        views=1 + columns * rows,
        patches=(1 + columns * rows) * side * side,
        image_tokens=side * side + feature_columns * feature_rows + feature_rows,
        marker_tokens=rule.marker_tokens,
    )


def _unpadded(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Features of a grid that hold image and not padding."""
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), ANYRES_DECIMALS))
        return columns, rows - 2 * ((rows - kept) // 2)
    kept = int(round(width * (rows / height), ANYRES_DECIMALS))
    return columns - 2 * ((columns - kept) // 2), rows


def tiles(rule: Tiles, width: int, height: int, images: int) -> ImageTokens:
    """Equal tiles, an overview beside them. Sources: the processors named at `specs.tokens.Grid`."""
    if rule.max_aspect is not None and max(width, height) > rule.max_aspect * min(width, height):
        raise InvalidValue(f"{width}x{height} is too long for this model: it would shrink to nothing.")
    side = rule.tile_pixels
    whole = (width <= rule.whole_up_to_pixels and height <= rule.whole_up_to_pixels) or (
        rule.most_images_tiled is not None and images > rule.most_images_tiled
    )
    columns, rows = (1, 1) if whole else tiling.choose_grid(rule, width, height)
    count = columns * rows
    overview_side = rule.overview_pixels or side
    overview_tokens = rule.tokens_per_tile if rule.overview_tokens is None else rule.overview_tokens
    overview_patches = (overview_side // rule.patch_pixels) ** 2
    if count == 1 and rule.overview and not rule.overview_always:
        return one_view(overview_side, overview_patches, overview_tokens + rule.separator_tokens, rule.marker_tokens)
    resized = (columns * side, rows * side)
    if rule.pads:
        scale = min(resized[0] / width, resized[1] / height)
        resized = (max(1, round(width * scale)), max(1, round(height * scale)))
    markers = rule.tiled_marker_tokens + count * rule.tile_marker_tokens + rows * rule.row_marker_tokens
    overviews = 1 if rule.overview else 0
    return ImageTokens(
        resized_width_pixels=resized[0],
        resized_height_pixels=resized[1],
        columns=columns,
        rows=rows,
        views=count + overviews,
        patches=count * (side // rule.patch_pixels) ** 2 + overviews * overview_patches,
        image_tokens=count * rule.tokens_per_tile
        + rows * rule.row_tokens
        + overviews * overview_tokens
        + rule.separator_tokens,
        marker_tokens=rule.marker_tokens + markers,
    )


def resize_or_tile(rule: ResizeOrTile, width: int, height: int) -> ImageTokens:
    """One resized view, or tiles beside it. Source: transformers models/lfm2_vl/image_processing_lfm2_vl.py."""
    cell = rule.cell_pixels
    most_area = rule.max_image_tokens * cell * cell
    size = resizing.fit_area(
        width,
        height,
        cell=cell,
        min_area=rule.min_image_tokens * cell * cell,
        max_area=most_area,
        small_sides=SmallSides.ONE_CELL,
        long_sides=LongSides.KEEP,
    )
    view = cells(size, cell, rule.patch_pixels, rule.marker_tokens)
    # A side that rounds to no cell counts as one patch here, as in the processor.
    area = max(rule.patch_pixels, round(width / cell) * cell) * max(rule.patch_pixels, round(height / cell) * cell)
    if area <= most_area * rule.tolerance:
        return view
    side = rule.tile_pixels
    columns, rows = tiling.closest_aspect(width, height, side, rule.min_tiles, rule.max_tiles)
    count = columns * rows
    if count == 1:
        return view
    return ImageTokens(
        resized_width_pixels=columns * side,
        resized_height_pixels=rows * side,
        columns=columns,
        rows=rows,
        views=count + 1,
        patches=count * (side // rule.patch_pixels) ** 2 + view.patches,
        image_tokens=count * math.ceil(side // rule.patch_pixels / (cell // rule.patch_pixels)) ** 2
        + view.image_tokens,
        marker_tokens=rule.marker_tokens + rule.tiled_marker_tokens + count * rule.tile_marker_tokens,
    )


def slices(rule: Slices, width: int, height: int) -> ImageTokens:
    """An overview and slices. Sources: openbmb/MiniCPM-V-2_6 image_processing_minicpmv.py; transformers minicpmv4_6."""
    side, unit = rule.slice_pixels, rule.unit_pixels
    columns, rows = tiling.sliced(width, height, side, rule.max_slices)
    count = columns * rows if columns * rows > 1 else 0
    overview = resizing.fit_slice(width, height, side=side, unit=unit, enlarges=count == 0)
    part = resizing.fit_slice(
        resizing.round_to(width, columns) / columns,
        resizing.round_to(height, rows) / rows,
        side=side,
        unit=unit,
        enlarges=True,
    )
    overview_patches = (overview[0] // rule.patch_pixels) * (overview[1] // rule.patch_pixels)
    part_patches = (part[0] // rule.patch_pixels) * (part[1] // rule.patch_pixels)
    if rule.tokens_per_view is not None:
        tokens = (1 + count) * rule.tokens_per_view
    else:
        merged = rule.patches_per_token or 1
        tokens = overview_patches // merged + count * (part_patches // merged)
    return ImageTokens(
        resized_width_pixels=part[0] * columns if count else overview[0],
        resized_height_pixels=part[1] * rows if count else overview[1],
        columns=columns,
        rows=rows,
        views=1 + count,
        patches=overview_patches + count * part_patches,
        image_tokens=tokens,
        marker_tokens=rule.marker_tokens + count * rule.slice_marker_tokens + (rows - 1) * rule.row_gap_tokens,
    )


def unpadded_hd(rule: UnpaddedHd, width: int, height: int) -> ImageTokens:
    """Whole tiles less their padding. Source: vLLM models/phi4mm.py; the refusal: the model's own processor."""
    side, patch, cell = rule.tile_pixels, rule.patch_pixels, rule.cell_patches
    columns, rows = math.ceil(width / side), math.ceil(height / side)
    if columns * rows > rule.max_tiles:
        columns, rows = tiling.closest_aspect(width, height, side, 1, rule.max_tiles)
    full_width, full_height = columns * side, rows * side
    if full_width / width < full_height / height:
        kept_width, kept_height = full_width, int(height * (full_width / width))
    else:
        kept_width, kept_height = int(width * (full_height / height)), full_height
    if min(kept_width, kept_height) < rule.min_side_pixels:
        raise InvalidValue(
            f"{width}x{height} is too long for this model: it would shrink to {kept_width}x{kept_height}."
        )
    feature_columns = math.ceil((full_width // patch - (full_width - kept_width) // patch) / cell)
    feature_rows = math.ceil((full_height // patch - (full_height - kept_height) // patch) / cell)
    base = side // patch // cell
    return ImageTokens(
        resized_width_pixels=kept_width,
        resized_height_pixels=kept_height,
        columns=columns,
        rows=rows,
        views=1 + columns * rows,
        patches=(1 + columns * rows) * (side // patch) ** 2,
        image_tokens=base * (base + 1) + 1 + feature_rows * (feature_columns + 1),
        marker_tokens=rule.marker_tokens,
    )


def overlapping_crops(rule: OverlappingCrops, width: int, height: int) -> ImageTokens:
    """Crops joined without their margins, then pooled. Sources: vLLM models/molmo.py and models/molmo2.py."""
    per_crop = rule.crop_pixels // rule.patch_pixels
    margin = sum(rule.margin_patches)
    window, margin_pixels = (per_crop - margin) * rule.patch_pixels, margin * rule.patch_pixels
    columns, rows = tiling.least_upscale(width - margin_pixels, height - margin_pixels, window, rule.max_crops)
    joint_columns, joint_rows = _joint(rule, columns, per_crop), _joint(rule, rows, per_crop)
    base = math.ceil(per_crop / rule.pool)
    column_tokens = (joint_rows if rule.column_tokens else 0) + (base if rule.overview_column_tokens else 0)
    return ImageTokens(
        resized_width_pixels=columns * window + margin_pixels,
        resized_height_pixels=rows * window + margin_pixels,
        columns=columns,
        rows=rows,
        views=1 + columns * rows,
        patches=(1 + columns * rows) * per_crop**2,
        image_tokens=base * base + joint_columns * joint_rows,
        marker_tokens=rule.marker_tokens + column_tokens,
    )


def _joint(rule: OverlappingCrops, crops: int, per_crop: int) -> int:
    """Pooled features along one side of the joined grid."""
    left, right = rule.margin_patches
    inner = per_crop - left - right
    if rule.pooled_as_one or crops == 1:
        return math.ceil((crops * inner + left + right) / rule.pool)
    first, middle, last = (math.ceil(patches / rule.pool) for patches in (inner + left, inner, inner + right))
    return first + (crops - 2) * middle + last


def windows(rule: Windows, width: int, height: int) -> ImageTokens:
    """An overview, and windows side by side. Source: vLLM transformers_utils/processors/step3_vl.py."""
    size = _step3_size(rule, width, height)
    window = _step3_window(rule, *size)
    columns = _step3_windows(size[0], window) if window else 0
    rows = _step3_windows(size[1], window) if window else 0
    count = columns * rows
    patches_per_window = (rule.window_pixels // rule.patch_pixels) ** 2
    return ImageTokens(
        resized_width_pixels=size[0] if count else min(size[0], rule.overview_pixels),
        resized_height_pixels=size[1] if count else min(size[1], rule.overview_pixels),
        columns=columns,
        rows=rows,
        views=1 + count,
        patches=(rule.overview_pixels // rule.patch_pixels) ** 2 + count * patches_per_window,
        image_tokens=rule.overview_tokens + count * rule.window_tokens,
        marker_tokens=rule.marker_tokens + count * rule.window_marker_tokens + max(rows - 1, 0),
    )


def _step3_size(rule: Windows, width: int, height: int) -> tuple[int, int]:
    """Thin images are padded to a square, large ones shrunk."""
    aspect = width / height
    if min(width, height) < STEP3_PADDED_BELOW_PIXELS and (
        aspect > STEP3_LONG_ASPECT or aspect < 1 / STEP3_LONG_ASPECT
    ):
        width = height = max(width, height)
    longest = max(width, height)
    if longest > rule.max_side_pixels:
        scale = rule.max_side_pixels / longest
        width, height = int(width * scale), int(height * scale)
    return width, height


def _step3_window(rule: Windows, width: int, height: int) -> int:
    """Side of the windows, 0 where the overview is enough."""
    longer, shorter = max(width, height), min(width, height)
    if longer < rule.overview_pixels:
        return shorter if longer / shorter > STEP3_SMALL_LONG_ASPECT else 0
    return min(shorter, rule.window_pixels) if longer / shorter > STEP3_LONG_ASPECT else rule.window_pixels


def _step3_windows(length: int, window: int) -> int:
    """Windows along one side: one more where over a fifth of a window is left."""
    if length < window:
        return 1
    whole = length // window
    return whole + 1 if length / window - whole > STEP3_EXTRA_WINDOW_SHARE else whole
