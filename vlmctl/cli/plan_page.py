"""What `vlmctl plan` shows of a plan beside its text: the change against an earlier one, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vlmctl.cli.explain import term_tables, title
from vlmctl.cli.output import Block, Heading, Table, Text, plain
from vlmctl.planning.explain import Section
from vlmctl.serving.engine_args import ENGINE_VERSION, ServeArgument
from vlmctl.serving.summary import PlanDiff, PlanSummary
from vlmctl.specs.estimates import Plan
from vlmctl.units import show_gib, show_usd


class Written(NamedTuple):
    """A plan in its written form, and all that its JSON has, by its keys."""

    plan: Plan
    assumptions: tuple[str, ...]
    summary: PlanSummary
    diff: PlanDiff | None
    arguments: Sequence[ServeArgument]
    sections: Sequence[Section] | None
    text: str


def blocks(found: Written) -> list[Block]:
    """What is shown instead of the text; nothing where only that is asked for."""
    shown = [] if found.diff is None else _changes(found.diff)
    if found.sections is not None:
        shown += _explained(found.plan, found.arguments, found.sections)
    return shown


def row(found: Written) -> dict[str, Any]:
    """The plan in a line of CSV."""
    cells: dict[str, Any] = plain(found.summary)
    if found.diff is not None:
        cells |= {f"diff_{name}": value for name, value in plain(found.diff).items() if name != "changed"}
    return cells


def _explained(plan: Plan, arguments: Sequence[ServeArgument], sections: Sequence[Section]) -> list[Block]:
    """The engine's whole command line with its reasons, and the terms of the estimate."""
    cells = [(" ".join(each.words), each.reason) for each in arguments]
    words = Table(("Argument", "Reason"), cells)
    return [Text(title(plan)), Heading(f"Arguments of vLLM {ENGINE_VERSION}"), words, *term_tables(sections)]


def _changes(change: PlanDiff) -> list[Block]:
    rows = [
        ("GPUs", f"{change.gpus:+d}"),
        ("memory taken by the engine", _signed(change.reserved_bytes, show_gib)),
        ("of it weights, activations and graphs", _signed(change.occupied_bytes, show_gib)),
        ("$ per hour", _signed_usd(change.usd_per_hour)),
        ("$ per 1,000 requests", _signed_usd(change.usd_per_1k_requests)),
        ("$ per month", _signed_usd(change.usd_per_month)),
    ]
    blocks: list[Block] = [Heading("Against the earlier plan"), Table(("What", "Change"), rows, right=("Change",))]
    if change.changed:
        blocks.append(Table(("Setting", "Before", "Now"), change.changed))
    else:
        blocks.append(Text("Model, checkpoint, GPU and replicas are the same."))
    return blocks


def _signed(value: float, show: Any) -> str:
    return f"{'-' if value < 0 else '+'}{show(abs(value))}"


def _signed_usd(value: float | None) -> str:
    return "unknown" if value is None else _signed(value, show_usd)
