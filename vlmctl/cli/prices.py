"""`vlmctl prices`: what GPU instances cost to rent, and how today's prices get in."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Output, Table, Text
from vlmctl.units import split_commas

app = options.command_app()


@app.callback(invoke_without_command=True)
def prices(
    context: typer.Context,
    gpu: options.GpuOption = None,
    provider: options.ProviderOption = None,
    region: options.RegionOption = None,
    kind: Annotated[
        list[str] | None, options.option("on-demand, spot or committed; repeatable.", metavar="KIND")
    ] = None,
    max_usd_per_hour: Annotated[
        float | None, options.option("Only instances of at most this price.", min=0, metavar="USD")
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List offers, the cheapest first.

    Sorted by price per GPU and hour, with the day each price was read.

    JSON: an array of objects with provider, region, instance_type, gpu, gpu_count, kind, usd_per_hour,
    usd_per_gpu_hour, as_of, source, note.
    """
    if context.invoked_subcommand is not None:
        return
    from vlmctl import library
    from vlmctl.cli.output import plain

    offers = library.select_offers(
        library.load_catalog(catalog),
        gpus=split_commas(gpu),
        providers=split_commas(provider),
        regions=split_commas(region),
        kinds=split_commas(kind),
        maximum_usd_per_hour=max_usd_per_hour,
    )
    rows = [
        (
            offer.gpu,
            str(offer.gpu_count),
            offer.provider,
            offer.instance_type,
            offer.region,
            offer.kind.value,
            f"{offer.usd_per_hour:,.2f}",
            f"{offer.usd_per_gpu_hour:,.3f}",
            offer.as_of,
        )
        for offer in offers
    ]
    headers = ("GPU", "Count", "Provider", "Instance", "Region", "Kind", "$/h", "$/GPU-h", "As of")
    note = f"{len(rows)} offers. `vlmctl prices refresh` brings today's."
    data = [plain(offer) | {"usd_per_gpu_hour": offer.usd_per_gpu_hour} for offer in offers]
    Output(output).show(data, [Table(headers, rows, right=("Count", "$/h", "$/GPU-h")), Text(note)])


@app.command("refresh")
def refresh_prices(
    provider: Annotated[list[str] | None, options.option("Ask only this provider; repeatable.", metavar="NAME")] = None,
) -> None:
    """Bring today's offers.

    They go into your data folder; the shipped snapshot is left alone. Needs a network and the `catalog` extra
    (gpuhunt). Exit code 4 where nothing answers.
    """
    from vlmctl import library

    out = Output()
    out.note("asking for today's offers ...")
    found = library.refresh_prices(split_commas(provider))
    out.note(f"wrote {len(found.offers)} offers to {found.path}")
    if found.unknown_gpus:
        out.note(f"left out, since the catalog does not hold the GPU: {', '.join(found.unknown_gpus)}")
