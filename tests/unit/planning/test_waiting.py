"""Queueing: limits that are known exactly, and quantiles that are the inverse of shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.planning.waiting import (
    MEDIAN,
    P95,
    Distribution,
    decoding_time,
    quantile,
    queue_seconds,
    queued_quantile,
    queued_share_below,
    share_below,
    share_queued,
    wait_among_others,
    wait_for_step,
)

DISTRIBUTIONS = st.builds(
    lambda least, above, variation: Distribution(least, least + above, (variation * above) ** 2),
    st.floats(0.0, 5.0),
    st.floats(0.01, 5.0),
    st.floats(0.05, 1.0),
)


def test_without_other_prompts_one_waits_for_half_a_step() -> None:
    """An idle queue: the rest of a step of fixed length, uniform between nothing and all of it."""
    for wait in (wait_for_step(0.02, 0.1, 0.0), wait_among_others(0.02, 0.1, 0.0)):
        assert (wait.mean, wait.beside) == (pytest.approx(0.01), 0.0)
        assert wait.variance == pytest.approx(0.02**2 / 12)


@given(st.floats(0.0, 0.1), st.floats(0.001, 1.0), st.floats(0.0, 0.9), st.floats(0.0, 0.09))
def test_waits_grow_with_the_load(step: float, prefill: float, busy: float, more: float) -> None:
    """More prompts never wait less, and no variance is negative."""
    for wait in (wait_for_step, wait_among_others):
        if step == 0.0 and wait is wait_among_others:
            continue
        low, high = wait(step, prefill, busy), wait(step, prefill, busy + more)
        assert 0.0 <= low.mean <= high.mean * (1 + 1e-9)
        assert low.variance >= -1e-12


@given(st.floats(1e-7, 1e-5))
def test_the_limit_of_no_decoding(step: float) -> None:
    """Steps without decoding are the limit of very short ones."""
    none, short = wait_for_step(0.0, 0.1, 0.5), wait_for_step(step, 0.1, 0.5)
    assert none.mean == pytest.approx(short.mean, rel=1e-3)
    assert none.variance == pytest.approx(short.variance, rel=1e-3)


def test_a_busy_period() -> None:
    """Prefills alone lengthen decoding as the busy period of M/D/1 does: a / (1 - u), variance u s a / (1 - u)^3."""
    found = decoding_time(2.0, 0.0, 0.1, 4.0)
    assert found.mean == pytest.approx(2.0 / 0.6)
    assert found.variance == pytest.approx(0.4 * 0.1 * 2.0 / 0.6**3)


def test_one_place_is_a_queue_with_one_server() -> None:
    """With a single place: utilization is the share that waits, and the mean wait that of M/D/1."""
    service, busy = 2.0, 0.6
    share = share_queued(busy, 1)
    assert share == pytest.approx(busy)
    wait = share * queue_seconds(1.0 / service, busy / service)
    assert wait == pytest.approx(service * busy / (2 * (1 - busy)))


@given(st.floats(0.01, 64.0), st.integers(1, 64), st.floats(0.0, 50.0))
def test_shares_that_queue(used: float, places: int, variance: float) -> None:
    """A share is one, grows as more vary, and is 1 where more is used than there is."""
    share = share_queued(used, places)
    assert 0.0 <= share <= share_queued(used, places, variance) * (1 + 1e-9) <= 1.0 + 1e-9
    assert used < places or share == 1.0


@given(DISTRIBUTIONS)
def test_shares_are_the_inverse_of_quantiles(found: Distribution) -> None:
    """Half is below the median, 95% below the 95th percentile, and the former comes first."""
    assert found.least <= quantile(found, MEDIAN) < quantile(found, P95)
    assert share_below(found, quantile(found, MEDIAN)) == pytest.approx(0.5, abs=1e-6)
    assert share_below(found, quantile(found, P95)) == pytest.approx(0.95, abs=1e-4)


def test_exponential_quantiles() -> None:
    """Variation 1 is the exponential distribution, whose quantiles are logarithms."""
    found = Distribution(1.0, 2.0, 1.0)
    assert quantile(found, P95) == pytest.approx(1.0 + math.log(20), rel=0.01)
    assert quantile(found, MEDIAN) == pytest.approx(1.0 + math.log(2), rel=0.01)


@given(DISTRIBUTIONS, st.floats(0.0, 1.0), st.floats(0.0, 10.0), st.floats(0.0, 20.0), st.floats(0.0, 5.0))
def test_a_queue_makes_all_later(found: Distribution, share: float, queued: float, limit: float, more: float) -> None:
    """A queue never brings a percentile forward, and a looser limit is never met by fewer."""
    assert queued_quantile(found, share, queued, P95) >= quantile(found, P95)
    below = queued_share_below(found, share, queued, limit)
    assert 0.0 <= below <= queued_share_below(found, share, queued, limit + more) + 1e-9
    assert below <= 1.0 + 1e-9


def test_what_does_not_vary() -> None:
    """Without variance every quantile is the mean, which a limit lets through or not."""
    still = Distribution(1.0, 1.5, 0.0)
    assert quantile(still, P95) == quantile(still, MEDIAN) == 1.5
    assert (share_below(still, 1.4), share_below(still, 1.5)) == (0.0, 1.0)
