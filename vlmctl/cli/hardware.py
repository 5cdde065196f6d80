"""`vlmctl gpus` and `vlmctl prices`: the accelerators that the catalog knows, and what they cost to rent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli.options import CatalogOption, Format, OutputOption, complete_gpus, split_commas
from vlmctl.cli.output import Output, Table, Text

if TYPE_CHECKING:
    from vlmctl.specs.hardware import Catalog, GpuSpec

prices_app = typer.Typer(help="Prices of GPU instances, by price per GPU.", rich_markup_mode=None)


def gpus(catalog: CatalogOption = None, output: OutputOption = Format.TABLE) -> None:
    """List GPUs: memory, bandwidth, dense TFLOP/s, power, and the cheapest offers.

    JSON: an array of the catalog's records, each with `cheapest_on_demand_usd_per_gpu_hour` and
    `cheapest_spot_usd_per_gpu_hour`, null where the catalog holds no offer.
    """
    from vlmctl import library
    from vlmctl.cli import wording
    from vlmctl.cli.output import plain
    from vlmctl.specs.hardware import OfferKind

    known = library.load_catalog(catalog)
    cheapest = {
        (gpu.id, kind): _cheapest(known, gpu, kind)
        for gpu in known.gpus
        for kind in (OfferKind.ON_DEMAND, OfferKind.SPOT)
    }
    data = [
        plain(gpu)
        | {
            "cheapest_on_demand_usd_per_gpu_hour": cheapest[gpu.id, OfferKind.ON_DEMAND],
            "cheapest_spot_usd_per_gpu_hour": cheapest[gpu.id, OfferKind.SPOT],
        }
        for gpu in known.gpus
    ]
    rows = [
        (
            wording.marked(gpu.id, gpu),
            f"{gpu.memory_gib_reported or gpu.memory_gib_nominal:g}",
            f"{gpu.memory_bandwidth_gb_per_second:,.0f}",
            _tflops(gpu.bf16_tflops or gpu.fp16_tflops),
            _tflops(gpu.fp8_tflops),
            _tflops(gpu.tdp_watts),
            _usd(cheapest[gpu.id, OfferKind.ON_DEMAND]),
            _usd(cheapest[gpu.id, OfferKind.SPOT]),
            ", ".join(gpu.served_by) or "none",
        )
        for gpu in known.gpus
    ]
    headers = ("GPU", "GiB", "GB/s", "16-bit", "FP8", "Watts", "$/h", "spot", "Served by")
    note = (
        "GiB: memory that the driver reports where known. 16-bit and FP8: dense TFLOP/s. $/h and spot: cheapest offer "
        f"per GPU and hour, prices as of {wording.price_dates(known.offers)}. {wording.UNVERIFIED_NOTE}"
    )
    Output(output).show(data, [Table(headers, rows, right=headers[1:-1]), Text(note)])


@prices_app.callback(invoke_without_command=True)
def prices(
    context: typer.Context,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="Only this GPU; repeatable.", autocompletion=complete_gpus, show_default=False),
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="Only this provider; repeatable.", show_default=False)
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region; repeatable.", show_default=False)] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="on-demand, spot, owned or committed; repeatable.", show_default=False)
    ] = None,
    max_usd_per_hour: Annotated[
        float | None, typer.Option(help="Only instances of at most this price.", show_default=False, min=0)
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List offers, the cheapest per GPU first, with the date each price was read.

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


@prices_app.command("refresh")
def refresh_prices(
    provider: Annotated[
        list[str] | None, typer.Option(help="Ask only this provider; repeatable.", show_default=False)
    ] = None,
) -> None:
    """Bring today's offers into your data folder; the shipped snapshot is left alone.

    Needs a network and the `catalog` extra (gpuhunt). Exit code 4 where nothing answers.
    """
    from vlmctl import library

    out = Output()
    out.note("asking for today's offers ...")
    path, count = library.refresh_prices(providers=split_commas(provider))
    out.note(f"wrote {count} offers to {path}")


def _cheapest(catalog: Catalog, gpu: GpuSpec, kind: str) -> float | None:
    prices = (offer.usd_per_gpu_hour for offer in catalog.offers if offer.gpu == gpu.id and offer.kind == kind)
    return min(prices, default=None)


def _tflops(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
