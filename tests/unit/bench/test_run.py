"""Whole runs against scripted servers: ladders, limits, faults counted honestly, what the server says compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support import virtual_time
from tests.support.servers import MODEL, Fault, Refusal, ScriptedServer, serving
from vlmctl.bench.endpoint import Endpoint, Timeouts
from vlmctl.bench.ladder import keeps
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.run import Progress, Report, Settings, run
from vlmctl.bench.workload import BenchWorkload, parse_slot
from vlmctl.errors import NotReachable
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.workload import Objectives

WORKLOAD = BenchWorkload(slots=(parse_slot("64x48"),), prompt_tokens=20, output_tokens=4)
SERVICE_SECONDS = 0.1  # that a server of few places takes for a request
OUTSIDE = 4  # requests of a run before its steps: two probes, two to warm up
HASTY = Timeouts(first_token_seconds=1.0, stall_seconds=0.3)


def closed(*levels: int) -> tuple[LoadShape, ...]:
    return tuple(LoadShape(arrival=Arrival.CLOSED, concurrency=level) for level in levels)


def ran(
    server: ScriptedServer,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    interrupt_after: float | None = None,
    arrivals: Arrivals | None = None,
    **changes: Any,
) -> Report:
    asked = replace(Settings(workload=WORKLOAD, timeouts=HASTY, seed=1), **changes)

    async def load() -> Report:
        stop = asyncio.Event()
        if interrupt_after is not None:
            asyncio.get_running_loop().call_later(interrupt_after, stop.set)
        async with serving(server) as url:
            return await run(Endpoint(url=url), asked, progress=progress, interrupted=stop, arrivals=arrivals)

    return virtual_time.run(load())


def test_a_step_counts_requests_tokens_and_time() -> None:
    """Throughput is concurrency over latency, tokens are the server's, and its counters agree."""
    report = ran(ScriptedServer(delay=lambda _: 0.05, gap=lambda _: 0.01), shapes=closed(4), requests=80)
    step = report.steps[0]
    assert (step.completed, step.images, step.failed, step.unfinished, step.ended_by) == (80, 80, 0, 0, "requests")
    assert step.requests_per_second is not None
    assert step.requests_per_second.value == pytest.approx(4 / 0.08, rel=0.15)
    assert step.mean_in_flight == pytest.approx(4, abs=0.1)
    assert (step.tokens.prompt_tokens, step.tokens.image_tokens, step.tokens.output_tokens) == (9_600, 8_000, 320)
    assert step.tokens.text_tokens == 80 * 20
    assert not step.tokens.image_tokens_by_difference
    assert step.server is not None
    assert step.server.rises["requests"] == 80
    assert step.server.mean_kv_cache == 0.25
    assert not step.disagreements
    assert (report.server.engine, report.server.engine_version) == ("vllm", "0.32.0")
    assert (report.server.checkpoint, report.model) == ("org/Scripted-7B", MODEL)
    assert not report.notes


@pytest.mark.parametrize(("sizes", "mixed"), [(["64x48", "64x48"], False), (["64x48", "32x24"], True)])
def test_images_of_several_sizes_are_told_from_those_of_one(sizes: list[str], mixed: bool) -> None:
    """By what was sent, whether as two images or as one whose size is drawn."""
    workload = replace(WORKLOAD, slots=tuple(parse_slot(size) for size in sizes))
    assert ran(ScriptedServer(), workload=workload, shapes=closed(1), requests=2).mixed_sizes is mixed


def test_concurrency_is_kept_and_never_exceeded() -> None:
    """So many are in flight at once, for each step."""
    server = ScriptedServer(delay=lambda _: 0.03)
    ran(server, shapes=closed(7), requests=60)
    assert server.most_in_flight == 7


def test_image_tokens_follow_by_difference_where_the_server_does_not_tell() -> None:
    """What prompts have over their text, and it is said so."""
    step = ran(ScriptedServer(details=False), shapes=closed(2), requests=20).steps[0]
    assert step.tokens.image_tokens == 20 * 100
    assert step.tokens.image_tokens_by_difference


