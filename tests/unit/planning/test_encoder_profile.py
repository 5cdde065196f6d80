"""The batch of images or videos that vLLM profiles its encoder with, as its start-up log announces it."""

from __future__ import annotations

from typing import Any

import pytest

from vlmctl.planning.encoder_profile import EncoderItem, EncoderProfile, encoder_profile, largest_image, largest_video
from vlmctl.specs.tokens import (
    FixedTokens,
    FrameBudget,
    FrameResize,
    FrameTokens,
    Grid,
    SmartResize,
    Tiles,
    TokenBudget,
)

QWEN2_5 = SmartResize(
    cell_pixels=28,
    patch_pixels=14,
    min_pixels=3136,
    max_pixels=12845056,
    video=FrameResize(min_pixels=3136, max_pixels=602112),
)
QWEN3 = SmartResize(
    cell_pixels=32,
    patch_pixels=16,
    min_pixels=65536,
    max_pixels=16777216,
    video=FrameResize(min_pixels=4096, max_pixels=25165824, over_clip=True),
)
GEMMA_4 = TokenBudget(cell_pixels=48, patch_pixels=16, budget_tokens=280, video=FrameBudget(budget_tokens=70))
INTERNVL = Tiles(
    grid=Grid.CLOSEST_ASPECT,
    tile_pixels=448,
    patch_pixels=14,
    tokens_per_tile=256,
    max_tiles=12,
    video=FrameTokens(tokens=256, width_pixels=448, height_pixels=448, patch_pixels=14),
)


def _profile(rule: Any, **changes: Any) -> EncoderProfile | None:
    asked: dict[str, Any] = {
        "images": 999,
        "videos": 999,
        "max_model_len": 8192,
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 1024,
    }
    return encoder_profile(rule, **{**asked, **changes})


@pytest.mark.parametrize(
    ("rule", "changes", "modality", "tokens", "items", "budget"),
    [
        (FixedTokens(tokens=256, width_pixels=896, height_pixels=896, patch_pixels=14), {}, "image", 256, 32, 8192),
        (QWEN2_5, {}, "video", 16384, 1, 16384),
        (QWEN2_5, {"max_model_len": 128000}, "video", 114688, 1, 114688),
        (QWEN2_5, {"videos": 0}, "image", 16384, 1, 16384),
        (QWEN2_5, {"videos": 0, "max_pixels": 1003520}, "image", 1280, 6, 8192),
        (QWEN3, {}, "image", 16384, 1, 16384),
        (QWEN3, {"max_num_batched_tokens": 32768}, "image", 16384, 2, 32768),
        (GEMMA_4, {"max_num_batched_tokens": 2048}, "video", 2496, 1, 2496),
        (INTERNVL, {}, "video", 4864, 1, 8192),
        (INTERNVL, {"videos": 0}, "image", 3328, 2, 8192),
    ],
    ids=[
        "gemma-3",
        "qwen2.5-short",
        "qwen2.5-long",
        "image-only",
        "capped",
        "qwen3",
        "large-batch",
        "gemma-4",
        "internvl",
        "tiles",
    ],
)
def test_profiled_batch_is_the_engines(
    rule: Any, changes: dict[str, Any], modality: str, tokens: int, items: int, budget: int
) -> None:
    """Kind, size and number of the items that vLLM announces at start ("profiled with N items")."""
    profile = _profile(rule, **changes)
    assert profile is not None
    assert (profile.item.modality, profile.item.tokens, profile.items, profile.budget_tokens) == (
        modality,
        tokens,
        items,
        budget,
    )


def test_no_batch_where_the_limits_allow_nothing() -> None:
    """Limits of 0 keep the encoder out, and a model without video is not profiled with one."""
    assert _profile(QWEN3, images=0, videos=0) is None
    assert _profile(FixedTokens(tokens=256, width_pixels=448, height_pixels=448), images=0) is None


def test_few_sequences_bound_the_batch() -> None:
    """No more items than the sequences that may run can bring."""
    rule = FixedTokens(tokens=256, width_pixels=448, height_pixels=448, patch_pixels=14)
    profile = _profile(rule, images=2, max_num_seqs=3)
    assert profile is not None
    assert profile.items == 6


def test_largest_image_is_at_a_limit_of_the_rule() -> None:
    """Whole area for resized images, all tiles and the overview for tiled ones."""
    assert largest_image(QWEN3) == EncoderItem(modality="image", tokens=16384, patches=65536)
    assert largest_image(INTERNVL).patches == 13 * 32 * 32
    assert largest_video(FixedTokens(tokens=1, width_pixels=1, height_pixels=1), 8192) is None
