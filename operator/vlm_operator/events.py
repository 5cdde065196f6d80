"""Which Kubernetes Events a change of the conditions gives: one for each that changed, none where nothing did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from vlm_operator.reasons import AvailableReason, BenchmarkReason, ModelReason
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType
from vlmctl.specs.record import Record

MESSAGE_LIMIT = 1024  # characters that the API server takes (Kubernetes API reference, Event v1)

_UNDER_WAY = frozenset(  # or as asked for
    {
        AvailableReason.SCALED_TO_ZERO,
        AvailableReason.PENDING,
        AvailableReason.SCHEDULING,
        AvailableReason.PULLING_IMAGE,
        AvailableReason.STARTING,
        AvailableReason.BENCHMARKING,
        ModelReason.DOWNLOADING,
        ModelReason.LOADING,
        BenchmarkReason.DISABLED,
    }
)


class Event(Record, frozen=True, kw_only=True):
    """What an Event of a VLMDeployment says."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: Iterable[api.Condition], after: Iterable[api.Condition]) -> tuple[Event, ...]:
    """In the order of the conditions. Conditions that say the same are told once, and Ready only when it is reached."""
    known: dict[ConditionType, tuple[str, str]] = {each.type: (each.status, each.reason) for each in before}
    told: dict[tuple[str, str], Event] = {}
    for each in _changed(known, tuple(after)):
        event = Event(type=_type(each), reason=each.reason, message=each.message[:MESSAGE_LIMIT])
        same = told.get((event.reason, event.message))
        if same is None or same.type == "Normal":
            told[event.reason, event.message] = event
    return tuple(told.values())


def _changed(known: dict[ConditionType, tuple[str, str]], after: tuple[api.Condition, ...]) -> Iterator[api.Condition]:
    for each in after:
        if known.get(each.type) == (each.status, each.reason):
            continue
        if each.type is ConditionType.READY and each.status != "True":
            continue  # another condition says why
        if each.type is ConditionType.DEGRADED and each.status == "False" and each.type not in known:
            continue  # never was
        if each.type not in known and each.reason == AvailableReason.PENDING:
            continue  # its Deployment has just been made
        if each.status == "Unknown":
            continue
        yield each


def _type(condition: api.Condition) -> Literal["Normal", "Warning"]:
    """A warning where something is wrong, not where something is under way."""
    if condition.type is ConditionType.DEGRADED:
        return "Warning" if condition.status == "True" else "Normal"
    if condition.status == "True" or condition.reason in _UNDER_WAY:
        return "Normal"
    return "Warning"
