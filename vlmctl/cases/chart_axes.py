"""What charts share: a plot area with a titled scale, grid lines, names below, a legend, and named colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vlmctl.cases.canvas import BLACK, Box, Canvas, Colour
from vlmctl.cases.fonts import Face

WIDTH, HEIGHT = 1000.0, 750.0
PLOT = Box(120, 130, 950, 600)
AXIS: Colour = (70, 72, 78)
GRID: Colour = (220, 222, 228)
TICK_SIZE = 21.0
TITLE_SIZE = 34.0
LEGEND_TOP = 695.0
LEGEND_SWATCH = 22.0
TICKS = 5  # steps of the scale, as many as a reader takes in
# Names that people and models agree on.
SERIES_COLOURS: Mapping[str, Colour] = {
    "blue": (38, 98, 200),
    "orange": (240, 130, 20),
    "green": (34, 150, 70),
    "red": (208, 36, 44),
    "purple": (126, 58, 170),
    "brown": (130, 82, 46),
}


class Scale(NamedTuple):
    """The scale at the left: from 0 in equal steps."""

    step: int

    @property
    def top(self) -> int:
        """The largest value that is marked."""
        return self.step * TICKS

    def y(self, value: float) -> float:
        """Where a value lies."""
        return PLOT.bottom - (PLOT.bottom - PLOT.top) * value / self.top


def draw_axes(canvas: Canvas, scale: Scale, *, title: str, unit: str) -> None:
    """Title, what is measured, grid lines with their values, and the two axes."""
    size = canvas.fitting(title, TITLE_SIZE, WIDTH - 120, Face.BOLD)
    canvas.text((60, 62), title, size, face=Face.BOLD)
    canvas.text((60, 100), unit, 22, fill=AXIS)
    for tick in range(TICKS + 1):
        value = tick * scale.step
        y = scale.y(value)
        canvas.line([(PLOT.left, y), (PLOT.right, y)], fill=GRID if tick else AXIS, width=1.5)
        canvas.text((PLOT.left - 12, y), str(value), TICK_SIZE, fill=AXIS, anchor="rm")
    canvas.line([(PLOT.left, PLOT.top), (PLOT.left, PLOT.bottom)], fill=AXIS, width=1.5)


def draw_names(canvas: Canvas, names: Sequence[str], centres: Sequence[float]) -> None:
    """Names below the plot, as large as the longest allows."""
    room = (PLOT.right - PLOT.left) / len(names) - 10
    size = min(canvas.fitting(name, TICK_SIZE, room) for name in names)
    for name, centre in zip(names, centres, strict=True):
        canvas.text((centre, PLOT.bottom + 34), name, size, anchor="ms")


def draw_legend(canvas: Canvas, names: Mapping[str, Colour]) -> None:
    """Swatches with their names, in one line in the middle."""
    widths = [LEGEND_SWATCH + 10 + canvas.width_of(name, TICK_SIZE) + 44 for name in names]
    left = (WIDTH - sum(widths) + 44) / 2
    for (name, colour), width in zip(names.items(), widths, strict=True):
        swatch = Box(left, LEGEND_TOP - LEGEND_SWATCH, left + LEGEND_SWATCH, LEGEND_TOP)
        canvas.rectangle(swatch, fill=colour)
        canvas.text((left + LEGEND_SWATCH + 10, LEGEND_TOP - 3), name, TICK_SIZE, fill=BLACK)
        left += width
