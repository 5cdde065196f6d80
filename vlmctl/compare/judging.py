"""A case and an answer into a score: which metric, on which part of what is expected, in which coordinates."""

from __future__ import annotations

import json
from typing import NamedTuple

from vlmctl.bench.images import EncodedImage
from vlmctl.compare import metrics
from vlmctl.compare.boxes import Box, Frame, each_box, each_point
from vlmctl.compare.cases import Case, Metric
from vlmctl.errors import InvalidValue, UnsupportedModel

LETTERS = tuple(chr(ord("A") + index) for index in range(26))
CHOICE_REQUEST = "Answer with the letter of the right option."
BOX_METRICS = (Metric.IOU, Metric.POINT_IN_BOX)


class Judgment(NamedTuple):
    """A score from 0 to 1, None where nothing can judge the answer; `note` says why it is 0 or None."""

    score: float | None
    note: str = ""


class SentImage(NamedTuple):
    """The image that a box lies in: its size as it was sent and as the case has it, and how many were sent."""

    sent_width: int
    sent_height: int
    width: int
    height: int
    images: int


def prompt_of(case: Case) -> str:
    """The question as a model reads it: with its options by letter where it has some."""
    if not case.options:
        return case.question
    options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, case.options, strict=False))
    return f"{case.question}\n{options}\n{CHOICE_REQUEST}"


def expected_text(case: Case) -> str:
    """What is right, for people."""
    expected = case.expected
    if case.metric in BOX_METRICS and expected.box is not None:
        return "box " + ", ".join(f"{side:g}" for side in expected.box)
    if case.metric is Metric.JSON_FIELDS:
        return json.dumps(expected.fields, ensure_ascii=False)
    if expected.number is not None:
        slack = f" ± {expected.tolerance:g}" if expected.tolerance else ""
        return " or ".join((f"{expected.number:.10g}{slack}", *expected.answers))
    return " or ".join(expected.answers)


def sent_image(original: EncodedImage, sent: EncodedImage, images: int) -> SentImage:
    """The image that a case's box lies in, as it was and as it was sent."""
    return SentImage(sent.width_pixels, sent.height_pixels, original.width_pixels, original.height_pixels, images)


def judge(case: Case, text: str, frame: Frame | None, image: SentImage) -> Judgment:
    """The score of an answer under the case's metric. `frame`: what the model's boxes mean, None where unknown."""
    answer, expected = metrics.final_answer(text), case.expected
    match case.metric:
        case Metric.EXACT:
            return Judgment(metrics.exact(answer, expected.answers))
        case Metric.CONTAINS:
            return Judgment(metrics.contains(answer, expected.answers))
        case Metric.ANLS:
            return Judgment(metrics.anls(answer, expected.answers))
        case Metric.RELAXED_ACCURACY:
            score = metrics.relaxed_accuracy(answer, number=expected.number, accepted=expected.answers)
            return Judgment(score)
        case Metric.NUMERIC if expected.number is not None:
            return Judgment(metrics.numeric(answer, expected.number, tolerance=expected.tolerance))
        case Metric.JSON_FIELDS:
            return Judgment(metrics.json_field_f1(answer, expected.fields))
        case Metric.MULTIPLE_CHOICE:
            return Judgment(metrics.multiple_choice(answer, case.options, expected.answers))
    return _judge_place(case, answer, frame, image)


def _judge_place(case: Case, answer: str, frame: Frame | None, image: SentImage) -> Judgment:
    """The first box or point, scaled from the image that was sent to the one that the case's box lies in."""
    if frame is None:
        return Judgment(None, "what this model's boxes mean is unknown: name its catalog id or a convention")
    assert case.expected.box is not None  # the reader of cases refuses such cases without a box
    size = {"width_pixels": image.sent_width, "height_pixels": image.sent_height, "images": image.images}
    across, down = image.width / image.sent_width, image.height / image.sent_height
    true = Box(*case.expected.box)
    try:
        if case.metric is Metric.POINT_IN_BOX:
            point = next(each_point(answer, frame, **size), None)
            if point is None:
                return Judgment(0.0, "no point in the answer")
            return Judgment(metrics.point_in_box(point[0] * across, point[1] * down, true))
        first = next(each_box(answer, frame, **size), None)
    except UnsupportedModel as error:
        return Judgment(None, str(error))
    except InvalidValue as error:
        return Judgment(0.0, str(error))
    if first is None:
        return Judgment(0.0, "no box in the answer")
    return Judgment(
        metrics.iou(Box(first.left * across, first.top * down, first.right * across, first.bottom * down), true)
    )