def test_a_server_without_usage_is_measured_by_pieces() -> None:
    """Tokens in are unknown, not 0; a note says how output was counted."""
    report = ran(ScriptedServer(usage=False), shapes=closed(2), requests=20)
    tokens = report.steps[0].tokens
    assert (tokens.prompt_tokens, tokens.image_tokens, tokens.output_tokens) == (None, None, 80)
    assert any("no `usage`" in note for note in report.notes)


def test_counters_that_disagree_are_reported() -> None:
    """Twice as much on the server's side: someone else uses it."""
    step = ran(ScriptedServer(counted_twice=True), shapes=closed(2), requests=30).steps[0]
    assert {each.quantity for each in step.disagreements} == {"requests", "prompt_tokens", "output_tokens"}


def test_a_server_without_metrics_is_measured_all_the_same() -> None:
    """Only what it would have told is missing."""
    step = ran(ScriptedServer(metrics=False), shapes=closed(2), requests=10).steps[0]
    assert step.server is None
    assert step.completed == 10


def test_the_servers_counters_are_read_seldom() -> None:
    """Once for what the server is, then before and after the step, a second into it and every five seconds after."""
    server = ScriptedServer(delay=lambda _: 0.1, tokens=1)
    step = ran(server, shapes=closed(1), requests=135).steps[0]
    assert step.whole_seconds == pytest.approx(13.5, abs=0.2)
    assert step.server is not None
    assert step.server.samples == 3
    assert server.pages == 1 + 2 + 3


def test_a_step_shorter_than_the_first_reading_tells_no_gauges() -> None:
    """Its ends found an idle server: what it did in between is unknown, not nothing; the counters rose all the same."""
    step = ran(ScriptedServer(), shapes=closed(1), requests=3).steps[0]
    assert step.server is not None
    assert (step.server.samples, step.server.mean_running, step.server.maximum_kv_cache) == (0, None, None)
    assert step.server.rises["requests"] == 3


def test_a_server_that_does_not_know_ignore_eos_is_not_asked_for_it() -> None:
    """Said once, and left out from then on."""
    server = ScriptedServer(refuses=("ignore_eos",))
    report = ran(server, shapes=closed(1), requests=3)
    assert report.steps[0].completed == 3
    assert any("ignore_eos" in note for note in report.notes)
    assert not report.workload.ignore_eos


def test_a_ladder_brackets_the_planned_concurrency_and_stops_when_flat() -> None:
    """Half, once, one and a half times, then on by doubling only while throughput rises. The server takes six."""
    report = ran(_limited(6), planned_concurrency=4, step_seconds=1.0, deadline_seconds=30.0)
    levels = [step.shape.concurrency for step in report.steps]
    assert levels[:4] == [2, 4, 6, 12]
    assert levels[-1] in (12, 24)
    best = report.best
    assert best is not None
    assert best.requests_per_second is not None
    assert best.requests_per_second.value == pytest.approx(6 / SERVICE_SECONDS, rel=0.15)


def test_a_ladder_without_a_plan_doubles_until_an_objective_breaks() -> None:
    """Requests beyond four wait for each other, so the time to first token passes the objective."""
    objectives = Objectives(ttft_seconds=1.5 * SERVICE_SECONDS)
    report = ran(_limited(4), objectives=objectives, step_seconds=1.0, deadline_seconds=30.0)
    assert [step.shape.concurrency for step in report.steps] == [1, 2, 4, 8]
    best, last = report.best, report.steps[3]
    assert best is not None
    assert best.shape.concurrency == 4
    assert last.met is not None
    assert last.met.value < 0.5
    assert last.goodput_per_second is not None
    assert last.requests_per_second is not None
    assert last.goodput_per_second.value == pytest.approx(last.requests_per_second.value * last.met.value, rel=0.1)


def test_the_highest_step_is_bounded() -> None:
    """However far throughput rises."""
    report = ran(ScriptedServer(delay=lambda _: 0.05), step_seconds=0.5, deadline_seconds=20.0, maximum_concurrency=3)
    assert [step.shape.concurrency for step in report.steps] == [1, 2, 3]


def test_a_step_ends_when_its_throughput_is_known() -> None:
    """Long before its time, at an interval as narrow as was asked for."""
    report = ran(ScriptedServer(delay=lambda _: 0.01), shapes=closed(8), step_seconds=30.0, interval=0.2)
    step = report.steps[0]
    assert step.ended_by == "interval"
    assert step.requests_per_second is not None
    assert (step.requests_per_second.relative_half_width or 1.0) < 0.3


