"""Video-token rules: how a model turns frames into tokens, one record per kind of rule. Part of a token rule."""

from enum import StrEnum

import msgspec


class SmallSides(StrEnum):
    """What a resizing processor does with a side shorter than one cell."""

    ROUND = "round"  # it rounds to no cell at all, and the lower limit of the area lifts it
    LIFT = "lift"  # both sides scaled up until the shorter is one cell, cut to whole pixels
    LIFT_ROUNDED = "lift-rounded"  # the same, rounded to whole pixels
    LIFT_IN_TURN = "lift-in-turn"  # the height first, then the width, each rounded
    ONE_CELL = "one-cell"  # rounded, but to no less than one cell


class LongSides(StrEnum):
    """What a resizing processor does with a side more than 200 times the other."""

    REFUSE = "refuse"
    CUT = "cut"  # to 200 times the shorter; not where a side was lifted
    CUT_TO_CELLS = "cut-to-cells"  # the same, in whole cells
    KEEP = "keep"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """A record that a catalog file chooses by `kind`."""


class FrameTokens(Rule, frozen=True, kw_only=True, tag="fixed"):
    """Video whose every frame becomes one number of tokens, whatever its size.

    `temporal_patch` frames share one set of tokens. `clip_tokens`: once per clip. Markers leave timestamps out.
    """

    tokens: int
    width_pixels: int
    height_pixels: int
    patch_pixels: int | None = None
    temporal_patch: int = 1
    clip_tokens: int = 0
    frame_marker_tokens: int = 0
    clip_marker_tokens: int = 0


class FrameResize(Rule, frozen=True, kw_only=True, tag="resize"):
    """Video whose frames are resized as images are, `temporal_patch` of them sharing one set of tokens.

    `over_clip`: the limits hold for frames x width x height together, else for a single frame.
    `encodes_every_frame`: the encoder sees each frame of a group, the last one repeated (ERNIE).
    `small_sides`, `long_sides` and `keeps_one_cell`: as in the rule for images, where the two may differ.
    `frame_marker_tokens` stand around each set of tokens, timestamps left out.
    """

    min_pixels: int
    max_pixels: int
    temporal_patch: int = 2
    over_clip: bool = False
    encodes_every_frame: bool = False
    small_sides: SmallSides = SmallSides.ROUND
    long_sides: LongSides = LongSides.REFUSE
    keeps_one_cell: bool = True
    frame_marker_tokens: int = 0
    clip_marker_tokens: int = 0


class FrameBudget(Rule, frozen=True, kw_only=True, tag="budget"):
    """Video whose frames follow the image rule within a smaller budget of tokens (Gemma 4, Kimi-K2.5, Muse Glimmer).

    Nemotron Omni fills the budget, in the frame's aspect. `temporal_patch` frames share one set of tokens, and one pass
    through the encoder unless `encodes_every_frame`. Markers leave timestamps out.
    """

    budget_tokens: int
    temporal_patch: int = 1
    encodes_every_frame: bool = False
    frame_marker_tokens: int = 0
    clip_marker_tokens: int = 0


class FrameImages(Rule, frozen=True, kw_only=True, tag="images"):
    """Video whose every frame is counted as an image (MiniCPM-V 4.6).

    `clip_marker_tokens`: those of an image's markers that a clip has but once.
    """

    clip_marker_tokens: int = 0


VideoRule = FrameTokens | FrameResize | FrameBudget | FrameImages
