"""A service that stops when idle, as options of `vlmctl cost`, as data and as a page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vlmctl.cli import wording
from vlmctl.cli.output import Block, Facts, Heading, Table, Text, plain
from vlmctl.errors import InvalidValue
from vlmctl.library import costs
from vlmctl.library.lookup import known_spellings
from vlmctl.specs.cold_start import ScaleToZero, StartConditions, Storage
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import ModelSpec
from vlmctl.units import SECONDS_PER_HOUR, parse_duration_seconds, show_seconds, show_usd

IDLE_TIMEOUT = "10m"
ROWS_SHOWN = 12
OF_ESTIMATE = ("storage", "storage_speed", "machine_start", "image_cached", "compile_cached")
TERMS = ("idle_timeout", "cold_start", *OF_ESTIMATE)
WHERE = ("gpu", "gpu_count", "replicas", "provider", "region", "instance_type", "kind")


class Idling(NamedTuple):
    """When a service stops, and what its next start finds, or takes where that is given."""

    timeout_seconds: float
    conditions: StartConditions
    cold_start_seconds: float | None


def idling(said: Mapping[str, Any]) -> Idling | None:
    """The options that were given, understood; None where nobody asked. Raises InvalidValue for what cannot be."""
    if not said.get("scale_to_zero"):
        if said:
            option = next(iter(said)).replace("_", "-")
            raise InvalidValue(f"--{option} says how a stopped service starts.", remedy="Add --scale-to-zero.")
        return None
    cold_start = said.get("cold_start")
    part = next((each for each in OF_ESTIMATE if each in said), None)
    if cold_start is not None and part is not None:
        raise InvalidValue(
            f"--{part.replace('_', '-')} is part of the estimate, which --cold-start replaces.",
            remedy="Leave one of the two out.",
        )
    storage = known_spellings("storage", [said.get("storage", Storage.HUB.value)], [each.value for each in Storage])[0]
    machine = said.get("machine_start")
    conditions = StartConditions(
        storage=Storage(storage),
        storage_gb_per_second=said.get("storage_speed"),
        image_cached=bool(said.get("image_cached")),
        compile_cached=bool(said.get("compile_cached")),
        machine_seconds=None if machine is None else parse_duration_seconds(machine),
    )
    timeout = parse_duration_seconds(said.get("idle_timeout", IDLE_TIMEOUT))
    return Idling(timeout, conditions, None if cold_start is None else parse_duration_seconds(cold_start))


def stopped(model: ModelSpec, plans: Sequence[Plan], catalog: Catalog, idle: Idling) -> tuple[ScaleToZero, ...]:
    """Each plan's service stopped when idle; raises InvalidValue where no rate was asked for."""
    return tuple(
        costs.stop_when_idle(
            model,
            plan,
            catalog,
            idle.conditions,
            idle_timeout_seconds=idle.timeout_seconds,
            cold_start_seconds=idle.cold_start_seconds,
        )
        for plan in plans
    )


def data(options: Sequence[Mapping[str, Any]], found: Sequence[ScaleToZero]) -> list[dict[str, Any]]:
    """What machines read: each option's place with its figures."""
    return [
        {name: option[name] for name in WHERE}
        | plain(each)
        | {"cold_start_seconds": each.cold_start.seconds, "cold_start": plain(each.cold_start)}
        for option, each in zip(options, found, strict=False)
    ]


def blocks(plans: Sequence[Plan], found: Sequence[ScaleToZero]) -> list[Block]:
    """What people read: a line an offer, and the start of the cheapest one term by term."""
    if not found:
        return []
    headers = ("GPU", "Provider", "Kind", "Start", "Starts", "Paid", "$/day", "Always", "Wait", "First")
    first, start = found[0], found[0].cold_start
    timeout = show_seconds(first.idle_timeout_seconds)
    table = Table(
        headers, [_row(plan, each) for plan, each in zip(plans, found, strict=True)][:ROWS_SHOWN], right=headers[3:]
    )
    note = (
        f"Stopped once idle for {timeout}, started by the next request. Start: until it serves; Starts, Paid: per day; "
        "Always: a day that never stops; Wait: share of requests that come while it is stopped or starting; First: "
        "time to first token of the one that wakes it. Machines are paid from the wish for them; owned and committed "
        "ones all day."
    )
    unknown = f" Not counted: {'; '.join(start.unknown)} (--machine-start)." if start.unknown else ""
    band = f"Starts are off by {start.error_median:.0%} at the median, {start.error_p90:.0%} at the 90th percentile."
    return [
        Heading("Stopped when idle"),
        table,
        Text(note + unknown),
        Heading("The start on the cheapest"),
        Facts([(term.name, f"{show_seconds(term.value)}: {term.formula}") for term in start.terms]),
        *([Text(band)] if start.error_p90 > 0 else []),
    ]


def _row(plan: Plan, found: ScaleToZero) -> tuple[str, ...]:
    assert plan.cost is not None
    offer = plan.cost.offer
    return (
        wording.gpus(plan.placement.gpu, plan.placement.gpu_count, plan.cost.replicas),
        offer.provider,
        offer.kind.value,
        show_seconds(found.cold_start.seconds),
        f"{found.starts_per_day:.1f}",
        f"{found.paid_seconds_per_day / SECONDS_PER_HOUR:.1f} h",
        show_usd(found.usd_per_day),
        show_usd(found.always_on_usd_per_day),
        f"{found.waiting_share:.0%}",
        show_seconds(found.first_ttft_seconds),
    )
