"""Boxes and points as models write them, into pixels of the image that was asked about.

Every convention of the catalog (`GroundingConvention`) that text can carry. What lies outside the image is refused, not
clipped: a box in the wrong convention would otherwise look like a bad box in the right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.model import GroundingConvention
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import TokenRuleKind

# What stands for the right or bottom edge of the image, where the convention itself says so.
SCALES = {
    GroundingConvention.RELATIVE_1000: 1000.0,  # Qwen3-VL, InternVL
    GroundingConvention.RELATIVE_999: 999.0,  # DeepSeek-VL2
    GroundingConvention.PERCENT_POINTS: 100.0,  # Molmo, one decimal
    GroundingConvention.LOCATION_TOKENS_1024: 1024.0,  # PaliGemma: <loc0000> to <loc1023>, each the start of its bin
    GroundingConvention.LOCATION_TOKENS_1000: 1000.0,  # Florence-2: <loc_0> to <loc_999>, each standing for a bin
    GroundingConvention.LOCATION_TOKENS_500: 500.0,  # DocTags: <loc_0> to <loc_499>, rounded
}
BIN_MIDDLE = 0.5  # Florence-2 dequantizes to the middle of a bin (processing_florence2.py, BoxQuantizer)

_N = r"\s*(-?\d+(?:\.\d+)?)\s*"
_QUAD = re.compile(rf"[\[(]{_N},{_N},{_N},{_N}[\])]")
_PAIRS = re.compile(rf"\({_N},{_N}\)\s*,\s*\({_N},{_N}\)")
_PAIR = re.compile(rf"[\[(]{_N},{_N}[\])]")
_PADDED_LOCATION = re.compile(r"<loc(\d{4})>")
_LOCATION = re.compile(r"<loc_(\d{1,4})>")
_POINT_TAG = re.compile(r"<points?\s([^>]*)>")
_POINT_SIDE = re.compile(r"\b([xy])(\d*)\s*=\s*[\"']\s*(-?\d+(?:\.\d+)?)\s*[\"']")
_COORDINATES = re.compile(r"\bcoords\s*=\s*[\"']([^\"']*)[\"']")
_Y_FIRST = re.compile(r"\"box_2d\"")  # Gemini's and Gemma's key; its API documents [ymin, xmin, ymax, xmax]


class Box(NamedTuple):
    """Left, top, right and bottom, in pixels unless said otherwise."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Square pixels; 0 where the sides are the wrong way round."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        """The point in the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, by: float) -> Box:
        """The box with a margin all round."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def overlaps(self, other: Box) -> bool:
        """Whether the two share an area."""
        beside = self.right <= other.left or other.right <= self.left
        return not beside and not (self.bottom <= other.top or other.bottom <= self.top)

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        level = self.left <= other.left and other.right <= self.right
        return level and self.top <= other.top and other.bottom <= self.bottom


class Frame(Record, frozen=True, kw_only=True):
    """What the numbers of a model's boxes refer to: its convention and, for pixels, its own token rule."""

    convention: GroundingConvention
    rule: TokenRuleKind | None = None


def boxes_to_pixels(
    text: str, frame: Frame, *, width_pixels: int, height_pixels: int, images: int = 1
) -> tuple[Box, ...]:
    """The boxes of an answer in pixels of an image of that size, in the order they are written; none if there are none.

    `images`: how many the request held, since some models resize less then. Raises InvalidValue for a box outside the
    image or without area, UnsupportedModel where the convention is unknown or not text, or where the resized size is
    needed and unknown.
    """
    return tuple(each_box(text, frame, width_pixels=width_pixels, height_pixels=height_pixels, images=images))


def each_box(text: str, frame: Frame, *, width_pixels: int, height_pixels: int, images: int = 1) -> Iterator[Box]:
    """The same one after another: an error comes up where its box stands, so that it voids none before."""
    spans = _spans(frame, width_pixels, height_pixels, images)
    for written in _written_boxes(text, frame):
        yield _scaled_box(written, frame, spans, (width_pixels, height_pixels))


def points_to_pixels(
    text: str, frame: Frame, *, width_pixels: int, height_pixels: int, images: int = 1
) -> tuple[tuple[float, float], ...]:
    """The points of an answer in pixels, or the centres of the boxes it wrote; errors as boxes_to_pixels."""
    return tuple(each_point(text, frame, width_pixels=width_pixels, height_pixels=height_pixels, images=images))


def each_point(
    text: str, frame: Frame, *, width_pixels: int, height_pixels: int, images: int = 1
) -> Iterator[tuple[float, float]]:
    """The same one after another, as each_box."""
    spans = _spans(frame, width_pixels, height_pixels, images)
    written = list(_written_points(text))
    for x, y in written:
        point = (x * width_pixels / spans[0], y * height_pixels / spans[1])
        if not (0 <= point[0] <= width_pixels and 0 <= point[1] <= height_pixels):
            raise InvalidValue(f"the point {x:g}, {y:g} lies outside the image in the convention {frame.convention}.")
        yield point
    if not written:
        boxes = each_box(text, frame, width_pixels=width_pixels, height_pixels=height_pixels, images=images)
        yield from (box.centre for box in boxes)


