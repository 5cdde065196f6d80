"""A set from a seed: pictures in turn from every category, written with their questions into a folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import PIL
from PIL import Image

from vlmctl.cases.canvas import Size
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.kinds import KINDS
from vlmctl.cases.pictures import Kind, Picture, Studio
from vlmctl.compare.cases import Case, CaseSet, MadeWith, Omission, case_set_yaml
from vlmctl.errors import InvalidValue
from vlmctl.files import write_atomically
from vlmctl.version import __version__

FILE = "cases.yaml"
IMAGES = "images"
DEFAULT_SEED = 1
DEFAULT_CASES = 180  # ten of each category
DEFAULT_SIZE = Size(1024)
LEAST_SIDE_PIXELS, MOST_SIDE_PIXELS = 32, 8192  # below, nothing is left of a picture; above, it takes gigabytes
MOST_CASES = 20_000
QUESTIONS_PER_PICTURE = 3
JPEG_QUALITY = 92  # as scanning programs set it
PNG_LEVEL = 6

Progress = Callable[[int, int], None]


class Made(NamedTuple):
    """What was written."""

    path: Path
    cases: CaseSet
    images: int


class _Drawn(NamedTuple):
    case: Case
    picture: Picture


def make_set(
    folder: Path,
    *,
    cases: int = DEFAULT_CASES,
    size: Size = DEFAULT_SIZE,
    seed: int = DEFAULT_SEED,
    kinds: Sequence[Kind] = KINDS,
    fonts: Fonts | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Made:
    """Draw a set into a folder: the same arguments give the same bytes. A larger set holds the cases of a smaller one.

    `cases`: how many questions, one of each kind in turn. `progress`: told how many cases are done, and of how many.
    The file of cases is written last and whole; images of an earlier set stay where they are not written anew.
    Kinds whose font is missing are left out, which the file says. Raises InvalidValue where none is left, or for a size
    or number out of range, and CannotWrite.
    """
    _check(cases, size)
    fonts = fonts or Fonts()
    able, left_out = _able(kinds, fonts)
    written: set[str] = set()
    found: list[Case] = []
    turns = [(kind, _questions(kind, Studio(size, fonts), seed)) for kind in able]
    for number in range(cases):
        kind, questions = turns[number % len(turns)]
        drawn = next(questions)
        for name, canvas in zip(drawn.case.images, drawn.picture.canvases, strict=True):
            if name not in written:
                write_atomically(folder / name, _encoded(canvas.finished(), kind), make_folders=True)
                written.add(name)
        found.append(drawn.case)
        progress(number + 1, cases)
    order = {kind.name: place for place, kind in enumerate(able)}
    made_with = MadeWith(
        program=f"vlmctl {__version__}",
        drawing=f"Pillow {PIL.__version__}",
        seed=seed,
        size=str(size),
        fonts=fonts.used(),
        left_out=left_out,
    )
    case_set = CaseSet(cases=tuple(sorted(found, key=lambda case: order[case.category])), made_with=made_with)
    path = folder / FILE
    write_atomically(path, case_set_yaml(case_set), make_folders=True)
    return Made(path, case_set, len(written))


def draw_picture(kind: Kind, studio: Studio, *, seed: int, number: int) -> Picture:
    """Picture `number` of a kind; each has random numbers of its own, so that none depends on another."""
    return kind.draw(studio, Random(f"{seed} {kind.name} {number}"))


def _able(kinds: Sequence[Kind], fonts: Fonts) -> tuple[list[Kind], tuple[Omission, ...]]:
    """The kinds that can be drawn here, and why the others cannot."""
    missing = {kind.name: fonts.missing(kind.face) for kind in kinds}
    able = [kind for kind in kinds if not missing[kind.name]]
    left_out = tuple(Omission(what=name, reason=reason) for name, reason in missing.items() if reason)
    if not able:
        raise InvalidValue(f"nothing can be drawn: {left_out[0].reason}.", remedy="Name your fonts: --fonts DIR.")
    return able, left_out


def _questions(kind: Kind, studio: Studio, seed: int) -> Iterator[_Drawn]:
    """The cases of a kind without end, a few of each picture: many pictures tell more than many questions on one."""
    for number in count(1):
        picture = draw_picture(kind, studio, seed=seed, number=number)
        name = f"{kind.name}-{number:03d}"
        suffix = "jpg" if kind.scanned else "png"
        marks = [""] if len(picture.canvases) == 1 else [f"-{index}" for index in range(1, len(picture.canvases) + 1)]
        images = tuple(f"{IMAGES}/{name}{mark}.{suffix}" for mark in marks)
        first = (number - 1) * QUESTIONS_PER_PICTURE
        for place in range(first, first + min(QUESTIONS_PER_PICTURE, len(picture.asks))):
            ask = picture.asks[place % len(picture.asks)]
            case = Case(
                id=f"{name}-{ask.key}",
                category=kind.name,
                images=images,
                question=ask.question,
                metric=ask.metric,
                expected=ask.expected,
                options=ask.options,
            )
            yield _Drawn(case, picture)


def _encoded(image: Image.Image, kind: Kind) -> bytes:
    stream = io.BytesIO()
    if kind.scanned:
        image.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(stream, "PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def _check(cases: int, size: Size) -> None:
    if not 1 <= cases <= MOST_CASES:
        raise InvalidValue(f"{cases} cases cannot be made.", remedy=f"Ask for 1 to {MOST_CASES:,}.")
    for side in (size.width_pixels, size.height_pixels):
        if side is not None and not LEAST_SIDE_PIXELS <= side <= MOST_SIDE_PIXELS:
            least_most = f"{LEAST_SIDE_PIXELS} to {MOST_SIDE_PIXELS:,}"
            raise InvalidValue(f"a picture of {size} pixels cannot be made.", remedy=f"Sides are {least_most} pixels.")
