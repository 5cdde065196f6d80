"""How deployments are shown: a table of many, a page of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmctl.api.status import Condition, ConditionType
from vlmctl.cli.output import Block, Facts, Heading, Pre, Table, Text
from vlmctl.cli.wording import UNKNOWN, UNKNOWN_CELL, UNKNOWN_CELL_NOTE, gpus
from vlmctl.library.standing import Figure, Standing
from vlmctl.units import show_seconds, show_usd

NONE_REMEDY = "See `kubectl get vlmdeployments -A`, or make one: `vlmctl plan MODEL | kubectl apply -f -`."
LOCAL_PORT = 8000  # in the command that is suggested
STEP_WORDS = {
    "scheduled": "has a node",
    "image_pulled": "image pulled, engine started",
    "weights_ready": "weights in the cache",
    "engine_ready": "engine answers",
    "benchmarked": "measured",
}


def none_there(namespace: str | None) -> str:
    """That there is nothing to show."""
    return "there is no VLMDeployment." if namespace is None else f"there is no VLMDeployment in namespace {namespace}."


def row(found: Standing) -> dict[str, Any]:
    """A deployment in a line of CSV."""
    ready = found.condition(ConditionType.READY)
    rate = found.figures.requests_per_second
    return {
        "namespace": found.namespace,
        "name": found.name,
        "model": found.model,
        "phase": found.phase,
        "reason": ready.reason if ready is not None else None,
        "ready_replicas": found.ready_replicas,
        "wanted_replicas": found.wanted_replicas,
        "gpu": found.gpu,
        "gpu_count": found.gpu_count,
        "precision": found.precision,
        "planned_requests_per_second": rate.planned,
        "measured_requests_per_second": rate.measured,
        "usd_per_1k": _last(found.figures.usd_per_1k),
        "usd_per_hour": found.money.usd_per_hour,
    }


def table(found: Sequence[Standing], *, with_namespace: bool) -> list[Block]:
    """All of them, and why those that are not ready are not."""
    headers = ("Name", "Model", "On", "Ready", "State", "req/s", "$/1k", "$/hour")
    rows = [
        (
            f"{each.namespace}/{each.name}" if with_namespace else each.name,
            each.model or UNKNOWN_CELL,
            where(each, UNKNOWN_CELL),
            f"{each.ready_replicas}/{each.wanted_replicas}",
            each.phase or "new",
            _rate(_last(each.figures.requests_per_second), UNKNOWN_CELL),
            money(_last(each.figures.usd_per_1k), UNKNOWN_CELL),
            money(each.money.usd_per_hour, UNKNOWN_CELL),
        )
        for each in found
    ]
    blocks: list[Block] = [Table(headers, rows, right=("Ready", "req/s", "$/1k", "$/hour"))]
    if any(UNKNOWN_CELL in cells for cells in rows):
        blocks.append(Text(UNKNOWN_CELL_NOTE))
    for each in found:
        ready = each.condition(ConditionType.READY)
        if each.unreadable:
            blocks.append(Text(f"{each.namespace}/{each.name}: {each.unreadable}", bullet=True))
        elif ready is not None and ready.status != "True":
            blocks.append(Text(f"{each.namespace}/{each.name}: {ready.reason}: {ready.message}", bullet=True))
    return blocks


def in_full(found: Sequence[Standing]) -> list[Block]:
    """A page for each."""
    return [block for each in found for block in _page(each)]


def where(found: Standing, unknown: str = UNKNOWN) -> str:
    """``2x L4 bf16``, of one replica."""
    if found.gpu is None or found.gpu_count is None:
        return unknown
    return f"{gpus(found.gpu, found.gpu_count, 1)} {found.precision}"


def money(usd: float | None, unknown: str = UNKNOWN) -> str:
    """Dollars, or that they are not known."""
    return unknown if usd is None else show_usd(usd)


def _page(found: Standing) -> list[Block]:
    blocks: list[Block] = [Heading(f"{found.name} in namespace {found.namespace}: {found.phase or 'new'}")]
    if found.unreadable:
        return [*blocks, Text(found.unreadable)]
    blocks += [Facts(_facts(found)), _conditions(found.conditions), *_measured(found), *_timeline(found)]
    blocks += [Text(note, bullet=True) for note in found.notes]
    return [*blocks, *_example(found)]


def _facts(found: Standing) -> list[tuple[str, str]]:
    revision = found.current_revision or "none serves yet"
    if found.update_revision is not None:
        revision += f"; {found.update_revision} is being rolled out, or was given up"
    return [
        ("Model", found.model or UNKNOWN),
        ("Checkpoint", found.checkpoint or UNKNOWN),
        ("On", f"{where(found)}, each replica"),
        ("Replicas", f"{found.ready_replicas} of {found.wanted_replicas} take requests"),
        ("Scaling", _scaling(found)),
        ("Revision", revision),
        ("Cost", _cost(found)),
        ("Address", found.access.url or "none yet"),
        ("Key", _key(found)),
    ]


def _scaling(found: Standing) -> str:
    by = found.scaled_by
    if by is None:
        return f"between {found.scaling.min} and {found.scaling.max} replicas" if found.scaling is not None else UNKNOWN
    parts = [f"{by.engine}, {by.reason}: {by.message}"]
    if by.target_in_flight is not None:
        parts.append(f"Target: {by.target_in_flight} in flight each ({by.basis or UNKNOWN}).")
    if by.cold_start is not None:
        parts.append(f"A start takes {by.cold_start} ({by.cold_start_basis or UNKNOWN}).")
    return " ".join(parts)


def _cost(found: Standing) -> str:
    spent = found.money
    if spent.usd_per_hour is None:
        return "unknown: no price of its GPUs is known"
    parts = [f"{show_usd(spent.usd_per_hour)} per hour, {money(spent.usd_per_month)} per month"]
    if spent.waste_usd_per_hour is not None:
        parts.append(f"{show_usd(spent.waste_usd_per_hour)} per hour of it idle ({spent.idle_share:.0%})")
    return f"{'; '.join(parts)}; price: {spent.price_source or UNKNOWN}, read {spent.price_as_of or UNKNOWN}"


def _key(found: Standing) -> str:
    access = found.access
    return f"{access.key} in Secret {access.secret}" if access.secret is not None else "none yet"


def _conditions(conditions: Sequence[Condition]) -> Table:
    rows = [(each.type.value, each.status, each.reason, each.message) for each in conditions]
    return Table(("Condition", "Is", "Reason", "Why, and what to do"), rows)


def _measured(found: Standing) -> list[Block]:
    """Plan beside measurement, and what the figures are worth."""
    figures = found.figures
    quantities = (
        ("requests/s", figures.requests_per_second, _rate),
        ("first token, p95", figures.ttft_seconds, _latency),
        ("per output token, p95", figures.tpot_seconds, _latency),
        ("$ per 1,000 requests", figures.usd_per_1k, money),
    )
    headers = ("One replica", "Planned", "Measured", "Of plan", "At most")
    rows = [
        (
            name,
            show(each.planned),
            show(each.measured),
            f"{each.ratio:.2f}" if each.ratio is not None else "",
            show(each.objective) if each.objective is not None else "",
        )
        for name, each, show in quantities
    ]
    return [Table(headers, rows, right=headers[1:]), Text(_worth(found))]


def _worth(found: Standing) -> str:
    figures, money = found.figures, found.money
    if found.rolls_out:
        return "One revision takes over from another: figures are told once it has."
    error = f", usual error {figures.planned_error:.0%}" if figures.planned_error is not None else ""
    parts = [f"The plan is {figures.planned_basis or UNKNOWN}{error}."]
    if figures.requests_per_second.measured is not None:
        parts.append(
            f"Measured {figures.measured_at} with {figures.concurrency} in flight; 95% interval of the rate "
            f"{figures.interval} requests/s."
        )
    else:
        parts.append("Nothing is measured yet.")
    said = "not counted yet" if money.usd_per_hour is not None else "no price is known"
    if money.realised_usd_per_1k is not None:
        said = f"{show_usd(money.realised_usd_per_1k)} per 1,000 requests"
    if money.answers_nothing:
        said = "no request was answered in the last hour"
    parts.append(f"Really paid, idle time included: {said}.")
    return " ".join(parts)


def _timeline(found: Standing) -> list[Block]:
    if not found.timeline:
        return []
    rows = [
        (STEP_WORDS[each.name], each.at, show_seconds(each.seconds) if each.seconds is not None else "")
        for each in found.timeline
    ]
    return [Table(("First replica", "At", "Took"), rows, right=("Took",))]


def _example(found: Standing) -> list[Block]:
    """Commands that ask it from outside the cluster."""
    access = found.access
    if access.url is None or access.secret is None or access.model is None:
        return []
    in_namespace = f"-n {found.namespace}"
    path = (access.key or "").replace(".", "\\.")  # as kubectl's JSONPath has it
    lines = (
        f"kubectl port-forward {in_namespace} service/{found.name} {LOCAL_PORT}:80 &",
        f"export VLM_KEY=\"$(kubectl get secret {in_namespace} {access.secret} -o jsonpath='{{.data.{path}}}' \\",
        '  | base64 -d)"',
        f'curl -sS http://localhost:{LOCAL_PORT}/v1/chat/completions -H "Authorization: Bearer $VLM_KEY" \\',
        "  -H 'Content-Type: application/json' \\",
        f'  -d \'{{"model": "{access.model}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
    )
    return [Heading("Ask it"), Pre("\n".join(lines))]


def _rate(value: float | None, unknown: str = UNKNOWN) -> str:
    return unknown if value is None else f"{value:.3g}"


def _latency(value: float | None) -> str:
    return UNKNOWN if value is None else show_seconds(value)


def _last(figure: Figure) -> float | None:
    """What was measured, else what was planned."""
    return figure.planned if figure.measured is None else figure.measured
