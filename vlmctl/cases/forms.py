"""Printed forms filled in by hand: boxes for text, ticked choices, a signature."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import BLACK, Box, Canvas, Colour
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import AS_PRINTED, NAME_ONLY, Ask, Picture, Studio, choice, text
from vlmctl.cases.vocabulary import CITIES, digits, person, street
from vlmctl.compare.cases import Expected, Metric

WIDTH, HEIGHT = 750.0, 1000.0
LEFT, RIGHT = 60.0, 690.0
PAPER: Colour = (252, 252, 250)
RULE: Colour = (150, 156, 166)
LABEL: Colour = (84, 90, 102)
INKS: tuple[Colour, ...] = ((24, 44, 128), (22, 22, 60), (30, 30, 34))
HAND_SIZE = 25.0
FIELD_HEIGHT = 46.0
LABEL_SIZE = 16.0
TICK_BOX = 20.0
DOMAINS = ("example.org", "example.net", "example.com")
TITLES = ("Membership application", "Library card request", "Parking permit request", "Course registration")
CHOICES = (
    ("Delivery", ("Post", "Pick-up", "Courier")),
    ("Pays by", ("Invoice", "Card", "Bank transfer")),
    ("Contact by", ("Telephone", "E-mail", "Letter")),
)


class Form(NamedTuple):
    """A title, written fields by label, and the ticked choice of each question."""

    title: str
    fields: dict[str, str]
    ticked: dict[str, str]


def imagine(rng: Random) -> Form:
    """A form of seven fields and two or three choices."""
    name = person(rng)
    given, family = name.lower().split()
    fields = {
        "Full name": name,
        "Date of birth": f"{rng.randint(1, 28):02d}/{rng.randint(1, 12):02d}/{rng.randint(1950, 2004)}",
        "Member number": digits(rng, 7),
        "Street": street(rng),
        "City": rng.choice(CITIES),
        "Telephone": f"555 {digits(rng, 3)} {digits(rng, 4)}",
        "E-mail": f"{given}.{family}@{rng.choice(DOMAINS)}",
    }
    ticked = {question: rng.choice(options) for question, options in rng.sample(CHOICES, rng.randint(2, 3))}
    return Form(rng.choice(TITLES), fields, ticked)


def draw(studio: Studio, rng: Random) -> Picture:
    """A filled form, and questions about what was written and ticked."""
    form = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT, PAPER)
    ink = rng.choice(INKS)
    canvas.text((LEFT, 84), form.title, canvas.fitting(form.title, 38, RIGHT - LEFT, Face.BOLD), face=Face.BOLD)
    canvas.text((LEFT, 116), "Please write clearly and leave no field empty.", 17, fill=LABEL)
    top = _fields(canvas, form, rng, ink)
    top = _choices(canvas, form, top, rng, ink)
    signature = _signature(canvas, form, top, rng, ink)
    return Picture((canvas,), _asks(form, canvas.pixels(signature), rng))


def _fields(canvas: Canvas, form: Form, rng: Random, ink: Colour) -> float:
    top = 142.0
    names = list(form.fields)
    rows = ((names[0],), (names[1], names[2]), (names[3],), (names[4], names[5]), (names[6],))
    for row in rows:
        width = (RIGHT - LEFT - 20 * (len(row) - 1)) / len(row)
        for index, name in enumerate(row):
            left = LEFT + index * (width + 20)
            canvas.text((left, top + LABEL_SIZE), name, LABEL_SIZE, fill=LABEL)
            box = Box(left, top + 24, left + width, top + 24 + FIELD_HEIGHT)
            canvas.rectangle(box, outline=RULE, width=1.5)
            value = form.fields[name]
            # Hand-written letters stand further apart than printed ones.
            size = canvas.fitting(value, HAND_SIZE, (width - 28) * 0.93, Face.HAND)
            canvas.hand((left + 14, box.bottom - 15), value, size, rng, fill=ink)
        top += 24 + FIELD_HEIGHT + 18
    return top + 8


def _choices(canvas: Canvas, form: Form, top: float, rng: Random, ink: Colour) -> float:
    options = dict(CHOICES)
    for question, ticked in form.ticked.items():
        canvas.text((LEFT, top + 17), question, 18, face=Face.BOLD)
        left = LEFT + 140
        for option in options[question]:
            box = Box(left, top, left + TICK_BOX, top + TICK_BOX)
            canvas.rectangle(box, outline=BLACK, width=1.5)
            if option == ticked:
                _cross(canvas, box, rng, ink)
            canvas.text((box.right + 9, top + 17), option, 18)
            left += 162
        top += 50
    return top


def _cross(canvas: Canvas, box: Box, rng: Random, ink: Colour) -> None:
    slack = [rng.uniform(-2.5, 2.5) for _ in range(4)]
    canvas.line([(box.left - 2 + slack[0], box.top - 3), (box.right + 2 + slack[1], box.bottom + 2)], fill=ink, width=3)
    canvas.line([(box.right + 3 + slack[2], box.top - 2), (box.left - 1 + slack[3], box.bottom + 3)], fill=ink, width=3)


def _signature(canvas: Canvas, form: Form, top: float, rng: Random, ink: Colour) -> Box:
    """The name and a flourish below it; returns the box of the ink."""
    bottom = min(top + 110, HEIGHT - 62)
    canvas.line([(LEFT, bottom), (LEFT + 330, bottom)], fill=RULE, width=1.5)
    canvas.text((LEFT, bottom + 24), "Signature", LABEL_SIZE, fill=LABEL)
    name = form.fields["Full name"]
    size = canvas.fitting(name, 38, 280, Face.HAND)
    left = LEFT + rng.uniform(6, 22)
    written = canvas.hand((left, bottom - 18), name, size, rng, fill=ink)
    stroke = 2.0
    flourish = [(written.left + 12, bottom - 5), (written.centre[0], bottom - 9), (written.right - 4, bottom - 6)]
    canvas.line(flourish, fill=ink, width=stroke)
    return Box(written.left, written.top, written.right, bottom - 5 + stroke)


def _asks(form: Form, signature: tuple[float, float, float, float], rng: Random) -> tuple[Ask, ...]:
    fields = form.fields
    question, ticked = rng.choice(sorted(form.ticked.items()))
    others = [option for option in dict(CHOICES)[question] if option != ticked]
    keys = {
        "full_name": fields["Full name"],
        "date_of_birth": fields["Date of birth"],
        "member_number": fields["Member number"],
        "city": fields["City"],
        "email": fields["E-mail"],
    }
    listing = f"Give what is written in this form as one JSON object with the keys {', '.join(keys)}, all as text."
    return (
        Ask("name", f"What is written under full name? {AS_PRINTED}", Metric.ANLS, text(fields["Full name"])),
        choice("ticked", f"Which choice is ticked for {question!r}?", ticked, others, rng),
        Ask("fields", listing, Metric.JSON_FIELDS, Expected(fields=keys)),
        Ask("member", f"What is the member number? {AS_PRINTED}", Metric.EXACT, text(fields["Member number"])),
        Ask("city", f"Which city is given? {NAME_ONLY}", Metric.EXACT, text(fields["City"])),
        Ask("signature", "Where is the signature? Give its bounding box.", Metric.IOU, Expected(box=signature)),
        Ask("birth", f"What is the date of birth? {AS_PRINTED}", Metric.EXACT, text(fields["Date of birth"])),
        Ask("email", f"What is the e-mail address? {AS_PRINTED}", Metric.ANLS, text(fields["E-mail"])),
    )
