"""How the deployments of a cluster are shown beside each other: their speed, their money, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmctl.cli.output import Block, Table, Text, plain
from vlmctl.cli.wording import UNKNOWN_CELL, UNKNOWN_CELL_NOTE, gpus
from vlmctl.library.watching import Watch, Watched
from vlmctl.planning.changes import Change, Outlook, Verdict
from vlmctl.planning.running import Running, Totals
from vlmctl.specs.estimates import Basis
from vlmctl.units import show_usd

BASIS_WORDS = {Basis.MEASURED: "measured", Basis.CALIBRATED: "measured nearby", Basis.ESTIMATED: "estimated"}


def data(found: Watch, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer for machines."""
    return {
        "deployments": [{**line, "outlook": each.outlook} for line, each in zip(lines, found.deployments, strict=True)],
        "totals": {**plain(found.totals), "saving_usd_per_hour": saving(found)},
        "gpus": found.gpus,
        "gpus_from": found.gpus_from,
        "measurements": found.measurements,
        "notes": found.notes,
    }


def row(each: Watched) -> dict[str, Any]:
    """A deployment without what could be changed; what is not known is None."""
    status, run = each.deployment.status, each.running or Running(replicas=0)
    known = each.running is not None
    return {
        "namespace": each.deployment.namespace,
        "name": each.deployment.name,
        "model": each.deployment.model,
        "phase": status.phase,
        "precision": run.precision,
        "gpu": run.gpu,
        "gpu_count": run.gpu_count,
        "replicas": each.deployment.wanted_replicas,
        "paid_replicas": run.replicas if known else None,
        "ready_replicas": status.ready_replicas,
        "gpus": run.gpus if known else None,
        "planned_requests_per_second": run.planned_per_second,
        "measured_requests_per_second": run.measured_per_second,
        "drift": run.drift,
        "basis": run.basis if known and run.gpu is not None else None,
        "usd_per_1k": run.usd_per_1k,
        "realised_usd_per_1k": run.realised_usd_per_1k,
        "usd_per_hour": run.usd_per_hour,
        "idle_share": run.idle_share if known else None,
        "idle_gpus": run.idle_gpus if known else None,
        "waste_usd_per_hour": run.waste_usd_per_hour,
    }


def saving(found: Watch) -> float:
    """Dollars per hour that all recommended changes together save at most: two of them may want the same GPUs."""
    outlooks = [each.outlook for each in found.deployments]
    changes = [each.change for each in outlooks if each.verdict is Verdict.RECOMMENDED]
    return sum(each.saved_usd_per_hour for each in changes if each is not None) + sum(
        each.saved_usd_per_hour or 0.0 for each in outlooks
    )


def blocks(found: Watch, *, with_namespace: bool) -> list[Block]:
    """The table, the totals, and what to change."""
    if not found.deployments:
        return [Text("There is no VLMDeployment.")]
    headers = ("Name", "On", "req/s", "Planned", "Drift", "$/1k", "$/hour", "Idle", "Waste/h")
    rows = [_cells(each, with_namespace) for each in found.deployments]
    shown: list[Block] = [Table(headers, rows, right=headers[2:]), Text(_totals(found.totals))]
    shown += [Text(text, bullet=True) for text in _advice(found, with_namespace)]
    return [*shown, Text(_basis(found))]


def _cells(each: Watched, with_namespace: bool) -> tuple[str, ...]:
    run = each.running
    if run is None:
        return (_name(each, with_namespace), each.deployment.status.phase or "new", *[""] * 7)
    return (
        _name(each, with_namespace),
        _placement(run),
        _rate(run.measured_per_second),
        _rate(run.planned_per_second),
        UNKNOWN_CELL if run.drift is None else f"{run.drift:.2f}",
        _usd(run.usd_per_1k),
        _usd(run.usd_per_hour),
        UNKNOWN_CELL if run.idle_share is None else f"{run.idle_share:.0%}",
        _usd(run.waste_usd_per_hour),
    )


def _name(each: Watched, with_namespace: bool) -> str:
    name = each.deployment.name
    return f"{each.deployment.namespace}/{name}" if with_namespace else name


