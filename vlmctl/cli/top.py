"""`vlmctl top`: all deployments, what each costs and wastes, and what would make it cheaper."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.cluster_options import AllNamespacesOption, ContextOption, NamespaceOption, cluster_and_namespace
from vlmctl.cli.options import CatalogOption, Format, OutputOption, complete_gpus
from vlmctl.cli.output import Output, write

if TYPE_CHECKING:
    from vlmctl.library.watching import Watch

app = options.command_app()

SHORTEST_WATCH_SECONDS = 1.0


class Order(StrEnum):
    """What comes first."""

    COST = "cost"
    WASTE = "waste"
    DRIFT = "drift"


@app.command()
def top(
    namespace: NamespaceOption = None,
    all_namespaces: AllNamespacesOption = False,
    sort: Annotated[
        Order,
        typer.Option(help="First: what costs most an hour, wastes most, or is furthest below its plan."),
    ] = Order.COST,
    gpus: Annotated[
        list[str] | None,
        options.option(
            "Look for changes on this GPU; repeatable; all: every one of the catalog. If not said: those of the "
            "cluster's nodes, or where these may not be read what deployments run on.",
            metavar="GPU",
            autocompletion=complete_gpus,
        ),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(min=SHORTEST_WATCH_SECONDS, metavar="SECONDS", help="Show it anew as often.", show_default=False),
    ] = None,
    context: ContextOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what all deployments cost, and what would be cheaper.

    For each: planned against measured, dollars per hour now, what of it is idle, and at most one change of GPU or
    precision: the planner's answer for its model, requests and objectives, with measurements of the cluster taken in.
    No change is named that the estimates' usual error could explain, or that costs more an hour for the same capacity.
    Whether a GPU is free is not looked at. Needs the `cluster` extra, and the verb list of vlmdeployments; of
    vlmbenchmarks and nodes where allowed.

    JSON: an object with deployments, totals, gpus and more; docs/json.md names their keys.
    """
    from vlmctl import library
    from vlmctl.cli import top_page
    from vlmctl.cli.live import shown_again
    from vlmctl.library.watching import watch as look
    from vlmctl.units import split_commas

    cluster, where = cluster_and_namespace(namespace, all_namespaces, context)
    known, asked, out = library.load_catalog(catalog), split_commas(gpus), Output(output)

    def show(before: str = "") -> None:
        found = _sorted(look(known, cluster, where, gpus=asked), sort)
        lines = [top_page.row(each) for each in found.deployments]
        write(before)
        out.show(top_page.data(found, lines), top_page.blocks(found, with_namespace=where is None), rows=lines)

    if watch is None:
        show()
    else:
        shown_again(show, seconds=watch)


def _sorted(found: Watch, order: Order) -> Watch:
    """In the order that is asked for; what is not known comes last, and names decide between equals."""
    from msgspec.structs import replace

    def key(place: int) -> tuple[bool, float, int]:
        run = found.deployments[place].running
        if run is None:
            return (True, 0.0, place)
        value = {
            Order.COST: run.usd_per_hour,
            Order.WASTE: run.waste_usd_per_hour,
            Order.DRIFT: None if run.drift is None else -run.drift,
        }[order]
        return (value is None, -(value or 0.0), place)

    places = sorted(range(len(found.deployments)), key=key)
    return replace(found, deployments=tuple(found.deployments[place] for place in places))
