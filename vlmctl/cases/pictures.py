"""What a kind of picture gives: one or several finished canvases and the questions that the drawing settles."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import WHITE, Canvas, Colour, Size
from vlmctl.cases.fonts import Face, Fonts
from vlmctl.compare.cases import Expected, Metric

NUMBER_ONLY = "Answer with the number only."
NAME_ONLY = "Answer with the name only."
ONE_WORD = "Answer with one word."
AS_PRINTED = "Answer exactly as it is printed, with nothing else."
YES_OR_NO = "Answer with yes or no only."


class Ask(NamedTuple):
    """A question about a picture, what is right, and how an answer is judged. `key`: its name within the picture."""

    key: str
    question: str
    metric: Metric
    expected: Expected
    options: tuple[str, ...] = ()


class Picture(NamedTuple):
    """Canvases that are shown together, and what is asked about them."""

    canvases: tuple[Canvas, ...]
    asks: tuple[Ask, ...]


class Studio(NamedTuple):
    """What all pictures of a set share."""

    size: Size
    fonts: Fonts

    def canvas(self, width_units: float, height_units: float, background: Colour = WHITE) -> Canvas:
        """An empty canvas; the longer side should be 1,000 units."""
        return Canvas(self.size, self.fonts, width_units=width_units, height_units=height_units, background=background)


Draw = Callable[[Studio, Random], Picture]


class Kind(NamedTuple):
    """A category of pictures. `scanned`: stored as JPEG, as scanners and telephones do. `face`: the font it needs."""

    name: str
    draw: Draw
    scanned: bool = False
    face: Face = Face.SANS


def text(*answers: str) -> Expected:
    """Any of these texts is right."""
    return Expected(answers=answers)


def number(value: float, tolerance: float = 0.0) -> Expected:
    """This number is right, give or take."""
    return Expected(number=value, tolerance=tolerance)


def choice(key: str, question: str, right: str, wrong: list[str], rng: Random) -> Ask:
    """A multiple-choice question with its options in random order."""
    options = [right, *wrong]
    rng.shuffle(options)
    return Ask(key, question, Metric.MULTIPLE_CHOICE, text(right), tuple(options))
