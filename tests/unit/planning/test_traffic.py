"""A fleet under traffic: closed forms of queueing theory as oracles, and laws that hold whatever the traffic."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_gpu, make_model
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.arrivals import Arrivals, RateCurve, random_arrivals
from vlmctl.planning.corrected import UNCORRECTED, Factors
from vlmctl.planning.demand import RequestDemand, request_demand
from vlmctl.planning.outcomes import (
    Machine,
    Outcome,
    bill_usd,
    machine_seconds,
    outcome,
    percentile,
    tpot_seconds,
    ttft_seconds,
)
from vlmctl.planning.placement import engine_settings
from vlmctl.planning.replica import NEVER, Replica, ReplicaSpeed, Requests, replica_speed
from vlmctl.planning.scaling import DOWN, Direction, ScalingPolicy, as_external_metric
from vlmctl.planning.speed import Speed, speed
from vlmctl.planning.throughput import open_loop, requests_per_second
from vlmctl.planning.traffic import Run, run_fleet
from vlmctl.specs.model import Precision
from vlmctl.specs.workload import ImageInput, Objectives, Workload

# A replica like a small model on a small GPU: 0.2 s of prefill, 20 ms a step and 0.5 ms more with each sequence.
SPEED = ReplicaSpeed(
    step_seconds=(0.0, *(0.02 + 0.0005 * batch for batch in range(1, 65))),
    prefill_seconds=0.1,
    prefill_seconds_per_token=0.0005,
    host_seconds=0.05,
    host_workers=2,
    request_seconds=0.03,
    prompt_tokens=200,
    output_tokens=100,
)
OBJECTIVES = Objectives(ttft_seconds=1.0, tpot_seconds=0.06)
MACHINE = Machine(usd_per_hour=3.6)
SLOW_DOWN = Direction(stabilization_seconds=120.0)


def poisson(rate: float, count: int, *, seed: int = 1, **sizes: Any) -> Arrivals:
    rng, at, seconds = Random(seed), 0.0, []
    for _ in range(count):
        at += rng.expovariate(rate)
        seconds.append(at)
    return Arrivals(seconds=seconds, duration_seconds=at, **sizes)


def alone(arrivals: Arrivals, speed: ReplicaSpeed) -> tuple[Requests, float]:
    """One replica until all is answered, and the mean in flight that arrivals saw (PASTA: the time average)."""
    requests, seen = Requests(arrivals, speed), 0
    replica = Replica(speed, requests)
    for number, at in enumerate(arrivals.seconds):
        replica.advance(at)
        seen += replica.in_flight
        replica.submit(number, at)
    replica.finish()
    return requests, seen / len(arrivals.seconds)


def always(count: int) -> ScalingPolicy:
    return ScalingPolicy(target_in_flight=1.0, minimum_replicas=count, maximum_replicas=count)


def fleet(arrivals: Arrivals, policy: ScalingPolicy, *, start: int | None = None, cold: float = 60.0) -> Run:
    return run_fleet(
        arrivals,
        SPEED,
        policy,
        cold_start_seconds=cold,
        replicas_at_start=policy.minimum_replicas if start is None else start,
    )


def judged(arrivals: Arrivals, policy: ScalingPolicy, *, start: int | None = None, cold: float = 60.0) -> Outcome:
    run = fleet(arrivals, policy, start=start, cold=cold)
    return outcome(run, arrivals, policy, OBJECTIVES, MACHINE, name="x", utilization=None)


def planned() -> tuple[Speed, RequestDemand, Workload]:
    """What the planner works out for a small model on a middling GPU."""
    model, gpu = make_model(), make_gpu("mid")
    workload = Workload(images=(ImageInput(width_pixels=448, height_pixels=448),))
    demand = request_demand(model, workload)
    setup = engine_settings(model, gpu, workload, demand)
    return speed(model_figures(model, Precision.BF16), gpu, demand, setup, gpu_count=1), demand, workload


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


class TestOracles:
    @pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
    def test_prefills_alone_are_an_m_d_1_queue(self, busy: float) -> None:
        """Answers of one token wait as the formula of Pollaczek and Khinchine says: s u / 2(1 - u)."""
        only_prefill = ReplicaSpeed(step_seconds=(0.0, 1.0), prefill_seconds=1.0)
        requests, _ = alone(poisson(busy, 60_000), only_prefill)
        waited = mean(ttft_seconds(requests, NEVER)) - 1.0
        assert waited == pytest.approx(busy / (2 * (1 - busy)), rel=0.06)

    def test_prefills_of_random_length_are_an_m_m_1_queue(self) -> None:
        """With exponential prompts the mean stay is s / (1 - u), and the 95th percentile ln(20) times that."""
        rng, busy = Random(7), 0.7
        prompts = [round(rng.expovariate(1e-4)) for _ in range(80_000)]
        queue = ReplicaSpeed(step_seconds=(0.0, 1.0), prefill_seconds_per_token=1e-4)
        requests, _ = alone(poisson(busy, len(prompts), prompt_tokens=prompts), queue)
        stays = sorted(ttft_seconds(requests, NEVER))
        assert mean(stays) == pytest.approx(1 / (1 - busy), rel=0.06)
        assert percentile(stays, 0.95) == pytest.approx(math.log(20) / (1 - busy), rel=0.08)

    @pytest.mark.parametrize("spread", [False, True])
    def test_decoding_alone_is_processor_sharing(self, spread: bool) -> None:
        """Where a step is as long as its batch, a stay is its work / (1 - u), whatever the spread of the work."""
        busy, tokens, count = 0.7, 101, 40_000
        rng = Random(3)
        lengths = [1 + max(round(rng.expovariate(0.01)), 1) if spread else tokens for _ in range(count)]
        sharing = ReplicaSpeed(step_seconds=(0.0, *(0.01 * batch for batch in range(1, 2001))))
        requests, _ = alone(poisson(busy, count, output_tokens=lengths), sharing)
        stays = [end - start for start, end in zip(requests.arrived_at, requests.finished_at, strict=True)]
        work = mean([0.01 * (length - 1) for length in lengths])
        assert mean(stays) == pytest.approx(work / (1 - busy * work), rel=0.08)

    def test_littles_law(self) -> None:
        """What arrivals find in flight is the rate times the mean stay."""
        arrivals = poisson(2.0, 40_000)
        requests, seen = alone(arrivals, SPEED)
        stays = [end - start for start, end in zip(requests.arrived_at, requests.finished_at, strict=True)]
        assert seen == pytest.approx(2.0 * mean(stays), rel=0.02)

    def test_a_request_alone_takes_its_own_time(self) -> None:
        """Without company: outside, host, prefill, then a step for each further token."""
        (requests, _) = alone(Arrivals(seconds=[5.0], duration_seconds=5.0), SPEED)
        assert ttft_seconds(requests, NEVER) == pytest.approx([0.03 + 0.05 + 0.2])
        assert tpot_seconds(requests) == pytest.approx([0.0205])

    def test_images_and_prompts_of_a_request_are_its_own(self) -> None:
        """Prefill and host time grow with a request's tokens and images."""
        own = replace(SPEED, prefill_seconds_per_image=0.3, host_seconds_per_image=0.02, images=1)
        trace = Arrivals(seconds=[0.0, 50.0], duration_seconds=50.0, prompt_tokens=[0, 1000], images=[0, 2])
        requests = Requests(trace, own)
        assert list(requests.prefill_seconds) == pytest.approx([0.1, 0.1 + 0.5 + 0.6])
        assert list(requests.host_seconds) == pytest.approx([0.05, 0.09])

    def test_the_batch_is_bounded(self) -> None:
        """With room for two sequences, a third request begins when one ends."""
        two = ReplicaSpeed(step_seconds=(0.0, 0.1, 0.1), prefill_seconds=0.01, output_tokens=11)
        requests, _ = alone(Arrivals(seconds=[0.0, 0.0, 0.0], duration_seconds=1.0), two)
        first, second, third = requests.first_token_at
        assert (first, second) == pytest.approx((0.01, 0.02 + 1.5 * 0.1))
        assert third == pytest.approx(1.03 + 1.5 * 0.1)

    @pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
    def test_it_agrees_with_the_planner(self, share: float) -> None:
        """Up to a moderate load, means are those of the planner's closed forms."""
        coefficients, demand, workload = planned()
        rate = share * requests_per_second(coefficients, 64)
        expected = open_loop(coefficients, rate, maximum=64)
        requests, _ = alone(poisson(rate, 6000), replica_speed(coefficients, demand, workload, sequences=64))
        assert mean(ttft_seconds(requests, NEVER)) == pytest.approx(expected.ttft, rel=0.15)
        assert mean(tpot_seconds(requests)) == pytest.approx(expected.tpot, rel=0.15)

    def test_measurements_stretch_its_times(self) -> None:
        """A replica measured to be twice as fast takes half of every time."""
        coefficients, demand, workload = planned()
        twice = Factors(throughput=2.0, ttft=0.5, tpot=0.5)
        estimated, measured = (
            replica_speed(coefficients, demand, workload, sequences=8, factors=factors, rate=1.0)
            for factors in (UNCORRECTED, twice)
        )
        for name in ("prefill_seconds", "prefill_seconds_per_token", "prefill_seconds_per_image", "request_seconds"):
            assert getattr(measured, name) == pytest.approx(getattr(estimated, name) / 2)
        assert measured.step_seconds == pytest.approx([seconds / 2 for seconds in estimated.step_seconds])


