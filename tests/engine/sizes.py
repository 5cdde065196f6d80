"""Random image sizes: usual ones, extreme ones, and those next to where a rule changes its mind."""

from __future__ import annotations

from hypothesis import strategies as st

from vlmctl.planning.image_tokens import MAX_SIDE_PIXELS
from vlmctl.specs.frames import VideoRule
from vlmctl.specs.tokens import TokenRuleKind

Size = tuple[int, int]
Sizes = st.SearchStrategy[Size]

AREA_FIELDS = ("min_pixels", "max_pixels")
PATCH_FIELDS = ("min_patches", "max_patches")
TOKEN_FIELDS = ("budget_tokens", "max_tokens", "min_image_tokens", "max_image_tokens")

any_side = st.integers(1, MAX_SIDE_PIXELS)
usual_side = st.integers(1, 3000)
near_multiple = st.builds(
    lambda unit, times, off: max(1, unit * times + off),
    st.sampled_from([14, 16, 28, 32, 48, 112, 224, 336, 364, 384, 448, 504, 512, 560, 640, 768]),
    st.integers(1, 16),
    st.integers(-1, 1),
)
long_shapes = st.builds(
    lambda short, aspect, wide: (short * aspect, short) if wide else (short, short * aspect),
    st.integers(1, 300),
    st.sampled_from([9, 26, 27, 100, 199, 200, 201]),
    st.booleans(),
)
common_sizes = st.one_of(
    st.tuples(usual_side, usual_side),
    st.tuples(near_multiple, near_multiple),
    st.tuples(any_side, any_side),
    st.tuples(st.integers(1, 64), any_side),
    st.tuples(any_side, st.integers(1, 64)),
    long_shapes,
    usual_side.map(lambda side: (side, side)),
)
# what a processor can be given as real pixels in milliseconds
small_sizes = st.one_of(
    st.tuples(st.integers(2, 900), st.integers(2, 900)),
    st.tuples(st.integers(2, 20), st.integers(2, 400)),
    st.tuples(st.integers(2, 400), st.integers(2, 20)),
)
frame_sizes = st.one_of(
    st.tuples(st.integers(40, 400), st.integers(40, 400)), st.tuples(st.integers(20, 60), st.integers(300, 900))
)


def sizes_for(rule: TokenRuleKind) -> Sizes:
    """Sizes that try `rule`: of all shapes, and with areas just below, at and above each of its limits."""
    areas = _limits(rule)
    return st.one_of(common_sizes, st.sampled_from(areas).flatmap(_near_area)) if areas else common_sizes


def _limits(rule: TokenRuleKind) -> list[int]:
    """The areas, in pixels, at which the rule begins to shrink or enlarge an image or a frame."""
    patch: int = getattr(rule, "patch_pixels", None) or 1
    cell: int = getattr(rule, "cell_pixels", patch * getattr(rule, "cell_patches", 1))
    found = set()
    for part in (rule, rule.video):
        found |= {getattr(part, name, 0) // getattr(rule, "area_frames", 1) for name in AREA_FIELDS}
        found |= {getattr(part, name, 0) * patch**2 for name in PATCH_FIELDS}
        found |= {getattr(part, name, 0) * cell**2 for name in TOKEN_FIELDS}
    return sorted(found - {0})


def _near_area(area: int) -> Sizes:
    least = max(1, area // MAX_SIDE_PIXELS + 1)
    widths = st.one_of(st.integers(least, min(MAX_SIDE_PIXELS, area)), st.integers(least, max(least, int(area**0.5))))
    return st.builds(
        lambda width, off: (width, min(MAX_SIDE_PIXELS, max(1, round(area / width) + off))), widths, st.integers(-1, 1)
    )


def frames_for(video: VideoRule | None) -> st.SearchStrategy[int]:
    """Numbers of frames: of a short clip more often than of a long one, from the rule's own least."""
    least = getattr(video, "temporal_patch", 1) if getattr(video, "over_clip", False) else 1
    return st.one_of(st.integers(least, 12), st.integers(least, 768))
