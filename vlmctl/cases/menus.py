"""Menu boards in one script each: prices of dishes, the dearest one, and names to be read out letter by letter."""

from __future__ import annotations

from functools import partial
from random import Random

from vlmctl.cases.canvas import BLACK, Canvas, Colour
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import AS_PRINTED, NUMBER_ONLY, Ask, Draw, Picture, Studio, number, text
from vlmctl.cases.vocabulary import ARABIC_MENU, DEVANAGARI_MENU, JAPANESE_MENU, LATIN_MENU, Menu
from vlmctl.compare.cases import Metric

WIDTH, HEIGHT = 800.0, 1000.0
LEFT, RIGHT = 80.0, 720.0
FIRST_LINE, LAST_LINE = 300.0, 900.0
DOTS: Colour = (150, 140, 120)
PAPERS: tuple[Colour, ...] = ((253, 249, 238), (246, 250, 247), (255, 255, 255))
TITLE_SIZE, DISH_SIZE = 70.0, 40.0
LEAST_DISHES, MOST_DISHES = 5, 7
PRICES = range(105, 990, 5)


def menu(name: Menu, face: Face) -> Draw:
    """The kind of picture that shows a menu in a face."""
    return partial(_draw, name, face)


def _draw(known: Menu, face: Face, studio: Studio, rng: Random) -> Picture:
    chosen = rng.sample(known.dishes, rng.randint(LEAST_DISHES, MOST_DISHES))
    prices = dict(zip(chosen, rng.sample(PRICES, len(chosen)), strict=True))
    canvas = studio.canvas(WIDTH, HEIGHT, rng.choice(PAPERS))
    title_size = canvas.fitting(known.title, TITLE_SIZE, RIGHT - LEFT, face)
    canvas.text((WIDTH / 2, 150), known.title, title_size, face=face, anchor="ms")
    canvas.line([(LEFT, 215), (RIGHT, 215)], fill=BLACK, width=3)
    step = (LAST_LINE - FIRST_LINE) / (len(chosen) - 1)
    for index, (dish, price) in enumerate(prices.items()):
        _line(canvas, FIRST_LINE + index * step, dish, price, face)
    return Picture((canvas,), _asks(known, prices, rng))


def _line(canvas: Canvas, baseline: float, dish: str, price: int, face: Face) -> None:
    """The name at the side where its script begins, the price at the other, dots between."""
    size = canvas.fitting(dish, DISH_SIZE, (RIGHT - LEFT) * 0.68, face)
    if face is Face.ARABIC:
        name = canvas.text((RIGHT, baseline), dish, size, face=face, anchor="rs")
        figure = canvas.text((LEFT, baseline), str(price), DISH_SIZE)
        ends = figure.right + 16, name.left - 16
    else:
        name = canvas.text((LEFT, baseline), dish, size, face=face)
        figure = canvas.text((RIGHT, baseline), str(price), DISH_SIZE, anchor="rs")
        ends = name.right + 16, figure.left - 16
    canvas.line([(ends[0], baseline - 4), (ends[1], baseline - 4)], fill=DOTS, width=3, dash=5)


def _asks(known: Menu, prices: dict[str, int], rng: Random) -> tuple[Ask, ...]:
    dish, other = rng.sample(list(prices), 2)
    dearest, cheapest = max(prices, key=prices.__getitem__), min(prices, key=prices.__getitem__)
    place = rng.randrange(len(prices))
    costs = f"What does {dish} cost on this menu? {NUMBER_ONLY}"
    which = f"Which dish costs {prices[other]}? {AS_PRINTED}"
    return (
        Ask("price", costs, Metric.NUMERIC, number(prices[dish])),
        Ask("dish", which, Metric.ANLS, text(other)),
        Ask("dearest", f"Which dish costs most? {AS_PRINTED}", Metric.ANLS, text(dearest)),
        Ask("title", f"What is the heading of this menu? {AS_PRINTED}", Metric.ANLS, text(known.title)),
        Ask("cheapest", f"Which dish costs least? {AS_PRINTED}", Metric.ANLS, text(cheapest)),
        Ask(
            "place",
            f"Which dish is number {place + 1} from the top? {AS_PRINTED}",
            Metric.ANLS,
            text(list(prices)[place]),
        ),
    )


latin = menu(LATIN_MENU, Face.ACCENTED)
japanese = menu(JAPANESE_MENU, Face.JAPANESE)
arabic = menu(ARABIC_MENU, Face.ARABIC)
devanagari = menu(DEVANAGARI_MENU, Face.DEVANAGARI)