def _placement(run: Running) -> str:
    if run.gpu is None or run.gpu_count is None:
        return UNKNOWN_CELL
    return f"{gpus(run.gpu, run.gpu_count, run.replicas)} {run.precision}"


def _rate(value: float | None) -> str:
    return UNKNOWN_CELL if value is None else f"{value:.3g}"


def _usd(value: float | None) -> str:
    return UNKNOWN_CELL if value is None else show_usd(value)


def _totals(sums: Totals) -> str:
    unpriced = f", {sums.unpriced} of unknown price left out" if sums.unpriced else ""
    uncounted = f", {sums.unknown_load} of unknown load left out" if sums.unknown_load else ""
    share = "" if sums.waste_share is None else f" ({sums.waste_share:.0%})"
    of_known = f" of {show_usd(sums.judged_usd_per_hour)}" if sums.unknown_load else ""
    return (
        f"{sums.deployments} deployments: {show_usd(sums.usd_per_hour)} per hour{unpriced}; of it idle "
        f"{show_usd(sums.waste_usd_per_hour)}{of_known}{share}{uncounted}; {sums.gpus} GPUs, {sums.idle_gpus:.1f} idle."
    )


def _advice(found: Watch, with_namespace: bool) -> list[str]:
    """A sentence for each change that there is, and one for all the deployments with the same reason for none."""
    changes: list[str] = []
    others: dict[str, list[str]] = {}
    for each in found.deployments:
        name, change = _name(each, with_namespace), each.outlook.change
        if each.outlook.replicas is not None:
            changes.append(f"{name}: {_fewer(each.outlook, each.running)}.")
        elif change is None:
            known = each.outlook.verdict is Verdict.CHEAPEST
            reason = "no other GPU or precision is cheaper" if known else f"no advice, as {each.outlook.reason}"
            others.setdefault(reason, []).append(name)
        elif each.outlook.verdict is Verdict.WITHIN_ERROR:
            changes.append(
                f"{name}: no change; {_where(change)} may save {change.saved_share:.0%} $/1k, which the usual error of "
                f"{change.error:.0%} could explain."
            )
        else:
            changes.append(f"{name}: {_change(change, each.running)}.")
    return [*changes, *(f"{', '.join(names)}: {reason}." for reason, names in others.items())]


def _change(change: Change, run: Running | None) -> str:
    """``fp8 on L40S: -41% $/1k and $1.97 an hour; estimated there, measured here, usual error 16%``."""
    here = "measured" if run is not None and run.measured_per_second is not None else "estimated"
    now = run.replicas if run is not None else change.replicas
    count = "" if change.replicas == max(1, now) else f" ({_replicas(change.replicas)} instead of {now})"
    an_hour = f"{show_usd(change.saved_usd_per_hour)} per hour less" if now else "nothing is paid for now"
    saved = f"-{change.saved_share:.0%} $/1k, {an_hour}"
    return (
        f"{_where(change)}{count}: {saved}; "
        f"{BASIS_WORDS[change.basis]} there, {here} here, usual error {change.error:.0%}; price {change.price_source}"
    )


def _fewer(found: Outlook, run: Running | None) -> str:
    """``1 replica instead of 2 serves its load, $4.200 per hour less``; without a price no dollars."""
    now, count = 0 if run is None else run.replicas, found.replicas or 0
    serves = "serves" if count == 1 else "serve"
    saved = f", {show_usd(found.saved_usd_per_hour)} per hour less" if found.saved_usd_per_hour else ""
    return f"{_replicas(count)} instead of {now} {serves} its load{saved}"


def _is_partly_unknown(run: Running | None) -> bool:
    return run is not None and None in (run.gpu, run.drift, run.usd_per_hour, run.idle_share)


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _where(change: Change) -> str:
    return f"{change.precision} on {gpus(change.gpu, change.gpu_count, 1)}"


def _basis(found: Watch) -> str:
    """What the advice rests on."""
    names = ", ".join(found.gpus) or "no GPU with a price"
    rows = f"{found.measurements} measured loads" if found.measurements else "no measurement"
    unknown = [UNKNOWN_CELL_NOTE] if any(_is_partly_unknown(each.running) for each in found.deployments) else []
    return " ".join([*unknown, f"Looked at {names} ({found.gpus_from}), with {rows} of this cluster.", *found.notes])
