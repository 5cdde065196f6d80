"""A canvas in units of its own: its longest side is 1,000 whatever the picture's pixels, so content never changes.

Everything is drawn several times too large and averaged down, which smooths edges and keeps small text true to form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from vlmctl.cases.fonts import SHAPED, Face, Fonts
from vlmctl.compare.boxes import Box as Box  # in units here, or in pixels

Colour = tuple[int, int, int]
Point = tuple[float, float]

LONGEST_UNITS = 1000.0
DRAWN_PIXELS_PER_UNIT = 2.048  # at least, before averaging down: enough that hinting hardly moves letters
LEAST_OVERSAMPLING = 2  # pixels drawn for each pixel kept, along a side, for smooth edges
MOST_DRAWN_PIXELS = 8192  # along a side: memory
BLACK: Colour = (25, 25, 28)
WHITE: Colour = (255, 255, 255)
LINE_FACTOR = 1.3  # height of a line of text over its size
_SHARES_LEFT = {"l": 0.0, "m": 0.5, "r": 1.0}  # of a text's width, by the first letter of its anchor
_HAND_TILT_DEGREES = 3.0
_HAND_SHIFT = 0.035  # of the size, up or down
_HAND_SPREAD = 0.04  # of the size, between letters


class Size(NamedTuple):
    """The pixels of pictures: each as its own shape with one longest side, or all of one width and height."""

    width_pixels: int
    height_pixels: int | None = None

    def __str__(self) -> str:
        tall = self.height_pixels
        return f"{self.width_pixels}" if tall is None else f"{self.width_pixels}x{tall}"

    def pixels(self, width_units: float, height_units: float) -> tuple[int, int]:
        """Width and height of a picture of that shape, at least 1."""
        if self.height_pixels is not None:
            return self.width_pixels, self.height_pixels
        scale = self.width_pixels / max(width_units, height_units)
        return max(1, round(width_units * scale)), max(1, round(height_units * scale))


class Written(NamedTuple):
    """A text on the canvas and the box of its ink, in units."""

    text: str
    box: Box


class Canvas:
    """A drawing surface. Where the picture's shape differs, the drawing lies in the middle of its background."""

    def __init__(
        self, size: Size, fonts: Fonts, *, width_units: float, height_units: float, background: Colour
    ) -> None:
        self.width, self.height = width_units, height_units
        self.background = background
        self.fonts = fonts
        self.written: list[Written] = []
        self._stamps: dict[tuple[str, float, Face, str], tuple[Image.Image, int, int]] = {}
        wide, tall = size.pixels(width_units, height_units)
        pixels_per_unit = min(wide / width_units, tall / height_units)
        enough = max(LEAST_OVERSAMPLING, math.ceil(DRAWN_PIXELS_PER_UNIT / pixels_per_unit))
        self._times = max(1, min(enough, MOST_DRAWN_PIXELS // max(wide, tall)))
        self._image = Image.new("RGB", (wide * self._times, tall * self._times), background)
        self._scale = min(self._image.width / width_units, self._image.height / height_units)
        self._left = (self._image.width - width_units * self._scale) / 2
        self._top = (self._image.height - height_units * self._scale) / 2
        self._draw = ImageDraw.Draw(self._image)

    @property
    def box(self) -> Box:
        """All of the drawing, in units."""
        return Box(0, 0, self.width, self.height)

    def finished(self) -> Image.Image:
        """The picture at its own size."""
        return self._image.reduce(self._times) if self._times > 1 else self._image

    def pixels(self, box: Box) -> tuple[float, float, float, float]:
        """A box in whole pixels of the finished picture, outwards to the next pixel."""
        left, top = (each / self._times for each in self._at((box.left, box.top)))
        right, bottom = (each / self._times for each in self._at((box.right, box.bottom)))
        limit_x, limit_y = self._image.width // self._times, self._image.height // self._times
        return (
            float(max(0, math.floor(left))),
            float(max(0, math.floor(top))),
            float(min(limit_x, math.ceil(right))),
            float(min(limit_y, math.ceil(bottom))),
        )

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, width: float = 1.0
    ) -> None:
        """A rectangle; its outline of `width` units lies inside."""
        left, top = self._at((box.left, box.top))
        right, bottom = self._at((box.right, box.bottom))
        corners = (round(left), round(top), max(round(left), round(right) - 1), max(round(top), round(bottom) - 1))
        self._draw.rectangle(corners, fill=fill, outline=outline, width=self._line(width))

    def ellipse(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, width: float = 1.0
    ) -> None:
        """An ellipse that fills the box."""
        corners = (*self._at((box.left, box.top)), *self._at((box.right, box.bottom)))
        self._draw.ellipse(corners, fill=fill, outline=outline, width=self._line(width))

    def slice(self, box: Box, start_degrees: float, end_degrees: float, *, fill: Colour) -> None:
        """A slice of the ellipse that fills the box; degrees run clockwise from three o'clock."""
        corners = (*self._at((box.left, box.top)), *self._at((box.right, box.bottom)))
        self._draw.pieslice(corners, start_degrees, end_degrees, fill=fill, outline=WHITE, width=self._line(1.5))

    def polygon(self, points: Iterable[Point], *, fill: Colour, outline: Colour | None = None) -> None:
        """A filled polygon."""
        self._draw.polygon([self._at(point) for point in points], fill=fill, outline=outline, width=self._line(1.0))

    def line(self, points: Sequence[Point], *, fill: Colour, width: float = 1.0, dash: float = 0.0) -> None:
        """A line through the points; `dash`: the length of its dashes and gaps, 0 for none."""
        places = [self._at(point) for point in points]
        if dash <= 0:
            self._draw.line(places, fill=fill, width=self._line(width), joint="curve")
            return
        for (left, top), (right, bottom) in pairwise(points):
            length = math.hypot(right - left, bottom - top)
            for step in range(0, max(1, math.floor(length / dash)), 2):
                ends = (step * dash / length, min(1.0, (step + 1) * dash / length))
                piece = [self._at((left + (right - left) * t, top + (bottom - top) * t)) for t in ends]
                self._draw.line(piece, fill=fill, width=self._line(width))

    def text(
        self, at: Point, text: str, size: float, *, face: Face = Face.SANS, fill: Colour = BLACK, anchor: str = "ls"
    ) -> Box:
        """Write a text of `size` units; returns the box of its ink. Anchors are Pillow's (``ls``: baseline, left)."""
        if face in SHAPED:
            return self._note(text, self._stamped(at, text, size, face, fill, anchor))
        # Hinting makes letters wider or narrower at each size: they are put where the measured text has them.
        starts = self.fonts.starts(text, face)
        left = at[0] - _SHARES_LEFT[anchor[0]] * starts[-1] * size
        places = [(left + start * size, at[1]) for start in starts]
        letters = [(place, letter) for place, letter in zip(places, text, strict=False) if not letter.isspace()]
        boxes = [self._stamped(place, letter, size, face, fill, "l" + anchor[1]) for place, letter in letters]
        return self._note(text, _around(boxes))

    def hand(self, at: Point, text: str, size: float, rng: Random, *, fill: Colour) -> Box:
        """Write as by hand, from the left on the baseline: letters tilt, rise and stand apart unevenly."""
        x, baseline = self._at(at)
        pixels = size * self._scale
        boxes: list[Box] = []
        for letter in text:
            tilt, shift, gap = (rng.uniform(-1, 1) for _ in range(3))
            if not letter.isspace():
                place = (x, baseline + shift * _HAND_SHIFT * pixels)
                boxes.append(self._tilted(place, letter, pixels, tilt * _HAND_TILT_DEGREES, fill))
            x += (self.fonts.width(letter, Face.HAND) + (gap + 0.5) * _HAND_SPREAD) * pixels
        return self._note(text, _around(boxes))

    def width_of(self, text: str, size: float, face: Face = Face.SANS) -> float:
        """How far a text of `size` units advances, in units."""
        return self.fonts.width(text, face) * size

    def fitting(self, text: str, size: float, width: float, face: Face = Face.SANS) -> float:
        """The largest size up to `size` at which a text is no wider than `width` units."""
        return min(size, width / max(self.fonts.width(text, face), 1e-9))

    def wrapped(self, text: str, size: float, width: float, face: Face = Face.SANS) -> list[str]:
        """The text in lines no wider than `width` units, broken between words."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width_of(longer, size, face) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _stamped(self, at: Point, text: str, size: float, face: Face, fill: Colour, anchor: str) -> Box:
        """Put a text or a letter on the picture; returns the box of its ink in drawn pixels."""
        x, y = (round(each) for each in self._at(at))
        stamp, left, top = self._stamp(text, size, face, anchor)
        self._image.paste(fill, (x + left, y + top), stamp)
        return Box(x + left, y + top, x + left + stamp.width, y + top + stamp.height)

    def _stamp(self, text: str, size: float, face: Face, anchor: str) -> tuple[Image.Image, int, int]:
        """The ink of a text, and where its corner lies from the anchor in drawn pixels."""
        key = (text, size, face, anchor)
        if key not in self._stamps:
            font = self.fonts.sized(face, size * self._scale)
            left, top, right, bottom = (math.floor(each) for each in font.getbbox(text, anchor=anchor))
            margin = 2 + font.size // 4  # ink may reach beyond what a text advances
            sheet = Image.new("L", (int(right - left + 2 * margin), int(bottom - top + 2 * margin)))
            ImageDraw.Draw(sheet).text((margin - left, margin - top), text, font=font, fill=255, anchor=anchor)
            ink = sheet.getbbox() or (0, 0, 1, 1)
            self._stamps[key] = sheet.crop(ink), int(left - margin + ink[0]), int(top - margin + ink[1])
        return self._stamps[key]

    def _tilted(self, at: Point, letter: str, pixels: float, degrees: float, fill: Colour) -> Box:
        font = self.fonts.sized(Face.HAND, pixels)
        side = math.ceil(pixels * 2)
        stamp = Image.new("L", (side * 2, side * 2))
        ImageDraw.Draw(stamp).text((side, side), letter, font=font, fill=255, anchor="ls")
        stamp = stamp.rotate(degrees, Image.Resampling.BICUBIC, center=(side, side))
        corner = round(at[0]) - side, round(at[1]) - side
        self._image.paste(fill, corner, stamp)
        ink = stamp.getbbox() or (side, side, side, side)
        return Box(ink[0] + corner[0], ink[1] + corner[1], ink[2] + corner[0], ink[3] + corner[1])

    def _note(self, text: str, pixels: Box) -> Box:
        left, top, right, bottom = pixels
        ends = (left - self._left, top - self._top, right - self._left, bottom - self._top)
        box = Box(*(each / self._scale for each in ends))
        self.written.append(Written(text, box))
        return box

    def _at(self, point: Point) -> Point:
        return point[0] * self._scale + self._left, point[1] * self._scale + self._top

    def _line(self, units: float) -> int:
        return max(1, round(units * self._scale))


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box around all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))
