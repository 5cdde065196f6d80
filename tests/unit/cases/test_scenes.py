"""What scenes are said to show is what their pixels show."""

from __future__ import annotations

import math
import re
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases.conftest import QUICK
from tests.unit.cases.recognition import Seen, recognised
from vlmctl.cases import differences, seeing, views
from vlmctl.cases.canvas import Box
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.pictures import Ask, Picture, Studio
from vlmctl.cases.scenes import HEIGHT, LEAST_GAP, WIDTH, places
from vlmctl.cases.shapes import COLOURS, SHAPES, plural

STUDIO = Studio(QUICK, Fonts())
EDGE_PIXELS = 2.0  # smoothed edges blur a box by this much
seeds = st.integers(0, 2**32)
few = settings(max_examples=8)


def _seen(picture: Picture, index: int = 0) -> list[Seen]:
    return recognised(picture.canvases[index].finished())


def _ask(picture: Picture, key: str) -> Ask | None:
    return next((ask for ask in picture.asks if ask.key == key), None)


@given(seed=seeds, count=st.integers(1, 24))
def test_things_keep_apart(seed: int, count: int) -> None:
    """No two boxes of a scene are nearer than the gap, and all lie within the picture."""
    boxes = places(Random(seed), count)
    assert all(Box(0, 0, WIDTH, HEIGHT).holds(box) for box in boxes)
    around = [box.grown(LEAST_GAP * 0.49) for box in boxes]
    assert not any(one.overlaps(other) for one, other in combinations(around, 2))


@few
@given(seed=seeds)
def test_counts_are_what_the_pixels_show(seed: int) -> None:
    """Shapes, colours, both together and all objects, counted in the picture, make the expected numbers."""
    picture = seeing.counting(STUDIO, Random(seed))
    things = _seen(picture)
    for ask in picture.asks:
        what = re.match(r"How many (.*) are there", ask.question)
        assert what is not None
        counted = sum(what[1] in _names(thing) for thing in things)
        assert counted == ask.expected.number, ask


def _names(thing: Seen) -> set[str]:
    shapes = plural(thing.shape)
    return {"objects", f"{thing.colour} objects", shapes, f"{thing.colour} {shapes}"}


@few
@given(seed=seeds)
def test_colours_are_what_the_pixels_show(seed: int) -> None:
    """The colour that a thing is said to have is its colour, and the others are not the answer too."""
    picture = seeing.colours(STUDIO, Random(seed))
    by_shape = {thing.shape: thing.colour for thing in _seen(picture)}
    for ask in picture.asks:
        named = [shape for shape in SHAPES if re.search(rf"\b{shape}\b", ask.question)]
        right = ask.expected.answers[0] if ask.expected.answers else ""
        if ask.key == "of":
            assert by_shape[named[0]] == right
        elif ask.key == "which":
            colour = re.search(r"is (\w+)\?", ask.question)
            assert colour is not None
            assert [shape for shape, own in by_shape.items() if own == colour[1]] == [right]
        elif ask.key == "same":
            alike = [shape for shape in ask.options if by_shape[shape] == by_shape[named[0]]]
            assert alike == [right]
        elif ask.key == "different":
            assert len(set(by_shape.values())) == ask.expected.number


@few
@given(seed=seeds)
def test_positions_are_what_the_pixels_show(seed: int) -> None:
    """Left, right, above, below, outermost and nearest hold in the picture, by a margin that can be seen."""
    picture = seeing.spatial(STUDIO, Random(seed))
    things = {thing.shape: thing.box.centre for thing in _seen(picture)}
    for ask in picture.asks:
        right = ask.expected.answers[0]
        named = sorted((shape for shape in things if f"the {shape}" in ask.question), key=ask.question.index)
        if ask.key in ("across", "upright"):
            axis = ask.key == "upright"
            before = things[named[0]][axis] < things[named[1]][axis]
            assert before == (right in ("left of", "above"))
            clear = 0.1 * (QUICK.width_pixels, QUICK.width_pixels * HEIGHT / WIDTH)[axis]
            assert abs(things[named[0]][axis] - things[named[1]][axis]) > clear
        elif ask.key == "nearest":
            own = things[named[0]]
            distances = {shape: math.dist(place, own) for shape, place in things.items() if shape != named[0]}
            assert min(distances, key=lambda shape: distances[shape]) == right
        else:
            axis, sign = {"left": (0, 1), "right": (0, -1), "up": (1, 1), "down": (1, -1)}[ask.key]
            assert min(things, key=lambda shape: sign * things[shape][axis]) == right


@few
@given(seed=seeds)
def test_what_is_absent_is_not_in_the_pixels(seed: int) -> None:
    """Yes and no, none and a colour: each is what a look at the picture says."""
    picture = seeing.absent(STUDIO, Random(seed))
    things = _seen(picture)
    names = {thing.shape for thing in things} | {str(thing) for thing in things}
    for ask in picture.asks:
        if found := re.match(r"Is there an? (.*) in this picture", ask.question):
            assert (found[1] in names) == (ask.expected.answers == ("yes",))
        elif found := re.match(r"What colour is the (\w+)", ask.question):
            own = [thing.colour for thing in things if thing.shape == found[1]] or [seeing.NONE_THERE]
            assert own == list(ask.expected.answers)
        else:
            assert ask.expected.number == 0
            assert not any(plural(thing.shape) in ask.question for thing in things)


