"""Which GPUs the deployments of a cluster could run on, and at what price each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from vlmctl.catalog.names import resolve_gpu
from vlmctl.planning.choices import allowed_offers
from vlmctl.planning.placement import GPU_COUNTS
from vlmctl.planning.running import Running
from vlmctl.serving.inventory import inventory
from vlmctl.serving.node_prices import listed
from vlmctl.specs.hardware import Catalog, Offer, OfferKind
from vlmctl.specs.inventory import Pool
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Requirements

EVERY_GPU = "all"  # among names of GPUs: those of the catalog
CLUSTER = "cluster"  # provider and region of what is there already
PAID = "as deployments of this cluster pay"


class Market(Record, frozen=True, kw_only=True):
    """Offers by GPU. `most_gpus`: how many there are, where nodes tell; `source`: where the choice of GPUs is from."""

    offers: Mapping[str, tuple[Offer, ...]]
    most_gpus: Mapping[str, int]
    source: str


def market(
    catalog: Catalog,
    *,
    asked: Sequence[str] = (),
    nodes: Iterable[Mapping[str, Any]] | None = None,
    runs: Iterable[Running] = (),
) -> Market:
    """GPUs that are asked for by name, else those of the nodes and of what runs.

    A GPU of the cluster costs what deployments pay for it, the dearest; else the list price of its node; one that the
    cluster does not have costs what it is offered for. `nodes` of None: they may not be read. Raises UnknownName.
    """
    running = list(runs)
    pools = inventory(nodes or (), (), catalog).pools
    here = {gpu: _pool_offers(gpu, pools, running) for gpu in _gpus(pools, running)}
    most = {gpu: sum(each.nodes * each.gpus_per_node for each in pools if each.gpu == gpu) for gpu in _gpus(pools, ())}
    source = "the nodes" if pools else "what the deployments run on"
    wanted: Iterable[str] = here
    if asked:
        source = "as asked"
        every = [gpu.id for gpu in catalog.gpus]
        named = [every if name.lower() == EVERY_GPU else [resolve_gpu(catalog, name).id] for name in asked]
        wanted = sorted({gpu for gpus in named for gpu in gpus})
    elsewhere = allowed_offers(catalog.offers, Requirements())
    offers = {
        gpu: here.get(gpu) or tuple(replace(each, source=listed(each)) for each in elsewhere.get(gpu, ()))
        for gpu in wanted
    }
    return Market(
        offers={gpu: found for gpu, found in sorted(offers.items()) if found},
        most_gpus={gpu: count for gpu, count in most.items() if here.get(gpu)},
        source=source,
    )


def _gpus(pools: Iterable[Pool], running: Iterable[Running]) -> list[str]:
    return sorted({each.gpu for each in pools} | {each.gpu for each in running if each.gpu is not None})


def _pool_offers(gpu: str, pools: Sequence[Pool], running: Sequence[Running]) -> tuple[Offer, ...]:
    """One for each number of GPUs that a node holds; none where no price is known."""
    own = [each for each in pools if each.gpu == gpu]
    used = [(each.gpu_count, each.usd_per_hour_of_replica) for each in running if each.gpu == gpu and each.gpu_count]
    paid = [usd / count for count, usd in used if count and usd]
    priced = [each for each in own if each.usd_per_gpu_hour is not None]
    if paid:
        usd, source, as_of = max(paid), PAID, "unknown"
    elif priced:
        dearest = max(priced, key=lambda each: each.usd_per_gpu_hour or 0.0)
        usd, source, as_of = dearest.usd_per_gpu_hour or 0.0, dearest.price_source, dearest.price_as_of
    else:
        return ()
    most = max([each.gpus_per_node for each in own] + [count or 0 for count, _ in used])
    return tuple(
        Offer(
            provider=CLUSTER,
            region=CLUSTER,
            instance_type=gpu,
            gpu=gpu,
            gpu_count=count,
            kind=OfferKind.ON_DEMAND,
            usd_per_hour=usd * count,
            as_of=as_of,
            source=source,
        )
        for count in GPU_COUNTS
        if count <= most
    )