class TestFleet:
    def test_nothing_is_lost(self) -> None:
        """Every request is served once, or still there at the end; a first token comes before the last."""
        arrivals = poisson(6.0, 3000)
        policy = replace(always(1), minimum_replicas=0, maximum_replicas=4, target_in_flight=8.0, down=SLOW_DOWN)
        run = fleet(arrivals, policy, start=0)
        finished = [at for at in run.requests.finished_at if at < NEVER]
        last = run.samples[-1]
        assert len(finished) + last.in_flight == 3000
        assert all(
            arrived < first <= done
            for arrived, first, done in zip(
                run.requests.arrived_at, run.requests.first_token_at, run.requests.finished_at, strict=True
            )
        )

    def test_no_traffic_costs_nothing_when_scaled_to_zero(self) -> None:
        """A fleet that starts asleep and is never called is never paid for; one that sleeps after a while stops."""
        silence = Arrivals(seconds=[], duration_seconds=86400.0)
        policy = ScalingPolicy(target_in_flight=5.0, minimum_replicas=0, maximum_replicas=3, idle_seconds=300.0)
        assert judged(silence, policy, start=0).usd == 0.0
        assert judged(silence, policy, start=2).replica_hours == pytest.approx(2 * 300 / 3600)

    def test_a_cold_start_is_waited_for_and_paid(self) -> None:
        """The first request wakes the fleet at once, waits for the cold start, and that time is paid for."""
        policy = ScalingPolicy(target_in_flight=5.0, minimum_replicas=0, maximum_replicas=3, idle_seconds=30.0)
        arrivals = Arrivals(seconds=[100.0], duration_seconds=1000.0)
        found = judged(arrivals, policy, cold=60.0)
        assert found.cold_starts == found.replicas_peak == 1
        assert found.ttft_p95_seconds == pytest.approx(60.0 + 0.28)
        assert found.missed_ttft == 1
        served_until = 100.0 + 60.0 + 0.28 + 99 * 0.0205
        assert 60.0 < found.replica_hours * 3600 <= served_until - 100.0 + 30.0 + 2 * 15.0

    def test_streams_finish_when_a_replica_leaves(self) -> None:
        """Scaling down takes no answer away, and what still answers is still paid for."""
        seconds = [0.001 * number for number in range(60)]
        burst = Arrivals(seconds=seconds, duration_seconds=300.0, output_tokens=[1000] * 60)
        policy = ScalingPolicy(
            target_in_flight=1000.0, maximum_replicas=4, down=replace(DOWN, stabilization_seconds=10)
        )
        run = fleet(burst, policy, start=4)
        assert all(at < NEVER for at in run.requests.finished_at)
        left = [at for at, change in run.bill if change < 0]
        assert len(run.bill) == 4
        assert max(left) > 15.0
        assert machine_seconds(run.bill, 300.0, 1) == pytest.approx(sum(left) + 300.0)

    def test_the_fleet_follows_a_step_of_load(self) -> None:
        """After a step replicas rise within the policy's limits and a cold start, and come back after the window."""
        quiet, busy = poisson(0.5, 300), poisson(8.0, 9600, seed=2)
        seconds = [*quiet.seconds, *(600.0 + at for at in busy.seconds if at < 1200.0)]
        arrivals = Arrivals(seconds=sorted(seconds), duration_seconds=3000.0)
        policy = ScalingPolicy(target_in_flight=15.0, maximum_replicas=8, down=SLOW_DOWN)
        samples = fleet(arrivals, policy).samples
        assert 2 < max(sample.replicas for sample in samples) <= 8
        assert next(sample.seconds for sample in samples if sample.ready > 1) >= 660.0
        assert samples[-1].replicas == 1

    def test_answers_of_one_length_do_not_bunch(self) -> None:
        """Ten replicas under ten times the load of one make nobody wait longer at the 95th percentile."""
        one, ten = (
            judged(poisson(2.0 * count, 3000 * count), always(count)).ttft_p95_seconds or NEVER for count in (1, 10)
        )
        assert ten <= one < NEVER

    def test_the_same_traffic_twice_is_the_same_run(self) -> None:
        """A run depends on its arguments alone."""
        arrivals = poisson(3.0, 1000)
        policy = ScalingPolicy(target_in_flight=6.0, minimum_replicas=0, maximum_replicas=5)
        assert judged(arrivals, policy) == judged(arrivals, policy)

    @pytest.mark.parametrize("seed", range(4))
    def test_more_replicas_never_miss_more(self, seed: int) -> None:
        """Always on, with the same arrivals: misses fall as replicas are added, and dollars rise."""
        arrivals = poisson(6.0, 2500, seed=seed)
        found = [judged(arrivals, always(count)) for count in range(1, 9)]
        missed = [each.missed for each in found]
        assert missed == sorted(missed, reverse=True)
        assert missed[0] > 1000 > 10 > missed[-1]
        assert [each.usd for each in found] == sorted(each.usd for each in found)

    @pytest.mark.parametrize("seed", range(4))
    def test_twice_the_replicas_never_miss_more(self, seed: int) -> None:
        """The same with answers of all lengths, where one replica more may now and then be unlucky for a request."""
        rng = Random(seed)
        outputs = [1 + round(rng.expovariate(0.01)) for _ in range(2500)]
        arrivals = poisson(6.0, 2500, seed=seed, output_tokens=outputs)
        missed = [judged(arrivals, always(count)).missed for count in (1, 2, 4, 8)]
        assert missed == sorted(missed, reverse=True)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_higher_minimum_never_costs_less(self, seed: int) -> None:
        """With the same traffic and everything else equal, dollars rise with the minimum."""
        curve = RateCurve(points=((0.0, 0.2), (1.0, 5.0), (2.0, 0.2)))
        arrivals = random_arrivals(curve, 3 * 3600.0, Random(seed))
        policy = ScalingPolicy(target_in_flight=8.0, maximum_replicas=6)
        usd = [judged(arrivals, replace(policy, minimum_replicas=count)).usd for count in (1, 2, 3, 6)]
        assert usd == sorted(usd)

    @pytest.mark.parametrize("seed", range(3))
    def test_sleeping_saves_what_it_costs_in_late_requests(self, seed: int) -> None:
        """With little traffic zero costs less than one replica, and the requests that wake it are late."""
        arrivals = random_arrivals(RateCurve(points=((0.0, 0.001),)), 86400.0, Random(seed))
        policy = ScalingPolicy(target_in_flight=8.0, maximum_replicas=6, idle_seconds=300.0)
        one, zero = (judged(arrivals, replace(policy, minimum_replicas=count)) for count in (1, 0))
        assert zero.usd < 0.6 * one.usd
        assert (one.missed, one.cold_starts) == (0, 0)
        assert zero.missed >= zero.cold_starts > 10