def test_yes_is_right_as_often_as_no() -> None:
    """A model that always says the same is right half of the time."""
    picture = seeing.absent(STUDIO, Random(3))
    answers = [ask.expected.answers[0] for ask in picture.asks if ask.expected.answers]
    assert answers.count("yes") == answers.count("no") == 2


@few
@given(seed=seeds)
def test_boxes_are_the_pixels_of_what_they_name(seed: int) -> None:
    """The box of a thing is the box of its ink, and only one thing has its name."""
    picture = seeing.grounding(STUDIO, Random(seed))
    things = {str(thing): thing.box for thing in _seen(picture)}
    assert len(things) == len(_seen(picture))
    for ask in picture.asks:
        named = next(name for name in things if f"the {name}" in ask.question)
        assert ask.expected.box == pytest.approx(tuple(things[named]), abs=EDGE_PIXELS)


@few
@given(seed=seeds)
def test_differences_are_what_the_pixels_show(seed: int) -> None:
    """As many things are gone, moved or changed as is said, and where it is said; of the options one is true."""
    picture = differences.draw(STUDIO, Random(seed))
    before, after = ({_place(thing): str(thing) for thing in _seen(picture, index)} for index in range(2))
    changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    moved = _ask(picture, "moved")
    count = _ask(picture, "count")
    assert count is not None
    assert count.expected.number == len(changed) - (moved is not None)
    for ask in picture.asks:
        if ask.expected.box is not None:
            own = _seen(picture, ask.expected.image)
            found = [thing for thing in own if ask.expected.box == pytest.approx(tuple(thing.box), abs=EDGE_PIXELS)]
            assert len(found) == 1
            other = after if ask.expected.image == 0 else before
            assert _place(found[0]) not in other
    change = _ask(picture, "change")
    assert change is not None
    assert [option for option in change.options if _is_true(option, before, after)] == list(change.expected.answers)


def _place(thing: Seen) -> tuple[int, int]:
    """The cell of the scene's grid that a thing lies in."""
    scale = QUICK.width_pixels / WIDTH
    x, y = (each / scale for each in thing.box.centre)
    return int((x - 26) / ((WIDTH - 52) / 5)), int((y - 26) / ((HEIGHT - 52) / 4))


def _is_true(option: str, before: dict[tuple[int, int], str], after: dict[tuple[int, int], str]) -> bool:
    if became := re.match(r"the (.*) has become an? (.*)", option):
        return any(name == became[1] and after.get(place) == became[2] for place, name in before.items())
    named = re.match(r"the (\w+ \w+) is", option)
    assert named is not None
    first = [place for place, name in before.items() if name == named[1]]
    second = [place for place, name in after.items() if name == named[1]]
    return first != second and bool(second) == option.endswith("place")


@few
@given(seed=seeds)
def test_views_show_one_object(seed: int) -> None:
    """Sides of the cube and heights of the towers, read from the pixels of both pictures, give the answers."""
    picture = views.draw(STUDIO, Random(seed))
    first, second = (np.asarray(canvas.finished()) for canvas in picture.canvases)
    opposites = [ask for ask in picture.asks if ask.key.endswith("opposite")]
    if opposites:
        pairs = [(_colour_at(first, x, 0.6), _colour_at(second, x, 0.6)) for x in (0.38, 0.62)]
        across = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
        for ask in opposites:
            asked = next(name for name in COLOURS if f"the {name} one" in ask.question)
            assert across[asked] == ask.expected.answers[0]
        both = _ask(picture, "both")
        assert both is not None
        assert _colour_at(first, 0.5, 0.4) == _colour_at(second, 0.5, 0.4) == both.expected.answers[0]
        return
    things = sorted(recognised(picture.canvases[1].finished()), key=lambda thing: thing.box.left)
    heights = [_grey_pixels(first, thing.box) / (views.BLOCK * QUICK.width_pixels / views.SIDE) for thing in things]
    height, tallest, blocks = (_ask(picture, key) for key in ("height", "tallest", "blocks"))
    assert height is not None
    assert tallest is not None
    assert blocks is not None
    by_colour = {thing.colour: round(high) for thing, high in zip(things, heights, strict=True)}
    assert by_colour[re.search(r"the (\w+) top", height.question)[1]] == height.expected.number  # type: ignore[index]
    assert max(by_colour, key=lambda colour: by_colour[colour]) == tallest.expected.answers[0]
    assert sum(by_colour.values()) == blocks.expected.number


def _colour_at(pixels: np.ndarray, x: float, y: float) -> str:  # type: ignore[type-arg]
    own = pixels[int(y * pixels.shape[0]), int(x * pixels.shape[1])].astype(int)
    return min(COLOURS, key=lambda name: int(np.abs(own - np.array(COLOURS[name])).sum()))


def _grey_pixels(pixels: np.ndarray, box: Box) -> int:  # type: ignore[type-arg]
    """The height of the tower that stands where the box is seen from above."""
    column = pixels[:, int(box.centre[0])].astype(int)
    rows = np.argwhere(np.abs(column - 255).sum(axis=1) > 60)
    return int(rows.max() - rows.min() - 3)
