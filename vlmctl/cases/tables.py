"""Tables of numbers with a title, ruled or banded: looking up, comparing and adding cells."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import BLACK, Box, Canvas, Colour
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import NAME_ONLY, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import CITIES, MEASURES, MONTHS, PRODUCTS
from vlmctl.compare.cases import Metric

WIDTH, HEIGHT = 1000.0, 750.0
MARGIN = 60.0
TITLE_BASELINE = 78.0
TABLE_TOP = 112.0
ROW_NAMES_WIDTH = 220.0
BOTTOM = HEIGHT - 40.0
GRID: Colour = (176, 180, 188)
BAND: Colour = (240, 243, 248)
HEADS: tuple[Colour, ...] = ((44, 62, 92), (40, 84, 74), (96, 52, 64), (70, 70, 74))
LARGEST_TEXT = 27.0


class Numbers(NamedTuple):
    """A table: names of rows and columns, and whole numbers; those of a column differ."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]

    def column(self, index: int) -> tuple[int, ...]:
        """The numbers of a column, from above."""
        return tuple(row[index] for row in self.cells)


def imagine(rng: Random) -> Numbers:
    """Five to nine rows by three to five months."""
    rows = tuple(rng.sample(rng.choice((CITIES, PRODUCTS)), rng.randint(5, 8)))
    first = rng.randrange(len(MONTHS) - 5)
    columns = MONTHS[first : first + rng.randint(3, 5)]
    by_column = [rng.sample(range(104, 1990), len(rows)) for _ in columns]
    cells = tuple(zip(*by_column, strict=True))
    return Numbers(f"{rng.choice(MEASURES)}, {rng.randint(2019, 2026)}", rows, columns, cells)


def draw(studio: Studio, rng: Random) -> Picture:
    """A table, and questions about its cells."""
    table = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT)
    canvas.text((MARGIN, TITLE_BASELINE), table.title, 36, face=Face.BOLD)
    _grid(canvas, table, rng)
    return Picture((canvas,), _asks(table, rng))


def _grid(canvas: Canvas, table: Numbers, rng: Random) -> None:
    head, ruled = rng.choice(HEADS), rng.random() < 0.5
    row_height = (BOTTOM - TABLE_TOP) / (len(table.rows) + 1)
    column_width = (WIDTH - 2 * MARGIN - ROW_NAMES_WIDTH) / len(table.columns)
    size = min(LARGEST_TEXT, row_height * 0.45)
    rights = [MARGIN + ROW_NAMES_WIDTH + (index + 1) * column_width for index in range(len(table.columns))]
    body = ((name, *map(str, cells)) for name, cells in zip(table.rows, table.cells, strict=True))
    lines = [("", *table.columns), *body]
    for index, (name, *cells) in enumerate(lines):
        top = TABLE_TOP + index * row_height
        row = Box(MARGIN, top, WIDTH - MARGIN, top + row_height)
        if index == 0 or (index % 2 == 0 and not ruled):
            canvas.rectangle(row, fill=head if index == 0 else BAND)
        baseline = top + row_height / 2 + size * 0.36
        colour, face = ((255, 255, 255), Face.BOLD) if index == 0 else (BLACK, Face.SANS)
        if name:
            canvas.text((MARGIN + 16, baseline), name, size, face=face, fill=colour)
        for right, cell in zip(rights, cells, strict=True):
            canvas.text((right - 18, baseline), cell, size, face=face, fill=colour, anchor="rs")
        canvas.line([(MARGIN, row.bottom), (WIDTH - MARGIN, row.bottom)], fill=GRID, width=1.2)
    if ruled:
        for left in (MARGIN, MARGIN + ROW_NAMES_WIDTH, *rights):
            canvas.line([(left, TABLE_TOP), (left, BOTTOM)], fill=GRID, width=1.2)


def _asks(table: Numbers, rng: Random) -> tuple[Ask, ...]:
    row, column = rng.randrange(len(table.rows)), rng.randrange(len(table.columns))
    numbers = table.column(column)
    month = table.columns[column]
    one, other = rng.sample(range(len(table.rows)), 2)
    limit = sorted(numbers)[len(numbers) // 2] - 1
    above = sum(each > limit for each in numbers)
    most, least = table.rows[numbers.index(max(numbers))], table.rows[numbers.index(min(numbers))]
    sum_question = f"What do {table.rows[one]} and {table.rows[other]} add up to in {month}? {NUMBER_ONLY}"
    return (
        Ask(
            "cell",
            f"What number does the table give for {table.rows[row]} in {month}? {NUMBER_ONLY}",
            Metric.NUMERIC,
            number(table.cells[row][column]),
        ),
        Ask("most", f"Which row has the largest number in {month}? {NAME_ONLY}", Metric.EXACT, text(most)),
        Ask("sum", sum_question, Metric.NUMERIC, number(numbers[one] + numbers[other])),
        Ask("least", f"Which row has the smallest number in {month}? {NAME_ONLY}", Metric.EXACT, text(least)),
        Ask("above", f"How many rows have more than {limit} in {month}? {NUMBER_ONLY}", Metric.NUMERIC, number(above)),
        Ask("rows", f"How many rows follow the header? {NUMBER_ONLY}", Metric.NUMERIC, number(len(table.rows))),
    )
