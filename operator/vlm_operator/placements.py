"""Where a model could run in this cluster: the pools that a spec allows, searched as the planner searches a market."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.names import resolve_gpu
from vlmctl.errors import UnknownName
from vlmctl.planning.calibration import Calibration
from vlmctl.planning.choices import Choice, Setting
from vlmctl.planning.cost import select_offers
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.search import cheapest_placement
from vlmctl.specs.answers import Breach
from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer, OfferKind
from vlmctl.specs.inventory import Inventory, Pool
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Requirements

ONE_NODE = "A replica over several nodes (LeaderWorkerSet) is not served."
CLUSTER = "cluster"  # provider and region of its offers
EVEN_USD_PER_GPU_HOUR = 1.0  # for every GPU without a price, so that the least GPU time per request is the cheapest

NO_POOL = Breach(requirement="gpu", found="no GPU", wanted="one that may be used")

Affordable = Callable[[float], bool]  # of USD per hour of one replica
Offers = Mapping[str, tuple[Offer, ...]]


class Placed(Record, frozen=True, kw_only=True):
    """A placement that was taken, and the setting it was taken in. `priced`: whether its price is a real one."""

    choice: Choice
    setting: Setting
    priced: bool = True


class Search(Record, frozen=True, kw_only=True):
    """What is asked of any placement. `counts`: how many GPUs a replica may have, rising."""

    model: ModelSpec
    demand: RequestDemand
    requirements: Requirements
    counts: tuple[int, ...]
    gpus: Mapping[str, GpuSpec]
    error_bands: tuple[ErrorBand, ...] = ()
    calibration: Calibration | None = None

    def setting(self, offers: Offers) -> Setting:
        """The planner's own words for it."""
        return Setting(
            requirements=self.requirements,
            gpus=self.gpus,
            offers=offers,
            calibration=self.calibration,
            error_bands=self.error_bands,
            gpu_counts=self.counts,
        )

    def cheapest(self, offers: Offers) -> tuple[Choice | None, Breach]:
        """The cheapest placement of all; None, and what comes nearest to serving."""
        return cheapest_placement(self.model, self.demand, self.setting(offers))

    def placed(self, pools: Sequence[Pool], *, affordable: Affordable = lambda _: True) -> Placed | Breach:
        """The cheapest placement on pools with a price, else the one of least GPU time on those without.

        `affordable`: which prices of a replica are. Where nothing serves: what comes nearest on the priced ones.
        """
        nearest: list[Breach] = []
        for priced in (True, False):
            group = [pool for pool in pools if (pool.usd_per_gpu_hour is not None) is priced]
            if not group:
                continue
            offers = select_offers(_offers(group, self.counts, affordable if priced else lambda _: True))
            choice, breach = self.cheapest(offers)
            if choice is not None:
                return Placed(choice=choice, setting=self.setting(offers), priced=priced)
            nearest.append(breach)
        return nearest[0] if nearest else NO_POOL

    def least_per_hour(self, pools: Sequence[Pool]) -> Placed | Breach:
        """The placement whose replica costs least an hour, if any serves; one without a price comes last."""
        priced = [pool for pool in pools if pool.usd_per_gpu_hour is not None]
        for limit in sorted({offer.usd_per_hour for offer in _offers(priced, self.counts, lambda _: True)}):
            placed = self.placed(priced, affordable=limit.__ge__)
            if isinstance(placed, Placed):
                return placed
        return self.placed(pools)


def _offers(pools: Iterable[Pool], counts: Iterable[int], affordable: Affordable) -> Iterator[Offer]:
    """One offer for each number of GPUs that a replica could take of a node, as the rest is left to others."""
    for pool in pools:
        usd = EVEN_USD_PER_GPU_HOUR if pool.usd_per_gpu_hour is None else pool.usd_per_gpu_hour
        for count in counts:
            if count > pool.gpus_per_node or not affordable(usd * count):
                continue
            yield Offer(
                provider=CLUSTER,
                region=CLUSTER,
                instance_type=pool.product,
                gpu=pool.gpu,
                gpu_count=count,
                kind=OfferKind.ON_DEMAND,
                usd_per_hour=usd * count,
                as_of=pool.price_as_of,
                source=pool.price_source,
            )


def allowed_pools(hardware: api.Hardware, inventory: Inventory, catalog: Catalog) -> tuple[Pool, ...]:
    """The pools of the GPU that is asked for, with nodes as large as is asked for; raises Refused where none is."""
    if not inventory.pools:
        raise Refused(
            PlanReason.NO_INVENTORY,
            f"no node has a GPU that plans can be made for, and the chart's values declare none{_left_out(inventory)}.",
        )
    pools = inventory.pools if hardware.gpu == api.AUTO else _of_gpu(hardware.gpu, inventory, catalog)
    if not isinstance(hardware.count, int):
        return pools
    large = tuple(pool for pool in pools if pool.gpus_per_node >= hardware.count)
    if not large:
        most = max(pool.gpus_per_node for pool in pools)
        raise Refused(
            PlanReason.UNSUPPORTED,
            f"spec.hardware.count is {hardware.count}, and no such node has more than {most} GPUs. {ONE_NODE}",
        )
    return large


def _of_gpu(name: str, inventory: Inventory, catalog: Catalog) -> tuple[Pool, ...]:
    """Pools of a GPU by its name in the catalog, or of exactly one product label."""
    labelled = tuple(pool for pool in inventory.pools if pool.product == name)
    if labelled:
        return labelled
    try:
        gpu = resolve_gpu(catalog, name)
    except UnknownName as error:
        raise Refused(PlanReason.INVALID_SPEC, f"spec.hardware.gpu: {error}") from error
    pools = tuple(pool for pool in inventory.pools if pool.gpu == gpu.id)
    if not pools:
        there = ", ".join(sorted({pool.gpu for pool in inventory.pools}))
        raise Refused(
            PlanReason.NO_INVENTORY, f"no node of this cluster has {gpu.id}, only {there}{_left_out(inventory)}."
        )
    return pools


def _left_out(inventory: Inventory) -> str:
    return f" (left out: {'; '.join(inventory.unknown)})" if inventory.unknown else ""
