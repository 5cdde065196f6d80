"""Several views of one object: a cube before and after half a turn, a row of towers from the front and from above."""

from __future__ import annotations

from random import Random

from vlmctl.cases.canvas import WHITE, Box, Canvas, Colour, Point
from vlmctl.cases.pictures import NUMBER_ONLY, ONE_WORD, Ask, Picture, Studio, number, text
from vlmctl.cases.shapes import COLOURS
from vlmctl.compare.cases import Metric

SIDE = 1000.0
EDGE = 330.0  # of the cube, in units
SLANT = (0.866, 0.5)  # cosine and sine of 30 degrees: the isometric view
BLOCK = 150.0  # side of a tower's block
GREY: Colour = (168, 172, 180)
LINE: Colour = (60, 62, 68)
GROUND: Colour = (120, 104, 84)
MOST_BLOCKS = 5
CUBE = "Both pictures show the same cube; before the second it was given half a turn about its upright axis."
TOWERS = (
    "The first picture shows a row of towers from the front, the second the same row, in the same order, from above."
)


def draw(studio: Studio, rng: Random) -> Picture:
    """A cube or a row of towers, at even chances."""
    return _cube(studio, rng) if rng.random() < 0.5 else _towers(studio, rng)


def _cube(studio: Studio, rng: Random) -> Picture:
    top, left, right, far_left, far_right = rng.sample(sorted(COLOURS), 5)
    pictures = []
    # Half a turn brings to the left what was hidden behind the left face, and to the right what was behind the right.
    for colours in ((top, left, right), (top, far_left, far_right)):
        canvas = studio.canvas(SIDE, SIDE)
        _draw_cube(canvas, *colours)
        pictures.append(canvas)
    both = f"{CUBE} Which colour is seen in both pictures? {ONE_WORD}"
    asks = (
        _opposite("opposite", rng.choice(((left, far_left), (far_left, left)))),
        Ask("both", both, Metric.EXACT, text(top)),
        _opposite("other-opposite", rng.choice(((right, far_right), (far_right, right)))),
    )
    return Picture(tuple(pictures), asks)


def _opposite(key: str, sides: tuple[str, str]) -> Ask:
    question = f"{CUBE} Which colour is the side opposite the {sides[0]} one? {ONE_WORD}"
    return Ask(key, question, Metric.EXACT, text(sides[1]))


def _draw_cube(canvas: Canvas, top: str, left: str, right: str) -> None:
    """Three faces that meet in the corner nearest to the eye."""
    x, y = SIDE / 2, SIDE / 2
    across, rise = SLANT[0] * EDGE, SLANT[1] * EDGE
    west, east = (x - across, y - rise), (x + across, y - rise)
    faces: tuple[tuple[str, list[Point]], ...] = (
        (top, [(x, y), east, (x, y - 2 * rise), west]),
        (left, [(x, y), west, (west[0], west[1] + EDGE), (x, y + EDGE)]),
        (right, [(x, y), east, (east[0], east[1] + EDGE), (x, y + EDGE)]),
    )
    for colour, corners in faces:
        canvas.polygon(corners, fill=COLOURS[colour])
        canvas.line([*corners, corners[0]], fill=WHITE, width=5)


def _towers(studio: Studio, rng: Random) -> Picture:
    count = rng.randint(3, 5)
    colours = rng.sample(sorted(COLOURS), count)
    heights = rng.sample(range(1, MOST_BLOCKS + 1), count)
    front, above = (studio.canvas(SIDE, SIDE) for _ in range(2))
    left = (SIDE - count * (BLOCK + 30) + 30) / 2
    ground = SIDE - 90
    front.line([(60, ground + 4), (SIDE - 60, ground + 4)], fill=GROUND, width=8)
    for index, (colour, height) in enumerate(zip(colours, heights, strict=True)):
        x = left + index * (BLOCK + 30)
        for block in range(height):
            bottom = ground - block * BLOCK
            front.rectangle(Box(x, bottom - BLOCK, x + BLOCK, bottom), fill=GREY, outline=LINE, width=4)
        middle = SIDE / 2
        square = Box(x, middle - BLOCK / 2, x + BLOCK, middle + BLOCK / 2)
        above.rectangle(square, fill=COLOURS[colour], outline=LINE, width=4)
    return Picture((front, above), _tower_asks(colours, heights, rng))


def _tower_asks(colours: list[str], heights: list[int], rng: Random) -> tuple[Ask, ...]:
    one = rng.randrange(len(colours))
    tallest = colours[heights.index(max(heights))]
    high = f"{TOWERS} How many blocks high is the tower with the {colours[one]} top? {NUMBER_ONLY}"
    which = f"{TOWERS} Which colour is the top of the highest tower? {ONE_WORD}"
    in_all = f"{TOWERS} How many blocks do the towers have in all? {NUMBER_ONLY}"
    return (
        Ask("height", high, Metric.NUMERIC, number(heights[one])),
        Ask("tallest", which, Metric.EXACT, text(tallest)),
        Ask("blocks", in_all, Metric.NUMERIC, number(sum(heights))),
    )
