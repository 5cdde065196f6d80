"""The set and the metrics that judge it agree: right answers score 1, and no stock answer gets far."""

from __future__ import annotations

import json

import pytest

from vlmctl.cases.canvas import Size
from vlmctl.cases.making import make_set
from vlmctl.compare.boxes import Frame
from vlmctl.compare.cases import Case, Metric
from vlmctl.compare.judging import SentImage, judge
from vlmctl.specs.model import GroundingConvention

SIDE = 250  # pixels of the images, quick to draw
FRAME = Frame(convention=GroundingConvention.RELATIVE_1000)
IMAGE = SentImage(sent_width=SIDE, sent_height=SIDE, width=SIDE, height=SIDE, images=1)
STOCK_ANSWERS = ("yes", "no", "0", "1", "A", "B", "red", "I cannot tell.", "[0, 0, 1000, 1000]", "[500, 500]", "{}")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    """A set large enough that every question of every kind is in it."""
    made = make_set(tmp_path_factory.mktemp("set"), cases=300, size=Size(SIDE, SIDE))
    return made.cases.cases


def _right(case: Case) -> str:
    expected = case.expected
    if case.metric is Metric.JSON_FIELDS:
        return f"```json\n{json.dumps(expected.fields)}\n```"
    if expected.box is not None:
        left, top, right, bottom = (side * 1000 / SIDE for side in expected.box)
        place = (left, top, right, bottom) if case.metric is Metric.IOU else ((left + right) / 2, (top + bottom) / 2)
        return json.dumps(place)
    return expected.answers[0] if expected.answers else f"{expected.number:g}"


def test_right_answers_score_1(cases: tuple[Case, ...]) -> None:
    """What the drawing settled is what the metric takes for right."""
    assert {case.metric for case in cases} == set(Metric)
    wrong = [case.id for case in cases if (judge(case, _right(case), FRAME, IMAGE).score or 0) < 0.99]
    assert not wrong


@pytest.mark.parametrize("answer", STOCK_ANSWERS)
def test_one_answer_to_everything_gets_nowhere(cases: tuple[Case, ...], answer: str) -> None:
    """A model that says the same whatever it sees is right less than one time in five, in each kind less than half."""
    scores: dict[str, list[float]] = {}
    for case in cases:
        scores.setdefault(case.category, []).append(judge(case, answer, FRAME, IMAGE).score or 0.0)
    assert sum(map(sum, scores.values())) / len(cases) < 0.2
    assert all(sum(each) / len(each) <= 0.5 for each in scores.values())
