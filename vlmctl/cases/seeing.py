"""Scenes to see rather than to read: counting, colours, where things are, what is not there, boxes around things."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from vlmctl.cases.canvas import Canvas
from vlmctl.cases.pictures import NUMBER_ONLY, ONE_WORD, YES_OR_NO, Ask, Picture, Studio, choice, number, text
from vlmctl.cases.scenes import HEIGHT, WIDTH, different_things, distinct_things, draw_things, empty_scene, places
from vlmctl.cases.shapes import COLOURS, SHAPES, Thing, plural, with_article
from vlmctl.compare.cases import Expected, Metric

CLEARLY = 0.12  # of the picture's side: nearer than this, two things are neither left nor right of each other
NONE_THERE = "there is none"


def counting(studio: Studio, rng: Random) -> Picture:
    """Five to eighteen things of two or three shapes and colours."""
    shapes, colours = rng.sample(sorted(SHAPES), rng.randint(2, 3)), rng.sample(sorted(COLOURS), rng.randint(2, 3))
    boxes = places(rng, rng.randint(5, 18))
    things = [Thing(rng.choice(shapes), rng.choice(colours), box) for box in boxes]
    canvas = empty_scene(studio, rng)
    draw_things(canvas, things)
    one = rng.choice(things)
    of_shape = sum(thing.shape == one.shape for thing in things)
    of_colour = sum(thing.colour == one.colour for thing in things)
    of_both = sum(str(thing) == str(one) for thing in things)
    both = f"How many {one.colour} {plural(one.shape)} are there? {NUMBER_ONLY}"
    asks = (
        Ask("shape", _how_many(plural(one.shape)), Metric.NUMERIC, number(of_shape)),
        Ask("all", _how_many("objects"), Metric.NUMERIC, number(len(things))),
        Ask("colour", _how_many(f"{one.colour} objects"), Metric.NUMERIC, number(of_colour)),
        Ask("both", both, Metric.NUMERIC, number(of_both)),
    )
    return Picture((canvas,), asks)


def colours(studio: Studio, rng: Random) -> Picture:
    """Four to eight things of different shapes, at least two of one colour."""
    things = distinct_things(rng, places(rng, rng.randint(4, 8), columns=4, rows=3))
    first, second, *rest = things
    things = [first, second._replace(colour=first.colour), *rest]
    canvas = empty_scene(studio, rng)
    draw_things(canvas, things)
    one = rng.choice(things)
    of_colour = [thing for thing in things if thing.colour == first.colour]
    others = [thing for thing in things if thing.colour != first.colour]
    asks = [
        Ask("of", f"What colour is the {one.shape}? {ONE_WORD}", Metric.EXACT, text(one.colour)),
        Ask("count", _how_many(f"{first.colour} objects"), Metric.NUMERIC, number(len(of_colour))),
        Ask(
            "different",
            f"How many different colours do the objects have? {NUMBER_ONLY}",
            Metric.NUMERIC,
            number(len({thing.colour for thing in things})),
        ),
    ]
    single = [thing for thing in others if sum(each.colour == thing.colour for each in things) == 1]
    if single:
        asks.insert(1, _which_is(rng.choice(single)))
    if len(of_colour) == 2 and len(others) >= 2:
        wrong = [thing.shape for thing in rng.sample(others, min(3, len(others)))]
        asks.append(choice("same", f"Which object has the same colour as the {first.shape}?", second.shape, wrong, rng))
    return Picture((canvas,), tuple(asks))


def spatial(studio: Studio, rng: Random) -> Picture:
    """Four to seven things of different shapes, and where they are."""
    things = distinct_things(rng, places(rng, rng.randint(4, 7), columns=4, rows=3))
    canvas = empty_scene(studio, rng)
    draw_things(canvas, things)
    asks = [*_beside(things, rng), *_outermost(things, rng), *_nearest(things, rng)]
    return Picture((canvas,), tuple(asks))


def absent(studio: Studio, rng: Random) -> Picture:
    """Four to seven things, and questions about some that are there and some that are not, as many yes as no."""
    things = distinct_things(rng, places(rng, rng.randint(4, 7), columns=4, rows=3))
    canvas = empty_scene(studio, rng)
    draw_things(canvas, things)
    missing, other_missing = rng.sample(sorted(set(SHAPES) - {thing.shape for thing in things}), 2)
    one, other = rng.sample(things, 2)
    unused = sorted(set(COLOURS) - {one.colour})
    wrong_colour = rng.choice(sorted({thing.colour for thing in things} & set(unused)) or unused)
    guesses = rng.sample(sorted(COLOURS), 3)
    asks = (
        _is_there("absent", missing, there=False),
        _is_there("present", one.shape, there=True),
        Ask("none", _how_many(plural(other_missing)), Metric.NUMERIC, number(0)),
        choice("premise", f"What colour is the {other_missing}?", NONE_THERE, guesses, rng),
        _is_there("other-colour", f"{wrong_colour} {one.shape}", there=False),
        _is_there("same-colour", str(other), there=True),
        choice("honest", f"What colour is the {other.shape}?", other.colour, _wrong_colours(other, rng), rng),
    )
    return Picture((canvas,), asks)


def grounding(studio: Studio, rng: Random) -> Picture:
    """Four to nine things, each the only one of its shape and colour, to be boxed or pointed at."""
    things = different_things(rng, places(rng, rng.randint(4, 9), columns=5, rows=4))
    canvas = empty_scene(studio, rng)
    draw_things(canvas, things)
    first, second, third, fourth = rng.sample(things, 4)
    return Picture(
        (canvas,),
        (
            _box_of(canvas, "box", first),
            _point_at(canvas, "point", second),
            _box_of(canvas, "other-box", third),
            _point_at(canvas, "other-point", fourth),
        ),
    )


def _how_many(what: str) -> str:
    return f"How many {what} are there in this picture? {NUMBER_ONLY}"


def _which_is(thing: Thing) -> Ask:
    return Ask("which", f"Which object is {thing.colour}? {ONE_WORD}", Metric.EXACT, text(thing.shape))


def _is_there(key: str, what: str, *, there: bool) -> Ask:
    question = f"Is there {with_article(what)} in this picture? {YES_OR_NO}"
    return Ask(key, question, Metric.EXACT, text("yes" if there else "no"))


def _wrong_colours(thing: Thing, rng: Random) -> list[str]:
    return [*rng.sample(sorted(set(COLOURS) - {thing.colour}), 2), NONE_THERE]


def _box_of(canvas: Canvas, key: str, thing: Thing) -> Ask:
    question = f"Where is the {thing}? Give its bounding box."
    return Ask(key, question, Metric.IOU, Expected(box=canvas.pixels(thing.box)))


def _point_at(canvas: Canvas, key: str, thing: Thing) -> Ask:
    return Ask(key, f"Point at the {thing}.", Metric.POINT_IN_BOX, Expected(box=canvas.pixels(thing.box)))


def _beside(things: Sequence[Thing], rng: Random) -> list[Ask]:
    """For one pair each: left or right, above or below, where that is plain to see."""
    pairs = [(one, other) for one in things for other in things if one is not other]
    rng.shuffle(pairs)
    asks: list[Ask] = []
    for key, axis, room, before, after in (
        ("across", 0, WIDTH, "left of", "right of"),
        ("upright", 1, HEIGHT, "above", "below"),
    ):
        for one, other in pairs:
            offset = one.box.centre[axis] - other.box.centre[axis]
            if abs(offset) < CLEARLY * room:
                continue
            right, wrong = (before, after) if offset < 0 else (after, before)
            between = "left or right of" if axis == 0 else "above or below"
            question = f"Is the {one.shape} {between} the {other.shape}?"
            asks.append(choice(key, question, right, [wrong], rng))
            break
    return asks


def _outermost(things: Sequence[Thing], rng: Random) -> list[Ask]:
    """What is furthest to one side, where nothing else comes near."""
    asks: list[Ask] = []
    sides = [("furthest left", 0, 1), ("furthest right", 0, -1), ("furthest up", 1, 1), ("furthest down", 1, -1)]
    rng.shuffle(sides)
    for words, axis, sign in sides:
        first, second, *_ = sorted(things, key=lambda thing: sign * thing.box.centre[axis])
        if abs(first.box.centre[axis] - second.box.centre[axis]) >= CLEARLY * (WIDTH, HEIGHT)[axis]:
            question = f"Which object is {words}? {ONE_WORD}"
            asks.append(Ask(words.split()[-1], question, Metric.EXACT, text(first.shape)))
    return asks[:2]


def _nearest(things: Sequence[Thing], rng: Random) -> list[Ask]:
    """What lies next to a thing, where the second nearest is clearly further."""
    for one in rng.sample(things, len(things)):
        others = sorted((_distance(one, other), other.shape) for other in things if other is not one)
        if others[1][0] - others[0][0] >= CLEARLY * WIDTH:
            question = f"Which object is nearest to the {one.shape}?"
            return [choice("nearest", question, others[0][1], [shape for _, shape in others[1:4]], rng)]
    return []


def _distance(one: Thing, other: Thing) -> float:
    (x0, y0), (x1, y1) = one.box.centre, other.box.centre
    return float(((x0 - x1) ** 2 + (y0 - y1) ** 2) ** 0.5)
