"""docs/image-tokens.md: every token rule of the catalog in words, its tokens at four sizes, and what checked it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from vlmctl.catalog.load import load_catalog
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.frames import VideoRule
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.tokens import (
    AnyRes,
    ClampedPatches,
    FixedTokens,
    FrameBudget,
    FrameImages,
    FrameResize,
    FrameTokens,
    Grid,
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

PAGE = "image-tokens.md"
SIZES = ((336, 336), (1280, 720), (1680, 2240), (4000, 3000))
FEW_IDS = 3  # a family of one rule is named alone; of several, each with its models where they are no more than this
INTRODUCTION = """\
# Image tokens

<!-- Written by `make docs`; edit docs/generate/image_tokens.py. -->

What one image costs in the prompt, markers around it included, as vLLM counts it. `vlmctl tokens MODEL --image WxH`
shows any other size with its tiles and patches. Where frames of video have a rule of their own it stands in brackets;
timestamps between frames are not counted.

Rules checked in `tests/engine` equal the named processor on random sizes of 1 to 65,535 pixels a side, one pixel and
200 to 1 included, in requests of one to eight images, and for random numbers of frames: images and videos that the
processor refuses are refused. `make test-tokens` compares 100,000 cases, tells how many each family had, and puts one
more for every hundred through the whole processor as real pixels. Rules checked by published figures alone are of
models that neither transformers nor vLLM has a processor for: they were read from published code or papers.
"""
VIDEO_ELSEWHERE = (
    "Models said to take video whose frames no engine or processor read here counts from their size alone, by family "
    "(Keye-VL's cost depends on how alike they are):"
)
GRIDS = {
    Grid.CLOSEST_ASPECT: "the grid of nearest aspect",
    Grid.WEIGHTED_ASPECT: "the grid nearest in aspect and area",
    Grid.LEAST_UPSCALE: "the grid that scales least",
    Grid.BEST_FIT: "the grid that keeps most pixels",
    Grid.COVERING: "the fewest tiles that keep 90% of the area",
    Grid.STRIP: "tiles along the longer side",
    Grid.LONGEST_SIDE: "the longest side cut into a fixed number of tiles",
}


def render() -> str:
    """The page, worked out from the shipped catalog."""
    models = load_catalog().models
    groups: dict[tuple[str, str], list[ModelSpec]] = defaultdict(list)
    for model in models:
        if (fact := model.image_tokens) is not None:
            groups[msgspec.json.encode(fact.rule).decode(), fact.checked_by].append(model)
    lines_of_family = Counter(family for group in groups.values() for family in {model.family for model in group})
    split = {family for family, lines in lines_of_family.items() if lines > 1}
    header = "| family | rule | " + " | ".join(f"{width}x{height}" for width, height in SIZES) + " | checked by |"
    lines = [INTRODUCTION, header, "|---|---|" + "---:|" * len(SIZES) + "---|"]
    return "\n".join([*lines, *sorted(_line(group, split) for group in groups.values()), "", _unknown(models)]) + "\n"


def _line(group: list[ModelSpec], split: set[str]) -> str:
    fact = group[0].image_tokens
    assert fact is not None  # only such models are grouped
    rule = fact.rule
    told = f"{words(rule)}{_frames(rule.video)}"
    counts = " | ".join(f"{image_tokens(rule, *size).total_tokens:,}" for size in SIZES)
    return f"| {_names(group, split)} | {told} | {counts} | {fact.checked_by} |"


def _names(group: list[ModelSpec], split: set[str]) -> str:
    """The families, with their models where a family has several rules."""
    named = []
    for family in sorted({model.family for model in group}):
        ids = sorted(model.id for model in group if model.family == family)
        if family not in split:
            named.append(family)
        elif len(ids) <= FEW_IDS:
            named.append(f"{family} ({', '.join(ids)})")
        else:
            named.append(f"{family} ({ids[0]} and {len(ids) - 1} more)")
    return ", ".join(named)


def _unknown(models: Iterable[ModelSpec]) -> str:
    """Which vision models have no rule here, and which take video by a rule that is not here."""
    ruleless = sorted(model.id for model in models if model.image_tokens is None and model.vision is not None)
    framed: Counter[str] = Counter(
        model.family
        for model in models
        if (fact := model.image_tokens) and not fact.rule.video and model.video and model.video.supported
    )
    told = [f"No rule is known for: {', '.join(ruleless)}.\n"] if ruleless else []
    named = ", ".join(f"{family} ({count})" for family, count in sorted(framed.items()))
    return "\n".join([*told, f"{VIDEO_ELSEWHERE} {named}."])


def words(rule: TokenRuleKind) -> str:
    """The rule in a phrase, with its parameters."""
    match rule:
        case SmartResize() | PaddedPatches() | NativePatches() | ClampedPatches() | NearestGrid() | TokenBudget():
            return _whole(rule)
        case FixedTokens():
            return f"{rule.width_pixels}x{rule.height_pixels} pixels are {rule.tokens} tokens"
        case Resampled():
            quarters = ", and for each of its quarters" if rule.splits else ""
            return f"{rule.tokens_per_view} tokens for the image{quarters}"
        case RowBreaks():
            return f"cells of {rule.cell_pixels} pixels, longest side {rule.max_side_pixels}, a token after each row"
        case _:
            return _tiled(rule)


def _whole(
    rule: SmartResize | PaddedPatches | NativePatches | ClampedPatches | NearestGrid | TokenBudget,
) -> str:
    match rule:
        case SmartResize():
            row = ", a token after each row" if rule.row_break_tokens else ""
            least, most = (limit // rule.area_frames for limit in (rule.min_pixels, rule.max_pixels))
            return f"sides rounded to {rule.cell_pixels} pixels, area kept within {least:,} to {most:,}{row}"
        case PaddedPatches():
            return f"shrunk to {rule.max_patches:,} patches of {rule.patch_pixels} pixels, padded to {rule.cell_pixels}"
        case NativePatches():
            limits = f"{rule.min_patches:,} to {rule.max_patches:,}"
            return f"native size, {limits} patches of {rule.patch_pixels} pixels, {rule.cell_patches**2} to a token"
        case ClampedPatches():
            limits = f"{rule.min_patches:,} to {rule.max_patches:,}"
            return f"native size, {limits} patches of {rule.patch_pixels} pixels, each a token"
        case NearestGrid():
            return f"native size in cells of {rule.cell_pixels} pixels, at most {rule.max_tokens:,}"
        case TokenBudget():
            return f"scaled to at most {rule.budget_tokens} cells of {rule.cell_pixels} pixels"


def _tiled(
    rule: AnyRes | Tiles | ResizeOrTile | Slices | UnpaddedHd | OverlappingCrops | Windows,
) -> str:
    match rule:
        case AnyRes():
            cap = f", shrunk beyond {rule.shrink_above_tiles} tiles" if rule.shrink_above_tiles else ""
            return f"the best of {len(rule.pinpoints)} grids of {rule.tile_pixels}, padding left out, an overview{cap}"
        case Tiles():
            overview = ", an overview" if rule.overview else ""
            grid, most = GRIDS[rule.grid], "" if rule.grid is Grid.LONGEST_SIDE else f" of at most {rule.max_tiles}"
            return f"{grid}{most}, {rule.tokens_per_tile} tokens for each tile of {rule.tile_pixels}{overview}"
        case ResizeOrTile():
            resized = f"{rule.min_image_tokens} to {rule.max_image_tokens} cells of {rule.cell_pixels} pixels"
            return f"{resized}; above {rule.tolerance:g} times that, up to {rule.max_tiles} tiles of {rule.tile_pixels}"
        case Slices():
            each = (
                f"{rule.tokens_per_view} tokens each"
                if rule.tokens_per_view
                else f"{rule.patches_per_token} patches to a token"
            )
            return f"an overview and up to {rule.max_slices} slices of about {rule.slice_pixels} squared, {each}"
        case UnpaddedHd():
            return f"up to {rule.max_tiles} tiles of {rule.tile_pixels}, padding left out, an overview"
        case OverlappingCrops():
            return f"up to {rule.max_crops} overlapping crops of {rule.crop_pixels}, an overview"
        case Windows():
            windows = f"windows of {rule.window_pixels} over large or long images"
            return f"{windows}, {rule.window_tokens} tokens each, an overview"


def _frames(video: VideoRule | None) -> str:
    match video:
        case None:
            return ""
        case FrameTokens():
            said = f"{video.tokens} tokens a frame"
        case FrameResize():
            over = "the whole clip" if video.over_clip else "a frame"
            said = f"area of {over} within {video.min_pixels:,} to {video.max_pixels:,}"
        case FrameBudget():
            said = f"at most {video.budget_tokens:,} tokens a frame"
        case FrameImages():
            return " [video: each frame as an image]"
    group = "" if video.temporal_patch == 1 else f", {video.temporal_patch} frames share theirs"
    return f" [video: {said}{group}]"
