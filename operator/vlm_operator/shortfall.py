"""Why nothing fits, for people: the sum of the memory, what would fit nearly as asked, and which node would do."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from vlm_operator.placements import ONE_NODE, Placed, Search
from vlmctl.planning.choices import allowed_offers
from vlmctl.planning.fit import fit
from vlmctl.planning.placement import GPU_COUNTS
from vlmctl.planning.search import checkpoints
from vlmctl.specs.answers import Breach, FitReport
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.inventory import Inventory, Pool
from vlmctl.specs.workload import Requirements
from vlmctl.units import show_gib

MEMORY = frozenset({"memory", "gpu"})  # requirements that are broken for lack of memory, or of a GPU that runs it
NEAREST_FITS = 3


def nothing_fits(search: Search, breach: Breach, pools: Sequence[Pool], inventory: Inventory, catalog: Catalog) -> str:
    """The whole message; the same for the same spec and kinds of nodes. `pools`: those that the spec allows."""
    model, restricted = search.model.id, len(pools) < len(inventory.pools)
    gpus = "GPU of this cluster that spec.hardware allows" if restricted else "GPU of this cluster"
    report = _roomiest(search, pools) if breach.requirement in MEMORY else None
    if report is not None and not report.fits:
        sentences = [f"{model} fits no {gpus}.", _sum(report), *_nearest(report, pools)]
    else:
        sentences = [f"{model}: no {gpus} does what is asked. {breach.text}."]
    sentences.append(_elsewhere(search, inventory, catalog))
    if breach.requirement in MEMORY:
        sentences.append(ONE_NODE)
    return " ".join(sentences)


def _roomiest(search: Search, pools: Sequence[Pool]) -> FitReport | None:
    """The placement of the cluster that comes nearest to holding the model, of those with the most memory."""
    places = [
        (search.gpus[pool.gpu], count)
        for pool in pools
        for count in search.counts
        if count <= pool.gpus_per_node and count in GPU_COUNTS
    ]
    if not places:
        return None
    gpu, count = max(places, key=lambda place: (place[0].memory_bytes * place[1], place[0].id))
    workload = search.requirements.workload
    precisions = [precision for precision, _ in checkpoints(search.model, search.requirements.quantizations)]
    reports = [fit(search.model, gpu, workload, gpu_count=count, precision=each) for each in precisions]
    return min(reports, key=lambda report: (bool(report.runs), report.shortfall_bytes), default=None)


def _sum(report: FitReport) -> str:
    """The ledger of one GPU in a sentence."""
    memory = report.memory
    where = f"{report.gpu_count}x {report.gpu}"
    if report.runs:
        return f"On {where}: {report.runs}."
    terms = " + ".join(f"{item.name} {show_gib(item.bytes)}" for item in memory.items)
    needed = max(memory.kv_bytes_per_sequence, memory.longest_sequence_bytes)
    return (
        f"On {where} ({report.quantization}), each of {show_gib(memory.gpu_bytes)}, of which vLLM takes "
        f"{show_gib(memory.budget_bytes)}: {terms} + KV cache of one request {show_gib(needed)}, "
        f"{show_gib(report.shortfall_bytes)} too much."
    )


def _nearest(report: FitReport, pools: Sequence[Pool]) -> list[str]:
    """Ways out that this cluster has nodes for."""
    largest = max((pool.gpus_per_node for pool in pools if pool.gpu == report.gpu), default=0)
    ways = [way.change for way in report.ways_out if way.gpu == report.gpu and way.gpu_count <= largest]
    return [f"There it would fit with {', or '.join(ways[:NEAREST_FITS])}."] if ways else []


def _elsewhere(search: Search, inventory: Inventory, catalog: Catalog) -> str:
    """GPUs of the cluster that would do were others allowed, else the cheapest of the market."""
    anywhere = replace(search, counts=GPU_COUNTS, calibration=None)
    placed = anywhere.placed(inventory.pools)
    if isinstance(placed, Placed):
        return f"{placed.choice.gpu_count}x {placed.choice.gpu.id}, which this cluster has, would do."
    choice, breach = anywhere.cheapest(allowed_offers(catalog.offers, Requirements()))
    if choice is None:
        return f"No GPU of the catalog would do: {breach.text}."
    return f"A node with {choice.gpu_count}x {choice.gpu.id} would do."
