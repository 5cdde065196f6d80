"""Laws of what runs: shares and sums add up, and what is not known stays unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from vlmctl.planning.running import Running, replica_usd_per_hour, totals

RATES = st.floats(0.01, 1_000.0)
USD = st.floats(0.01, 1_000.0)
RUNNING = st.builds(
    Running,
    replicas=st.integers(0, 50),
    gpu=st.just("L4"),
    gpu_count=st.none() | st.integers(1, 8),
    planned_per_second=st.none() | RATES,
    measured_per_second=st.none() | RATES,
    usd_per_hour_of_replica=st.none() | USD,
    realised_replica_hours_per_1k=st.none() | st.floats(0.01, 1_000.0),
)
READER = Running(
    replicas=2,
    gpu_count=4,
    planned_per_second=2.0,
    measured_per_second=1.0,
    usd_per_hour_of_replica=3.6,
    realised_replica_hours_per_1k=4.0 / 3.6,
)


def test_a_deployment_by_hand() -> None:
    """One request a second at 3.60 an hour costs a dollar per 1,000; paid are four, so a quarter is used."""
    assert READER.drift == 0.5
    assert READER.usd_per_1k == pytest.approx(1.0)
    assert READER.planned_usd_per_1k == pytest.approx(0.5)
    assert READER.load_share == pytest.approx(0.25)
    assert READER.gpus == 8
    assert READER.idle_gpus == pytest.approx(6.0)
    assert READER.waste_usd_per_hour == pytest.approx(5.4)


@given(RUNNING)
def test_load_and_idleness_are_shares_of_what_is_paid(run: Running) -> None:
    """Nobody wastes more than is paid, nor less than nothing; used and idle are the whole."""
    if run.idle_share is not None:
        assert 0.0 <= run.idle_share <= 1.0
        if run.replicas:
            assert run.load_share is not None
            assert run.load_share + run.idle_share == pytest.approx(1.0)
    if run.waste_usd_per_hour is not None:
        assert run.usd_per_hour is not None
        assert 0.0 <= run.waste_usd_per_hour <= run.usd_per_hour


def test_what_answers_nothing_is_all_idle() -> None:
    """Also where an older figure is still there, or none."""
    for realised in (4.0, None):
        quiet = replace(READER, realised_replica_hours_per_1k=realised, answers_nothing=True)
        assert (quiet.idle_share, quiet.waste_usd_per_hour) == (1.0, pytest.approx(7.2))


def test_the_idle_share_is_of_the_money_whose_load_is_known() -> None:
    """A deployment that nobody has counted is neither busy nor idle."""
    both = totals([READER, replace(READER, realised_replica_hours_per_1k=None, usd_per_hour_of_replica=100.0)])
    assert (both.usd_per_hour, both.judged_usd_per_hour) == (pytest.approx(207.2), pytest.approx(7.2))
    assert both.waste_share == pytest.approx(0.75)
    assert totals([]).waste_share is None


@given(RUNNING)
def test_what_is_not_known_stays_unknown(run: Running) -> None:
    """Without a price there is no cost, without counted requests no load, without a measurement no drift."""
    unpriced = replace(run, usd_per_hour_of_replica=None)
    assert unpriced.usd_per_hour is unpriced.usd_per_1k is unpriced.waste_usd_per_hour is None
    assert unpriced.idle_share == run.idle_share
    uncounted = replace(run, replicas=run.replicas + 1, realised_replica_hours_per_1k=None)
    assert uncounted.idle_share is uncounted.idle_gpus is uncounted.waste_usd_per_hour is None
    assert replace(run, measured_per_second=None).drift is None


@given(RUNNING)
def test_replicas_that_are_not_there_are_not_idle(run: Running) -> None:
    """Scaled to zero nothing is paid or idle, whatever was before."""
    none = replace(run, replicas=0)
    assert (none.gpus, none.idle_share, none.idle_gpus) == (0, 0.0, 0.0)
    assert none.waste_usd_per_hour in (None, 0.0)


@given(st.lists(st.none() | RUNNING), st.lists(st.none() | RUNNING))
def test_totals_add_up(some: list[Running | None], others: list[Running | None]) -> None:
    """The totals of two groups are those of all, and each deployment is counted or said to be left out."""
    one, two, both = totals(some), totals(others), totals([*some, *others])
    for name in both.__struct_fields__:
        assert getattr(both, name) == pytest.approx(getattr(one, name) + getattr(two, name))
    known = [run for run in some if run is not None]
    assert one.usd_per_hour == pytest.approx(sum(run.usd_per_hour or 0.0 for run in known))
    assert one.unpriced == sum(run.usd_per_hour is None for run in known)
    assert one.waste_usd_per_hour <= one.usd_per_hour * (1 + 1e-9)


@given(USD, st.integers(1, 50), RATES)
def test_a_replicas_price_is_found_with_and_without_replicas(usd: float, replicas: int, rate: float) -> None:
    """From the hourly price of all, or, where none are there, from that of a request."""
    assert replica_usd_per_hour(
        usd_per_hour=usd * replicas, replicas=replicas, usd_per_1k=None, requests_per_second=None
    ) == pytest.approx(usd)
    per_1k = usd / rate / 3.6
    assert replica_usd_per_hour(
        usd_per_hour=0.0, replicas=0, usd_per_1k=per_1k, requests_per_second=rate
    ) == pytest.approx(usd)
    assert replica_usd_per_hour(usd_per_hour=None, replicas=3, usd_per_1k=None, requests_per_second=rate) is None
