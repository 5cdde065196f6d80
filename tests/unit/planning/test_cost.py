"""Prices: which machine is taken, and what the parts of owning one are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_gpu, make_offer
from vlmctl.errors import InvalidValue
from vlmctl.planning.cost import (
    Ownership,
    cheapest_offer,
    owned_cost,
    owned_offer,
    select_offers,
    usd_per_1k_requests,
)
from vlmctl.specs.hardware import OfferKind


def test_machines_are_paid_whole() -> None:
    """Three replicas of one GPU on four-GPU machines cost one machine; five cost two."""
    offers = (make_offer(count=4, usd=4.0),)
    assert cheapest_offer(offers, gpu_count=1, replicas=3) == (offers[0], 4.0)
    assert cheapest_offer(offers, gpu_count=1, replicas=5) == (offers[0], 8.0)


def test_an_open_load_pays_its_share_of_a_filled_machine() -> None:
    """Without a rate one replica of two GPUs costs half of a four-GPU machine."""
    offers = (make_offer(count=4, usd=4.0),)
    assert cheapest_offer(offers, gpu_count=2, replicas=None) == (offers[0], 2.0)


def test_a_replica_never_spans_machines() -> None:
    """Four GPUs of one replica do not come from single-GPU machines."""
    assert cheapest_offer((make_offer(),), gpu_count=4, replicas=1) is None


def test_owned_machines_cannot_be_multiplied() -> None:
    """Three owned GPUs carry three replicas and not four."""
    owned = (owned_offer(make_gpu(), 3, Ownership(purchase_usd=30_000.0), as_of="2026-11-01"),)
    assert cheapest_offer(owned, gpu_count=1, replicas=3) is not None
    assert cheapest_offer(owned, gpu_count=1, replicas=4) is None


def test_owning_is_purchase_and_power_and_operations() -> None:
    """Each part is the arithmetic of its definition, and they add up."""
    gpu = replace(make_gpu(), tdp_watts=500.0)
    ownership = Ownership(
        purchase_usd=26_280.0, years=3, pue=1.5, power_share=0.8, usd_per_kwh=0.2, operations_usd_per_month=73.0
    )
    cost = owned_cost(gpu, ownership)
    assert cost.purchase_usd_per_hour == pytest.approx(1.0)
    assert cost.power_usd_per_hour == pytest.approx(0.12)
    assert cost.operations_usd_per_hour == pytest.approx(0.1)
    assert cost.usd_per_hour == pytest.approx(1.22)


def test_an_unknown_purchase_price_is_asked_for() -> None:
    """No default price is made up."""
    with pytest.raises(InvalidValue, match="purchase price"):
        owned_cost(make_gpu(), Ownership())


def test_filters_choose_offers() -> None:
    """Kind, provider and region narrow the market; of equal machines the cheapest stays."""
    spot = replace(make_offer(usd=0.1), kind=OfferKind.SPOT)
    cheap, dear = make_offer(usd=1.0), make_offer(usd=2.0, provider="other")
    market = [spot, dear, cheap]
    assert select_offers(market) == {"toy-gpu": (cheap,)}
    assert select_offers(market, providers=["OTHER"]) == {"toy-gpu": (dear,)}
    assert select_offers(market, kinds=(OfferKind.SPOT,)) == {"toy-gpu": (spot,)}
    assert select_offers(market, regions=["elsewhere"]) == {}
    both = replace(cheap, region="east/west")
    assert select_offers([both], regions=["West"]) == {"toy-gpu": (both,)}


@given(st.floats(0.01, 100), st.floats(0.001, 1000))
def test_cost_is_price_over_requests(usd: float, rate: float) -> None:
    """1,000 requests take 1,000 / rate seconds of the hourly price."""
    assert usd_per_1k_requests(usd, rate) == pytest.approx(usd / 3600 * 1000 / rate)


def test_nothing_served_costs_without_bound() -> None:
    """At rate 0 the price of a request is infinite, not a division by zero."""
    assert usd_per_1k_requests(1.0, 0.0) == math.inf