def _spans(frame: Frame, width: int, height: int, images: int) -> tuple[float, float]:
    """What stands for the whole width and the whole height in the model's numbers."""
    if frame.convention in SCALES:
        return SCALES[frame.convention], SCALES[frame.convention]
    if frame.convention is not GroundingConvention.RESIZED_PIXELS:
        raise UnsupportedModel(
            f"boxes of the convention {frame.convention} cannot be read from text.",
            remedy="Name the model's convention with boxes=, such as boxes=relative-1000.",
        )
    if frame.rule is None:
        raise UnsupportedModel(
            "the boxes are in pixels of the resized image, and how this model resizes is unknown.",
            remedy="Name the model's catalog id with catalog=, such as catalog=qwen2.5-vl-7b.",
        )
    seen = image_tokens(frame.rule, width, height, images=images)
    return float(seen.resized_width_pixels), float(seen.resized_height_pixels)


def _scaled_box(written: Box, frame: Frame, spans: tuple[float, float], size: tuple[int, int]) -> Box:
    if frame.convention is GroundingConvention.LOCATION_TOKENS_1000:
        written = Box(*(side + BIN_MIDDLE for side in written))
    shares = (written.left / spans[0], written.top / spans[1], written.right / spans[0], written.bottom / spans[1])
    box = Box(shares[0] * size[0], shares[1] * size[1], shares[2] * size[0], shares[3] * size[1])
    if not all(0 <= share <= 1 for share in shares):
        raise InvalidValue(f"the box {_shown(written)} lies outside the image in the convention {frame.convention}.")
    if box.area <= 0:
        raise InvalidValue(f"the box {_shown(written)} has no area: its corners are not left, top, right, bottom.")
    return box


def _shown(box: Box) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box) + "]"


def _written_boxes(text: str, frame: Frame) -> Iterator[Box]:
    """Boxes in the model's own numbers, left first."""
    if frame.convention is GroundingConvention.LOCATION_TOKENS_1024:
        for top, left, bottom, right in _fours(_PADDED_LOCATION.findall(text)):
            yield Box(left, top, right, bottom)
    elif frame.convention in (GroundingConvention.LOCATION_TOKENS_1000, GroundingConvention.LOCATION_TOKENS_500):
        yield from (Box(*each) for each in _fours(_LOCATION.findall(text)))
    else:
        matches = [*_QUAD.finditer(text), *_PAIRS.finditer(text)]
        for match in sorted(matches, key=lambda each: each.start()):
            first, second, third, fourth = (float(side) for side in match.groups())
            turned = _Y_FIRST.search(text)
            yield Box(second, first, fourth, third) if turned else Box(first, second, third, fourth)


def _fours(numbers: Sequence[str]) -> Iterator[tuple[float, float, float, float]]:
    for start in range(0, len(numbers) - 3, 4):
        a, b, c, d = (float(number) for number in numbers[start : start + 4])
        yield a, b, c, d


def _written_points(text: str) -> Iterator[tuple[float, float]]:
    """Points in the model's own numbers: Molmo's tags, else bare pairs where no box is written."""
    tags = [match[1] for match in _POINT_TAG.finditer(text)]
    for tag in tags:
        yield from _tag_points(tag)
    if tags or _QUAD.search(text) or _PAIRS.search(text):
        return
    keyed = _keyed_points(text)
    yield from keyed or ((float(match[1]), float(match[2])) for match in _PAIR.finditer(text))


def _tag_points(tag: str) -> Iterator[tuple[float, float]]:
    """Points of one tag: `x= y=`, `x1= y1= x2= y2=`, or Molmo 2's `coords=`: a frame, then id, x and y of each."""
    coordinates = _COORDINATES.search(tag)
    if coordinates:
        for frame in re.split(r"[;:,\t]", coordinates[1]):
            numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", frame)]
            yield from ((numbers[at + 1], numbers[at + 2]) for at in range(1, len(numbers) - 2, 3))
        return
    sides: dict[str, dict[str, float]] = {}
    for axis, number, value in _POINT_SIDE.findall(tag):
        sides.setdefault(number, {})[axis] = float(value)
    yield from ((each["x"], each["y"]) for each in sides.values() if len(each) == 2)


def _keyed_points(text: str) -> list[tuple[float, float]]:
    """Points of a JSON answer with `point_2d` or `point` of two numbers, wherever they stand in it."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return []
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return []
    return list(_points_of(value))


def _points_of(value: Any) -> Iterator[tuple[float, float]]:
    if isinstance(value, list):
        for inner in value:
            yield from _points_of(inner)
    elif isinstance(value, dict):
        point = value.get("point_2d", value.get("point"))
        if isinstance(point, list) and len(point) == 2 and all(isinstance(side, int | float) for side in point):
            yield float(point[0]), float(point[1])
