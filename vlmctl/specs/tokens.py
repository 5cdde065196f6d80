"""Image-token rules: how a model turns pixels into tokens, one record per kind of rule.

A record holds only parameters that a model's own configuration files state; the arithmetic is in `vlmctl.planning`.
In a catalog file the rule is chosen by its `kind`. Token counts are per image unless the name says otherwise.
The rules for video that a rule may hold are in `vlmctl.specs.frames` and are named here too.
"""

from enum import StrEnum

from vlmctl.specs.frames import FrameBudget as FrameBudget
from vlmctl.specs.frames import FrameImages as FrameImages
from vlmctl.specs.frames import FrameResize as FrameResize
from vlmctl.specs.frames import FrameTokens as FrameTokens
from vlmctl.specs.frames import LongSides as LongSides
from vlmctl.specs.frames import Rule, VideoRule
from vlmctl.specs.frames import SmallSides as SmallSides


class Grid(StrEnum):
    """How a tiled model chooses its grid of tiles."""

    CLOSEST_ASPECT = "closest-aspect"  # InternVL: the nearest ratio; on a tie the later one if the image has the pixels
    WEIGHTED_ASPECT = "weighted-aspect"  # Nemotron Nano VL: nearness of the ratio times area, capped
    LEAST_UPSCALE = "least-upscale"  # Llama, Cohere: the smallest scale that does not shrink, else the largest
    BEST_FIT = "best-fit"  # DeepSeek-VL2: most image pixels kept, then least padding, among `candidates`
    COVERING = "covering"  # Ovis: fewest tiles that keep 90% of the area
    STRIP = "strip"  # Phi-3-Vision: as many tiles along the longer side as fit the limit, the shorter side padded
    LONGEST_SIDE = "longest-side"  # Idefics3: the longest side scaled to a fixed number of tiles


class TokenRule(Rule, frozen=True, kw_only=True):
    """The fields every rule has.

    `marker_tokens`: tokens around each image (start, end ...) that the language model also reads.
    `video`: how frames become tokens; None where the model takes no video or no source states its rule.
    """

    marker_tokens: int = 0
    video: VideoRule | None = None


class FixedTokens(TokenRule, frozen=True, kw_only=True, tag="fixed"):
    """Every image is resized to one size and becomes one number of tokens.

    `patch_pixels`: None where the encoder has none. `crops`: the shortest side is fitted, so borders are lost.
    """

    tokens: int
    width_pixels: int
    height_pixels: int
    patch_pixels: int | None = None
    crops: bool = False


class Resampled(TokenRule, frozen=True, kw_only=True, tag="resampled"):
    """Native aspect with both sides bounded, then a resampler with a fixed number of tokens (Idefics2).

    `splits`: four quarters are encoded beside the whole image.
    """

    tokens_per_view: int
    patch_pixels: int
    shortest_side_pixels: int
    longest_side_pixels: int
    splits: bool = False


class SmartResize(TokenRule, frozen=True, kw_only=True, tag="smart-resize"):
    """Qwen-VL style: each side rounded to `cell_pixels`, the area brought within [min_pixels, max_pixels].

    `area_frames`: how many frames a still image counts as in that area (GLM-4V: 2).
    `keeps_one_cell`: shrinking stops at one cell; where False, the processor fails on an image that shrinks to none.
    `row_break_tokens`: tokens after each row of cells.
    """

    cell_pixels: int
    patch_pixels: int
    min_pixels: int
    max_pixels: int
    area_frames: int = 1
    small_sides: SmallSides = SmallSides.ROUND
    long_sides: LongSides = LongSides.REFUSE
    keeps_one_cell: bool = True
    row_break_tokens: int = 0


class PaddedPatches(TokenRule, frozen=True, kw_only=True, tag="padded-patches"):
    """MoonViT: never enlarged, shrunk to `max_patches`, then padded up to whole cells.

    `max_side_patches`: a longer side is shrunk too, or refused where `refuses_long_sides`.
    """

    cell_pixels: int
    patch_pixels: int
    max_patches: int
    max_side_patches: int
    refuses_long_sides: bool = False


class NativePatches(TokenRule, frozen=True, kw_only=True, tag="native-patches"):
    """Nemotron Omni: native size in whole patches, brought within limits, sides in multiples of `cell_patches`.

    The upper limit is also what the context leaves free; the rule takes a context with room for `max_patches`.
    """

    patch_pixels: int
    cell_patches: int
    min_patches: int
    max_patches: int


class ClampedPatches(TokenRule, frozen=True, kw_only=True, tag="clamped-patches"):
    """SigLIP 2 NaFlex in Phi-4-reasoning-vision: the native number of whole patches, brought within limits.

    The image is scaled to the largest grid of no more patches, its sides rounded up; every patch is a token.
    """

    patch_pixels: int
    min_patches: int
    max_patches: int


class NearestGrid(TokenRule, frozen=True, kw_only=True, tag="nearest-grid"):
    """Muse Glimmer: the grid of cells nearest in aspect about the native size, within `max_tokens`."""

    cell_pixels: int
    patch_pixels: int
    max_tokens: int


