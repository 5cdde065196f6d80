"""A set from a seed: pictures in turn from every category, written with their questions into a folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from random import Random
from typing import NamedTuple

import PIL
from msgspec.structs import replace
from PIL import Image

from vlmctl.cases.canvas import Size
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.kinds import KINDS
from vlmctl.cases.pictures import Kind, Picture, Studio
from vlmctl.compare.cases import Case, CaseSet, MadeWith, Omission, case_set_yaml, listed_cases
from vlmctl.errors import InvalidFile, InvalidValue
from vlmctl.files import write_atomically
from vlmctl.version import __version__

FILE = "cases.yaml"
IMAGES = "images"
ANOTHER_FOLDER = "Name another folder, or remove that file first."
DEFAULT_SEED = 1
DEFAULT_CASES = 180  # ten of each category
DEFAULT_SIZE = Size(1024)
LEAST_SIDE_PIXELS, MOST_SIDE_PIXELS = 32, 8192  # below, nothing is left of a picture; above, it takes gigabytes
MOST_CASES = 20_000
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
    The file of cases is written last and whole. An earlier set there may grow or shrink, images that are no longer in
    it being removed; one of another seed, size or program is refused, since its answers would stand beside pictures of
    this one wherever the drawing ends early. Kinds whose font is missing are left out, which the file says.

    Raises InvalidValue where none is left, for a size or number out of range and for another set, and CannotWrite.
    """
    _check(cases, size)
    fonts = fonts or Fonts()
    able, left_out = _able(kinds, fonts)
    made_with = MadeWith(
        program=f"vlmctl {__version__}", drawing=f"Pillow {PIL.__version__}", seed=seed, size=str(size)
    )
    earlier = _images_of_earlier(folder, made_with)
    found: list[Case] = []
    for number, case in enumerate(_drawn_into(folder, able, Studio(size, fonts), seed, cases), start=1):
        found.append(case)
        progress(number, cases)
    order = {kind.name: place for place, kind in enumerate(able)}
    case_set = CaseSet(
        cases=tuple(sorted(found, key=lambda case: order[case.category])),
        made_with=replace(made_with, fonts=fonts.used(), left_out=left_out),
    )
    written = {name for case in found for name in case.images}
    write_atomically(folder / FILE, case_set_yaml(case_set), make_folders=True)
    for name in earlier - written:
        (folder / name).unlink(missing_ok=True)
    return Made(folder / FILE, case_set, len(written))


def _drawn_into(folder: Path, kinds: Sequence[Kind], studio: Studio, seed: int, cases: int) -> Iterator[Case]:
    """So many cases of each kind in turn, each when its pictures are written."""
    turns = [(kind, _questions(kind, studio, seed)) for kind in kinds]
    for number in range(cases):
        kind, questions = turns[number % len(turns)]
        drawn = next(questions)
        for name, canvas in zip(drawn.case.images, drawn.picture.canvases, strict=True):
            write_atomically(folder / name, _encoded(canvas.finished(), kind), make_folders=True)
        yield drawn.case


def draw_picture(kind: Kind, studio: Studio, *, seed: int, number: int) -> Picture:
    """Picture `number` of a kind; each has random numbers of its own, so that none depends on another."""
    return kind.draw(studio, Random(f"{seed} {kind.name} {number}"))


def _images_of_earlier(folder: Path, made_with: MadeWith) -> frozenset[str]:
    """The images that the set in a folder lists; none without one. Raises InvalidValue for another set than this."""
    path = folder / FILE
    if not path.exists():
        return frozenset()
    try:
        found = listed_cases(path)
    except InvalidFile as error:
        raise InvalidValue(f"{path} is not to be written over: {error.problem}", remedy=ANOTHER_FOLDER) from error
    if found.made_with is None:
        raise InvalidValue(f"{path} was not made by this command.", remedy=ANOTHER_FOLDER)
    names = ("program", "drawing", "seed", "size")
    then, now = ({name: getattr(each, name) for name in names} for each in (found.made_with, made_with))
    if then != now:
        differing = ", ".join(f"{name} {then[name]} and not {now[name]}" for name in names if then[name] != now[name])
        raise InvalidValue(f"{path} holds another set: {differing}.", remedy=ANOTHER_FOLDER)
    listed = {name for case in found.cases for name in case.images}
    return frozenset(name for name in listed if str(PurePosixPath(name).parent) == IMAGES)


def _able(kinds: Sequence[Kind], fonts: Fonts) -> tuple[list[Kind], tuple[Omission, ...]]:
    """The kinds that can be drawn here, and why the others cannot."""
    missing = {kind.name: fonts.missing(kind.face) for kind in kinds}
    able = [kind for kind in kinds if not missing[kind.name]]
    left_out = tuple(Omission(what=name, reason=reason) for name, reason in missing.items() if reason)
    if not able:
        raise InvalidValue(f"nothing can be drawn: {left_out[0].reason}.", remedy="Name your fonts: --fonts DIR.")
    return able, left_out


def _questions(kind: Kind, studio: Studio, seed: int) -> Iterator[_Drawn]:
    """The cases of a kind without end, each on a picture of its own: a second question on one tells little more."""
    for number in count(1):
        picture = draw_picture(kind, studio, seed=seed, number=number)
        name = f"{kind.name}-{number:03d}"
        suffix = "jpg" if kind.scanned else "png"
        marks = [""] if len(picture.canvases) == 1 else [f"-{index}" for index in range(1, len(picture.canvases) + 1)]
        images = tuple(f"{IMAGES}/{name}{mark}.{suffix}" for mark in marks)
        ask = picture.asks[(number - 1) % len(picture.asks)]
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
