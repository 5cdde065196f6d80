"""Every kind of picture, whatever the seed: readable, and with questions that have one answer."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmctl.cases.canvas import Size
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.kinds import KINDS
from vlmctl.cases.making import draw_picture
from vlmctl.cases.pictures import Kind, Picture, Studio
from vlmctl.compare.cases import Case, Metric, objections

FONTS, BUNDLED = Fonts(), Fonts(system=False)
SMALL = Size(160)  # layout is the same at every size, so the quickest will do
DRAWABLE = [kind for kind in KINDS if not FONTS.missing(kind.face)]
seeds = st.integers(0, 2**32)
each_kind = pytest.mark.parametrize("kind", DRAWABLE, ids=lambda kind: kind.name)


def _drawn(kind: Kind, seed: int, fonts: Fonts = FONTS, size: Size = SMALL) -> Picture:
    return draw_picture(kind, Studio(size, fonts), seed=seed, number=1)


@each_kind
@settings(max_examples=6)
@given(seed=seeds)
def test_text_lies_inside_and_apart(kind: Kind, seed: int) -> None:
    """No text is cut off by the edge of its picture, and no two texts run into each other."""
    for canvas in _drawn(kind, seed).canvases:
        for written in canvas.written:
            assert canvas.box.holds(written.box), written
        for one, other in combinations(canvas.written, 2):
            assert not one.box.overlaps(other.box), (one, other)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not BUNDLED.missing(kind.face)], ids=lambda kind: kind.name)
@settings(max_examples=4)
@given(seed=seeds)
def test_text_fits_in_the_bundled_font_too(kind: Kind, seed: int) -> None:
    """A machine without fonts gets pictures in which nothing is cut off or written over."""
    for canvas in _drawn(kind, seed, BUNDLED).canvases:
        assert all(canvas.box.holds(written.box) for written in canvas.written)
        assert not any(one.box.overlaps(other.box) for one, other in combinations(canvas.written, 2))


@each_kind
@settings(max_examples=6)
@given(seed=seeds)
def test_questions_are_well_formed(kind: Kind, seed: int) -> None:
    """A question is asked once, has an answer that its metric can judge, and boxes lie within their picture."""
    picture = _drawn(kind, seed)
    assert len({ask.key for ask in picture.asks}) == len({ask.question for ask in picture.asks}) == len(picture.asks)
    cases = [
        Case(
            id=ask.key,
            images=("a.png",),
            question=ask.question,
            metric=ask.metric,
            expected=ask.expected,
            options=ask.options,
        )
        for ask in picture.asks
    ]
    assert not list(objections(cases))
    for ask in picture.asks:
        if ask.expected.box is not None:
            image = picture.canvases[ask.expected.image].finished()
            assert ask.expected.box[2] <= image.width
            assert ask.expected.box[3] <= image.height


@each_kind
@settings(max_examples=4)
@given(seed=seeds)
def test_choices_hold_one_right_answer(kind: Kind, seed: int) -> None:
    """A multiple-choice question offers the right option once, among others."""
    for ask in _drawn(kind, seed).asks:
        if ask.metric is Metric.MULTIPLE_CHOICE:
            assert ask.options.count(ask.expected.answers[0]) == 1
            assert len(set(ask.options)) == len(ask.options) >= 2


@each_kind
@settings(max_examples=2)
@given(seed=seeds)
def test_content_is_the_same_at_every_size(kind: Kind, seed: int) -> None:
    """A picture asks and answers the same whatever its pixels, boxes apart, and its text stands where it stood."""
    small, large = _drawn(kind, seed, size=Size(336)), _drawn(kind, seed, size=Size(900, 500))
    for one, other in zip(small.asks, large.asks, strict=True):
        assert one._replace(expected=None) == other._replace(expected=None)  # type: ignore[arg-type]
        assert one.expected.answers == other.expected.answers
        assert one.expected.number == other.expected.number
        assert one.expected.fields == other.expected.fields
    for one_canvas, other_canvas in zip(small.canvases, large.canvases, strict=True):
        for one, other in zip(one_canvas.written, other_canvas.written, strict=True):
            assert one.text == other.text
            assert tuple(one.box) == pytest.approx(tuple(other.box), abs=3)


@each_kind
def test_pictures_fill_the_size_that_was_asked_for(kind: Kind) -> None:
    """The longest side is as asked; with width and height both are, whatever the kind's own shape."""
    for canvas in _drawn(kind, 1, size=Size(300)).canvases:
        assert max(canvas.finished().size) == 300
    for canvas in _drawn(kind, 1, size=Size(400, 120)).canvases:
        assert canvas.finished().size == (400, 120)