class TokenBudget(TokenRule, frozen=True, kw_only=True, tag="token-budget"):
    """Gemma 4: scaled up or down to the largest size whose cells stay within `budget_tokens`."""

    cell_pixels: int
    patch_pixels: int
    budget_tokens: int


class RowBreaks(TokenRule, frozen=True, kw_only=True, tag="row-breaks"):
    """Pixtral: native aspect, longest side capped, one break token after each row of cells, the last being the end."""

    cell_pixels: int
    patch_pixels: int
    max_side_pixels: int


class AnyRes(TokenRule, frozen=True, kw_only=True, tag="anyres"):
    """LLaVA-NeXT: a base view beside the best grid among `pinpoints`, padding removed, a newline token per row.

    `shrink_above_tiles`: LLaVA-OneVision's anyres_max_N, features beyond N tiles are interpolated down.
    """

    tile_pixels: int
    patch_pixels: int
    pinpoints: tuple[tuple[int, int], ...]  # (height, width), as in the configuration files
    shrink_above_tiles: int | None = None


class Tiles(TokenRule, frozen=True, kw_only=True, tag="tiles"):
    """A grid of square tiles with a fixed number of tokens each, usually beside an overview of the whole image.

    A lone tile is the overview itself, unless `overview_always`. `row_tokens` stand after each row of tiles,
    `separator_tokens` once. Marker tokens: `tile_` per tile, `row_` per row of tiles, `tiled_` once if there are tiles.
    `max_aspect`: a longer image would shrink to nothing, and the processor fails on it.
    """

    grid: Grid
    tile_pixels: int
    patch_pixels: int
    tokens_per_tile: int
    min_tiles: int = 1
    max_tiles: int = 12
    candidates: tuple[tuple[int, int], ...] = ()  # best-fit: (width, height) in pixels, in the order they are tried
    longest_side_tiles: int | None = None  # longest-side
    pads: bool = False  # the image keeps its aspect within the grid
    max_aspect: float | None = None
    overview: bool = True
    overview_always: bool = False
    overview_pixels: int | None = None  # None: as a tile
    overview_tokens: int | None = None
    whole_up_to_pixels: int = 0  # an image with both sides within is not tiled
    most_images_tiled: int | None = None  # with more images in a request none is tiled
    row_tokens: int = 0
    separator_tokens: int = 0
    tile_marker_tokens: int = 0
    row_marker_tokens: int = 0
    tiled_marker_tokens: int = 0


class ResizeOrTile(TokenRule, frozen=True, kw_only=True, tag="resize-or-tile"):
    """LFM2-VL: resized within token limits; above `tolerance` times the upper one, tiles beside that view."""

    cell_pixels: int
    patch_pixels: int
    min_image_tokens: int
    max_image_tokens: int
    tolerance: float
    tile_pixels: int
    min_tiles: int
    max_tiles: int
    tile_marker_tokens: int = 0
    tiled_marker_tokens: int = 0


class Slices(TokenRule, frozen=True, kw_only=True, tag="slices"):
    """MiniCPM-V: an overview, and slices that keep the aspect once the image has more than one slice's area.

    Sides are rounded to `unit_pixels`. Exactly one of `tokens_per_view` (a resampler) and `patches_per_token` (merged).
    """

    slice_pixels: int
    patch_pixels: int
    unit_pixels: int
    max_slices: int
    tokens_per_view: int | None = None
    patches_per_token: int | None = None
    slice_marker_tokens: int = 0
    row_gap_tokens: int = 0  # between rows of slices


class UnpaddedHd(TokenRule, frozen=True, kw_only=True, tag="unpadded-hd"):
    """Phi-4-multimodal: as many whole tiles as the size asks for, the closest aspect above `max_tiles`.

    Features of padding are left out, and each row of features ends in a newline token. `cell_patches`: patches per
    side of one token. An image that leaves less than `min_side_pixels` is refused.
    """

    tile_pixels: int
    patch_pixels: int
    cell_patches: int
    max_tiles: int
    min_side_pixels: int


class OverlappingCrops(TokenRule, frozen=True, kw_only=True, tag="overlapping-crops"):
    """Molmo: overlapping crops beside the whole image, features pooled over the joined grid.

    `pooled_as_one`: the joined grid is pooled as one (Molmo 2) or crop by crop (Molmo). `*_column_tokens`: one per row.
    """

    crop_pixels: int
    patch_pixels: int
    pool: int
    max_crops: int
    margin_patches: tuple[int, int]  # left or top, right or bottom
    pooled_as_one: bool
    column_tokens: bool = True
    overview_column_tokens: bool = True


class Windows(TokenRule, frozen=True, kw_only=True, tag="windows"):
    """Step3-VL: an overview, and square windows side by side over an image that is large or long."""

    overview_pixels: int
    overview_tokens: int
    window_pixels: int
    window_tokens: int
    patch_pixels: int
    max_side_pixels: int
    window_marker_tokens: int = 0


TokenRuleKind = (
    FixedTokens
    | Resampled
    | SmartResize
    | PaddedPatches
    | NativePatches
    | ClampedPatches
    | NearestGrid
    | TokenBudget
    | RowBreaks
    | AnyRes
    | Tiles
    | ResizeOrTile
    | Slices
    | UnpaddedHd
    | OverlappingCrops
    | Windows
)