@settings(max_examples=40)
@given(st.data())
def test_any_fleet_keeps_its_bounds_and_its_books(data: st.DataObject) -> None:
    """Whatever comes: replicas within bounds, conservation of requests, and a bill that is what was there."""
    times = sorted(data.draw(st.lists(st.floats(0.0, 900.0), max_size=80)))
    minimum = data.draw(st.integers(0, 2))
    policy = ScalingPolicy(
        target_in_flight=data.draw(st.floats(0.5, 10.0)),
        minimum_replicas=minimum,
        maximum_replicas=data.draw(st.integers(max(minimum, 1), 5)),
        down=data.draw(st.sampled_from([DOWN, SLOW_DOWN, Direction()])),
        idle_seconds=data.draw(st.sampled_from([0.0, 60.0])),
        lead_seconds=data.draw(st.sampled_from([0.0, 90.0])),
        keeps_missing=data.draw(st.booleans()),
    )
    arrivals = Arrivals(seconds=times, duration_seconds=1000.0)
    start = data.draw(st.integers(minimum, policy.maximum_replicas))
    run = fleet(arrivals, policy, start=start, cold=data.draw(st.sampled_from([0.0, 40.0, 5000.0])))
    found = outcome(run, arrivals, policy, OBJECTIVES, MACHINE, name="x", utilization=1.0)
    assert found.served + found.unfinished == found.requests == len(times)
    assert found.unfinished == run.samples[-1].in_flight
    assert all(sample.ready <= policy.maximum_replicas for sample in run.samples)
    paid = 0
    for _, change in run.bill:
        paid += change
        assert paid >= 0
    assert paid == run.samples[-1].replicas
    assert found.usd == pytest.approx(found.replica_hours * MACHINE.usd_per_hour)


