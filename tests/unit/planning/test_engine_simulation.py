"""The simulated engine by itself, and the planner's closed forms beside it."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.replicas import REPLICAS, ReplicaCase, replica_case
from vlmctl.errors import InvalidValue
from vlmctl.planning.engine_simulation import (
    Simulated,
    output_lengths,
    poisson_arrivals,
    simulate_closed_loop,
    simulate_open_loop,
)
from vlmctl.planning.engine_steps import BLOCK_TOKENS, Engine, EngineLimits
from vlmctl.planning.latencies import latencies
from vlmctl.planning.speed import Speed
from vlmctl.planning.throughput import closed_loop, open_loop, requests_per_second, step_seconds
from vlmctl.specs.workload import Objectives

CASES = {name: replica_case(name) for name in REPLICAS}
REQUESTS = 3000  # of an open loop: a 95th percentile is then known to some percent
OPEN_SHARES = (0.1, 0.4, 0.6, 0.8)  # of the saturated rate
UNHURRIED = Speed(
    dense_read=0.01,
    expert_read=0.0,
    expert_share=0.0,
    kv_read=0.0001,
    step_compute=0.00001,
    overhead=0.001,
    overhead_per_sequence=0.00001,
    prefill=0.05,
    prefill_latency=0.052,
    encoder=0.01,
    request=0.03,
    host=0.0,
    host_workers=4,
    output_tokens=50,
)
ROOMY = EngineLimits(prompt_tokens=500, max_num_batched_tokens=8192, max_num_seqs=256, kv_tokens=10**6)


@cache
def _open(case: ReplicaCase, share: float, objectives: Objectives | None = None) -> tuple[float, Simulated]:
    rate = share * requests_per_second(case.coefficients, case.room)
    arrivals = poisson_arrivals(rate, REQUESTS, random.Random(7))
    found = simulate_open_loop(
        case.coefficients,
        replace(case.limits, max_num_seqs=case.room),
        arrivals=arrivals,
        outputs=[case.output_tokens] * REQUESTS,
        objectives=objectives or Objectives(),
        warm_up=REQUESTS // 6,
    )
    return rate, found


class TestEngine:
    def test_one_request_takes_what_its_parts_take(self) -> None:
        """Alone: what is outside the engine, the prefill, and a step for each token after the first."""
        (served,) = Engine(UNHURRIED, ROOMY, [50]).run([2.0])
        assert served.ttft == pytest.approx(0.03 + 0.052 - 0.001 + UNHURRIED.overhead - 0.001, abs=0.002)
        assert served.tpot == pytest.approx(step_seconds(UNHURRIED, 1))
        assert served.e2e == pytest.approx(served.ttft + 49 * served.tpot)

    def test_a_prompt_above_the_budget_comes_in_parts(self) -> None:
        """Long prompts are spread over steps, and others decode meanwhile."""
        long = replace(ROOMY, prompt_tokens=4000, max_num_batched_tokens=1000)
        first, second = Engine(UNHURRIED, long, [100, 100]).run([0.0, 0.2])
        assert first.ttft == pytest.approx(0.03 + UNHURRIED.prefill + 4 * UNHURRIED.overhead)
        assert first.tpot > step_seconds(UNHURRIED, 1)
        assert second.ttft > first.ttft

    def test_the_first_to_come_is_the_first_to_be_answered(self) -> None:
        """With one place in the batch requests are served one after the other, in their order."""
        served = Engine(UNHURRIED, replace(ROOMY, max_num_seqs=1), [10, 10, 10]).run([0.0, 0.01, 0.02])
        assert [each.arrived_at for each in served] == [0.0, 0.01, 0.02]
        assert all(later.first_token_at > one.finished_at for one, later in pairwise(served))

    def test_images_wait_for_a_worker_of_the_host(self) -> None:
        """Two workers prepare two requests at once; the third waits for one of them."""
        slow = replace(UNHURRIED, host=1.0, host_workers=2)
        served = sorted(Engine(slow, ROOMY, [5, 5, 5]).run([0.0, 0.0, 0.0]), key=lambda each: each.first_token_at)
        assert served[1].ttft < 1.3
        assert served[2].ttft > 2.0

    def test_a_full_cache_sends_the_last_admitted_back(self) -> None:
        """Sequences that outgrow the KV cache are preempted and still answered in full, later than with room."""
        tight = replace(ROOMY, kv_tokens=40 * BLOCK_TOKENS, prompt_tokens=128)
        arrivals, outputs = [0.0] * 6, [200] * 6
        full, free = Engine(UNHURRIED, tight, outputs), Engine(UNHURRIED, replace(tight, kv_tokens=10**6), outputs)
        late, early = full.run(arrivals), free.run(arrivals)
        assert (full.preemptions > 0, free.preemptions) == (True, 0)
        assert len(late) == len(early) == 6
        assert full.now > free.now

    def test_a_request_longer_than_the_cache_is_refused(self) -> None:
        """What never fits is said, not waited for."""
        with pytest.raises(InvalidValue, match="does not fit"):
            Engine(UNHURRIED, replace(ROOMY, kv_tokens=540), [50])

    @given(
        st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30).map(sorted),
        st.integers(1, 8),
        st.integers(40, 80),
        st.randoms(use_true_random=False),
    )
    @settings(max_examples=60, deadline=None)
    def test_everything_is_given_back(
        self, arrivals: list[float], places: int, blocks: int, rng: random.Random
    ) -> None:
        """However tight, every request is answered once, in a causal order, and the whole cache is free again."""
        limits = EngineLimits(
            prompt_tokens=100, max_num_batched_tokens=256, max_num_seqs=places, kv_tokens=blocks * BLOCK_TOKENS
        )
        outputs = [
            min(each, 40 * BLOCK_TOKENS - 100) for each in output_lengths(150, len(arrivals), rng, variation=0.6)
        ]
        engine = Engine(UNHURRIED, limits, outputs)
        served = engine.run(arrivals)
        assert sorted(each.arrived_at for each in served) == arrivals
        assert all(each.arrived_at < each.first_token_at <= each.finished_at for each in served)
        assert engine.free_blocks == blocks


@pytest.mark.parametrize("name", REPLICAS)
@pytest.mark.parametrize("concurrency", [1, 4, 16, 64, 200])
def test_throughput_of_closed_loops(name: str, concurrency: int) -> None:
    """With requests of one length always in flight, simulated and closed forms agree within 2%."""
    case = CASES[name]
    if concurrency > case.room:
        pytest.skip("does not fit")
    outputs = [case.output_tokens] * (6 * concurrency)
    found = simulate_closed_loop(
        case.coefficients, case.limits, concurrency=concurrency, outputs=outputs, warm_up=2 * concurrency
    )
    load = closed_loop(case.coefficients, concurrency)
    assert load.rate == pytest.approx(found.rate, rel=0.02)
    assert found.preemptions == 0


@pytest.mark.parametrize("name", REPLICAS)
@pytest.mark.parametrize("concurrency", [4, 16, 64])
def test_latencies_of_closed_loops(name: str, concurrency: int) -> None:
    """With answers of many lengths: TPOT and its 95th percentile within 10%, TTFT within 40%, its 95th within 50%."""
    case = CASES[name]
    if concurrency > case.room:
        pytest.skip("does not fit")
    outputs = output_lengths(case.output_tokens, 32 * concurrency, random.Random(1), variation=0.5)
    found = simulate_closed_loop(
        case.coefficients, case.limits, concurrency=concurrency, outputs=outputs, warm_up=4 * concurrency
    )
    load = closed_loop(case.coefficients, concurrency)
    assert load.tpot == pytest.approx(found.tpot.mean, rel=0.1)
    assert load.tpot_p95 == pytest.approx(found.tpot.p95, rel=0.1)
    assert load.ttft == pytest.approx(found.ttft.mean, rel=0.4)
    assert load.ttft_p95 == pytest.approx(found.ttft.p95, rel=0.5)


@pytest.mark.parametrize("name", REPLICAS)
@pytest.mark.parametrize("share", OPEN_SHARES)
def test_latencies_of_open_loops(name: str, share: float) -> None:
    """At random arrivals: means within 6% (12% at 80% of saturation), medians 15%, 95th percentiles 20%."""
    case = CASES[name]
    rate, found = _open(case, share)
    load = open_loop(case.coefficients, rate, maximum=case.room)
    shown = latencies(load, Objectives(), output_tokens=case.output_tokens)
    near = 0.12 if share > 0.6 else 0.06
    assert load.ttft == pytest.approx(found.ttft.mean, rel=near)
    assert load.tpot == pytest.approx(found.tpot.mean, rel=near)
    assert shown.e2e == pytest.approx(found.e2e.mean, rel=near)
    assert load.ttft_p95 == pytest.approx(found.ttft.p95, rel=0.2)
    assert load.tpot_p95 == pytest.approx(found.tpot.p95, rel=0.2)
    assert shown.e2e_p95 == pytest.approx(found.e2e.p95, rel=0.2)
    assert shown.ttft_p50 == pytest.approx(found.ttft.p50, rel=0.15)
    assert shown.tpot_p50 == pytest.approx(found.tpot.p50, rel=0.15)
    assert shown.e2e_p50 == pytest.approx(found.e2e.p50, rel=0.15)


@pytest.mark.parametrize("name", REPLICAS)
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_goodput(name: str, share: float) -> None:
    """The share of the requests within objectives near the 95th percentiles is the simulated one, within 0.08."""
    case = CASES[name]
    _, free = _open(case, share)
    for ttft, tpot in ((free.ttft.p95, None), (None, free.tpot.p95), (free.ttft.p95, free.tpot.p95)):
        objectives = Objectives(ttft_seconds=ttft, tpot_seconds=tpot)
        rate, found = _open(case, share, objectives)
        load = open_loop(case.coefficients, rate, maximum=case.room)
        goodput = latencies(load, objectives, output_tokens=case.output_tokens).goodput
        assert goodput is not None
        assert goodput == pytest.approx(found.goodput, abs=0.08)


@pytest.mark.parametrize("name", ["8B, H100, short answers to an image", "27B, two H200, long prompts"])
@pytest.mark.parametrize("places", [2, 4, 8])
def test_a_small_batch_makes_requests_queue(name: str, places: int) -> None:
    """Where few sequences fit, at 80% of saturation: the mean TTFT within 15%, its 95th percentile within 20%."""
    case = CASES[name]._replace(room=places)
    rate, found = _open(case, 0.8)
    load = open_loop(case.coefficients, rate, maximum=places)
    assert load.ttft == pytest.approx(found.ttft.mean, rel=0.15)
    assert load.ttft_p95 == pytest.approx(found.ttft.p95, rel=0.2)
    assert load.tpot_p95 == pytest.approx(found.tpot.p95, rel=0.1)


def test_output_lengths() -> None:
    """Lengths have the mean and the variation that were asked for, and are never 0."""
    found = output_lengths(200, 20_000, random.Random(3), variation=0.5)
    mean = sum(found) / len(found)
    assert mean == pytest.approx(200, rel=0.02)
    assert (sum((each - mean) ** 2 for each in found) / len(found)) ** 0.5 == pytest.approx(100, rel=0.05)
    assert min(found) >= 1
