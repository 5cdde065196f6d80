"""docs/cost-matrix.md: a published cost table, its arithmetic reproduced, beside what physics and prices allow."""

from __future__ import annotations

from typing import Any

import yaml

from vlmctl.catalog.folders import shipped_folder
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_gpu, resolve_model
from vlmctl.errors import VlmctlError
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.cost import cheapest_offer, select_offers, usd_per_1k_requests
from vlmctl.planning.demand import request_demand
from vlmctl.planning.memory import memory_ledger
from vlmctl.planning.placement import Evaluation, engine_settings, evaluate
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import ImageInput, Objectives, Workload
from vlmctl.units import SECONDS_PER_HOUR

PAGE = "cost-matrix.md"
IMAGE_SIDE = 1024  # the table does not state its image; one megapixel is a usual photo or scan at screen resolution
BAND = "images-new-model"  # of the models of the table hardly any was measured
COLUMNS = (
    "model",
    "GPU",
    "claimed: requests/s",
    "claimed: $/1k",
    "implied: $/h",
    "price today: $/h",
    "estimated: requests/s",
    "$/1k",
)
INTRODUCTION = """\
# A published cost table, worked out again

<!-- Written by `make docs`; edit docs/generate/cost_matrix.py. -->

Source: {source}. One image and {output_tokens} output tokens per request,
weights in 16 bit. The table does not state the image; {side}x{side} pixels and 64 prompt tokens are assumed here.

The implied price is the one that makes the table's own figures agree: $ per 1,000 requests x requests per second x 3.6.
The estimate is the saturated throughput, the most that the GPU can do; its error band on published measurements is
{median:.0%} (median) and {p90:.0%} (90th percentile). Dollars are the price of today over that throughput, a floor;
without a current offer for the GPU the implied price is used, and said so.
"""


def render() -> str:
    """The page, worked out from the shipped catalog."""
    catalog = load_catalog()
    table = yaml.safe_load((shipped_folder() / "cost_matrix.yaml").read_text(encoding="utf-8"))
    workload = Workload(
        images=(ImageInput(width_pixels=IMAGE_SIDE, height_pixels=IMAGE_SIDE),), output_tokens=table["output_tokens"]
    )
    offers = select_offers(catalog.offers)
    judged = [_judge(row, catalog, offers, workload) for row in table["rows"]]
    band = next(each for each in catalog.error_bands if each.id == BAND)
    introduction = INTRODUCTION.format(
        source=table["source"],
        output_tokens=table["output_tokens"],
        side=IMAGE_SIDE,
        median=band.throughput.median,
        p90=band.throughput.p90,
    )
    header = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"
    lines = [introduction, header, *(line for line, _ in judged), "\nRow by row:\n", *(remark for _, remark in judged)]
    return "\n".join(lines) + "\n"


def implied_usd_per_hour(row: dict[str, Any]) -> float:
    """The hourly price at which the row's throughput gives the row's cost."""
    return float(row["usd_per_1k_requests"]) / 1000 * row["requests_per_second"] * SECONDS_PER_HOUR


def _judge(
    row: dict[str, Any], catalog: Catalog, offers: dict[str, tuple[Offer, ...]], workload: Workload
) -> tuple[str, str]:
    """The row as a line of the table, and the remark under it."""
    implied = implied_usd_per_hour(row)
    count = row["gpu_count"]
    gpu = resolve_gpu(catalog, row["gpu"])
    found = cheapest_offer(offers.get(gpu.id, ()), gpu_count=count, replicas=None)
    hourly, price = (found[1], f"{found[1]:.2f} ({found[0].provider})") if found else (implied, "no current offer")
    rate, remark = _throughput(row, catalog, gpu, workload)
    ours = f"{rate:.1f}" if rate else "does not run"
    cost = f"{usd_per_1k_requests(hourly, rate):.3f}" + ("" if found else " (implied price)") if rate else "-"
    line = (
        f"| {row['model']} | {count}x {gpu.id} | {row['requests_per_second']:g} | {row['usd_per_1k_requests']:.2f} | "
        f"{implied:.2f} | {price} | {ours} | {cost} |"
    )
    notes = " ".join(text for text in (remark, row.get("remark", "")) if text)
    return line, f"- **{row['model']}**: {notes}"


def _throughput(row: dict[str, Any], catalog: Catalog, gpu: GpuSpec, workload: Workload) -> tuple[float | None, str]:
    """Saturated requests per second on the row's hardware, or None, and what stands against the claim."""
    if "catalog_model" not in row:
        return None, "No such model to estimate."
    model = resolve_model(catalog, row["catalog_model"])
    try:
        evaluation, kv_gb = saturated(model, gpu, row["gpu_count"], workload)
    except VlmctlError as error:
        return None, str(error)
    if evaluation.obstacle is not None:
        return None, f"Does not fit: {kv_gb:.1f} GB are left for the KV cache after weights and activations."
    ratio = row["requests_per_second"] / evaluation.capacity
    side = f"{ratio:.1f} times the estimate" if ratio >= 1 else f"{1 / ratio:.1f} times below the estimate"
    return (
        evaluation.capacity,
        f"{kv_gb:.1f} GB of KV cache hold {evaluation.sequences} requests at once; the claimed throughput is {side}.",
    )


def saturated(model: ModelSpec, gpu: GpuSpec, count: int, workload: Workload) -> tuple[Evaluation, float]:
    """A replica at the most that it can do, and its KV cache in GB; raises UnsupportedModel."""
    figures = model_figures(model, model.precision)
    demand = request_demand(model, workload)
    settings = engine_settings(model, gpu, workload, demand)
    ledger = memory_ledger(figures, gpu, demand, settings, gpu_count=count)
    evaluation = evaluate(figures, gpu, demand, settings, gpu_count=count, objectives=Objectives())
    return evaluation, ledger.kv_cache_bytes / 1e9
