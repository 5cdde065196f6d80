"""One step of a run: a load held until its throughput is known well enough, its time is up, or too much fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from statistics import median
from time import monotonic

from msgspec.structs import replace

from vlmctl.bench.client import Client
from vlmctl.bench.counters import ServerState, disagreements, read_state, restarted, server_load
from vlmctl.bench.figures import FailureCount, StepFigures, Window, count_failures, step_figures
from vlmctl.bench.load import Arrival, LoadShape, Sending, closed_loop, open_loop
from vlmctl.bench.requests import RequestSource
from vlmctl.bench.samples import CutOff, Sample, sample_of
from vlmctl.bench.statistics import WIDENED, Span, requests_needed, throughput
from vlmctl.bench.stream import StreamReader
from vlmctl.errors import NotReachable
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives

TICK_SECONDS = 0.5  # between looks at how a step goes
# Into a step, and from then on, between readings of the server's counters: a page takes vLLM's front end about 9 ms, so
# that one a second would be 1% of what it can do; a first early one since quick steps are soon over.
FIRST_SCRAPE_SECONDS, SCRAPE_SECONDS = 1.0, 5.0
SETTLING_SECONDS = 0.25  # that a server takes to count what it has answered
WARMING_SHARE = 0.25  # of a step's time at most, until each place in flight has seen a request end
MINIMUM_REQUESTS = requests_needed(0.95)  # before a step may end early by its interval: objectives are p95s
MINIMUM_FAILURES = 5  # before a step is given up
RECENT_REQUESTS = 50  # whose latencies are shown while a step runs
BY_REQUESTS, BY_TIME, BY_INTERVAL, BY_ERRORS = "requests", "time", "interval", "errors"
BY_USER = "interrupted"


class StepLimits(Record, frozen=True, kw_only=True):
    """When a step ends: after `seconds` or `requests`, when half the interval of the throughput is `interval` of it, or
    when more than `error_rate` of the requests failed. What is in flight then may end within `drain_seconds`.
    """

    seconds: float
    drain_seconds: float
    requests: int | None = None
    interval: float | None = 0.05
    error_rate: float = 0.1


class Going(Record, frozen=True, kw_only=True):
    """How a step goes. Latencies are medians over the last requests, in seconds."""

    shape: LoadShape
    elapsed_seconds: float
    limit_seconds: float
    sent: int
    completed: int
    failed: int
    in_flight: int
    requests_per_second: float
    ttft_seconds: float | None
    tpot_seconds: float | None
    e2e_seconds: float | None
    first_failure: str = ""


class Step:
    """A load on a server. `first`: number of its first request. `offsets`: of an open load; `arrivals`: of a trace."""

    def __init__(
        self,
        shape: LoadShape,
        client: Client,
        source: RequestSource,
        limits: StepLimits,
        *,
        first: int = 0,
        offsets: Iterable[float] = (),
        arrivals: Arrivals | None = None,
    ) -> None:
        self.shape = shape
        self.limits = limits
        self.samples: list[Sample] = []
        self.sending = Sending(first=first, limit=limits.requests)
        self.ended_by = ""
        self._begun: dict[int, tuple[float, StreamReader]] = {}  # requests in flight, and when they began
        self._failed = 0
        self._client = client
        self._source = source
        self._first = first
        self._offsets = offsets
        self._arrivals = arrivals
        self._started_at = 0.0
        self._warm_at: float | None = None
        self._states: list[ServerState] = []

    @property
    def sent(self) -> int:
        """Requests so far."""
        return self.sending.sent

    @property
    def failures(self) -> tuple[FailureCount, ...]:
        """Of all requests so far, those of warming up too."""
        return count_failures(each.failure for each in self.samples)

    async def run(
        self, *, objectives: Objectives, interrupted: asyncio.Event, going: Callable[[Going], None]
    ) -> StepFigures:
        """Load the server and say what came of it. Once `interrupted` is set, what is in flight is cut off."""
        await self._scrape()
        self._started_at = monotonic()
        loading = asyncio.ensure_future(self._load())
        watchers = [asyncio.ensure_future(each) for each in (self._watch(going), self._scrapes())]
        stopping = asyncio.ensure_future(self._until_over(interrupted))
        try:
            await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
            cut_off = tuple(
                CutOff(intended_at=begun, first_token_at=reader.token_at[0] if reader.token_at else None)
                for begun, reader in self._begun.values()
            )
            last = monotonic()
        finally:
            for task in (loading, stopping, *watchers):
                task.cancel()
            results = await asyncio.gather(loading, stopping, *watchers, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        self.sending.stop()
        if not interrupted.is_set():
            await asyncio.sleep(SETTLING_SECONDS if self._states else 0)
            await self._scrape()
        return self._figures(last, cut_off, objectives)

    async def _load(self) -> None:
        if self.shape.arrival is Arrival.CLOSED:
            await closed_loop(self._send, self.sending, concurrency=self.shape.concurrency or 1)
        else:
            await open_loop(self._send, self.sending, offsets=self._offsets)
        self.ended_by = self.ended_by or BY_REQUESTS

    async def _send(self, number: int, intended_at: float | None) -> Sample:
        index, trace = number - self._first, self._arrivals
        request = self._source.request(
            number,
            prompt_tokens=trace.prompt_tokens[index] if trace and trace.prompt_tokens is not None else None,
            output_tokens=trace.output_tokens[index] if trace and trace.output_tokens is not None else None,
            images=trace.images[index] if trace and trace.images is not None else None,
        )
        reader = StreamReader()
        self._begun[number] = (monotonic() if intended_at is None else intended_at, reader)
        try:
            answer = await self._client.ask(request, intended_at=intended_at, reader=reader)
        finally:
            del self._begun[number]
        text_tokens = self._source.text_tokens(request)
        sample = sample_of(answer, images=len(request.images), text_tokens=text_tokens)
        self.samples.append(sample)
        self._failed += sample.failure is not None
        self._end_where_due()
        return sample

    def _end_where_due(self) -> None:
        """Stop sending where too much fails, and note when the load is in its stride."""
        completed = len(self.samples) - self._failed
        if self._warm_at is None and completed >= (self.shape.concurrency or 1):
            self._warm_at = monotonic()
        too_many = self._failed > self.limits.error_rate * len(self.samples)
        if self._failed >= MINIMUM_FAILURES and too_many and self.sending.stopped_at is None:
            self._end(BY_ERRORS)

    def _end(self, reason: str) -> None:
        self.ended_by = self.ended_by or reason
        self.sending.stop()

    async def _until_over(self, interrupted: asyncio.Event) -> None:
        """Return when what is still in flight is to be cut off."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.seconds):
                await self.sending.stopped_or(interrupted)
        exhausted = BY_REQUESTS if self.sending.stopped_at is not None else BY_TIME
        self._end(BY_USER if interrupted.is_set() else exhausted)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.drain_seconds):
                await interrupted.wait()
        if interrupted.is_set():
            self.ended_by = BY_USER

    async def _watch(self, going: Callable[[Going], None]) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            going(self.going())
            if self.shape.arrival is Arrival.CLOSED and self._narrow():
                self._end(BY_INTERVAL)

    def _narrow(self) -> bool:
        """Whether the throughput is known as well as was asked for."""
        wanted, start = self.limits.interval, self._window_start()
        if wanted is None or self.limits.requests or self._warm_at is None or self.sending.stopped_at is not None:
            return False
        spans = [Span(each.intended_at, each.finished_at) for each in self.samples if each.failure is None]
        if sum(span.begin >= start for span in spans) < max(MINIMUM_REQUESTS, 2 * (self.shape.concurrency or 1)):
            return False
        # What is in flight is no sample yet, so that the time since the oldest of it began is left out.
        until = min((begun for begun, _ in self._begun.values()), default=monotonic())
        rate = throughput(spans, start, until, widened=WIDENED)
        return rate is not None and (rate.relative_half_width or 1.0) <= wanted

    def _window_start(self) -> float:
        """When the load was in its stride; a load of a fixed number of requests, or an open one, counts whole, and so
        does one that was over before.
        """
        if self.limits.requests or self.shape.arrival is not Arrival.CLOSED:
            return self._started_at
        latest, stopped = self._started_at + WARMING_SHARE * self.limits.seconds, self.sending.stopped_at
        start = min(latest if self._warm_at is None else self._warm_at, latest)
        return start if stopped is None or start < stopped else self._started_at

    def _steady_from(self) -> float | None:
        """From when a closed load was in its stride; None where too little was sent then."""
        if self.shape.arrival is not Arrival.CLOSED:
            return None
        stopped, warm = self.sending.stopped_at, self._warm_at
        if not self.limits.requests:
            start = self._window_start()
            return start if start > self._started_at else None
        enough = stopped is not None and warm is not None and stopped - warm >= (stopped - self._started_at) / 2
        return warm if enough else None

    def going(self) -> Going:
        """How it stands."""
        now, done = monotonic(), [each for each in self.samples if each.failure is None]
        recent = done[-RECENT_REQUESTS:]
        since = recent[0].finished_at if recent else now
        first = next((each.failure for each in self.samples if each.failure is not None), None)
        return Going(
            shape=self.shape,
            elapsed_seconds=now - self._started_at,
            limit_seconds=self.limits.seconds,
            sent=self.sending.sent,
            completed=len(done),
            failed=self._failed,
            in_flight=len(self._begun),
            requests_per_second=(len(recent) - 1) / (now - since) if len(recent) > 1 and now > since else 0.0,
            ttft_seconds=_median(each.ttft_seconds for each in recent),
            tpot_seconds=_median(each.tpot_seconds for each in recent),
            e2e_seconds=_median(each.e2e_seconds for each in recent),
            first_failure=first.message if first is not None else "",
        )

    async def _scrapes(self) -> None:
        wait = FIRST_SCRAPE_SECONDS
        while self._states:
            await asyncio.sleep(wait)
            await self._scrape()
            wait = SCRAPE_SECONDS

    async def _scrape(self) -> None:
        """Read the server's counters; many servers have none, and one that is busy may not answer."""
        with suppress(NotReachable):
            page = await self._client.get("/metrics")
            state = read_state(page.decode("utf-8", "replace"), monotonic())
            if state.totals:
                self._states.append(state)

    def _figures(self, last: float, cut_off: tuple[CutOff, ...], objectives: Objectives) -> StepFigures:
        end = last if self.sending.stopped_at is None else self.sending.stopped_at
        window = Window(
            start=self._window_start(),
            end=end,
            last=last,
            steady=self._steady_from(),
            drained=self.shape.arrival is Arrival.CLOSED,
            widened=WIDENED if self.ended_by == BY_INTERVAL else 1.0,
        )
        done = [each for each in self.samples if each.failure is None]
        server = server_load(self._states)
        seen = {"requests": float(len(done)), "output_tokens": float(sum(each.output_tokens for each in done))}
        if all(each.prompt_tokens is not None for each in done):
            seen["prompt_tokens"] = float(sum(each.prompt_tokens or 0 for each in done))
        doubts = disagreements(seen, server.rises) if server is not None and not restarted(self._states) else ()
        figures = step_figures(self.shape, self.samples, window, objectives=objectives, cut_off=cut_off)
        return replace(figures, ended_by=self.ended_by, server=server, disagreements=doubts)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
