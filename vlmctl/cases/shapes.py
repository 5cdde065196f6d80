"""Flat things in one colour each, by name: what scenes are made of. A thing's ink fills its box from side to side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from vlmctl.cases.canvas import BLACK, Box, Canvas, Colour, Point

# Names that people and models agree on, well apart from each other and from the backgrounds.
COLOURS: Mapping[str, Colour] = {
    "red": (212, 30, 38),
    "orange": (245, 138, 10),
    "yellow": (246, 208, 20),
    "green": (28, 142, 60),
    "blue": (30, 90, 205),
    "purple": (128, 50, 168),
    "brown": (122, 74, 40),
    "black": BLACK,
}


class Thing(NamedTuple):
    """A shape in a colour, both by name, that fills a box."""

    shape: str
    colour: str
    box: Box

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


def draw_thing(canvas: Canvas, thing: Thing) -> None:
    """Draw a thing into its box."""
    SHAPES[thing.shape](canvas, thing.box, COLOURS[thing.colour])


def plural(shape: str) -> str:
    """The name of several things of a shape."""
    return {"cross": "crosses", "fish": "fish"}.get(shape, f"{shape}s")


def with_article(name: str) -> str:
    """``an orange cup``, ``a car``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _within(box: Box, *points: Point) -> list[Point]:
    """Points given as shares of the box's sides."""
    wide, tall = box.right - box.left, box.bottom - box.top
    return [(box.left + x * wide, box.top + y * tall) for x, y in points]


def _part(box: Box, left: float, top: float, right: float, bottom: float) -> Box:
    """A part of the box, given as shares of its sides."""
    (x0, y0), (x1, y1) = _within(box, (left, top), (right, bottom))
    return Box(x0, y0, x1, y1)


def _circle(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.ellipse(box, fill=colour)


def _square(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.rectangle(box, fill=colour)


def _triangle(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.polygon(_within(box, (0.5, 0), (1, 1), (0, 1)), fill=colour)


def _star(canvas: Canvas, box: Box, colour: Colour) -> None:
    radii = [(1.0, 0.4)[index % 2] for index in range(10)]
    turns = [index * math.tau / 10 for index in range(10)]
    spikes = [(radius * math.sin(t), -radius * math.cos(t)) for radius, t in zip(radii, turns, strict=True)]
    left, right = min(x for x, _ in spikes), max(x for x, _ in spikes)
    top, bottom = min(y for _, y in spikes), max(y for _, y in spikes)
    shares = [((x - left) / (right - left), (y - top) / (bottom - top)) for x, y in spikes]
    canvas.polygon(_within(box, *shares), fill=colour)


def _heart(canvas: Canvas, box: Box, colour: Colour) -> None:
    """The curve x = 16 sin³ t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t (Weisstein, MathWorld, Heart Curve)."""
    turns = [index * math.tau / 96 for index in range(96)]
    curve = [
        (math.sin(t) ** 3 * 16, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)))
        for t in turns
    ]
    top, bottom = min(y for _, y in curve), max(y for _, y in curve)
    canvas.polygon(_within(box, *(((x + 16) / 32, (y - top) / (bottom - top)) for x, y in curve)), fill=colour)


def _cross(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.rectangle(_part(box, 0.34, 0, 0.66, 1), fill=colour)
    canvas.rectangle(_part(box, 0, 0.34, 1, 0.66), fill=colour)


def _house(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.polygon(_within(box, (0.5, 0), (1, 0.45), (0, 0.45)), fill=colour)
    canvas.rectangle(_part(box, 0.1, 0.4, 0.9, 1), fill=colour)
    canvas.rectangle(_part(box, 0.56, 0.6, 0.76, 1), fill=canvas.background)
    canvas.rectangle(_part(box, 0.22, 0.58, 0.42, 0.76), fill=canvas.background)


def _tree(canvas: Canvas, box: Box, colour: Colour) -> None:
    for top, bottom, half in ((0, 0.36, 0.28), (0.2, 0.6, 0.4), (0.42, 0.84, 0.5)):
        canvas.polygon(_within(box, (0.5, top), (0.5 + half, bottom), (0.5 - half, bottom)), fill=colour)
    canvas.rectangle(_part(box, 0.42, 0.82, 0.58, 1), fill=colour)


def _fish(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.ellipse(_part(box, 0, 0.2, 0.76, 0.8), fill=colour)
    canvas.polygon(_within(box, (0.66, 0.5), (1, 0.12), (1, 0.88)), fill=colour)
    canvas.polygon(_within(box, (0.28, 0.28), (0.52, 0), (0.56, 0.32)), fill=colour)
    canvas.polygon(_within(box, (0.3, 0.74), (0.5, 1), (0.54, 0.7)), fill=colour)
    canvas.ellipse(_part(box, 0.13, 0.38, 0.22, 0.47), fill=canvas.background)


def _boat(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.polygon(_within(box, (0, 0.7), (1, 0.7), (0.82, 1), (0.18, 1)), fill=colour)
    canvas.rectangle(_part(box, 0.47, 0, 0.53, 0.72), fill=colour)
    canvas.polygon(_within(box, (0.53, 0.02), (0.94, 0.62), (0.53, 0.62)), fill=colour)
    canvas.polygon(_within(box, (0.47, 0.16), (0.47, 0.62), (0.12, 0.62)), fill=colour)


def _cup(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.ellipse(_part(box, 0.5, 0.16, 1, 0.76), fill=colour)
    canvas.ellipse(_part(box, 0.62, 0.29, 0.87, 0.63), fill=canvas.background)
    canvas.polygon(_within(box, (0, 0), (0.76, 0), (0.68, 1), (0.08, 1)), fill=colour)


def _car(canvas: Canvas, box: Box, colour: Colour) -> None:
    canvas.polygon(_within(box, (0.18, 0.45), (0.3, 0), (0.7, 0), (0.84, 0.45)), fill=colour)
    canvas.polygon(_within(box, (0.27, 0.4), (0.35, 0.1), (0.48, 0.1), (0.48, 0.4)), fill=canvas.background)
    canvas.polygon(_within(box, (0.54, 0.4), (0.54, 0.1), (0.66, 0.1), (0.75, 0.4)), fill=canvas.background)
    canvas.rectangle(_part(box, 0, 0.44, 1, 0.8), fill=colour)
    for left in (0.12, 0.64):
        canvas.ellipse(_part(box, left, 0.62, left + 0.25, 1), fill=colour)
        canvas.ellipse(_part(box, left + 0.08, 0.74, left + 0.17, 0.88), fill=canvas.background)


SHAPES: Mapping[str, Callable[[Canvas, Box, Colour], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "house": _house,
    "tree": _tree,
    "fish": _fish,
    "boat": _boat,
    "cup": _cup,
    "car": _car,
}
