"""Things recognised from pixels alone: connected patches on the background, compared with every shape there is."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vlmctl.cases.canvas import Box, Canvas, Size
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.shapes import COLOURS, SHAPES, Thing, draw_thing

TEMPLATE_PIXELS = 96
APART = 60  # summed distance of channels from which a pixel is no longer background
LEAST_PIXELS = 60  # of a patch

Mask = Any


class Seen(NamedTuple):
    """A thing as it was recognised: the box in pixels."""

    shape: str
    colour: str
    box: Box

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


def recognised(image: Image.Image) -> list[Seen]:
    """Every thing in a scene, from its pixels."""
    pixels = np.asarray(image).astype(int)
    found = patches(np.abs(pixels - pixels[0, 0]).sum(axis=2) > APART)
    return [Seen(_shape(mask), _colour(pixels, mask, box), box) for mask, box in found]


def patches(mask: Mask) -> list[tuple[Mask, Box]]:
    """The connected patches of a mask with their bounding boxes, specks left out."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        waiting = [left.pop()]
        patch = list(waiting)
        while waiting:
            y, x = waiting.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    waiting.append(near)
                    patch.append(near)
        if len(patch) >= LEAST_PIXELS:
            rows, columns = (np.array(each) for each in zip(*patch, strict=True))
            box = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            own = np.zeros((box.bottom - box.top, box.right - box.left), dtype=bool)
            own[rows - box.top, columns - box.left] = True
            found.append((own, box))
    return found


def _colour(pixels: Mask, mask: Mask, box: Box) -> str:
    left, top, right, bottom = (int(side) for side in box)
    ink = np.median(pixels[top:bottom, left:right][mask], axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(ink - np.array(COLOURS[name])).sum()))


def _shape(mask: Mask) -> str:
    scaled = Image.fromarray(mask.astype(np.uint8) * 255).resize((TEMPLATE_PIXELS, TEMPLATE_PIXELS))
    own = np.asarray(scaled) > 127
    likeness = {name: (own & form).sum() / (own | form).sum() for name, form in _templates().items()}
    return max(likeness, key=lambda name: likeness[name])


@cache
def _templates() -> dict[str, Mask]:
    forms = {}
    for name in SHAPES:
        canvas = Canvas(Size(TEMPLATE_PIXELS), Fonts(), width_units=1000, height_units=1000, background=(255, 255, 255))
        draw_thing(canvas, Thing(name, "black", canvas.box))
        forms[name] = np.asarray(canvas.finished().convert("L")) < 127
    return forms
