"""What vLLM runs its image encoder on at start: the largest items that the limits allow, as many as its budget holds.

Source of the rules: vllm-project/vllm@v0.32.0 vllm/multimodal/encoder_budget.py, vllm/v1/core/encoder_cache_manager.py
(`compute_mm_encoder_budget`) and the processing class of each model (`get_mm_max_tokens_per_item`).
"""

from __future__ import annotations

from functools import lru_cache

from vlmctl.errors import InvalidValue
from vlmctl.planning.image_tokens import MAX_SIDE_PIXELS, image_tokens
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import (
    AnyRes,
    FrameBudget,
    FrameResize,
    FrameTokens,
    Grid,
    OverlappingCrops,
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

QWEN2_FRAMES = 14  # frames of the video it profiles with (qwen2_vl.py, _MAX_FRAMES_PER_VIDEO)
QWEN3_FRAMES = 2  # qwen3_vl.py get_max_video_tokens
BUDGETED_FRAMES = 32  # gemma4_mm.py _VIDEO_MAX_FRAMES
BUDGETED_FRAME_MARKERS = 8  # gemma4_mm.py: begin and end of the frame, six of the timestamp
TILED_FRAMES = 16  # llava_onevision.py, minicpmv.py _MAX_FRAMES_PER_VIDEO
UNLIMITED = 999  # items of a kind per request where nothing limits them (vllm/config/multimodal.py)
_LARGE_SIDE_PIXELS = 4096  # above the limits of every rule that has limits
_REMEMBERED = 4096  # rules x settings


class EncoderItem(Record, frozen=True, kw_only=True):
    """One image or video: tokens that it takes in the encoder's budget, and patches that the encoder runs on."""

    modality: str
    tokens: int
    patches: int


class EncoderProfile(Record, frozen=True, kw_only=True):
    """The batch that vLLM profiles with. `budget_tokens`: size of the encoder cache and of one encoder batch."""

    item: EncoderItem
    items: int
    budget_tokens: int

    @property
    def patches(self) -> int:
        """Of the whole batch."""
        return self.items * self.item.patches

    @property
    def tokens(self) -> int:
        """Encoder outputs of the whole batch."""
        return self.items * self.item.tokens


@lru_cache(maxsize=_REMEMBERED)
def encoder_profile(
    rule: TokenRuleKind,
    *,
    images: int,
    videos: int,
    max_model_len: int,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    max_pixels: int | None = None,
) -> EncoderProfile | None:
    """The batch for at most `images` images and `videos` videos per request; None where both are 0."""
    candidates = []
    if images:
        candidates.append((largest_image(rule, max_pixels), images))
    if videos and (video := largest_video(rule, max_model_len, max_pixels)) is not None:
        candidates.append((video, videos))
    if not candidates:
        return None
    item, limit = max(candidates, key=lambda pair: (pair[0].tokens, pair[0].modality))
    budget = max(max_num_batched_tokens, item.tokens)
    per_request = max(1, min(limit, max_model_len // item.tokens))
    items = max(1, min(budget // item.tokens, max_num_seqs * per_request))
    return EncoderProfile(item=item, items=items, budget_tokens=budget)


@lru_cache(maxsize=_REMEMBERED)
def largest_image(rule: TokenRuleKind, max_pixels: int | None = None) -> EncoderItem:
    """The image with the most tokens, then patches. `max_pixels`: a cap as in `image_tokens`, if the rule has one."""
    if isinstance(rule, SmartResize):
        area = min(rule.max_pixels, max(max_pixels or rule.max_pixels, rule.min_pixels)) // rule.area_frames
        tokens = max(1, area // rule.cell_pixels**2)
        return EncoderItem(
            modality="image", tokens=tokens, patches=tokens * (rule.cell_pixels // rule.patch_pixels) ** 2
        )
    found = []
    for width, height in _large_sizes(rule):
        try:
            found.append(image_tokens(rule, width, height))
        except InvalidValue:  # too long or too small for this processor
            continue
    best = max(found, key=lambda each: (each.image_tokens, each.patches))
    return EncoderItem(modality="image", tokens=max(1, best.image_tokens), patches=best.patches)


def largest_video(rule: TokenRuleKind, max_model_len: int, max_pixels: int | None = None) -> EncoderItem | None:
    """The video that the model is profiled with; None where it takes none, or its frames' rule is not known."""
    match rule.video:
        case FrameResize() as video if isinstance(rule, SmartResize):
            merged = (rule.cell_pixels // rule.patch_pixels) ** 2
            tokens = _resized_tokens(rule, video, max_model_len, max_pixels)
            return EncoderItem(modality="video", tokens=tokens, patches=tokens * merged)
        case FrameBudget() as video if isinstance(rule, TokenBudget):
            merged = (rule.cell_pixels // rule.patch_pixels) ** 2
            patches = BUDGETED_FRAMES * video.budget_tokens * merged
            tokens = BUDGETED_FRAMES * (video.budget_tokens + BUDGETED_FRAME_MARKERS)
            return EncoderItem(modality="video", tokens=tokens, patches=patches)
        case FrameTokens() as video:
            return _framed_video(rule, video, max_model_len)
    return None


def _resized_tokens(rule: SmartResize, video: FrameResize, max_model_len: int, max_pixels: int | None) -> int:
    """Qwen2-VL: frames as large as the largest image, as many as fit; Qwen3-VL: two frames; GLM-4V: a full context."""
    cell = rule.cell_pixels**2
    if not video.over_clip:
        group = largest_image(rule, max_pixels).tokens
        groups = min(max_model_len // group, QWEN2_FRAMES // video.temporal_patch)
        return group * max(1, groups)
    clip = video.max_pixels // video.temporal_patch // cell
    if rule.area_frames == video.temporal_patch:
        return max(1, min(clip, max_model_len))
    return max(1, min(video.max_pixels // QWEN3_FRAMES // cell, clip))


def _framed_video(rule: TokenRuleKind, video: FrameTokens, max_model_len: int) -> EncoderItem:
    """InternVL fills the context beside one largest image; others stop at a number of frames."""
    free = max_model_len
    uncapped = isinstance(rule, Tiles) and rule.grid is Grid.CLOSEST_ASPECT
    if uncapped:
        free -= largest_image(rule).tokens
    frames = max(1, free // max(video.tokens, 1)) * video.temporal_patch
    if not uncapped:
        frames = min(frames, TILED_FRAMES)
    groups = max(1, frames // video.temporal_patch)
    patch = video.patch_pixels
    per_group = (video.width_pixels // patch) * (video.height_pixels // patch) if patch else video.tokens
    return EncoderItem(modality="video", tokens=groups * video.tokens + video.clip_tokens, patches=groups * per_group)


def _large_sizes(rule: TokenRuleKind) -> list[tuple[int, int]]:
    """Sizes among which the largest image is: the grids that hold the most tiles, and squares above all limits."""
    squares = [(_LARGE_SIDE_PIXELS, _LARGE_SIDE_PIXELS)]
    match rule:
        case AnyRes():
            return [(width, height) for height, width in rule.pinpoints]
        case RowBreaks():
            return [(rule.max_side_pixels, rule.max_side_pixels)]
        case Tiles() if rule.candidates:
            return [*rule.candidates, *squares]
        case Tiles():
            count = rule.longest_side_tiles**2 if rule.longest_side_tiles else rule.max_tiles
            return _grids(count, rule.tile_pixels) + squares
        case ResizeOrTile() | UnpaddedHd():
            return _grids(rule.max_tiles, rule.tile_pixels) + squares
        case Slices():
            return _grids(rule.max_slices, rule.slice_pixels) + squares
        case OverlappingCrops():
            return _grids(rule.max_crops, rule.crop_pixels) + squares
        case Windows():
            return [(rule.max_side_pixels, rule.max_side_pixels)]
    return squares


def _grids(count: int, side: int) -> list[tuple[int, int]]:
    """Sizes of `count` and `count - 1` tiles in every whole grid of them."""
    found = []
    for tiles in {count, max(1, count - 1)}:
        for columns in range(1, tiles + 1):
            rows = tiles // columns
            if tiles % columns == 0 and max(columns, rows) * side <= MAX_SIDE_PIXELS:
                found.append((columns * side, rows * side))
    return found
