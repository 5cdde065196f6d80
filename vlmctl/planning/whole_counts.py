"""The arithmetic of rules that keep an image in one piece: one function per kind, from whole pixels to `ImageTokens`.

Sides have been checked by the caller. Sources of the formulas are the processors named in each function.
"""

from __future__ import annotations

import math

from vlmctl.errors import InvalidValue
from vlmctl.planning import resizing
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.tokens import (
    ClampedPatches,
    FixedTokens,
    NativePatches,
    NearestGrid,
    PaddedPatches,
    Resampled,
    RowBreaks,
    SmartResize,
    TokenBudget,
)


def fixed(rule: FixedTokens) -> ImageTokens:
    """One size for all."""
    columns, rows = (
        (rule.width_pixels // rule.patch_pixels, rule.height_pixels // rule.patch_pixels)
        if rule.patch_pixels
        else (1, 1)
    )
    return ImageTokens(
        resized_width_pixels=rule.width_pixels,
        resized_height_pixels=rule.height_pixels,
        columns=columns,
        rows=rows,
        views=1,
        patches=columns * rows if rule.patch_pixels else rule.tokens,
        image_tokens=rule.tokens,
        marker_tokens=rule.marker_tokens,
    )


def resampled(rule: Resampled, width: int, height: int) -> ImageTokens:
    """Bounded sides, whole and in quarters. Source: transformers models/idefics2/image_processing_idefics2.py."""
    sizes = [(width, height)]
    if rule.splits:
        left, top = width // 2, height // 2
        if left == 0 or top == 0:
            raise InvalidValue(f"{width}x{height} cannot be split into quarters, as this model does.")
        sizes += [(w, h) for w in (left, width - left) for h in (top, height - top)]
    bounds = {"shortest": rule.shortest_side_pixels, "longest": rule.longest_side_pixels}
    views = [resizing.bound_sides(w, h, **bounds) for w, h in sizes]
    patch, whole = rule.patch_pixels, views[0]
    return ImageTokens(
        resized_width_pixels=2 * views[1][0] if rule.splits else whole[0],
        resized_height_pixels=2 * views[1][1] if rule.splits else whole[1],
        columns=2 if rule.splits else 1,
        rows=2 if rule.splits else 1,
        views=len(views),
        patches=sum((w // patch) * (h // patch) for w, h in views),
        image_tokens=len(views) * rule.tokens_per_view,
        marker_tokens=rule.marker_tokens,
    )


def smart_resize(rule: SmartResize, width: int, height: int) -> ImageTokens:
    """Whole cells within an area. Source: transformers models/qwen2_vl/image_processing_qwen2_vl.py."""
    size = resizing.smart_resize(rule, width, height)
    counted = cells(size, rule.cell_pixels, rule.patch_pixels, rule.marker_tokens)
    if not rule.row_break_tokens:
        return counted
    return cells(
        size, rule.cell_pixels, rule.patch_pixels, rule.marker_tokens, row_tokens=rule.row_break_tokens * counted.rows
    )


def padded_patches(rule: PaddedPatches, width: int, height: int) -> ImageTokens:
    """Whole cells after padding. Source: vLLM models/kimi_vl.py; transformers models/kimi_k25."""
    return cells(resizing.pad_to_cells(rule, width, height), rule.cell_pixels, rule.patch_pixels, rule.marker_tokens)


def token_budget(rule: TokenBudget, width: int, height: int) -> ImageTokens:
    """As many cells as the budget allows. Source: vLLM models/gemma4_mm.py."""
    size = resizing.fit_budget(width, height, cell=rule.cell_pixels, patch=rule.patch_pixels, budget=rule.budget_tokens)
    return cells(size, rule.cell_pixels, rule.patch_pixels, rule.marker_tokens)


def native_patches(rule: NativePatches, width: int, height: int) -> ImageTokens:
    """Whole patches within limits. Source: vLLM transformers_utils/processors/nano_nemotron_vl.py."""
    size = resizing.fit_patches(rule, width, height)
    return cells(size, rule.cell_patches * rule.patch_pixels, rule.patch_pixels, rule.marker_tokens)


def clamped_patches(rule: ClampedPatches, width: int, height: int) -> ImageTokens:
    """Whole patches, each a token. Sources: those of `resizing.clamp_patches`."""
    size = resizing.clamp_patches(rule, width, height)
    return cells(size, rule.patch_pixels, rule.patch_pixels, rule.marker_tokens)


def nearest_grid(rule: NearestGrid, width: int, height: int) -> ImageTokens:
    """The nearest grid of cells. Source: transformers models/muse_glimmer/image_processing_muse_glimmer.py."""
    size = resizing.nearest_cells(width, height, cell=rule.cell_pixels, budget=rule.max_tokens)
    return cells(size, rule.cell_pixels, rule.patch_pixels, rule.marker_tokens)


def row_breaks(rule: RowBreaks, width: int, height: int) -> ImageTokens:
    """Cells in rows, a break after each. Source: mistral-common tokens/tokenizers/image.py."""
    width, height = resizing.cap_side(width, height, rule.max_side_pixels)
    cell = rule.cell_pixels
    columns, rows = math.ceil(width / cell), math.ceil(height / cell)
    return cells((columns * cell, rows * cell), cell, rule.patch_pixels, rule.marker_tokens + rows)


def cells(size: tuple[int, int], cell: int, patch: int, marker_tokens: int, *, row_tokens: int = 0) -> ImageTokens:
    """A single view in whole cells, `row_tokens` beside theirs."""
    columns, rows = size[0] // cell, size[1] // cell
    return ImageTokens(
        resized_width_pixels=size[0],
        resized_height_pixels=size[1],
        columns=columns,
        rows=rows,
        views=1,
        patches=(size[0] // patch) * (size[1] // patch),
        image_tokens=columns * rows + row_tokens,
        marker_tokens=marker_tokens,
    )


def one_view(side_pixels: int, patches: int, tokens: int, marker_tokens: int) -> ImageTokens:
    """A single square view."""
    return ImageTokens(
        resized_width_pixels=side_pixels,
        resized_height_pixels=side_pixels,
        columns=1,
        rows=1,
        views=1,
        patches=patches,
        image_tokens=tokens,
        marker_tokens=marker_tokens,
    )
