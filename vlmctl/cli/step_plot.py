"""A policy over time as an SVG of three panels: requests per second, replicas paid and ready, requests waiting."""

from __future__ import annotations

from collections.abc import Sequence

from vlmctl.planning.outcomes import Outcome
from vlmctl.units import show_seconds

WIDTH, HEIGHT = 960, 130  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 30, 20  # margins around its lines, in pixels
DARK, LIGHT = "#1f4e79", "#e08214"  # told apart by people who see no red or green, and in grey

Line = tuple[str, str, Sequence[float]]


def svg(outcome: Outcome, duration_seconds: float) -> str:
    """The drawing, which needs nothing but a browser."""
    points = outcome.timeline
    panels: list[tuple[str, list[Line]]] = [
        ("requests/s", [("arriving", DARK, [point.requests_per_second for point in points])]),
        (
            "replicas",
            [
                ("paid", LIGHT, [point.replicas for point in points]),
                ("ready", DARK, [point.ready for point in points]),
            ],
        ),
        ("requests", [("waiting", DARK, [float(point.waiting) for point in points])]),
    ]
    parts = [_panel(title, lines, top=number * HEIGHT) for number, (title, lines) in enumerate(panels)]
    height = len(panels) * HEIGHT + BOTTOM
    end = f'<text x="{WIDTH - RIGHT}" y="{height - 8}" text-anchor="end">{show_seconds(duration_seconds)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12">\n<title>{outcome.name}</title>\n<rect width="100%" height="100%" fill="white"/>\n'
        f'{"".join(parts)}<text x="{LEFT}" y="{height - 8}">0</text>{end}\n</svg>\n'
    )


def _panel(title: str, lines: Sequence[Line], *, top: int) -> str:
    """One panel with its scale: 0 at the bottom, the highest value at the top."""
    highest = max(max(values) for _, _, values in lines)
    base, right = top + HEIGHT - BOTTOM, WIDTH - RIGHT
    drawn = [
        f'<path d="M{LEFT} {top + TOP}V{base}H{right}" fill="none" stroke="#888"/>\n',
        f'<text x="{LEFT}" y="{top + TOP - 10}">{title}</text>\n',
        f'<text x="{LEFT - 6}" y="{top + TOP + 4}" text-anchor="end">{highest:,.3g}</text>\n',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>\n',
    ]
    for number, (name, colour, values) in enumerate(lines):
        drawn.append(f'<path d="{_steps(values, highest, top + TOP, base)}" fill="none" stroke="{colour}"/>\n')
        place = f'x="{right - 80 * number}" y="{top + TOP - 10}" text-anchor="end"'
        drawn.append(f'<text {place} fill="{colour}">{name}</text>\n')
    return "".join(drawn)


def _steps(values: Sequence[float], highest: float, top: int, base: int) -> str:
    """A step line: each value holds for its stretch."""
    width = (WIDTH - RIGHT - LEFT) / len(values)
    heights = [base - (base - top) * value / highest if highest else base for value in values]
    moves = [f"V{height:.1f}H{LEFT + width * (number + 1):.1f}" for number, height in enumerate(heights)]
    return f"M{LEFT} {base}{''.join(moves)}"
