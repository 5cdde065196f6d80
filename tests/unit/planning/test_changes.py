"""Laws of advice: never dearer, never what an error could explain, never more than there is, the same in any order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_catalog, make_model
from vlmctl.planning.changes import Verdict, outlook
from vlmctl.planning.choices import Choice, Setting, allowed_offers
from vlmctl.planning.corrected import Correction
from vlmctl.planning.demand import request_demand
from vlmctl.planning.running import Running
from vlmctl.planning.search import cheapest_placement
from vlmctl.specs.error_bands import ErrorBand, Novelty, Spread, Workloads
from vlmctl.specs.estimates import Basis
from vlmctl.specs.workload import ImageInput, Requirements, Workload

BAND = ErrorBand(
    id="toy",
    workloads=Workloads.IMAGES,
    novelty=Novelty.NONE,
    basis="made up",
    rows=10,
    throughput=Spread(median=0.2, p90=0.5),
)
WORKLOAD = Workload(images=(ImageInput(width_pixels=900, height_pixels=600),))


def _choices() -> tuple[Choice, ...]:
    """The cheapest placement on each GPU of a small market."""
    catalog, model = make_catalog(), make_model()
    asked = Requirements(workload=WORKLOAD)
    offers = allowed_offers(catalog.offers, asked)
    found = []
    for gpu, own in offers.items():
        setting = Setting(
            requirements=asked, gpus={each.id: each for each in catalog.gpus}, offers={gpu: own}, error_bands=(BAND,)
        )
        choice, _ = cheapest_placement(model, request_demand(model, WORKLOAD), setting)
        assert choice is not None
        found.append(choice)
    return tuple(found)


CHOICES = _choices()
RUNNING = st.builds(
    Running,
    replicas=st.integers(0, 20),
    fewest_replicas=st.integers(0, 5),
    precision=st.just("bf16"),
    gpu=st.sampled_from([choice.gpu.id for choice in CHOICES]),
    gpu_count=st.sampled_from([1, 2]),
    planned_per_second=st.floats(0.1, 100.0),
    planned_error=st.floats(0.0, 2.0),
    measured_per_second=st.none() | st.floats(0.1, 100.0),
    usd_per_hour_of_replica=st.floats(0.1, 50.0),
)


def test_a_change_by_hand() -> None:
    """A replica at 36 dollars that serves 1 request a second is beaten by any of the market, the cheapest an hour."""
    run = Running(
        replicas=2,
        precision="bf16",
        gpu="none of these",
        gpu_count=1,
        planned_per_second=1.0,
        measured_per_second=1.0,
        usd_per_hour_of_replica=36.0,
    )
    found = outlook(run, CHOICES)
    assert found.verdict is Verdict.RECOMMENDED
    assert found.change is not None
    best = min(CHOICES, key=lambda choice: math.ceil(2.0 / choice.usable) * choice.usd_per_hour)
    assert found.change.gpu == best.gpu.id
    assert found.change.usd_per_hour == pytest.approx(math.ceil(2.0 / best.usable) * best.usd_per_hour)
    assert found.change.saved_usd_per_hour == pytest.approx(72.0 - found.change.usd_per_hour)
    assert found.change.error == pytest.approx(0.2)


BUSY = Running(
    replicas=4,
    precision="bf16",
    gpu="none of these",
    gpu_count=1,
    planned_per_second=1.0,
    measured_per_second=1.0,
    usd_per_hour_of_replica=3.6,
    target_utilization=0.8,
)


@pytest.mark.parametrize(
    ("realised", "fewest", "expected"),
    [(1.0, 1, None), (1.9, 1, 3), (4.0, 1, 2), (100.0, 1, 1), (100.0, 3, 3), (100.0, 0, 1)],
)
def test_fewer_replicas_are_named_where_they_serve_the_load(realised: float, fewest: int, expected: int | None) -> None:
    """1,000 requests take 1/3.6 hours of replicas that are never idle; what they really take tells the load."""
    run = replace(BUSY, realised_replica_hours_per_1k=realised / 3.6, realised_replicas=4.0, fewest_replicas=fewest)
    found = outlook(run, ())
    assert found.replicas == expected
    assert (found.verdict is Verdict.FEWER_REPLICAS) is (expected is not None)
    if expected is not None:
        assert found.saved_usd_per_hour == pytest.approx((4 - expected) * 3.6)
    unpriced = outlook(replace(run, usd_per_hour_of_replica=None), ())
    assert (unpriced.replicas, unpriced.saved_usd_per_hour) == (expected, None)
    assert outlook(replace(run, is_scaled=True), ()).verdict is Verdict.CHEAPEST
    assert outlook(replace(run, realised_replicas=None), ()).verdict is Verdict.CHEAPEST


@pytest.mark.parametrize(("now", "expected"), [(4, 2), (3, 2), (2, None), (1, None)])
def test_what_was_there_when_the_requests_came_tells_their_load(now: int, expected: int | None) -> None:
    """Four replicas had the load of 1.2: that is still so when there are fewer, and no further one is to go."""
    run = replace(BUSY, replicas=now, realised_replica_hours_per_1k=1 / 3.6 / 0.3, realised_replicas=4.0)
    assert outlook(run, ()).replicas == expected


def test_the_change_that_saves_more_is_named() -> None:
    """Another GPU for all of the capacity, or fewer of the present one; never both."""
    run = replace(BUSY, usd_per_hour_of_replica=36.0, realised_replica_hours_per_1k=10.4 / 36.0, realised_replicas=4.0)
    other = outlook(run, CHOICES)
    assert (other.verdict, other.replicas) == (Verdict.RECOMMENDED, None)
    idle = outlook(replace(run, answers_nothing=True, fewest_replicas=0), CHOICES)
    assert (idle.verdict, idle.change, idle.replicas) == (Verdict.FEWER_REPLICAS, None, 0)


def test_replicas_that_are_not_there_save_nothing() -> None:
    """What a change would cost is still said, and why it is cheaper."""
    change = outlook(replace(BUSY, replicas=0, usd_per_hour_of_replica=36.0), CHOICES).change
    assert change is not None
    assert change.saved_usd_per_hour == 0
    assert change.saved_share > 0


@given(RUNNING)
def test_nothing_dearer_is_ever_recommended(run: Running) -> None:
    """Less per request even where the estimate falls short, and less an hour for no less capacity and replicas."""
    found = outlook(run, CHOICES)
    if found.verdict is not Verdict.RECOMMENDED:
        return
    change = found.change
    assert change is not None
    assert run.usd_per_1k is not None
    assert run.usd_per_hour_of_replica is not None
    assert run.requests_per_second is not None
    now = max(1, run.replicas)
    assert change.usd_per_1k * (1 + change.error) / min(1.0, run.drift or 1.0) < run.usd_per_1k
    assert change.usd_per_hour < run.usd_per_hour_of_replica * now
    assert change.requests_per_second * change.replicas >= run.requests_per_second * now * (1 - 1e-6)
    assert change.replicas >= min(run.fewest_replicas, now)
    assert (change.precision, change.gpu, change.gpu_count) != (run.precision, run.gpu, run.gpu_count)


@given(RUNNING, st.permutations(CHOICES))
def test_the_order_of_choices_does_not_matter(run: Running, shuffled: list[Choice]) -> None:
    """The same advice from the same choices."""
    assert outlook(run, shuffled) == outlook(run, CHOICES)


@given(RUNNING, st.floats(0.0, 3.0))
def test_a_wider_error_recommends_no_more(run: Running, more: float) -> None:
    """What is not recommended with little doubt is not with more of it."""
    unmeasured = replace(run, measured_per_second=None)
    doubted = replace(unmeasured, planned_error=(unmeasured.planned_error or 0.0) + more)
    if outlook(doubted, CHOICES).verdict is Verdict.RECOMMENDED:
        assert outlook(unmeasured, CHOICES).verdict is Verdict.RECOMMENDED


@given(RUNNING)
def test_what_is_not_known_is_not_advised_on(run: Running) -> None:
    """Without a price, a placement or an error there is no advice, and it is said why."""
    for unknown in (
        replace(run, usd_per_hour_of_replica=None),
        replace(run, gpu=None, gpu_count=None, precision=None),
        replace(run, measured_per_second=None, planned_error=None),
    ):
        found = outlook(unknown, CHOICES)
        assert (found.verdict, found.change, bool(found.reason)) == (Verdict.UNKNOWN, None, True)


@given(RUNNING)
def test_no_more_gpus_are_advised_than_there_are(run: Running) -> None:
    """A change that needs more than the nodes have is none."""
    change = outlook(run, CHOICES).change
    if change is not None:
        held = {change.gpu: change.replicas * change.gpu_count - 1}
        other = outlook(run, CHOICES, most_gpus=held).change
        assert other is None or other.gpu != change.gpu


class TestShortfall:
    RUN = Running(
        replicas=1,
        precision="bf16",
        gpu="none of these",
        gpu_count=1,
        planned_per_second=1.0,
        usd_per_hour_of_replica=1.0,
    )

    def run(self, choice: Choice, share: float, drift: float) -> Running:
        """One whose price per request is `share` of the choice's, and which reached `drift` of its plan."""
        rate = choice.usable
        return replace(
            self.RUN,
            planned_per_second=rate / drift,
            measured_per_second=rate,
            usd_per_hour_of_replica=choice.usd_per_hour * share,
        )

    def test_an_estimate_is_taken_to_fall_short_as_this_one_did(self) -> None:
        """Where half of the plan was measured, half as cheap by another estimate is no gain."""
        (choice, *_) = CHOICES
        assert outlook(self.run(choice, 2.0, 1.0), [choice]).verdict is Verdict.RECOMMENDED
        assert outlook(self.run(choice, 2.0, 0.5), [choice]).verdict is Verdict.WITHIN_ERROR

    def test_but_not_where_measurements_correct_it(self) -> None:
        """What was measured nearby has its shortfall in it."""
        measured = replace(CHOICES[0], correction=Correction(basis=Basis.CALIBRATED))
        found = outlook(self.run(measured, 2.0, 0.5), [measured])
        assert (found.verdict, found.change and found.change.basis) == (Verdict.RECOMMENDED, Basis.CALIBRATED)

    def test_what_costs_nothing_is_never_changed(self) -> None:
        """Free GPUs are not beaten."""
        assert outlook(replace(self.RUN, usd_per_hour_of_replica=0.0, planned_error=0.1), CHOICES).verdict is (
            Verdict.CHEAPEST
        )