def test_a_budget_bounds_the_whole_run() -> None:
    """The requests before the steps take their part of it: four of half a second leave two seconds of four."""
    server = ScriptedServer(delay=lambda number: 0.5 if number < OUTSIDE else 0.05, tokens=1)
    report = ran(server, shapes=closed(2), interval=None, budget_seconds=4.0)
    assert report.steps[0].whole_seconds == pytest.approx(0.8 * 2.0, abs=0.2)
    assert report.steps[0].ended_by == "time"


def test_a_deadline_ends_a_run_whose_requests_never_do() -> None:
    """What is still in flight is cut off, counted apart, and is no error of the server's."""
    server = ScriptedServer(delay=lambda number: 0.0 if number < OUTSIDE else 60.0)
    report = ran(server, shapes=closed(3), deadline_seconds=2.0, timeouts=Timeouts())
    step = report.steps[0]
    assert (step.completed, step.failed, step.unfinished) == (0, 0, 3)
    assert step.ttft is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refusal(500), "server_error"),
        (Refusal(429, headers={"Retry-After": "1"}), "rate_limited"),
        (Fault.STALLED, "stalled"),
        (Fault.TRUNCATED, "truncated"),
        (Fault.GARBAGE, "invalid"),
    ],
    ids=str,
)
def test_faults_are_counted_beside_what_succeeded(fault: Fault | Refusal, kind: str) -> None:
    """One in ten fails; latencies are of the others alone."""
    server = ScriptedServer(fault=lambda number: fault if number >= OUTSIDE and number % 10 == 9 else None)
    step = ran(server, shapes=closed(4), requests=40, error_rate=0.5).steps[0]
    assert step.completed == 36
    assert [(each.kind, each.count) for each in step.failures] == [(kind, 4)]
    assert step.error_rate == pytest.approx(0.1)
    assert step.ttft is not None
    assert step.ttft.count == 36


def test_a_server_that_dies_ends_the_run_with_what_was_measured() -> None:
    """Its failures are counted, the run is given up with a line that says why, and no time is wasted."""
    server = ScriptedServer(fault=lambda number: Fault.DROPPED if number >= 60 else None)
    report = ran(server, shapes=closed(4, 8, 16), requests=1_000)
    assert len(report.steps) == 1
    step = report.steps[0]
    assert step.completed == 60 - OUTSIDE
    assert step.ended_by == "errors"
    assert step.failures[0].kind == "truncated"
    assert any("Given up" in note and "closed the connection" in note for note in report.notes)


def test_a_rate_limit_is_obeyed() -> None:
    """A slot that was told to come again in a second does so, instead of failing a thousand times."""
    limited = Refusal(429, headers={"Retry-After": "1"})
    server = ScriptedServer(fault=lambda number: limited if number == OUTSIDE else None)
    step = ran(server, shapes=closed(1), requests=3).steps[0]
    assert (step.completed, step.failed) == (2, 1)


def test_a_server_that_fails_from_the_start_is_not_reachable() -> None:
    """The first failure is the error, before anything is loaded."""
    with pytest.raises(NotReachable, match="the first request failed: the server answered 503"):
        ran(ScriptedServer(fault=lambda _: Refusal(503)))
    with pytest.raises(NotReachable, match=r"with images failed: .*At most 0 images"):
        ran(ScriptedServer(fault=lambda number: Refusal(400, "At most 0 images") if number > 1 else None))


def test_an_interrupted_run_keeps_what_was_measured() -> None:
    """At once, without waiting for what is in flight."""
    report = ran(ScriptedServer(delay=lambda _: 0.05), shapes=closed(4, 8), step_seconds=30, interrupt_after=1.5)
    assert report.interrupted
    assert len(report.steps) == 1
    step = report.steps[0]
    assert step.ended_by == "interrupted"
    assert step.completed > 40
    assert step.requests_per_second is not None
    assert step.requests_per_second.value == pytest.approx(80, rel=0.2)


