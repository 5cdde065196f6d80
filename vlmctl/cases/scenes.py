"""Scenes of flat things that never touch: one in each cell of a grid, a little out of place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from vlmctl.cases.canvas import Box, Canvas, Colour
from vlmctl.cases.pictures import Studio
from vlmctl.cases.shapes import COLOURS, SHAPES, Thing, draw_thing

WIDTH, HEIGHT = 1000.0, 750.0
MARGIN = 26.0
SHARES = 0.62, 0.95  # things of one picture differ in size, which makes counting harder
LEAST_GAP = 10.0  # between the boxes of two things, in units
BACKGROUNDS: tuple[Colour, ...] = ((255, 255, 255), (242, 244, 247), (250, 244, 232), (234, 244, 240))


def empty_scene(studio: Studio, rng: Random) -> Canvas:
    """A canvas in one of the pale backgrounds."""
    return studio.canvas(WIDTH, HEIGHT, rng.choice(BACKGROUNDS))


def places(
    rng: Random, count: int, *, columns: int = 6, rows: int = 4, shares: tuple[float, float] = SHARES
) -> list[Box]:
    """That many square boxes, at most one in a cell, no two nearer than the least gap.

    `shares`: their least and greatest side, as a share of the room in a cell.
    """
    wide, tall = (WIDTH - 2 * MARGIN) / columns, (HEIGHT - 2 * MARGIN) / rows
    room = min(wide, tall) - LEAST_GAP
    boxes = []
    for cell in rng.sample(range(columns * rows), count):
        side = room * rng.uniform(*shares)
        left = MARGIN + (cell % columns) * wide + LEAST_GAP / 2 + rng.uniform(0, wide - LEAST_GAP - side)
        top = MARGIN + (cell // columns) * tall + LEAST_GAP / 2 + rng.uniform(0, tall - LEAST_GAP - side)
        boxes.append(Box(left, top, left + side, top + side))
    return boxes


def distinct_things(rng: Random, boxes: Sequence[Box]) -> list[Thing]:
    """A thing in each box, no two of the same shape; at most as many as there are shapes."""
    shapes = rng.sample(sorted(SHAPES), len(boxes))
    return [Thing(shape, rng.choice(sorted(COLOURS)), box) for shape, box in zip(shapes, boxes, strict=True)]


def different_things(rng: Random, boxes: Sequence[Box]) -> list[Thing]:
    """A thing in each box, no two of the same shape and colour."""
    kinds = rng.sample([(shape, colour) for shape in sorted(SHAPES) for colour in sorted(COLOURS)], len(boxes))
    return [Thing(shape, colour, box) for (shape, colour), box in zip(kinds, boxes, strict=True)]


def draw_things(canvas: Canvas, things: Iterable[Thing]) -> None:
    """Draw them all."""
    for thing in things:
        draw_thing(canvas, thing)
