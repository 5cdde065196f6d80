"""docs/diagnosis.md: every reason that a condition can give, what it means and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec.structs import replace
from vlm_operator.conditions import Facts, Measurement, judge
from vlm_operator.engine_logs import patterns
from vlm_operator.reasons import (
    AvailableReason,
    BenchmarkReason,
    DegradedReason,
    ModelReason,
    Phase,
    PlanReason,
    ReadyReason,
)
from vlm_operator.records import Finding

from docs.generate._findings import findings, troubles
from vlmctl.api.status import ConditionType

PAGE = "diagnosis.md"
INTRODUCTION = """\
# What a VLMDeployment says

<!-- Written by `make docs` from operator/vlm_operator (reasons, log_patterns.yaml, diagnosis): edit those. -->

`kubectl get vlmd` shows the reason of `Ready`: the first thing in the way. `kubectl describe vlmd NAME` has all
conditions, each with a sentence that ends in what to do. Words in CAPITALS stand for what is filled in. Reasons are
part of the API.

"""
# Refusals name what was found and asked in their message; here is what each is about.
REFUSED = {
    PlanReason.INVALID_SPEC: ("A field contradicts another, or an argument is not the user's to give.", "As it says."),
    PlanReason.UNKNOWN_MODEL: (
        "The catalog has no model of that name.",
        "Correct `spec.model.name` (close names are listed), or give `spec.model.source` with `facts`.",
    ),
    PlanReason.FACTS_MISSING: (
        "Nothing is known of the checkpoint to plan with.",
        "Give `spec.model.name`, or `spec.model.facts` with its config.json and preprocessor_config.json.",
    ),
    PlanReason.NO_INVENTORY: (
        "No node has a GPU that plans can be made for, or none of the one that is asked for.",
        "Label nodes by GPU feature discovery, or declare them in the chart's `inventory`.",
    ),
    PlanReason.NOTHING_FITS: (
        "No GPU of the cluster holds the model, or meets the objectives; the message has the sum of the memory.",
        "Take what the message offers: what would nearly fit, or the node that would do.",
    ),
    PlanReason.LICENSE_DENIED: (
        "The licence is not what `spec.licensePolicy` or the chart's policy asks for.",
        "Choose another model, or have the policy changed.",
    ),
    PlanReason.OVER_BUDGET: (
        "The cheapest placement costs more than `spec.budget` or the chart's policy allows, or has no known price.",
        "Raise the budget, choose a smaller model, or declare prices in the chart's `inventory`.",
    ),
    PlanReason.UNSUPPORTED: (
        "This release of vLLM does not serve the model, or there is no such checkpoint, or no node that large.",
        "Choose another `spec.quantization`, `spec.hardware.count`, `spec.engine.image` or model.",
    ),
    PlanReason.REMOTE_CODE_DENIED: (
        "Python code from the model's repository would run in the engine.",
        "Read that code, have its commit or digest named in the chart's `policy.remoteCode`, and set "
        "`spec.engine.trustRemoteCode`.",
    ),
    PlanReason.IMAGE_DENIED: (
        "An image is not from a registry of the chart's policy.",
        "Name one that is, or have the policy changed.",
    ),
    PlanReason.MEDIA_DENIED: (
        "A host that pictures would be fetched from is not one of the chart's policy.",
        "Leave it out of `spec.engine.allowedMediaDomains`, or have `policy.mediaDomains` name it.",
    ),
    PlanReason.UNREADABLE_REVISION: (
        "Another version of the operator wrote this spec's ControllerRevision, or it was damaged. What runs stays.",
        "Go back to that version, or change the annotation `vlmctl.dev/replan`.",
    ),
}
LOST = Finding(
    reason=AvailableReason.NOT_READY,
    message="A replica took requests, and its container NAME, or its node NODE, is not ready any more.",
    remedy="See `kubectl describe` of the pod and the node; it takes requests again once that is.",
)
SHOWN = "RATE"
PROGRESS = (
    AvailableReason.SCHEDULING,
    AvailableReason.PULLING_IMAGE,
    AvailableReason.STARTING,
    AvailableReason.BENCHMARKING,
)
ORDER = [str(reason) for kind in (ModelReason, AvailableReason, BenchmarkReason) for reason in kind]
_FIELD = re.compile(r"\{(\w+)\}")


def render() -> str:
    """The page in Markdown. Raises ValueError where a reason would be missing from it."""
    states = list(dict.fromkeys(_states()))
    found = [*findings(), *_logged(), LOST]
    own = list(troubles())
    _check({reason for _, _, reason, _ in states} | {each.reason for each in (*found, *own)} | set(REFUSED))
    refused = [Finding(reason=reason, message=message, remedy=remedy) for reason, (message, remedy) in REFUSED.items()]
    sections = [
        ("There is no plan", "`Planned` is False, and no pod is made or changed.", _table(refused)),
        (
            "A replica does not come up",
            "In the condition that it stands in the way of, in `Ready`, and in `Degraded` while others serve.",
            _table(sorted(found, key=lambda each: ORDER.index(each.reason))),
        ),
        ("It serves, and something is wrong", "`Degraded` is True.", _table(own)),
        ("Where it stands", "Nothing is wrong; what each condition says on the way.", _state_table(states)),
    ]
    phases = ", ".join(f"`{phase}`" for phase in Phase)
    text = "\n\n".join(f"## {title}\n\n{about}\n\n{table}" for title, about, table in sections)
    return f"{INTRODUCTION}{text}\n\n`status.phase` is one of {phases}. It is for people; programs read conditions.\n"


def _logged() -> Iterator[Finding]:
    for pattern in patterns():
        message, remedy = (
            _FIELD.sub(lambda field: field[1].upper(), text) for text in (pattern.message, pattern.remedy)
        )
        yield Finding(reason=pattern.reason, message=message, remedy=remedy)


def _states() -> Iterator[tuple[str, str, str, str]]:
    """Condition, status, reason and message in each state that is not a failure."""
    serving = Facts(serves=True, rolled_out=True, loaded=True, measurement=Measurement(reason=BenchmarkReason.PROBED))
    told = [Facts(), Facts(replicas=0), Facts(downloading=True), Facts(downloaded=True), serving]
    told += [Facts(progress=progress) for progress in PROGRESS]
    judged = [judge(facts) for facts in told]
    failures = (BenchmarkReason.SMOKE_FAILED, BenchmarkReason.BELOW_MINIMUM)
    measurements = [Measurement(reason=each, shown=SHOWN) for each in BenchmarkReason if each not in failures]
    judged += [judge(replace(serving, measurement=each)) for each in measurements]
    for conditions in judged:
        for kind, condition in conditions.items():
            if kind is not ConditionType.READY:  # which repeats the reason of another one
                yield kind.value, condition.status, condition.reason, condition.message
    yield "Planned", "True", PlanReason.PLANNED.value, "What runs where, at what speed."
    yield "Ready", "True", ReadyReason.READY.value, "Replicas of what was planned take requests."
    yield "Ready", "False", ReadyReason.ROLLING_OUT.value, "Replicas of an earlier revision are being replaced."


def _check(told: set[str]) -> None:
    kinds = (PlanReason, ModelReason, AvailableReason, BenchmarkReason, ReadyReason, DegradedReason)
    missing = {str(reason) for kind in kinds for reason in kind} - {str(each) for each in told}
    if missing:
        raise ValueError(f"docs/diagnosis.md would lack {', '.join(sorted(missing))}.")


def _table(found: Iterable[Finding]) -> str:
    lines = [f"| `{each.reason}` | {_cell(each.message)} | {_cell(each.remedy)} |" for each in dict.fromkeys(found)]
    return "\n".join(["| reason | what it says | what to do |", "|---|---|---|", *lines])


def _state_table(states: Iterable[tuple[str, str, str, str]]) -> str:
    lines = [
        f"| {kind} | {status} | `{reason}` | {_cell(message)} |" for kind, status, reason, message in sorted(states)
    ]
    return "\n".join(["| condition | status | reason | message |", "|---|---|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
