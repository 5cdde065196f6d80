"""docs/accuracy.svg: predicted against measured throughput of every row, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from docs.generate import _measured

PAGE = "accuracy.svg"
WIDTH, HEIGHT = 640, 600  # pixels
LEFT, TOP, SIDE = 70, 40, 500  # of the square of the axes
BAND = 0.2  # relative distance from the diagonal that the shaded band marks
TEXT_COLOUR, IMAGE_COLOUR = "#4a78b5", "#d1603d"  # told apart also by the colour-blind
DOT, IMAGE_DOT = 3.2, 5.0  # pixels across


def render() -> str:
    """The drawing as SVG."""
    judged = _measured.serving()
    text, images = _points(_measured.text_rows(judged)), _points(_measured.image_rows(judged))
    every = [value for pair in (*text, *images) for value in pair]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    scale = SIDE / (high - low)
    band = math.log10(1 + BAND) * scale
    lower = -math.log10(1 - BAND) * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#333">',
        "<title>Predicted against measured requests per second</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<clipPath id="axes"><rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/></clipPath>',
        f'<g clip-path="url(#axes)">{_diagonal(band, lower)}</g>',
        *_axes(low, high, scale),
        _dots(text, low, scale, TEXT_COLOUR, DOT),
        _dots(images, low, scale, IMAGE_COLOUR, IMAGE_DOT),
        *_legend(len(text), len(images)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _points(rows: Iterable[_measured.Predicted]) -> list[tuple[float, float]]:
    """Measured and predicted requests per second of one replica."""
    found = [(each.row.requests_per_second, each.prediction.requests_per_second) for each in rows]
    return [(measured, predicted) for measured, predicted in found if measured]


def _diagonal(above: float, below: float) -> str:
    right, bottom = LEFT + SIDE, TOP + SIDE
    corners = (
        f"{LEFT},{bottom - above:.1f} {right},{TOP - above:.1f} {right},{TOP + below:.1f} {LEFT},{bottom + below:.1f}"
    )
    return (
        f'<polygon points="{corners}" fill="#e8e8e8"/>'
        f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{TOP}" stroke="#555"/>'
    )


def _axes(low: int, high: int, scale: float) -> list[str]:
    bottom = TOP + SIDE
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>']
    for power in range(low, high + 1):
        step = (power - low) * scale
        label = f"{10.0**power:g}"
        parts += [
            f'<path d="M{LEFT + step:.1f} {bottom}v-6M{LEFT} {bottom - step:.1f}h6" stroke="#999"/>',
            f'<text x="{LEFT + step:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>',
            f'<text x="{LEFT - 8}" y="{bottom - step + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    middle = LEFT + SIDE / 2
    centre = TOP + SIDE / 2
    parts += [
        f'<text x="{middle:.0f}" y="{bottom + 40}" text-anchor="middle">measured, requests/s of a replica</text>',
        f'<text transform="translate(20 {centre:.0f}) rotate(-90)" text-anchor="middle">predicted</text>',
    ]
    return parts


def _dots(points: Iterable[tuple[float, float]], low: int, scale: float, colour: str, size: float) -> str:
    """All dots as one path of lines of no length with round ends, which keeps the file small."""
    places = sorted(
        (round(LEFT + (math.log10(measured) - low) * scale), round(TOP + SIDE - (math.log10(predicted) - low) * scale))
        for measured, predicted in points
    )
    path = "".join(f"M{x} {y}h.1" for x, y in places)
    return (
        f'<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" stroke-opacity="0.6" '
        'fill="none"/>'
    )


def _legend(texts: int, images: int) -> list[str]:
    x, y = LEFT + 16, TOP + 22
    entries = [
        (f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{TEXT_COLOUR}"/>', f"text ({texts} rows)"),
        (f'<circle cx="{x}" cy="{y + 16}" r="4" fill="{IMAGE_COLOUR}"/>', f"with images ({images} rows)"),
        (f'<rect x="{x - 7}" y="{y + 31}" width="14" height="10" fill="#e8e8e8"/>', f"within {BAND:.0%}"),
    ]
    return [
        f'{shape}<text x="{x + 14}" y="{y + 20 * index}">{label}</text>' for index, (shape, label) in enumerate(entries)
    ]
