"""Image-token rules: how a model turns pixels into tokens, one record per published rule.

Each record holds only the parameters; `vlmctl.planning.image_tokens` holds the arithmetic.
In a catalog file the rule is chosen by its `kind`.
"""

from __future__ import annotations

import msgspec


class TokenRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The fields every rule has.

    `marker_tokens`: tokens around each image that the language model also reads (start, end), beside the image tokens.
    """

    marker_tokens: int = 0


class FixedTokens(TokenRule, tag="fixed"):
    """Every image is resized to one size and becomes one number of tokens."""

    tokens: int
    width_pixels: int
    height_pixels: int
    crops: bool = False  # True: scaled by the shortest edge and cropped, so the borders are lost


class SmartResize(TokenRule, tag="smart-resize"):
    """Qwen-VL style: each side rounded to `cell_pixels`, the area held within [min_pixels, max_pixels]."""

    cell_pixels: int
    min_pixels: int
    max_pixels: int
    temporal_patch: int = 2  # video frames that share one set of tokens


class AnyRes(TokenRule, tag="anyres"):
    """LLaVA-NeXT style: a base view and the best grid among the pinpoints, padding removed, a newline per row."""

    tile_pixels: int
    patch_pixels: int
    pinpoints: tuple[tuple[int, int], ...]  # (height, width), as in the configuration files
    max_tiles: int | None = None  # LLaVA-OneVision's anyres_max_N: features beyond N tiles are interpolated down
    pooled_side: int | None = None


class PixtralCells(TokenRule, tag="pixtral"):
    """Pixtral and Mistral 3: native aspect, longest side capped, one break token per row of cells."""

    cell_pixels: int  # patch size x spatial merge
    max_side_pixels: int
    patch_pixels: int


class Tiles(TokenRule, tag="tiles"):
    """InternVL style: the closest grid of square tiles, a thumbnail beside more than one tile."""

    tile_pixels: int
    tokens_per_tile: int
    min_tiles: int = 1
    max_tiles: int = 12
    thumbnail: bool = True


TokenRuleKind = FixedTokens | SmartResize | AnyRes | PixtralCells | Tiles
