"""Till receipts on a desk, whose lines add up: quantities, subtotal, tax, total, cash and change."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import BLACK, Box, Canvas, Colour
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import AS_PRINTED, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import CITIES, GIVEN_NAMES, GOODS, SHOPS, digits, street
from vlmctl.compare.cases import Expected, Metric

WIDTH, HEIGHT = 640.0, 1000.0
PAPER_LEFT, PAPER_RIGHT = 70.0, 570.0
LEFT, RIGHT = PAPER_LEFT + 34, PAPER_RIGHT - 34
HEAD, FOOT = 190.0, 96.0  # height of what stands above the lines and below the sums
PAPER_COLOUR: Colour = (250, 249, 245)
FAINT: Colour = (120, 120, 124)
TEXT_SIZE = 19.0
LINE = 29.0
PRICE_EACH = 0.8  # lines that the price of one takes, where several were bought
TOTAL = "TOTAL"
TAX_PERCENTS = (5, 7, 8, 10, 19, 20)
CENTS_IN_DOLLAR = 100
NOTES_CENTS = (500, 1000, 2000)
DESKS: tuple[Colour, ...] = ((121, 94, 72), (92, 99, 108), (150, 122, 92), (70, 84, 80))


class Bought(NamedTuple):
    """A line of a receipt; prices in cents."""

    name: str
    quantity: int
    unit_cents: int

    @property
    def cents(self) -> int:
        """The price of the line."""
        return self.quantity * self.unit_cents


class Receipt(NamedTuple):
    """What a receipt says. Tax is on top of the subtotal, rounded half up to the cent."""

    shop: str
    address: tuple[str, str]
    date: str
    time: str
    cashier: str
    number: str
    lines: tuple[Bought, ...]
    tax_percent: int
    cash_cents: int

    @property
    def subtotal_cents(self) -> int:
        """The sum of the lines."""
        return sum(line.cents for line in self.lines)

    @property
    def tax_cents(self) -> int:
        """The tax on the subtotal."""
        return (self.subtotal_cents * self.tax_percent + 50) // 100

    @property
    def total_cents(self) -> int:
        """Subtotal and tax."""
        return self.subtotal_cents + self.tax_cents


def imagine(rng: Random) -> Receipt:
    """A receipt with four to eight different goods, paid in cash."""
    names = rng.sample(sorted(GOODS), rng.randint(4, 8))
    lines = tuple(Bought(name, rng.choice((1, 1, 1, 2, 2, 3)), rng.randint(*GOODS[name])) for name in names)
    draft = Receipt(
        shop=rng.choice(SHOPS),
        address=(street(rng), f"{rng.choice(CITIES)} {digits(rng, 5)}"),
        date=f"{rng.randint(2021, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        time=f"{rng.randint(8, 20):02d}:{rng.randint(0, 59):02d}",
        cashier=rng.choice(GIVEN_NAMES),
        number=digits(rng, 6),
        lines=lines,
        tax_percent=rng.choice(TAX_PERCENTS),
        cash_cents=0,
    )
    note = rng.choice(NOTES_CENTS)
    return draft._replace(cash_cents=(draft.total_cents // note + 1) * note)


def draw(studio: Studio, rng: Random) -> Picture:
    """A receipt, and questions about its lines, sums and fields."""
    receipt = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT, rng.choice(DESKS))
    paper = _paper(canvas, receipt)
    top = _head(canvas, receipt, paper.top)
    top = _lines(canvas, receipt, top)
    top, total = _sums(canvas, receipt, top)
    _foot(canvas, top, rng)
    return Picture((canvas,), _asks(receipt, canvas.pixels(total), rng))


def _paper(canvas: Canvas, receipt: Receipt) -> Box:
    """Paper as long as the receipt needs, with a torn edge and a shadow, in the middle of the desk."""
    lines = sum(1 + (line.quantity > 1) * PRICE_EACH for line in receipt.lines)
    length = HEAD + lines * LINE + 8 * LINE + FOOT + 40
    top = (HEIGHT - length) / 2
    paper = Box(PAPER_LEFT, top, PAPER_RIGHT, top + length)
    shadow: Colour = (canvas.background[0] * 2 // 3, canvas.background[1] * 2 // 3, canvas.background[2] * 2 // 3)
    canvas.rectangle(Box(paper.left + 8, top + 10, paper.right + 8, paper.bottom + 6), fill=shadow)
    teeth = 40
    step = (paper.right - paper.left) / teeth
    edge = [(paper.right - index * step, paper.bottom - (index % 2) * 8) for index in range(teeth + 1)]
    canvas.polygon([(paper.left, top), (paper.right, top), *edge, (paper.left, paper.bottom)], fill=PAPER_COLOUR)
    return paper


def _head(canvas: Canvas, receipt: Receipt, top: float) -> float:
    middle = (LEFT + RIGHT) / 2
    size = canvas.fitting(receipt.shop, 34, RIGHT - LEFT, Face.BOLD)
    canvas.text((middle, top + 56), receipt.shop, size, face=Face.BOLD, anchor="ms")
    for index, line in enumerate(receipt.address):
        canvas.text((middle, top + 86 + index * 24), line, 17, face=Face.MONO, anchor="ms")
    canvas.text((LEFT, top + 150), f"{receipt.date} {receipt.time}", 17, face=Face.MONO)
    canvas.text((RIGHT, top + 150), f"No. {receipt.number}", 17, face=Face.MONO, anchor="rs")
    canvas.text((LEFT, top + 174), f"Cashier: {receipt.cashier}", 17, face=Face.MONO)
    _rule(canvas, top + HEAD)
    return top + HEAD + LINE


def _lines(canvas: Canvas, receipt: Receipt, top: float) -> float:
    for line in receipt.lines:
        canvas.text((LEFT, top), f"{line.quantity} x {line.name}", TEXT_SIZE, face=Face.MONO)
        canvas.text((RIGHT, top), dollars(line.cents), TEXT_SIZE, face=Face.MONO, anchor="rs")
        if line.quantity > 1:
            top += LINE * PRICE_EACH
            canvas.text((LEFT + 46, top), f"at {dollars(line.unit_cents)} each", 15, face=Face.MONO, fill=FAINT)
        top += LINE
    _rule(canvas, top - LINE * 0.55)
    return top + LINE * 0.35


def _sums(canvas: Canvas, receipt: Receipt, top: float) -> tuple[float, Box]:
    """The sums below each other; returns where the next line goes and the box of the total's amount."""
    rows = (
        ("Subtotal", receipt.subtotal_cents),
        (f"Tax {receipt.tax_percent}%", receipt.tax_cents),
        (TOTAL, receipt.total_cents),
        ("Cash", receipt.cash_cents),
        ("Change", receipt.cash_cents - receipt.total_cents),
    )
    total = canvas.box
    for label, cents in rows:
        large = label == TOTAL
        face, size, extra = (Face.BOLD, 28.0, 14.0) if large else (Face.MONO, TEXT_SIZE, 0.0)
        top += extra
        canvas.text((LEFT, top), label, size, face=face)
        amount = canvas.text((RIGHT, top), dollars(cents), size, face=face, anchor="rs")
        total = amount if large else total
        top += LINE + extra / 2
    return top, total


