"""Cases and answers into scores: the right metric on the right expectation, boxes in the right coordinates."""

from __future__ import annotations

from typing import Any

import pytest

from vlmctl import library
from vlmctl.compare.boxes import Frame
from vlmctl.compare.cases import Case, Expected, Metric
from vlmctl.compare.judging import SentImage, expected_text, judge, prompt_of
from vlmctl.specs.model import GroundingConvention

WHOLE = SentImage(1000, 500, 1000, 500, 1)
HALVED = SentImage(500, 250, 1000, 500, 1)  # sent at half the size of the case's image
FRAME = Frame(convention=GroundingConvention.RELATIVE_1000)


def case(metric: Metric, *, options: tuple[str, ...] = (), **expected: Any) -> Case:
    return Case(id="c", images=("x.png",), question="Q?", metric=metric, expected=Expected(**expected), options=options)


@pytest.mark.parametrize(
    ("asked", "answer", "score"),
    [
        (case(Metric.EXACT, answers=("Blue",)), "blue", 1.0),
        (case(Metric.CONTAINS, answers=("blue",)), "It is blue.", 1.0),
        (case(Metric.ANLS, answers=("hello",)), "helo", 0.8),
        (case(Metric.RELAXED_ACCURACY, number=100.0), "104", 1.0),
        (case(Metric.NUMERIC, number=100.0, tolerance=3.0), "104", 0.0),
        (case(Metric.JSON_FIELDS, fields={"a": 1}), '{"a": 1}', 1.0),
        (case(Metric.MULTIPLE_CHOICE, answers=("red",), options=("blue", "red")), "B", 1.0),
        (case(Metric.IOU, box=(100, 100, 300, 200)), "[100, 200, 300, 400]", 1.0),
        (case(Metric.POINT_IN_BOX, box=(100, 100, 300, 200)), "(200, 300)", 1.0),
        (case(Metric.POINT_IN_BOX, box=(100, 100, 300, 200)), "(200, 900)", 0.0),
    ],
)
@pytest.mark.parametrize("image", [WHOLE, HALVED], ids=["whole", "halved"])
def test_each_metric(asked: Case, answer: str, score: float, image: SentImage) -> None:
    """Every metric judges by its own expectation, and shrinking the image moves no box."""
    assert judge(asked, f"<think>[1,2,3,4] or 7</think>{answer}", FRAME, image).score == pytest.approx(score)


def test_absolute_boxes_are_scaled_back_from_the_image_that_was_sent() -> None:
    """Pixels of the resized image become pixels of the image as sent, then of the case's own."""
    rule = library.find_model("qwen2.5-vl-7b").image_tokens
    assert rule is not None
    frame = Frame(convention=GroundingConvention.RESIZED_PIXELS, rule=rule.rule)
    sent = SentImage(560, 280, 1120, 560, 1)  # sizes that the processor leaves as they are
    asked = case(Metric.IOU, box=(112, 112, 336, 224))
    assert judge(asked, "[56, 56, 168, 112]", frame, sent).score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("metric", "answer"),
    [
        (Metric.IOU, "[100, 200, 300, 400] and [0, 0, 2000, 5]"),
        (Metric.POINT_IN_BOX, "(200, 300), not (5000, 1)"),
        (Metric.POINT_IN_BOX, "[100, 200, 300, 400] and [0, 0, 2000, 5]"),
    ],
)
def test_the_first_place_is_judged_whatever_follows(metric: Metric, answer: str) -> None:
    """A box or point outside the image voids none that stands before it."""
    asked = case(metric, box=(100, 100, 300, 200))
    assert judge(asked, answer, FRAME, WHOLE).score == pytest.approx(1.0)


def test_what_cannot_be_judged_has_no_score() -> None:
    """Without a convention there is no score; a box outside or none at all scores 0 and says so."""
    asked = case(Metric.IOU, box=(0, 0, 10, 10))
    assert judge(asked, "[1, 2, 3, 4]", None, WHOLE).score is None
    assert judge(asked, "[1, 2, 3, 4]", Frame(convention=GroundingConvention.API), WHOLE).score is None
    outside = judge(asked, "[1, 2, 3000, 4]", FRAME, WHOLE)
    assert outside.score == 0
    assert "outside" in outside.note
    assert judge(asked, "nowhere", FRAME, WHOLE).note == "no box in the answer"


def test_options_are_put_below_the_question() -> None:
    """The question does not hold them; the prompt does, by letter."""
    asked = case(Metric.MULTIPLE_CHOICE, answers=("red",), options=("blue", "red"))
    assert prompt_of(asked).startswith("Q?\nA. blue\nB. red\n")
    assert prompt_of(case(Metric.EXACT, answers=("x",))) == "Q?"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (case(Metric.EXACT, answers=("a", "b")), "a or b"),
        (case(Metric.NUMERIC, number=12.5, tolerance=0.1), "12.5 ± 0.1"),
        (case(Metric.IOU, box=(1, 2, 3.5, 4)), "box 1, 2, 3.5, 4"),
        (case(Metric.JSON_FIELDS, fields={"名": 1}), '{"名": 1}'),
    ],
)
def test_expected_for_people(asked: Case, text: str) -> None:
    """What is right, as a page shows it."""
    assert expected_text(asked) == text
