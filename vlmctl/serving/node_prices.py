"""What a GPU of a node costs an hour: by the node's instance type and region, else by any list price of that GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vlmctl.specs.hardware import Catalog, Offer, OfferKind

INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
REGION_LABEL = "topology.kubernetes.io/region"
# How node provisioners mark machines that may be taken back: Karpenter, EKS, GKE, AKS.
SPOT_LABELS = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}


class Price(NamedTuple):
    """USD for one GPU and hour, where that is from, and the day it was read."""

    usd_per_gpu_hour: float
    source: str
    as_of: str


def node_price(labels: Mapping[str, str], gpu: str, catalog: Catalog) -> Price | None:
    """The list price of a machine of the node's type, in its region where the catalog has that; None where it has none.

    Of several offers the cheapest: the catalog does not know what a cluster's owner agreed on.
    """
    instance_type, region = labels.get(INSTANCE_TYPE_LABEL), labels.get(REGION_LABEL, "").lower()
    spot = any(labels.get(label) == value for label, value in SPOT_LABELS.items())
    kind = OfferKind.SPOT if spot else OfferKind.ON_DEMAND
    alike = [
        offer
        for offer in catalog.offers
        if offer.instance_type == instance_type and offer.gpu == gpu and offer.kind is kind
    ]
    here = [offer for offer in alike if offer.covers((region,))]
    offer = _cheapest(here or alike)
    if offer is None:
        return None
    elsewhere = "" if here else ", not of this region"
    return Price(offer.usd_per_gpu_hour, f"{listed(offer)}{elsewhere}", offer.as_of)


def list_price(gpu: str, catalog: Catalog) -> Price | None:
    """The lowest on-demand price of that GPU anywhere, said to be that; None where the catalog has none."""
    offer = _cheapest([each for each in catalog.offers if each.gpu == gpu and each.kind is OfferKind.ON_DEMAND])
    if offer is None:
        return None
    return Price(offer.usd_per_gpu_hour, f"{listed(offer)}, not this cluster's", offer.as_of)


def dearer(one: Price | None, other: Price | None) -> Price | None:
    """The higher of two prices; one that is not known is left to the other."""
    return max((price for price in (one, other) if price is not None), key=lambda price: price[0], default=None)


def _cheapest(offers: list[Offer]) -> Offer | None:
    return min(offers, key=lambda offer: (offer.usd_per_gpu_hour, offer.provider, offer.region), default=None)


def listed(offer: Offer) -> str:
    """Which price it is, for people."""
    return f"list price of {offer.provider} {offer.instance_type} in {offer.region}, {offer.kind.value}"
