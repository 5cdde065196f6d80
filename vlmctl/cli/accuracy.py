"""`vlmctl accuracy`: every row of measurement files predicted, and how far off the predictions are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Heading, Output, Table, Text

if TYPE_CHECKING:
    from vlmctl.specs.accuracy import AccuracyReport, MemorySummary, StartErrors, Summary, Verdicts

app = options.command_app()

TITLES = {"model": "Model", "gpu": "GPU", "engine_version": "Engine", "images": "Requests"}
FIGURES = {"weights_gib": "weights", "available_kv_gib": "KV cache memory", "kv_cache_tokens": "KV cache tokens"}
REFUSALS_SHOWN = 10  # reasons, the most frequent first; JSON names every row


@app.command()
def accuracy(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Serving runs (vlmctl.dev/measurements/v1), or starts (vlmctl.dev/engine-memory/v1).",
        ),
    ],
    basis: Annotated[
        str,
        typer.Option(
            metavar="BASIS",
            help="`estimated`: from the model of the engine alone; `calibrated`: with what the other rows say.",
        ),
    ] = "estimated",
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Compare estimates with measurements.

    Predicts every row and prints the relative error |predicted - measured| / measured of each quantity, over all rows
    and by model, GPU, engine version, and with or without images. A row is never looked up to predict itself. Rows that
    cannot be answered are named with the reason.

    JSON: rows, answered, overall (throughput, ttft, tpot, e2e, requests_per_second: each with rows, median, mean, p90;
    ttft_p95, tpot_p95, e2e_p50, e2e_p95 alike where they were measured;
    weights_gib, available_kv_gib and kv_cache_tokens with absolute_gib beside; oom with rows, right, missed,
    false_alarms), groups (by, value, rows, answered and the quantities), refused (id, reason).
    """
    from vlmctl import library

    known = library.load_catalog(catalog)
    found = library.accuracy(files, basis=library.accuracy_basis(basis), catalog=known)
    shown = Output(output)
    shown.show(_data(found), _page(found) if shown.for_people else (), rows=_flat(found))


def _data(found: AccuracyReport) -> dict[str, Any]:
    groups: list[dict[str, Any]] = [
        {"by": group.by, "value": group.value, "rows": group.rows, "answered": group.answered, **group.quantities}
        for group in found.groups
    ]
    groups += [
        {"by": group.by, "value": group.value, "rows": group.rows, "answered": group.answered, **_figures(group.errors)}
        for group in found.start_groups
    ]
    return {
        "rows": found.rows,
        "answered": found.answered,
        "overall": {**found.serving, **_figures(found.starts)},
        "groups": groups,
        "refused": found.refused,
    }


def _figures(errors: StartErrors) -> dict[str, MemorySummary | Verdicts]:
    return {**errors.figures, "oom": errors.oom}


def _flat(found: AccuracyReport) -> list[dict[str, Any]]:
    """One line for each group and quantity."""
    every: list[tuple[str, str, int, int, Mapping[str, Summary | MemorySummary]]] = [
        ("all", "all", found.rows, found.answered, {**found.serving, **found.starts.figures})
    ]
    every += [(group.by, group.value, group.rows, group.answered, group.quantities) for group in found.groups]
    every += [(group.by, group.value, group.rows, group.answered, group.errors.figures) for group in found.start_groups]
    return [
        {
            "by": by,
            "value": value,
            "rows": rows,
            "answered": answered,
            "quantity": name,
            "measured": summary.rows,
            "median": summary.median,
            "mean": summary.mean,
            "p90": summary.p90,
        }
        for by, value, rows, answered, quantities in every
        for name, summary in quantities.items()
    ]


def _page(found: AccuracyReport) -> list[Block]:
    share = f" ({found.answered / found.rows:.1%})" if found.rows else ""
    text = f"{found.answered:,} of {found.rows:,} rows answered{share}. Errors: |predicted - measured| / measured."
    return [Text(text), *_serving(found), *_starts(found), *_refusals(found)]


def _serving(found: AccuracyReport) -> list[Block]:
    if not found.groups:
        return []
    blocks: list[Block] = [_overall(found.serving)]
    for by, title in TITLES.items():
        rows = [
            (group.value, f"{group.answered}/{group.rows}", *_cells(group.quantities))
            for group in found.groups
            if group.by == by
        ]
        headers = (title, "Rows", "Throughput", "mean", "p90", "TTFT", "TPOT", "E2E")
        blocks.append(Table(headers, rows, right=headers[1:]))
    legend = "Rows: answered of all. Throughput, TTFT, TPOT, E2E: median error; mean and p90 of throughput."
    return [*blocks, Text(legend)]


def _overall(quantities: Mapping[str, Summary]) -> Table:
    rows = [
        (name.replace("_", " "), str(each.rows), percent(each.median), percent(each.mean), percent(each.p90))
        for name, each in quantities.items()
    ]
    headers = ("Quantity", "Rows", "Median", "Mean", "p90")
    return Table(headers, rows, right=headers[1:])


def _cells(quantities: Mapping[str, Summary]) -> tuple[str, ...]:
    throughput = quantities["throughput"]
    others = (percent(quantities[name].median) for name in ("ttft", "tpot", "e2e"))
    return (percent(throughput.median), percent(throughput.mean), percent(throughput.p90), *others)


def _starts(found: AccuracyReport) -> list[Block]:
    """What engines print of their memory at start, text and vision models apart."""
    if not found.start_groups:
        return []
    headers = ("Models", "Figure", "Starts", "Median", "Mean", "p90", "Mean GiB")
    rows = [
        (
            group.value,
            FIGURES[name],
            str(each.rows),
            percent(each.median),
            percent(each.mean),
            percent(each.p90),
            f"{each.absolute_gib.mean:.2f}" if each.absolute_gib else "-",
        )
        for group in found.start_groups
        for name, each in group.errors.figures.items()
    ]
    verdicts = [
        Text(
            f"{group.value}: {group.errors.oom.right} of {group.errors.oom.rows} told whether they start; "
            f"{group.errors.oom.missed} failures missed, {group.errors.oom.false_alarms} false alarms.",
            bullet=True,
        )
        for group in found.start_groups
    ]
    return [Heading("Memory at start"), Table(headers, rows, right=headers[2:]), *verdicts]


def percent(error: float | None) -> str:
    """A relative error for people; a dash where nothing was measured."""
    return "-" if error is None else f"{error:.1%}"


def _refusals(found: AccuracyReport) -> list[Block]:
    if not found.refused:
        return []
    reasons = Counter(each.reason for each in found.refused)
    examples = {each.reason: each.id for each in reversed(found.refused)}
    lines = [
        Text(f"{count} rows, such as {examples[reason]}: {reason}", bullet=True)
        for reason, count in reasons.most_common(REFUSALS_SHOWN)
    ]
    hidden = len(reasons) - len(lines)
    more = [Text(f"{hidden} more reasons: `-o json` names every row.")] if hidden > 0 else []
    return [Heading(f"Not answered: {len(found.refused)} rows"), *lines, *more]
