"""What the operator says of itself where it could not do its work: findings, and a status of last resort."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vlm_operator.actions import Action
from vlm_operator.conditions import Facts, conditions, judge
from vlm_operator.reasons import DegradedReason
from vlm_operator.records import Finding, Findings, KubernetesObject
from vlm_operator.status import made_key_secret, previous
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType
from vlmctl.errors import VlmctlError

NOT_DECLARED = "field not declared in schema"  # sigs.k8s.io/structured-merge-diff, typed/validate.go
TOLD_LENGTH = 512  # characters of what the API server says
NO_PODS = " No pods are made before that: they would run without it."


def write_refused(refusals: Sequence[tuple[Action, Exception]]) -> Finding | None:
    """The first write that the API server did not take, rather one that pods wait for; None where it took all."""
    if not refusals:
        return None
    action, error = min(refusals, key=lambda each: not each[0].makes_what_pods_need)
    if NOT_DECLARED in str(error) and _mounts_an_image(action):
        return _no_image_volumes(DegradedReason.WRITE_REFUSED)
    return Finding(
        reason=DegradedReason.WRITE_REFUSED,
        message=f"{action.kind} {action.name} cannot be written: {_line(str(error))}",
        remedy=f"It is tried again until it can.{NO_PODS if action.makes_what_pods_need else ''}",
    )


def write_changed(actions: Sequence[Action]) -> Finding | None:
    """The first object that is not as it was written, with the field; None where all are."""
    if not actions:
        return None
    action = actions[0]
    if "olume" in action.reason and _mounts_an_image(action):
        return _no_image_volumes(DegradedReason.WRITE_CHANGED)
    return Finding(
        reason=DegradedReason.WRITE_CHANGED,
        message=f"{action.kind} {action.name} does not stay as it is written, as a mutating webhook may have it: "
        f"{action.reason}.",
        remedy="Have that field left alone. It is written again, some times a minute at most.",
    )


def _mounts_an_image(action: Action) -> bool:
    """Whether its pods have a volume that is an image: API servers that know none refuse it, or leave it out."""
    pod = (action.body or {}).get("spec", {}).get("template", {}).get("spec", {})
    return any("image" in volume for volume in pod.get("volumes", ()))


def _no_image_volumes(reason: DegradedReason) -> Finding:
    return Finding(
        reason=reason,
        message="This cluster has no image volumes, which spec.model.source.image needs.",
        remedy="Kubernetes 1.35 has them by default, 1.33 and 1.34 behind the feature gate ImageVolume. Or put the "
        "weights on a claim: spec.model.source.pvc.",
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
    judged = conditions(
        judge(Facts(found=Findings(problem=problem))), before.conditions, generation=generation, now=now
    )
    return msgspec.structs.replace(
        before,
        made_key_secret=made_key_secret(parent),
        conditions=tuple(
            each if each.type is ConditionType.DEGRADED else known.get(each.type, each) for each in judged
        ),
    )


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TOLD_LENGTH else line[:TOLD_LENGTH] + " ..."