def test_machines_are_paid_whole_and_owned_ones_always() -> None:
    """Three replicas on machines of two pay for two machines; what is owned costs the same idle."""
    bill = [(0.0, 1), (1800.0, 2), (3600.0, -3)]
    assert machine_seconds(bill, 7200.0, 2) == 1800.0 + 2 * 1800.0
    assert bill_usd(bill, 7200.0, Machine(usd_per_hour=2.0, replicas_per_machine=2)) == pytest.approx(3.0)
    assert bill_usd(bill, 7200.0, Machine(usd_per_hour=2.0, replicas_per_machine=2, owned=True)) == pytest.approx(4.0)


def test_the_course_over_time_is_that_of_the_run() -> None:
    """The stretches cover the run, and their rates add up to the requests."""
    arrivals = poisson(2.0, 2000)
    found = judged(arrivals, always(2))
    starts = [point.seconds for point in found.timeline]
    widths = [end - start for start, end in zip(starts, [*starts[1:], arrivals.duration_seconds], strict=True)]
    assert 60 < len(starts) <= 72
    # The last request comes with the very end, which no stretch includes.
    rates = [point.requests_per_second for point in found.timeline]
    assert sum(rate * width for rate, width in zip(rates, widths, strict=True)) == pytest.approx(1999)
    assert {point.replicas for point in found.timeline} == {2.0}


