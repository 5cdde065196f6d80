"""Recommend and plan answer the same question alike."""

from __future__ import annotations

from typing import Any

import pytest

from vlmctl.library import Question

QUESTIONS: dict[str, dict[str, Any]] = {
    "invoices": {"task": "document-ocr", "language": "ja", "image": "1680x2240", "rps": 2, "ttft": "2s"},
    "thinking": {"task": "reasoning", "needs": "thinking", "min_score": "mmmu=60", "image": "1280x720"},
    "scores": {"task": "chart", "min_score": "chartqa=80,docvqa=90", "license": "commercial", "image": "1024x1024"},
    "context": {"task": "general-vqa", "min_context": 64000, "image": "640x480", "rps": 1, "max_params": 12},
    "owned": {"task": "general-vqa", "owned": "4xL40S", "purchase_usd": 9000, "image": "640x480", "rps": 3},
    "crowd": {"task": "general-vqa", "concurrency": 16, "image": "640x480", "license": "permissive"},
}


@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
def test_every_answer_can_be_planned_as_it_was_answered(asked: dict[str, Any]) -> None:
    """A plan of a recommended model, with the same requirements, has the same placement and the same price."""
    question = Question(asked)
    answers = question.recommend().answers
    assert answers
    for answer in answers:
        plan = question.plan(answer.model)
        assert (plan.placement.gpu, plan.placement.gpu_count) == (answer.gpu, answer.gpu_count)
        assert plan.placement.precision.value == answer.quantization
        assert plan.cost == answer.cost
        assert plan.speed.ttft_p95_seconds == answer.ttft_p95_seconds
