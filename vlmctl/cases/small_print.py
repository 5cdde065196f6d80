"""Pages of numbered clauses in small type, some of which hold a figure that is said only once."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import LINE_FACTOR, Canvas
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import AS_PRINTED, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import CITIES, digits
from vlmctl.compare.cases import Metric

WIDTH, HEIGHT = 707.0, 1000.0  # the shape of an A4 page
LEFT, RIGHT = 48.0, 659.0
TOP, BOTTOM = 128.0, 962.0
INDENT = 34.0
SIZES = (10.5, 12.0, 13.5)  # 10.5 units of a page of 297 mm is a type of about 9 points
OPENINGS = (
    "Unless agreed otherwise in writing,",
    "Subject to the clauses above,",
    "For the avoidance of doubt,",
    "Where the law so requires,",
    "Notwithstanding earlier correspondence,",
    "In addition,",
)
LETTERS = "ABCDEFGHKLMNPRTUVW"  # of a reference, without those that look like digits
PARTIES = ("the supplier", "the customer", "either party", "the carrier", "the owner of the goods")
DUTIES = (
    "shall keep all records in good order",
    "shall not pass these terms on to others",
    "may ask for proof of identity",
    "shall bear the cost of packing and transport",
    "may inspect the premises during working hours",
    "shall give reasons for a refusal",
    "shall handle personal data with due care",
    "may suspend performance while an invoice is open",
)
ENDINGS = (
    "and shall tell the other side without delay.",
    "provided that nobody is put at a disadvantage.",
    "as far as this can reasonably be expected.",
    "even where the goods were already handed over.",
    "whether or not a reason has been stated.",
    "and no further claim arises from this.",
)


class Fact(NamedTuple):
    """A clause with something to find in it."""

    clause: str
    ask: Ask


def draw(studio: Studio, rng: Random) -> Picture:
    """A page of clauses, and questions about those that hold a fact."""
    canvas = studio.canvas(WIDTH, HEIGHT)
    canvas.text((LEFT, 66), "General terms and conditions", 30, face=Face.BOLD)
    canvas.text((LEFT, 96), f"Version {rng.randint(2, 9)}.{rng.randint(0, 9)}, {rng.choice(CITIES)}", 15)
    facts = _facts(rng)
    size, face = rng.choice(SIZES), rng.choice((Face.SERIF, Face.SANS))
    written = _page(canvas, rng, [fact.clause for fact in facts], size, face)
    asks = [fact.ask for fact in facts]
    count = f"What is the number of the last clause on this page? {NUMBER_ONLY}"
    asks.append(Ask("clauses", count, Metric.NUMERIC, number(written)))
    return Picture((canvas,), tuple(asks))


def _page(canvas: Canvas, rng: Random, facts: Sequence[str], size: float, face: Face) -> int:
    """Fill the page with clauses, the facts somewhere among them; returns the number of clauses."""
    room = BOTTOM - TOP
    line = size * LINE_FACTOR
    clauses = list(facts)
    used = sum(_height(canvas, clause, size, face) for clause in clauses)
    while True:
        filler = " ".join(_sentence(rng) for _ in range(rng.randint(1, 3)))
        used += _height(canvas, filler, size, face)
        if used > room:
            break
        clauses.append(filler)
    rng.shuffle(clauses)
    baseline = TOP + size
    for index, clause in enumerate(clauses, start=1):
        canvas.text((LEFT, baseline), f"{index}.", size, face=face)
        for words in canvas.wrapped(clause, size, RIGHT - LEFT - INDENT, face):
            canvas.text((LEFT + INDENT, baseline), words, size, face=face)
            baseline += line
        baseline += line * 0.4
    return len(clauses)


def _height(canvas: Canvas, clause: str, size: float, face: Face) -> float:
    return (len(canvas.wrapped(clause, size, RIGHT - LEFT - INDENT, face)) + 0.4) * size * LINE_FACTOR


def _sentence(rng: Random) -> str:
    return f"{rng.choice(OPENINGS)} {rng.choice(PARTIES)} {rng.choice(DUTIES)}, {rng.choice(ENDINGS)}"


def _facts(rng: Random) -> tuple[Fact, ...]:
    days, percent, months = rng.randint(11, 89), rng.randint(2, 18), rng.randint(3, 36)
    euros, hours = rng.randint(12, 940) * 5, rng.randint(13, 71)
    city, code = rng.choice(CITIES), f"{rng.choice(LETTERS)}{rng.choice(LETTERS)}-{digits(rng, 5)}"
    return (
        Fact(
            f"The contract may be ended in writing with a notice of {days} days to the end of a month.",
            _figure("notice", "How many days of notice end the contract?", days),
        ),
        Fact(
            f"Any complaint is to be filed under the reference {code}, which must be quoted in full.",
            Ask("code", f"Under which reference are complaints filed? {AS_PRINTED}", Metric.EXACT, text(code)),
        ),
        Fact(
            f"Sums that are overdue bear interest at {percent} percent a year from the first day of delay.",
            _figure("interest", "What interest, in percent a year, do overdue sums bear?", percent),
        ),
        Fact(
            f"The courts of {city} alone shall decide all disputes that arise from this contract.",
            Ask("court", f"The courts of which city decide disputes? {AS_PRINTED}", Metric.ANLS, text(city)),
        ),
        Fact(
            f"Liability for a single event is limited to {euros} euros, whatever its cause.",
            _figure("limit", "To how many euros is liability limited?", euros),
        ),
        Fact(
            f"Claims lapse {months} months after delivery; hidden defects are to be reported within {hours} hours.",
            _figure("report", "Within how many hours must hidden defects be reported?", hours),
        ),
    )


def _figure(key: str, question: str, value: int) -> Ask:
    return Ask(key, f"{question} {NUMBER_ONLY}", Metric.NUMERIC, number(value))
