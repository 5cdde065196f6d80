"""A VLMDeployment as the API server has it -> the typed record, or InvalidSpec.

The CRD's schema has let it in. What that cannot express is checked here, so that nobody later meets a text that cannot
be read; and as the schema may be of another version than the operator, everything is checked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from vlm_operator import bounds
from vlm_operator.reasons import PlanReason
from vlm_operator.records import KubernetesObject
from vlm_operator.refusal import Refused
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue

SHORTEST_LADDER_SECONDS = 10.0  # as the rule of api.BenchmarkSpec says
LONGEST_LADDER_SECONDS = 3600.0
LEAST_UTILIZATION = 0.05  # and this and the next as those of api.Scaling
LONGEST_IDLE_SECONDS = 86_400.0
NOT_ZERO = frozenset("123456789")  # digits of which a number above 0 has one, whatever its unit
_LOCATED = re.compile(r"(?P<what>.*) - at (?:`key` in )?`\$(?P<where>.*)`", re.DOTALL)


class InvalidSpec(Refused):
    """A spec that nobody can plan for until someone changes it; `message` is one line that names the field."""

    def __init__(self, message: str) -> None:
        super().__init__(PlanReason.INVALID_SPEC, message)


def parse(body: KubernetesObject) -> api.VLMDeployment:
    """The object without its status; raises InvalidSpec."""
    known = {name: body["metadata"][name] for name in api.Metadata.__struct_encode_fields__ if name in body["metadata"]}
    whole = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": known, "spec": body.get("spec", {})}
    try:
        deployment = msgspec.convert(whole, api.VLMDeployment)
    except msgspec.ValidationError as error:
        raise InvalidSpec(_located(str(error))) from error
    if f"{deployment.metadata.name}-".startswith(f"{api.RESERVED_NAME}-"):
        raise _invalid(
            "metadata.name", "pods of its namespace would take its Service for the API server. Take another."
        )
    _check_model(deployment.spec.model)
    _check_bounds(deployment.spec)
    _check_readable(deployment.spec)
    for field, problem in bounds.breaches(deployment.spec):
        raise InvalidSpec(f"{field} {problem}")
    return deployment


def _check_model(model: api.ModelReference) -> None:
    source = model.source
    given = [each for each in (source.hugging_face, source.pvc, source.image) if each is not None] if source else []
    if source is not None and len(given) != 1:
        raise _invalid("spec.model.source", "give exactly one of huggingFace, pvc and image.")
    if model.name is not None:
        return
    if source is None:
        raise _invalid("spec.model", "give name (of the catalog) or source.")
    if source.hugging_face is not None and source.hugging_face.repository is None:
        raise _invalid("spec.model.source.huggingFace", "a repository is needed where no name is given.")
    if source.hugging_face is None and model.facts is None:
        raise _invalid("spec.model", "a checkpoint on a volume or in an image needs name or facts, to plan with.")


def _check_bounds(spec: api.VLMDeploymentSpec) -> None:
    if spec.scaling.min > spec.scaling.max:
        raise _invalid("spec.scaling", f"min is {spec.scaling.min}, above max, which is {spec.scaling.max}.")
    if float(spec.scaling.target_utilization) < LEAST_UTILIZATION:
        share = spec.scaling.target_utilization
        raise _invalid("spec.scaling.targetUtilization", f"{share} leaves replicas idle. Give 0.05 to 1.")
    budget = spec.budget or api.Budget()
    for field, usd in (("maxUSDPer1k", budget.max_usd_per_1k), ("maxUSDPerMonth", budget.max_usd_per_month)):
        if usd is not None and float(usd) <= 0:
            raise _invalid(f"spec.budget.{field}", f"{usd} USD buys nothing. Give more than 0.")
    pod, pvc = spec.pod or api.PodOverrides(), spec.cache.pvc if spec.cache else None
    for field, quantity in (
        ("spec.pod.cpu", pod.cpu),
        ("spec.pod.memory", pod.memory),
        ("spec.cache.pvc.size", pvc.size if pvc else None),
    ):
        if quantity is not None and set(str(quantity)).isdisjoint(NOT_ZERO):
            raise _invalid(field, f"{quantity} is nothing. Give more than 0.")


def _check_readable(spec: api.VLMDeploymentSpec) -> None:
    """Every text that is read later."""
    reads: dict[str, Callable[[], object]] = {
        "spec.workload": lambda: reading.workload(spec.workload),
        "spec.objectives": lambda: reading.objectives(spec.objectives),
        "spec.scaling.idle": lambda: _check_idle(reading.seconds(spec.scaling.idle)),
        "spec.benchmark.budget": lambda: _check_ladder(reading.seconds(spec.benchmark.budget)),
    }
    for field, read in reads.items():
        try:
            read()
        except InvalidValue as error:
            raise _invalid(field, str(error)) from error
    for path in _folders(spec.model.source):
        if ".." in path.split("/"):
            raise _invalid("spec.model.source", f"{path} leads out of the volume. Give a path without `..`.")


def _check_ladder(seconds: float) -> None:
    if not SHORTEST_LADDER_SECONDS <= seconds <= LONGEST_LADDER_SECONDS:
        raise InvalidValue("the ladder takes too long or too short a time.", remedy="Give 10s to 1h.")


def _check_idle(seconds: float) -> None:
    if seconds > LONGEST_IDLE_SECONDS:
        raise InvalidValue("nobody waits that long for the last replica to go.", remedy="Give at most 24h.")


def _folders(source: api.ModelSource | None) -> Iterator[str]:
    if source is not None:
        yield from (each.path for each in (source.pvc, source.image) if each is not None)


def _invalid(field: str, problem: str) -> InvalidSpec:
    return InvalidSpec(f"{field}: {problem}")


def _located(text: str) -> str:
    """What msgspec says, the field first."""
    found = _LOCATED.fullmatch(text)
    if found is None:
        return text
    what = found["what"]
    return f"{found['where'].lstrip('.')}: {what[0].lower()}{what[1:]}."
