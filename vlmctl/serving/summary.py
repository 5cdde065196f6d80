"""What a written plan says of itself in a few figures, read back from any file this package writes, and compared."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from vlmctl.errors import InvalidFile
from vlmctl.specs.estimates import Plan
from vlmctl.specs.record import Record

ANNOTATION = "vlmctl.dev/plan"
COMPOSE_FIELD = "x-vlmctl-plan"  # compose files ignore fields that start with x-
COMMENT = "# vlmctl-plan: "


class PlanSummary(Record, frozen=True, kw_only=True):
    """The figures of a plan that are compared. Money is None where no offer was priced.

    `gpu_count` is per replica. Bytes are over all GPUs of all replicas: `reserved_bytes` is what vLLM takes,
    `occupied_bytes` the part that is not KV cache (weights, activations, graphs).
    """

    model: str
    checkpoint: str
    precision: str
    gpu: str
    gpu_count: int
    replicas: int
    reserved_bytes: int
    occupied_bytes: int
    requests_per_second: float
    usd_per_hour: float | None = None
    usd_per_1k_requests: float | None = None
    usd_per_month: float | None = None

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.gpu_count * self.replicas


class PlanDiff(Record, frozen=True, kw_only=True):
    """New minus old. Money is None where either side has none. `changed`: (what, old, new) of names that differ."""

    gpus: int
    reserved_bytes: int
    occupied_bytes: int
    usd_per_hour: float | None
    usd_per_1k_requests: float | None
    usd_per_month: float | None
    changed: tuple[tuple[str, str, str], ...]


def summary(plan: Plan) -> PlanSummary:
    """The plan's figures, for its file and for comparison."""
    placement, memory, cost = plan.placement, plan.memory, plan.cost
    replicas = cost.replicas if cost else 1
    gpus = placement.gpu_count * replicas
    return PlanSummary(
        model=placement.model,
        checkpoint=placement.repository,
        precision=placement.precision.value,
        gpu=placement.gpu,
        gpu_count=placement.gpu_count,
        replicas=replicas,
        reserved_bytes=memory.budget_bytes * gpus,
        occupied_bytes=(memory.budget_bytes - memory.kv_cache_bytes) * gpus,
        requests_per_second=plan.speed.requests_per_second,
        usd_per_hour=cost.usd_per_hour if cost else None,
        usd_per_1k_requests=cost.usd_per_1k_requests if cost else None,
        usd_per_month=cost.usd_per_month if cost else None,
    )


def as_json(value: PlanSummary) -> str:
    """One line of JSON, as the files carry it."""
    return json.dumps(msgspec.to_builtins(value), sort_keys=True)


def read_plan_summary(text: str, *, path: str = "the earlier plan") -> PlanSummary:
    """The summary that a file written by `vlmctl plan` carries, whatever its format.

    Raises InvalidFile, naming `path`, where there is none or it cannot be read.
    """
    found = _in_comment(text) or _in_document(text, path)
    if found is None:
        raise InvalidFile(path, "no plan of vlmctl in it.", remedy="Give a file that `vlmctl plan` wrote.")
    try:
        return msgspec.json.decode(found, type=PlanSummary)
    except msgspec.MsgspecError as error:
        raise InvalidFile(
            path, f"its plan cannot be read: {error}.", remedy="Write it anew with `vlmctl plan`."
        ) from error


def diff(old: PlanSummary, new: PlanSummary) -> PlanDiff:
    """What taking `new` instead of `old` changes."""
    names = ("model", "checkpoint", "precision", "gpu", "gpu_count", "replicas")
    changed = ((name, str(getattr(old, name)), str(getattr(new, name))) for name in names)
    return PlanDiff(
        gpus=new.gpus - old.gpus,
        reserved_bytes=new.reserved_bytes - old.reserved_bytes,
        occupied_bytes=new.occupied_bytes - old.occupied_bytes,
        usd_per_hour=_difference(old.usd_per_hour, new.usd_per_hour),
        usd_per_1k_requests=_difference(old.usd_per_1k_requests, new.usd_per_1k_requests),
        usd_per_month=_difference(old.usd_per_month, new.usd_per_month),
        changed=tuple(change for change in changed if change[1] != change[2]),
    )


def _difference(old: float | None, new: float | None) -> float | None:
    return None if old is None or new is None else new - old


def _in_comment(text: str) -> str | None:
    return next((line[len(COMMENT) :] for line in text.splitlines() if line.startswith(COMMENT)), None)


def _in_document(text: str, path: str) -> str | None:
    import yaml

    try:
        documents: list[Any] = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise InvalidFile(path, f"{problem}.", line=mark.line + 1 if mark else None) from error
    for document in documents:
        if not isinstance(document, dict):
            continue
        if isinstance(document.get(COMPOSE_FIELD), str):
            return str(document[COMPOSE_FIELD])
        metadata = document.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        if isinstance(annotations, dict) and isinstance(annotations.get(ANNOTATION), str):
            return str(annotations[ANNOTATION])
    return None