def test_open_loads_keep_their_rate_and_their_burstiness() -> None:
    """At 100 a second, sent as the shape says; the server's speed has no part in it."""
    for shape in (
        LoadShape(arrival=Arrival.CONSTANT, requests_per_second=100.0),
        LoadShape(arrival=Arrival.GAMMA, requests_per_second=100.0, burstiness=4.0),
    ):
        step = ran(ScriptedServer(delay=lambda _: 0.2), shapes=(shape,), requests=150).steps[0]
        assert step.window_seconds == pytest.approx(1.5, rel=0.25)
        assert step.mean_in_flight > 10


def test_a_trace_is_replayed_with_its_times_and_sizes() -> None:
    """Each request at its own time, with its own prompt, answer and number of images."""
    server = ScriptedServer(tokens=50)
    arrivals = Arrivals(
        seconds=[0.0, 0.2, 0.2, 0.6],
        duration_seconds=0.6,
        prompt_tokens=[10, 20, 30, 40],
        output_tokens=[1, 2, 3, 4],
        images=[0, 1, 2, 0],
    )
    report = ran(server, shapes=(LoadShape(arrival=Arrival.TRACE),), arrivals=arrivals, deadline_seconds=20.0)
    step = report.steps[0]
    assert (step.completed, step.images, step.ended_by) == (4, 3, "requests")
    assert step.window_seconds == pytest.approx(0.6, abs=0.1)
    assert step.tokens.output_tokens == 10
    bodies = server.bodies[OUTSIDE:]
    assert sorted(body["max_tokens"] for body in bodies) == [1, 2, 3, 4]
    assert step.tokens.text_tokens == 100


def test_progress_tells_each_phase_and_the_load() -> None:
    """Enough for a live view: what is done, in flight, and how fast."""
    seen: list[Progress] = []
    ran(ScriptedServer(delay=lambda _: 0.05), shapes=closed(4), requests=120, progress=seen.append)
    assert {each.phase for each in seen} == {"pictures", "probe", "warm-up", "load"}
    going = [each.going for each in seen if each.going is not None]
    assert going
    assert going[-1].in_flight == 4
    assert going[-1].requests_per_second == pytest.approx(80, rel=0.3)
    assert seen[-1].ended is not None


def _limited(places: int) -> ScriptedServer:
    """A server that works on so many requests at once, and lets others wait."""

    class Limited(ScriptedServer):
        async def until(self, at: float) -> None:
            async with gate:
                await super().until(max(at, asyncio.get_running_loop().time() + SERVICE_SECONDS))

    gate = asyncio.Semaphore(places)
    return Limited(tokens=1)


@pytest.mark.parametrize("in_ten", [10, 5])
def test_a_load_that_fails_before_it_is_warm_is_given_up_with_what_was_seen(in_ten: int) -> None:
    """Every request, or every second, of 16 in flight: the failures are counted and the first one is the reason."""
    server = ScriptedServer(
        fault=lambda number: Refusal(429) if number >= OUTSIDE and number % 10 < in_ten else None,
        delay=lambda number: 0.05 if number < OUTSIDE else 1.0,
    )
    report = ran(server, shapes=closed(16), step_seconds=60.0, timeouts=Timeouts())
    step = report.steps[0]
    assert step.ended_by == "errors"
    assert step.failures[0].kind == "rate_limited"
    assert step.failed >= 5
    assert step.window_seconds >= 0
    assert any("Given up" in note and "429" in note for note in report.notes)


def test_an_interrupt_before_a_load_is_warm_keeps_what_was_measured() -> None:
    """Half of 16 slots have seen a request end: their requests are the row."""
    server = ScriptedServer(delay=lambda number: 0.1 if number < OUTSIDE else 0.5 + number % 16)
    report = ran(server, shapes=closed(16), step_seconds=60.0, timeouts=Timeouts(), interrupt_after=8.0)
    step = report.steps[0]
    assert step.ended_by == "interrupted"
    assert step.completed >= 8
    assert step.window_seconds == pytest.approx(8.0, abs=1.0)
    assert step.requests_per_second is not None
    assert step.requests_per_second.value == pytest.approx(step.completed / step.window_seconds, rel=0.3)


