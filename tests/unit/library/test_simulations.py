"""A model under traffic: what is planned for, what sizes requests have, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import vlmctl
from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.library.simulations import Simulation, simulate
from vlmctl.planning.arrivals import Arrivals, RateCurve
from vlmctl.planning.policies import Grid

FLAT = RateCurve(points=((0.0, 0.5),))
TRACE = Arrivals(
    seconds=[float(second) for second in range(300)],
    duration_seconds=300.0,
    prompt_tokens=[100, 500, 900] * 100,
    output_tokens=[10, 60, 80] * 100,
)
QUICK: dict[str, Any] = {
    "grid": Grid(targets=(0.8,), minimums=(1,)),
    "gpu": "L40S",
    "image": "448x448",
    "ttft": "3s",
}


@pytest.fixture(scope="module")
def catalog() -> vlmctl.Catalog:
    """The shipped catalog."""
    return vlmctl.load_catalog()


@pytest.fixture(scope="module")
def flat(catalog: vlmctl.Catalog) -> Simulation:
    return simulate("qwen2.5-vl-7b", FLAT, days=0.05, catalog=catalog, seed=1, **QUICK)


def test_the_placement_carries_the_mean_rate(flat: Simulation) -> None:
    """The plan is for the traffic's own rate, on what was asked for."""
    assert flat.plan.placement.gpu == "L40S"
    assert flat.plan.workload.requests_per_second == flat.traffic.requests_per_second
    assert flat.traffic.requests_per_second == pytest.approx(0.5, rel=0.15)
    assert flat.comparison.cheapest is not None


def test_a_cold_start_is_estimated_unless_it_is_given(flat: Simulation, catalog: vlmctl.Catalog) -> None:
    """The estimate names what it leaves out; a given time is taken as it is, and policies look as far ahead."""
    assert flat.cold_start_seconds > 30.0
    assert flat.cold_start_unknown
    given = simulate("qwen2.5-vl-7b", FLAT, days=0.05, catalog=catalog, cold_start_seconds=42.0, **QUICK)
    assert (given.cold_start_seconds, given.cold_start_unknown) == (42.0, ())
    scaled = [each for each in given.comparison.outcomes if each.utilization is not None]
    assert {each.policy.lead_seconds for each in scaled} == {42.0}


def test_a_trace_brings_its_sizes(catalog: vlmctl.Catalog) -> None:
    """Means are planned for, the longest request has room, and larger requests take longer."""
    found = simulate("qwen2.5-vl-7b", TRACE, catalog=catalog, **QUICK)
    assert (found.plan.workload.prompt_tokens, found.plan.workload.output_tokens) == (500, 50)
    assert (found.traffic.prompt_tokens, found.traffic.output_tokens) == (500.0, 50.0)
    assert found.plan.placement.settings.max_model_len >= 900 + 80 + found.plan.image_tokens
    first = found.comparison.outcomes[0]
    assert first.ttft_p50_seconds is not None
    assert first.ttft_p95_seconds is not None
    assert first.ttft_p95_seconds > 1.2 * first.ttft_p50_seconds


def test_what_was_asked_for_wins_over_the_trace(catalog: vlmctl.Catalog) -> None:
    """Tokens that are given are every request's; then the trace is but its times."""
    found = simulate("qwen2.5-vl-7b", TRACE, catalog=catalog, prompt_tokens=64, output_tokens=32, **QUICK)
    assert (found.traffic.prompt_tokens, found.traffic.output_tokens) == (64.0, 32.0)
    assert found.plan.workload.output_tokens == 32


def test_images_of_a_trace_are_counted(catalog: vlmctl.Catalog) -> None:
    """Requests with more images are later; the plan takes the mean, rounded up."""
    few, many = (
        simulate(
            "qwen2.5-vl-7b",
            Arrivals(seconds=TRACE.seconds, duration_seconds=300.0, images=[count, 1] * 150),
            catalog=catalog,
            output_tokens=32,
            **QUICK | {"image": "1280x720"},
        )
        for count in (1, 4)
    )
    assert (few.traffic.images, many.traffic.images) == (1.0, 2.5)
    assert many.plan.workload.image_count == 3
    few_p95, many_p95 = (each.comparison.outcomes[-1].ttft_p95_seconds for each in (few, many))
    assert few_p95 is not None
    assert many_p95 is not None
    assert many_p95 > 1.5 * few_p95


def test_without_an_objective_one_is_assumed(catalog: vlmctl.Catalog) -> None:
    """Late needs a limit: where none was asked for, one is taken and said."""
    found = simulate("qwen2.5-vl-7b", FLAT, days=0.02, catalog=catalog, grid=QUICK["grid"], gpu="L40S")
    assert found.plan.objectives.ttft_seconds == 2.0
    assert any("--ttft" in text for text in found.assumptions)


def test_requests_longer_than_the_context_are_refused(catalog: vlmctl.Catalog) -> None:
    """A trace that a model cannot take is an error that says how long its requests are."""
    long = Arrivals(seconds=[0.0], duration_seconds=1.0, prompt_tokens=[60_000], output_tokens=[1])
    with pytest.raises(UnsupportedModel, match="longest request takes 6"):
        simulate("llava-1.5-7b", long, catalog=catalog)


def test_owned_machines_bound_the_fleet(catalog: vlmctl.Catalog) -> None:
    """No more replicas than the owned GPUs carry, at a price that is the same for all policies."""
    found = simulate(
        "qwen2.5-vl-7b", FLAT, days=0.02, catalog=catalog, owned="2xL40S", purchase_usd=9000, ttft="3s", grid=Grid()
    )
    assert max(each.policy.maximum_replicas for each in found.comparison.outcomes) <= 2
    assert len({each.usd for each in found.comparison.outcomes}) == 1


def test_options_come_by_name(catalog: vlmctl.Catalog) -> None:
    """A record of requirements cannot say what was left open, so it is refused."""
    with pytest.raises(InvalidValue):
        simulate("qwen2.5-vl-7b", FLAT, vlmctl.Requirements(), catalog=catalog)
