"""What the operator says of its own failures: stable sentences, and a status that loses nothing."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace
from vlm_operator.actions import Action, Verb
from vlm_operator.reasons import DegradedReason
from vlm_operator.trouble import TOLD_LENGTH, failure, last_resort, write_changed, write_refused

from tests.support.plans import MODEL
from tests.vlm_operator.children import PARENT, wanted
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile

OF_IMAGE = msgspec.convert(
    {"model": {"name": MODEL.id, "source": {"image": {"reference": "registry.example/weights:1"}}}},
    api.VLMDeploymentSpec,
)
ACTION = Action(verb=Verb.APPLY, kind="Service", name="reader", reason="it is missing")


def test_a_refused_write_is_told_in_a_line() -> None:
    """The first refusal is told with the object's name, on one line, and not at any length."""
    assert write_refused([]) is None
    found = write_refused([(ACTION, RuntimeError("no\n" * 1000)), (ACTION, RuntimeError("other"))])
    assert found is not None
    assert found.message.startswith("Service reader cannot be written: no no")
    assert "\n" not in found.message
    assert len(found.message) < TOLD_LENGTH + 100


def test_a_cluster_without_image_volumes_is_told_as_one() -> None:
    """One that does not know the field refuses it; one whose feature gate is off leaves volume and mounts out."""
    (body,) = (each for each in wanted(OF_IMAGE) if each["kind"] == "Deployment")
    action = replace(ACTION, kind="Deployment", body=body)
    volume = '.spec.template.spec.volumes[name="model"].image: field not declared in schema'
    left_out = "spec.template.spec.containers[engine].volumeMounts[/models] is not as wanted"
    for found in (
        write_refused([(action, RuntimeError(volume))]),
        write_changed([replace(action, reason=left_out)]),
        write_changed([replace(action, reason="spec.template.spec.volumes is not as wanted")]),
    ):
        assert found is not None
        assert "no image volumes" in found.message
    for other in (
        write_refused([(action, RuntimeError("quota"))]),
        write_refused([(ACTION, RuntimeError(volume))]),
        write_changed([action]),
    ):
        assert other is not None
        assert "no image volumes" not in other.message


def test_a_bug_says_its_kind_alone() -> None:
    """What differs from one time to the next would be a new status each time."""
    assert failure(ValueError("at 0x7f1")) == failure(ValueError("at 0x7f2"))
    assert "a.yaml" in failure(InvalidFile("a.yaml", "is broken")).message


def test_the_last_resort_keeps_what_was_said() -> None:
    """All conditions are there, those that were judged before as they were, and Degraded says what happened."""
    problem = failure(ValueError())
    fresh = last_resort(PARENT, problem, now=0.0)
    assert len(fresh.conditions) == 6
    known = tuple(
        msgspec.structs.replace(each, status="True", reason="Planned") if each.type == "Planned" else each
        for each in fresh.conditions
    )
    before = msgspec.structs.replace(fresh, conditions=known, url="http://here")
    parent = {**PARENT, "status": msgspec.to_builtins(before)}
    after = last_resort(parent, problem, now=99.0)
    assert after == before
    degraded = {each.type: each for each in after.conditions}[api.ConditionType.DEGRADED]
    assert (degraded.status, degraded.reason) == ("True", DegradedReason.OPERATOR_ERROR)
