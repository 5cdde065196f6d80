"""Money: which offers carry a placement, for how much an hour, and what a request then costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from vlmctl.errors import InvalidValue
from vlmctl.specs.estimates import CostEstimate
from vlmctl.specs.hardware import GpuSpec, Offer, OfferKind
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Workload
from vlmctl.units import HOURS_PER_MONTH, SECONDS_PER_HOUR

HOURS_PER_YEAR = 8760


class Ownership(Record, frozen=True, kw_only=True):
    """What it costs to own a GPU. Each part is shown apart, with these defaults.

    `purchase_usd`: one GPU with its share of the server; None: the catalog's, refused where that is unknown.
    `pue`: facility power over IT power (Uptime Institute survey 2024, mean 1.56); `power_share`: average draw over TDP.
    """

    purchase_usd: float | None = None
    years: float = 3.0
    pue: float = 1.56
    power_share: float = 0.7
    usd_per_kwh: float = 0.15
    operations_usd_per_month: float = 30.0  # per GPU: space, network, hands


class OwnedCost(Record, frozen=True, kw_only=True):
    """USD per hour of one owned GPU, by part."""

    purchase_usd_per_hour: float
    power_usd_per_hour: float
    operations_usd_per_hour: float

    @property
    def usd_per_hour(self) -> float:
        """All parts together."""
        return self.purchase_usd_per_hour + self.power_usd_per_hour + self.operations_usd_per_hour


def owned_cost(gpu: GpuSpec, ownership: Ownership) -> OwnedCost:
    """Hourly cost of owning one GPU: price over its years, TDP x share x PUE x price of energy, and operations.

    Raises InvalidValue where nobody knows the purchase price, or the lifetime is not above 0.
    """
    purchase = ownership.purchase_usd if ownership.purchase_usd is not None else gpu.purchase_usd
    if purchase is None:
        raise InvalidValue(
            f"the purchase price of {gpu.id} is unknown.",
            remedy="Give it with --purchase-usd (per GPU, server included).",
        )
    if ownership.years <= 0:
        raise InvalidValue("owned GPUs need a lifetime above 0 years.", remedy="Set --years.")
    kilowatts = (gpu.tdp_watts or 0.0) / 1000 * ownership.power_share * ownership.pue
    return OwnedCost(
        purchase_usd_per_hour=purchase / (ownership.years * HOURS_PER_YEAR),
        power_usd_per_hour=kilowatts * ownership.usd_per_kwh,
        operations_usd_per_hour=ownership.operations_usd_per_month / HOURS_PER_MONTH,
    )


def owned_offer(gpu: GpuSpec, count: int, ownership: Ownership, *, as_of: str) -> Offer:
    """Owned GPUs as an offer: one machine with all of them, paid by the hour they exist."""
    return Offer(
        provider="owned",
        region="own",
        instance_type=f"{count}x{gpu.id}",
        gpu=gpu.id,
        gpu_count=count,
        kind=OfferKind.OWNED,
        usd_per_hour=owned_cost(gpu, ownership).usd_per_hour * count,
        as_of=as_of,
        source="purchase, power and operations as given",
    )


def select_offers(
    offers: Iterable[Offer],
    *,
    kinds: Sequence[OfferKind] = (OfferKind.ON_DEMAND, OfferKind.COMMITTED),
    providers: Sequence[str] = (),
    regions: Sequence[str] = (),
) -> dict[str, tuple[Offer, ...]]:
    """By GPU: the offers that a price can be taken from, cheapest first; of equal machines only the cheapest.

    Filters compare without case; an offer valid in several regions ("a/b", "any") matches each of them.
    """
    wanted_providers = {name.lower() for name in providers}
    wanted_regions = {name.lower() for name in regions}
    cheapest: dict[tuple[str, int], Offer] = {}
    for offer in offers:
        if offer.kind not in kinds or (wanted_providers and offer.provider.lower() not in wanted_providers):
            continue
        if wanted_regions and not offer.covers(wanted_regions):
            continue
        known = cheapest.get((offer.gpu, offer.gpu_count))
        if known is None or _order(offer) < _order(known):
            cheapest[offer.gpu, offer.gpu_count] = offer
    by_gpu: dict[str, list[Offer]] = {}
    for offer in sorted(cheapest.values(), key=_order):
        by_gpu.setdefault(offer.gpu, []).append(offer)
    return {gpu: tuple(found) for gpu, found in by_gpu.items()}


def cheapest_offer(offers: Sequence[Offer], *, gpu_count: int, replicas: int | None) -> tuple[Offer, float] | None:
    """The offer that carries the replicas for the least, and USD per hour for all of them; None where none can.

    A replica never spans machines, and machines are paid whole. With `replicas` None the load is open: the price is one
    replica's share of a machine that is filled with replicas. Owned machines cannot be multiplied.
    """
    best: tuple[Offer, float] | None = None
    for offer in offers:
        per_machine = offer.gpu_count // gpu_count
        if not per_machine:
            continue
        machines = 1 / per_machine if replicas is None else -(-replicas // per_machine)
        if offer.kind is OfferKind.OWNED and machines > 1:
            continue
        price = machines * offer.usd_per_hour
        if best is None or price < best[1]:
            best = (offer, price)
    return best


def usd_per_1k_requests(usd_per_hour: float, requests_per_second: float) -> float:
    """Dollars per 1,000 requests at a rate that is really served; infinite at rate 0."""
    if requests_per_second <= 0:
        return math.inf
    return usd_per_hour / (requests_per_second * SECONDS_PER_HOUR) * 1000


def cost_estimate(
    offer: Offer,
    *,
    usd_per_hour: float,
    replicas: int,
    gpu_count: int,
    capacity_per_replica: float,
    served_per_second: float,
    workload: Workload,
    tokens_per_request: int,
) -> CostEstimate:
    """Costs of a load. `capacity_per_replica`: saturated requests/s; `served_per_second`: over all replicas."""
    per_1k = usd_per_1k_requests(usd_per_hour, served_per_second)
    images = workload.image_count
    return CostEstimate(
        offer=offer,
        replicas=replicas,
        gpus=replicas * gpu_count,
        usd_per_hour=usd_per_hour,
        utilization=served_per_second / (capacity_per_replica * replicas),
        usd_per_1k_requests=per_1k,
        saturated_usd_per_1k_requests=usd_per_1k_requests(usd_per_hour, capacity_per_replica * replicas),
        usd_per_month=usd_per_hour * HOURS_PER_MONTH,
        usd_per_1k_images=per_1k / images if images else None,
        usd_per_million_tokens=per_1k / 1000 / tokens_per_request * 1e6,
    )


def _order(offer: Offer) -> tuple[float, int, str, str, str, str]:
    return (offer.usd_per_hour, offer.gpu_count, offer.provider, offer.region, offer.instance_type, offer.kind.value)