def _foot(canvas: Canvas, top: float, rng: Random) -> None:
    """Bars as of a bar code, and thanks."""
    left = LEFT + 80
    while left < RIGHT - 80:
        bar = rng.choice((2.0, 3.0, 5.0))
        canvas.rectangle(Box(left, top, left + bar, top + 40), fill=BLACK)
        left += bar + rng.choice((2.0, 3.0, 4.0))
    canvas.text(((LEFT + RIGHT) / 2, top + 66), "Thank you for your visit", 17, face=Face.MONO, anchor="ms")


def _rule(canvas: Canvas, top: float) -> None:
    canvas.line([(LEFT, top), (RIGHT, top)], fill=FAINT, width=1.5, dash=6)


def dollars(cents: int) -> str:
    """``12.05``."""
    return f"{cents // CENTS_IN_DOLLAR}.{cents % CENTS_IN_DOLLAR:02d}"


def _asks(receipt: Receipt, total: tuple[float, float, float, float], rng: Random) -> tuple[Ask, ...]:
    asked = rng.choice(receipt.lines)
    fields = {
        "shop": receipt.shop,
        "date": receipt.date,
        "subtotal": receipt.subtotal_cents / CENTS_IN_DOLLAR,
        "tax": receipt.tax_cents / CENTS_IN_DOLLAR,
        "total": receipt.total_cents / CENTS_IN_DOLLAR,
    }
    listing = (
        "Give shop, date (YYYY-MM-DD), subtotal, tax and total of this receipt as one JSON object with the keys shop, "
        "date, subtotal, tax and total; the last three are numbers."
    )
    goods, change = len(receipt.lines), receipt.cash_cents - receipt.total_cents
    return (
        Ask("total", f"What is the total of this receipt? {NUMBER_ONLY}", Metric.NUMERIC, _money(receipt.total_cents)),
        Ask("fields", listing, Metric.JSON_FIELDS, Expected(fields=fields)),
        Ask(
            "price",
            f"What was paid in all for {asked.name}, before tax? {NUMBER_ONLY}",
            Metric.NUMERIC,
            _money(asked.cents),
        ),
        Ask("shop", f"Which shop gave this receipt? {AS_PRINTED}", Metric.ANLS, text(receipt.shop)),
        Ask("goods", f"How many different goods were bought? {NUMBER_ONLY}", Metric.NUMERIC, number(goods)),
        Ask("change", f"How much change was given? {NUMBER_ONLY}", Metric.NUMERIC, _money(change)),
        Ask("cashier", f"What is the name of the cashier? {AS_PRINTED}", Metric.EXACT, text(receipt.cashier)),
        Ask("where", "Point at the amount of the total.", Metric.POINT_IN_BOX, Expected(box=total)),
    )


def _money(cents: int) -> Expected:
    return number(cents / CENTS_IN_DOLLAR, tolerance=0.001)