def test_replicas_that_start_are_waited_for() -> None:
    """A start longer than the window for down: what was asked for is given up before it is there by the HPA alone."""
    burst = [0.01 * number for number in range(400)]
    after = [4.0 + 5.0 * number for number in range(120)]
    policy = ScalingPolicy(target_in_flight=10.0, maximum_replicas=6, down=SLOW_DOWN)
    arrivals = Arrivals(seconds=[*burst, *after], duration_seconds=600.0)
    run = fleet(arrivals, policy, start=1, cold=400.0)
    assert run.cold_starts == 5
    assert min(at for at, change in run.bill if change < 0) >= 400.0
    hasty = fleet(arrivals, as_external_metric(policy), start=1, cold=400.0)
    assert min(at for at, change in hasty.bill if change < 0) < 400.0


def test_short_requests_between_looks_keep_a_fleet_awake() -> None:
    """A request of two seconds each minute is over at every look, and is traffic all the same."""
    arrivals = Arrivals(seconds=[3.0 + 60.0 * number for number in range(30)], duration_seconds=1800.0)
    policy = ScalingPolicy(target_in_flight=10.0, minimum_replicas=0, maximum_replicas=2, idle_seconds=90.0)
    assert fleet(arrivals, policy, start=1).cold_starts == 0
    assert fleet(arrivals, replace(policy, idle_seconds=30.0), start=1).cold_starts > 0
