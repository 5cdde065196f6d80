"""Pictures that compress as real ones do: photographs, pages of a document, charts. Made up, the same for a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vlmctl.bench.words import WORDS
from vlmctl.bench.workload import Content

FINEST_CELL_PIXELS = 2  # of a photograph's detail: below it there is only the sensor's noise
# Strength of detail over its size: natural images have amplitudes that fall as 1/frequency, so about the same in every
# octave (Field, J. Opt. Soc. Am. A 4, 1987).
DETAIL_PER_OCTAVE = 17.0  # of 255 levels, standard deviation
SENSOR_NOISE = 2.0  # of 255 levels, standard deviation
BAND_PIXELS = 2**16  # of a photograph that are computed at once: all of a large one would take 100 bytes for each
PAPER, INK = (252, 251, 248), (28, 28, 32)
PAPER_NOISE = 1.2  # of 255 levels: a clean scan
LINES_PER_PAGE = 55
MAXIMUM_LINE_PIXELS = 48  # larger pages hold more lines, not larger letters
PALETTE = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))


def draw(content: Content, width_pixels: int, height_pixels: int, *, seed: int) -> Image.Image:
    """A picture of that content and size."""
    rng = np.random.default_rng((seed, width_pixels, height_pixels))
    return _DRAWN[content](width_pixels, height_pixels, rng)


def _photo(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Smooth shapes with edges, detail of every size, and the noise of a sensor."""
    colour = _noise(width, height, max(width, height), rng, channels=3)
    tint = rng.uniform(70, 170, 3)
    shapes = Image.new("L", (width, height))
    pen = ImageDraw.Draw(shapes)
    for _ in range(24):
        x, y = rng.uniform(-0.2, 1.0) * width, rng.uniform(-0.2, 1.0) * height
        wide, high = rng.uniform(0.05, 0.5) * width, rng.uniform(0.05, 0.5) * height
        paint = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        paint((x, y, x + wide, y + high), fill=int(rng.integers(0, 255)))
    edges = shapes.filter(ImageFilter.GaussianBlur(0.8))
    contrast = rng.uniform(0.1, 0.5, 3)
    cell, texture = max(width, height) / 2, []
    while cell >= FINEST_CELL_PIXELS:
        texture.append(_noise(width, height, cell, rng))
        cell /= 2
    blurred = _noise(width, height, max(width, height) / 4, rng)

    picture = Image.new("RGB", (width, height))
    for top in range(0, height, rows := max(1, BAND_PIXELS // width)):
        bottom = min(top + rows, height)
        band = colour.rows(top, bottom) * 25 + tint
        edge = np.asarray(edges.crop((0, top, width, bottom)), dtype=np.float32)[..., None]
        band += (edge - 128) * contrast
        detail = np.zeros((bottom - top, width, 1), dtype=np.float32)
        for layer in texture:
            detail += layer.rows(top, bottom) * DETAIL_PER_OCTAVE
        # part of a photograph is out of focus
        band += detail * (0.25 + 0.75 / (1 + np.exp(-3 * blurred.rows(top, bottom))))
        band += rng.normal(0, SENSOR_NOISE, (bottom - top, width, 1)).astype(np.float32)
        picture.paste(Image.fromarray(np.clip(band, 0, 255).astype(np.uint8), "RGB"), (0, top))
    return picture


class _Noise(NamedTuple):
    """Smooth noise of a size in pixels, by the coarse grids that it is stretched from: one for each channel."""

    grids: tuple[Image.Image, ...]
    width: int
    height: int

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Those from `top` to below `bottom`: rows, columns, channels."""
        size = (self.width, bottom - top)
        columns, lines = self.grids[0].size
        box = (0, top * lines / self.height, columns, bottom * lines / self.height)
        layers = [np.asarray(grid.resize(size, Image.Resampling.BICUBIC, box)) for grid in self.grids]
        return np.stack(layers, axis=-1)


def _noise(width: int, height: int, cell: float, rng: np.random.Generator, *, channels: int = 1) -> _Noise:
    """Noise with features of about `cell` pixels and a deviation of about 1."""
    columns, rows = max(2, math.ceil(width / cell) + 1), max(2, math.ceil(height / cell) + 1)
    grids = (Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32)) for _ in range(channels))
    return _Noise(tuple(grids), width, height)


def _document(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Paragraphs of small print under headings on slightly uneven paper."""
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    line = max(4, min(height // LINES_PER_PAGE, MAXIMUM_LINE_PIXELS))
    body, heading = _font(0.72 * line), _font(1.05 * line)
    margin = max(2, width // 12)
    y, left = 2 * line, 0
    while y < height - 2 * line:
        if left == 0:
            left = int(rng.integers(4, 10))
            pen.text((margin, y), _line(heading, 0.5 * (width - 2 * margin), rng).title(), font=heading, fill=INK)
            y += 2 * line
            continue
        left -= 1
        share = 1.0 if left else rng.uniform(0.2, 0.9)
        pen.text((margin, y), _line(body, share * (width - 2 * margin), rng), font=body, fill=INK)
        y += line if left else 2 * line
    noise = rng.normal(0, PAPER_NOISE, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(page, dtype=np.float32) + noise, 0, 255).astype(np.uint8), "RGB")


def _line(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float, rng: np.random.Generator) -> str:
    """Words that fill a line."""
    words: list[str] = []
    per_letter = max(font.getlength("the quick brown fox") / 19, 1.0)
    while sum(len(word) + 1 for word in words) * per_letter < room - 6 * per_letter:
        number = rng.random() < 0.08
        words.append(str(rng.integers(1, 9999)) if number else WORDS[rng.integers(len(WORDS))])
    return " ".join(words)


def _chart(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Axes, a grid, bars or lines in flat colours, and labels."""
    page = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    font = _font(max(6.0, min(height / 32, 40.0)))
    left, right, top, bottom = 0.1 * width, 0.95 * width, 0.12 * height, 0.86 * height
    pen.text((left, 0.04 * height), _line(font, 0.5 * width, rng).title(), font=font, fill=INK)
    unit = int(rng.integers(5, 50))
    for step in range(6):
        y = bottom + (top - bottom) * step / 5
        pen.line((left, y, right, y), fill=(225, 225, 225), width=1)
        pen.text((0.02 * width, y - 0.01 * height), str(step * unit), font=font, fill=INK)
    groups, series = int(rng.integers(4, 12)), int(rng.integers(1, 5))
    pitch = (right - left) / groups
    for group in range(groups):
        word = WORDS[rng.integers(len(WORDS))]
        pen.text((left + group * pitch, bottom + 0.02 * height), word, font=font, fill=INK)
    bars = rng.random() < 0.6
    for index in range(series):
        tops = bottom - rng.uniform(0.05, 1.0, groups) * (bottom - top)
        colour = PALETTE[index]
        if bars:
            wide = 0.8 * pitch / series
            for group, y in enumerate(tops):
                x = left + group * pitch + index * wide
                pen.rectangle((x, y, x + 0.9 * wide, bottom), fill=colour)
        else:
            points = [(left + (group + 0.5) * pitch, y) for group, y in enumerate(tops)]
            pen.line(points, fill=colour, width=max(2, height // 300), joint="curve")
    pen.line((left, top, left, bottom, right, bottom), fill=INK, width=2)
    return page


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings along."""
    return ImageFont.load_default(max(size, 1.0))


_DRAWN: dict[Content, Callable[[int, int, np.random.Generator], Image.Image]] = {
    Content.PHOTO: _photo,
    Content.DOCUMENT: _document,
    Content.CHART: _chart,
}
