"""`vlmctl gpus`: the accelerators that the catalog knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Output, Table, Text

if TYPE_CHECKING:
    from vlmctl.specs.hardware import Catalog, GpuSpec

app = options.command_app()


@app.command()
def gpus(catalog: CatalogOption = None, output: OutputOption = Format.TABLE) -> None:
    """List GPUs.

    Memory, bandwidth, dense TFLOP/s, power, and the cheapest offers per GPU.

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
            f"{gpu.memory_gib_reported or gpu.memory_gib_nominal:.1f}",
            f"{gpu.memory_bandwidth_gb_per_second:,.0f}",
            _tflops(gpu.sixteen_bit_tflops),
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


def _cheapest(catalog: Catalog, gpu: GpuSpec, kind: str) -> float | None:
    prices = (offer.usd_per_gpu_hour for offer in catalog.offers if offer.gpu == gpu.id and offer.kind == kind)
    return min(prices, default=None)


def _tflops(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
