"""Two pictures of one scene, the second with one to three things taken away, moved, or of another colour or shape."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import Box, Canvas
from vlmctl.cases.pictures import NUMBER_ONLY, ONE_WORD, Ask, Picture, Studio, choice, number, text
from vlmctl.cases.scenes import BACKGROUNDS, HEIGHT, WIDTH, different_things, draw_things, places
from vlmctl.cases.shapes import COLOURS, SHAPES, Thing, with_article
from vlmctl.compare.cases import Expected, Metric

MOST_CHANGES = 3
SHARE = 0.8  # of the room in a cell: all of one size, so that what moves only moves
GONE, RECOLOURED, RESHAPED, MOVED = "gone", "recoloured", "reshaped", "moved"


class Change(NamedTuple):
    """What became of a thing; `after` is None where it is gone."""

    how: str
    before: Thing
    after: Thing | None


def draw(studio: Studio, rng: Random) -> Picture:
    """Two pictures, and what is different in the second."""
    count = rng.randint(6, 10)
    *boxes, spare = places(rng, count + 1, columns=5, rows=4, shares=(SHARE, SHARE))
    things = different_things(rng, boxes)
    changes = _changes(things, spare, rng)
    changed = {change.before: change.after for change in changes}
    later = [after for thing in things if (after := changed.get(thing, thing)) is not None]
    background = rng.choice(BACKGROUNDS)
    first, second = (studio.canvas(WIDTH, HEIGHT, background) for _ in range(2))
    draw_things(first, things)
    draw_things(second, later)
    untouched = [thing for thing in things if thing not in changed]
    return Picture((first, second), tuple(_asks(changes, untouched, first, second, rng)))


def _changes(things: Sequence[Thing], spare: Box, rng: Random) -> list[Change]:
    """Changes of different kinds to different things, none of which makes two things alike."""
    taken = {(thing.shape, thing.colour) for thing in things}
    changes: list[Change] = []
    hows = rng.sample((GONE, RECOLOURED, RESHAPED, MOVED), rng.randint(1, MOST_CHANGES))
    for how, thing in zip(hows, rng.sample(list(things), len(hows)), strict=True):
        after: Thing | None = None
        if how == MOVED:
            after = thing._replace(box=spare)
        elif how == RECOLOURED:
            free = [colour for colour in sorted(COLOURS) if (thing.shape, colour) not in taken]
            after = thing._replace(colour=rng.choice(free)) if free else None
        elif how == RESHAPED:
            free = [shape for shape in sorted(SHAPES) if (shape, thing.colour) not in taken]
            after = thing._replace(shape=rng.choice(free)) if free else None
        if after is not None:
            taken.add((after.shape, after.colour))
        changes.append(Change(how if after is not None else GONE, thing, after))
    return changes


def _asks(
    changes: Sequence[Change], untouched: Sequence[Thing], before: Canvas, after: Canvas, rng: Random
) -> list[Ask]:
    one = rng.choice(list(changes))
    told = "Which is true of the second picture, compared with the first?"
    how_many = f"How many objects of the first picture are gone, moved, or changed in the second? {NUMBER_ONLY}"
    asks = [
        choice("change", told, _sentence(one), _false_sentences(untouched, rng), rng),
        Ask("count", how_many, Metric.NUMERIC, number(len(changes))),
    ]
    for change in changes:
        asks += _about(change, before, after)
    return asks


def _about(change: Change, before: Canvas, after: Canvas) -> list[Ask]:
    first, second = change.before, change.after
    if second is None:
        box = Expected(box=before.pixels(first.box), image=0)
        where = "Where in the first picture is the object that the second lacks? Give its bounding box."
        missing = f"Which object of the first picture is missing in the second? {ONE_WORD}"
        return [Ask("where", where, Metric.IOU, box), Ask("missing", missing, Metric.CONTAINS, text(first.shape))]
    if change.how == RECOLOURED:
        question = f"The {first} of the first picture has another colour in the second: which? {ONE_WORD}"
        return [Ask("colour", question, Metric.EXACT, text(second.colour))]
    if change.how == RESHAPED:
        question = f"What does the second picture show where the first has the {first}? {ONE_WORD}"
        return [Ask("shape", question, Metric.CONTAINS, text(second.shape))]
    box = Expected(box=after.pixels(second.box), image=1)
    question = f"The {first} is in another place in the second picture: where? Give its bounding box there."
    return [Ask("moved", question, Metric.IOU, box)]


def _sentence(change: Change) -> str:
    if change.after is None:
        return f"the {change.before} is gone"
    if change.how == MOVED:
        return f"the {change.before} is in another place"
    return f"the {change.before} has become {with_article(str(change.after))}"


def _false_sentences(untouched: Sequence[Thing], rng: Random) -> list[str]:
    """Three changes to things that stay as they are."""
    one, other, third = rng.sample(list(untouched), 3)
    colour = rng.choice([colour for colour in sorted(COLOURS) if colour != third.colour])
    return [
        f"the {one} is gone",
        f"the {other} is in another place",
        f"the {third} has become {with_article(str(third._replace(colour=colour)))}",
    ]