def test_an_interrupt_does_not_wait_for_the_first_answer() -> None:
    """A server that takes a request and never answers ends with Ctrl-C, and with the budget or the deadline."""
    silent = ScriptedServer(fault=lambda _: Fault.SILENT)
    report = ran(silent, timeouts=Timeouts(), interrupt_after=2.0)
    assert (report.interrupted, report.steps) == (True, ())
    for limit in ({"budget_seconds": 4.0}, {"deadline_seconds": 4.0}):
        slow = ScriptedServer(delay=lambda _: 100.0)
        with pytest.raises(NotReachable, match="time was up"):
            ran(slow, timeouts=Timeouts(), **limit)
        assert slow.most_in_flight == 1


@pytest.mark.parametrize("shape", [closed(50)[0], LoadShape(arrival=Arrival.CONSTANT, requests_per_second=20.0)])
@pytest.mark.parametrize("requests", [100, 200])
def test_requests_that_queue_are_not_counted_before_they_are_done(shape: LoadShape, requests: int) -> None:
    """A server of 10 a second does 10 a second, however many wait when the load begins."""
    step = ran(_limited(1), shapes=(shape,), requests=requests, timeouts=Timeouts()).steps[0]
    assert step.completed == requests
    assert step.requests_per_second is not None
    assert step.requests_per_second.value == pytest.approx(10.0, rel=0.03)
    assert step.output_tokens_per_second is not None
    assert step.output_tokens_per_second.value == pytest.approx(step.requests_per_second.value)


@given(st.floats(2.0, 9.0), st.integers(0, 9))
@settings(max_examples=8, deadline=None)
def test_a_server_that_keeps_up_does_what_is_sent(rate: float, seed: int) -> None:
    """Below what it can do, an open load's throughput is the load, to the requests of its ends."""
    shape = LoadShape(arrival=Arrival.POISSON, requests_per_second=rate)
    step = ran(_limited(1), shapes=(shape,), requests=150, timeouts=Timeouts(), seed=seed).steps[0]
    assert step.requests_per_second is not None
    sent = 150 / step.window_seconds
    assert sent * 0.85 <= step.requests_per_second.value <= sent


def test_requests_that_hang_are_missed() -> None:
    """Every second one of ten a second: half of the goodput, and no step that keeps its objective."""
    server = ScriptedServer(
        fault=lambda number: Fault.SILENT if number >= OUTSIDE and number % 2 else None, delay=lambda _: 0.05
    )
    shape = LoadShape(arrival=Arrival.CONSTANT, requests_per_second=10.0)
    objectives = Objectives(ttft_seconds=0.5)
    limits: dict[str, Any] = {"step_seconds": 10.0, "deadline_seconds": 20.0, "objectives": objectives}
    step = ran(server, shapes=(shape,), timeouts=Timeouts(), **limits).steps[0]
    assert step.unfinished == step.overdue == pytest.approx(50, abs=2)
    assert step.met is not None
    assert step.met.value == pytest.approx(0.5, abs=0.02)
    assert step.goodput_per_second is not None
    assert step.goodput_per_second.value == pytest.approx(5.0, rel=0.05)
    assert not keeps(step, objectives)


def test_answers_that_are_under_way_at_the_end_are_not_missed() -> None:
    """Their first token came in time; what would have come of the rest is unknown."""
    server = ScriptedServer(tokens=4, gap=lambda number: 0.0 if number < OUTSIDE else 100.0)
    step = ran(
        server, shapes=closed(3), deadline_seconds=2.0, timeouts=Timeouts(stall_seconds=500.0),
        objectives=Objectives(ttft_seconds=0.5),
    ).steps[0]  # fmt: skip
    assert (step.unfinished, step.overdue, step.met) == (3, 0, None)


def test_a_trace_sends_each_image_once() -> None:
    """However many of them its requests have."""
    server = ScriptedServer(tokens=1)
    arrivals = Arrivals(seconds=[0.1 * each for each in range(20)], duration_seconds=2.0, images=[4] * 20)
    report = ran(server, shapes=(LoadShape(arrival=Arrival.TRACE),), arrivals=arrivals, deadline_seconds=20.0)
    assert report.steps[0].images == 80
    urls = [part["image_url"]["url"] for body in server.bodies[OUTSIDE:] for part in body["messages"][0]["content"][:4]]
    assert len(set(urls)) == 80
    assert report.trace is not None
    assert report.digest != report.workload.digest
