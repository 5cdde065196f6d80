"""What the operator says of itself where it could not do its work: findings, and a status of last resort."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vlm_operator.actions import Action
from vlm_operator.conditions import Facts, conditions, judge
from vlm_operator.reasons import DegradedReason
from vlm_operator.records import Finding, KubernetesObject
from vlm_operator.status import previous
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType
from vlmctl.errors import VlmctlError

TOLD_LENGTH = 512  # characters of what the API server says


def write_refused(refusals: Sequence[tuple[Action, Exception]]) -> Finding | None:
    """The first write that the API server did not take; None where it took all."""
    if not refusals:
        return None
    action, error = refusals[0]
    return Finding(
        reason=DegradedReason.WRITE_REFUSED,
        message=f"{action.kind} {action.name} cannot be written: {_line(str(error))}",
        remedy="It is tried again until it can.",
    )


def failure(error: Exception) -> Finding:
    """A pass that ended before it was done. Of a bug only its kind is told: the rest may differ each time."""
    if isinstance(error, VlmctlError):
        return Finding(reason=DegradedReason.OPERATOR_ERROR, message=_line(str(error)))
    return Finding(
        reason=DegradedReason.OPERATOR_ERROR,
        message=f"A bug in the operator stands in the way: {type(error).__name__}.",
        remedy="Its log has the traceback; it is tried again.",
    )


def last_resort(parent: KubernetesObject, problem: Finding, *, now: float) -> api.VLMDeploymentStatus:
    """The status as it was, and the problem; nothing else is judged anew. `now`: seconds since 1970."""
    before = previous(parent)
    known = {each.type: each for each in before.conditions}
    generation = parent["metadata"].get("generation", 0)
    judged = conditions(judge(Facts(problem=problem)), before.conditions, generation=generation, now=now)
    return msgspec.structs.replace(
        before,
        conditions=tuple(
            each if each.type is ConditionType.DEGRADED else known.get(each.type, each) for each in judged
        ),
    )


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TOLD_LENGTH else line[:TOLD_LENGTH] + " ..."
