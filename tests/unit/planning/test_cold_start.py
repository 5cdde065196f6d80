"""What a start takes: laws of its terms, and the closed form of stopping when idle against a simulation of it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.plans import PLAN
from tests.support.records import make_gpu, make_model
from vlmctl.errors import InvalidValue
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.cold_start import cold_start, engine_terms, start, start_shape, weight_terms
from vlmctl.planning.scale_to_zero import SECONDS_PER_DAY, scale_to_zero
from vlmctl.specs.cold_start import ColdStart, ScaleToZero, StartConditions, Storage
from vlmctl.specs.estimates import Term
from vlmctl.specs.hardware import OfferKind
from vlmctl.specs.model import Precision

FIGURES = model_figures(make_model(), Precision.BF16)
BIG = make_gpu("big", gib=80.0)
SLOWEST_FIRST = (Storage.HUB, Storage.NETWORK, Storage.NVME, Storage.PAGE_CACHE)


def _start_of(seconds: float) -> ColdStart:
    term = Term(name="all", value=seconds, unit="s", formula="given", source="test")
    return ColdStart(terms=(term,), error_median=0.1, error_p90=0.3)


def _idle(rate: float, *, timeout: float, seconds: float, kind: OfferKind = OfferKind.ON_DEMAND) -> ScaleToZero:
    assert PLAN.cost is not None
    cost = replace(PLAN.cost, offer=replace(PLAN.cost.offer, kind=kind))
    return scale_to_zero(_start_of(seconds), PLAN.speed, cost, requests_per_second=rate, idle_timeout_seconds=timeout)


def test_the_terms_add_up_and_each_says_how() -> None:
    """The sum is what is shown, and nothing is without formula or source."""
    found = cold_start(FIGURES, BIG, gpu_count=1, storage=Storage.HUB, image_cached=False)
    assert found.seconds == pytest.approx(sum(term.value for term in found.terms))
    assert all(term.value > 0 and term.formula and term.source and term.unit == "s" for term in found.terms)
    assert [term.name for term in found.terms][:3] == ["image pull", "weight download", "weight loading"]


def test_slower_storage_never_starts_sooner() -> None:
    """Hub, network, disk, memory: each is faster than the one before."""
    seconds = [cold_start(FIGURES, BIG, gpu_count=1, storage=each).seconds for each in SLOWEST_FIRST]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("found", [{"image_cached": True}, {"compile_cached": True}])
def test_what_is_cached_saves_time(found: dict[str, bool]) -> None:
    """A cache of any kind makes the start shorter."""
    conditions = StartConditions(storage=Storage.NVME)
    bare = start(FIGURES, BIG, gpu_count=1, conditions=conditions)
    assert start(FIGURES, BIG, gpu_count=1, conditions=replace(conditions, **found)).seconds < bare.seconds


def test_a_machine_nobody_timed_is_named_as_unknown() -> None:
    """Its time is never guessed; once given it counts."""
    without = start(FIGURES, BIG, gpu_count=1, conditions=StartConditions())
    given_ = start(FIGURES, BIG, gpu_count=1, conditions=StartConditions(machine_seconds=120.0))
    assert "big" in without.unknown[0]
    assert given_.unknown == ()
    assert given_.seconds == pytest.approx(without.seconds + 120.0)


def test_a_given_speed_replaces_the_published_one() -> None:
    """16 GB at 2 GB/s on one GPU are read in 8 s, whatever the kind of storage usually does."""
    shape = replace(start_shape(FIGURES, 1), checkpoint_bytes=16e9)
    (term,) = weight_terms(shape, Storage.NETWORK, 2.0)
    assert term.value == pytest.approx(8.0)
    assert term.source == "given"


def test_more_gpus_read_faster_but_start_more_processes() -> None:
    """Weights come sooner, workers and NCCL later."""
    one, four = start_shape(FIGURES, 1), start_shape(FIGURES, 4)
    assert sum(t.value for t in weight_terms(four, Storage.NVME)) < sum(
        t.value for t in weight_terms(one, Storage.NVME)
    )
    processes = [
        next(t.value for t in engine_terms(s, compile_cached=True) if t.name == "processes") for s in (one, four)
    ]
    assert processes[1] > processes[0]


def test_hosts_of_small_gpus_take_longer_and_are_less_certain() -> None:
    """Machines with L4 or L40S have slower hosts than those with H100."""
    small = cold_start(FIGURES, make_gpu("small", gib=24.0), gpu_count=1, storage=Storage.NVME)
    large = cold_start(FIGURES, BIG, gpu_count=1, storage=Storage.NVME)
    assert small.seconds > large.seconds
    assert small.error_median > large.error_median


@pytest.mark.parametrize("change", [{"machine_seconds": -1.0}, {"storage_gb_per_second": 0.0}])
def test_impossible_conditions_are_refused(change: dict[str, float]) -> None:
    """Negative times and storage that reads nothing are slips."""
    with pytest.raises(InvalidValue):
        start(FIGURES, BIG, gpu_count=1, conditions=replace(StartConditions(), **change))


@given(st.floats(1e-6, 10.0), st.floats(0.0, 7200.0), st.floats(1.0, 1800.0))
def test_a_day_of_stopping_never_exceeds_a_day(rate: float, timeout: float, seconds: float) -> None:
    """Paid time is at most the day and made of starting, idle and busy; shares are shares."""
    found = _idle(rate, timeout=timeout, seconds=seconds)
    paid = found.paid_seconds_per_day
    assert 0 < paid <= SECONDS_PER_DAY * (1 + 1e-9)
    parts = found.starting_seconds_per_day + found.idle_seconds_per_day + found.busy_seconds_per_day
    assert parts == pytest.approx(paid, rel=1e-6)
    assert 0 < found.waiting_share <= 1 + 1e-9
    assert found.usd_per_day <= found.always_on_usd_per_day * (1 + 1e-9)


@given(st.floats(1e-5, 0.1), st.floats(10.0, 1800.0))
def test_a_longer_timeout_starts_less_often_and_costs_more(rate: float, timeout: float) -> None:
    """Waiting longer before stopping trades money for fewer starts."""
    short, long = (_idle(rate, timeout=t, seconds=180.0) for t in (timeout, 2 * timeout))
    assert long.starts_per_day <= short.starts_per_day
    assert long.usd_per_day >= short.usd_per_day * (1 - 1e-9)


def test_machines_that_are_paid_anyway_save_nothing() -> None:
    """Owned and committed machines cost the same when they stand still."""
    found = _idle(0.0005, timeout=60.0, seconds=100.0, kind=OfferKind.OWNED)
    assert found.usd_per_day == found.always_on_usd_per_day


def test_the_closed_form_agrees_with_drawn_arrivals() -> None:
    """Starts and paid time per day are those of a day by day replay of random arrivals."""
    rate, timeout, seconds = 0.004, 300.0, 150.0
    found = _idle(rate, timeout=timeout, seconds=seconds)
    rng, served, days = random.Random(7), PLAN.speed.e2e_seconds, 400
    now = starts = paid = waiting = count = 0.0
    stops_at, ready_at = -math.inf, -math.inf
    while now < days * SECONDS_PER_DAY:
        now += rng.expovariate(rate)
        count += 1
        if now >= stops_at:
            starts += 1
            ready_at = now + seconds
            paid += seconds
            stops_at = ready_at
        end = max(now, ready_at) + served + timeout
        waiting += now < ready_at
        paid += max(0.0, end - stops_at)
        stops_at = max(stops_at, end)
    assert found.starts_per_day == pytest.approx(starts / days, rel=0.02)
    assert found.paid_seconds_per_day == pytest.approx(paid / days, rel=0.02)
    assert found.waiting_share == pytest.approx(waiting / count, rel=0.03)


@pytest.mark.parametrize(("rate", "timeout"), [(0.0, 60.0), (math.nan, 60.0), (1.0, -1.0), (1.0, math.inf)])
def test_no_rate_or_timeout_is_refused(rate: float, timeout: float) -> None:
    """Without arrivals nothing starts, and a timeout has an end."""
    with pytest.raises(InvalidValue):
        _idle(rate, timeout=timeout, seconds=60.0)
