"""When no VLM is needed, and the questions that lead to requirements."""

from __future__ import annotations

import pytest

from vlmctl.errors import InvalidValue
from vlmctl.planning.advise import next_question, requirements_from_answers, smaller_tools
from vlmctl.specs.workload import LicensePolicy, Task


@pytest.mark.parametrize(
    "task", [Task.TRANSCRIPTION, Task.CLASSIFICATION, Task.DETECTION, Task.IMAGE_SEARCH, Task.TEXT_ONLY]
)
def test_simple_tasks_name_a_smaller_tool(task: Task) -> None:
    """The tool, what it loses and when a VLM is right after all are said."""
    tool = smaller_tools([task])[0]
    assert tool.tool
    assert tool.loses
    assert tool.needs_vlm_when


@pytest.mark.parametrize("task", [Task.DOCUMENT_OCR, Task.GROUNDING, Task.REASONING])
def test_layout_and_reasoning_keep_needing_a_vlm(task: Task) -> None:
    """Extraction, grounding and reasoning get no smaller tool."""
    assert smaller_tools([task]) == ()


def test_without_images_nothing_more_is_asked() -> None:
    """The first answer can end the decision: a text model."""
    assert next_question({"vision": "no"}) is None
    assert requirements_from_answers({"vision": "no"}).tasks == {Task.TEXT_ONLY: 1.0}


def test_questions_come_in_order_until_all_are_answered() -> None:
    """Each answer leads to the next question, and the last to none."""
    answers: dict[str, str] = {}
    asked = []
    while (question := next_question(answers)) is not None:
        asked.append(question.id)
        answers[question.id] = question.default
    assert asked[0] == "vision"
    assert len(asked) == len(set(asked)) == 8


def test_answers_become_requirements() -> None:
    """Every answer lands in the field it is about."""
    found = requirements_from_answers(
        {
            "task": "document-ocr",
            "image": "1680x2240",
            "images": "2",
            "language": "ja, en",
            "license": "permissive",
            "size": "yes",
            "grounding": "yes",
        }
    )
    assert found.tasks == {"document-ocr": 1.0}
    assert found.languages == ("ja", "en")
    assert found.license is LicensePolicy.PERMISSIVE
    assert found.multiple_images
    assert found.needs == ("grounding",)
    assert found.maximum_parameters_billions == 10.0
    assert found.workload.images[0].count == 2


@pytest.mark.parametrize("answers", [{"task": "juggling"}, {"image": "big"}, {"images": "0"}, {"colour": "red"}])
def test_senseless_answers_are_refused(answers: dict[str, str]) -> None:
    """Unknown questions and answers are one clear error."""
    with pytest.raises(InvalidValue):
        requirements_from_answers(answers)
