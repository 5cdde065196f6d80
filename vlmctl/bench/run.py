"""A whole run: pictures prepared, the server probed and warmed, loads held one after the other, and what came of it.

No terminal: progress goes to a callback, and an event ends the run early with what was measured until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import Callable, Iterable
from random import Random
from time import monotonic

import msgspec
from msgspec.structs import replace

from vlmctl.bench.body import ChatRequest
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, Endpoint, Timeouts
from vlmctl.bench.figures import StepFigures
from vlmctl.bench.ladder import knee, next_concurrency, steps_left
from vlmctl.bench.load import Arrival, LoadShape, offsets
from vlmctl.bench.probing import answer_within, probe
from vlmctl.bench.requests import Pictures, PromptShape, RequestSource, prepare
from vlmctl.bench.server import ServerFacts, server_facts
from vlmctl.bench.steps import BY_ERRORS, Going, Step, StepLimits
from vlmctl.bench.workload import BenchWorkload, Replayed, replayed
from vlmctl.errors import InvalidValue, NotReachable
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives

WARM_UP_REQUESTS = 2  # one after the other, before anything is measured
MINIMUM_STEP_SECONDS = 1.0  # below it a step is not begun
SENDING_SHARE = 0.8  # of a step's part of the time; the rest is for what is in flight then
SEED_BITS = 31


class Settings(Record, frozen=True, kw_only=True):
    """A run. Without `shapes` it is a ladder, around `planned_concurrency` where that is known.

    `step_seconds`, `deadline_seconds`: of a step and of all of them; `budget_seconds`: of these, the pictures and the
    requests before them, where that is to have an end. `interval`: half the interval of the throughput over it, at
    which a closed step is over. `requests`: so many for each step, instead. `seed` of None: one of its own, so that no
    cache knows the requests. `maximum_concurrency` bounds the ladder. `trace_name`, `trace_scale`: of a trace, for the
    record.
    """

    workload: BenchWorkload
    shapes: tuple[LoadShape, ...] = ()
    planned_concurrency: int | None = None
    objectives: Objectives = Objectives()
    step_seconds: float = 60.0
    deadline_seconds: float = 600.0
    interval: float | None = 0.05
    requests: int | None = None
    error_rate: float = 0.1
    maximum_concurrency: int = 256
    warm_up_requests: int = WARM_UP_REQUESTS
    seed: int | None = None
    timeouts: Timeouts = Timeouts()
    budget_seconds: float | None = None
    trace_name: str = "unknown"
    trace_scale: float = 1.0


class Progress(Record, frozen=True, kw_only=True):
    """What a run is doing. `phase`: pictures, probe, warm-up, load. `done` of `total` pictures or requests."""

    phase: str
    done: int = 0
    total: int = 0
    step: int = 0
    going: Going | None = None
    ended: StepFigures | None = None  # the step that has just ended


class Report(Record, frozen=True, kw_only=True):
    """What a run measured. `shape`: tokens of the chat template, and of a word. `image_size`: mean width and height in
    pixels, over several sizes where they are `mixed_sizes`. `picture_bytes`: what the prepared pictures take. `notes`:
    what a reader should know. `trace`, `folder_sha256`: of what was sent, beside the workload.
    """

    url: str
    model: str
    server: ServerFacts
    workload: BenchWorkload
    objectives: Objectives
    seed: int
    shape: tuple[float, float]
    image_size: tuple[int, int] | None
    picture_bytes: int
    steps: tuple[StepFigures, ...]
    interrupted: bool
    notes: tuple[str, ...] = ()
    mixed_sizes: bool = False
    trace: Replayed | None = None
    folder_sha256: str | None = None

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, the same where the same was sent."""
        if self.trace is None and self.folder_sha256 is None:
            return self.workload.digest
        made = (self.workload, self.trace, self.folder_sha256)
        return hashlib.sha256(msgspec.json.encode(made, order="deterministic")).hexdigest()[:12]

    @property
    def best(self) -> StepFigures | None:
        """The step with the highest throughput within the objectives, else of all."""
        return knee(self.steps, self.objectives)


async def run(
    endpoint: Endpoint,
    settings: Settings,
    *,
    arrivals: Arrivals | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    interrupted: asyncio.Event | None = None,
    pictures: Pictures | None = None,
) -> Report:
    """Load-test an endpoint. `arrivals`: requests of a trace, for a shape that replays it. `pictures`: prepared
    beforehand, with the same seed if the requests are to be repeated one day.

    Raises NotReachable where the server does not answer, UnknownName where it does not serve the model, InvalidValue
    for settings that make no run. Failures of single requests are counted and raise nothing.
    """
    began, stop = monotonic(), interrupted or asyncio.Event()
    seed = secrets.randbits(SEED_BITS) if settings.seed is None else settings.seed
    async with Client(endpoint, connections=0, timeouts=settings.timeouts) as client:
        await client.open()
        facts = await server_facts(client)

        def prepared(done: int, total: int) -> None:
            progress(Progress(phase="pictures", done=done, total=total))

        if pictures is None:
            pictures = await asyncio.to_thread(prepare, settings.workload, seed=seed, prepared=prepared)
        running = _Run(client, settings, pictures, seed, arrivals, progress, stop, began)
        for phase in (running.probe, running.warm_up, running.climb):
            if not stop.is_set():
                await phase()
    return running.report(endpoint.root, facts)


class _Run:
    """A run under way."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        pictures: Pictures,
        seed: int,
        arrivals: Arrivals | None,
        progress: Callable[[Progress], None],
        stop: asyncio.Event,
        began: float,
    ) -> None:
        self.workload = settings.workload
        self.shape = PromptShape()
        self.steps: list[StepFigures] = []
        self.notes: list[str] = []
        self._client = client
        self._settings = settings
        self._pictures = pictures
        self._seed = seed
        self._arrivals = arrivals
        self._progress = progress
        self._stop = stop
        self._began = began
        self._next = 0  # number of the next request
        self._ends_at = math.inf if settings.budget_seconds is None else began + settings.budget_seconds

    def report(self, url: str, server: ServerFacts) -> Report:
        """What was measured until now."""
        settings, pictures, arrivals = self._settings, self._pictures, self._arrivals
        return Report(
            url=url,
            model=self._client.model or "",
            server=server,
            workload=self.workload,
            objectives=settings.objectives,
            seed=self._seed,
            shape=self.shape,
            image_size=settings.workload.mean_size or pictures.mean_size,
            picture_bytes=pictures.held_bytes,
            steps=tuple(self.steps),
            interrupted=self._stop.is_set(),
            notes=tuple(dict.fromkeys(self.notes)),
            mixed_sizes=len(pictures.sizes) > 1,
            trace=None
            if arrivals is None
            else replayed(arrivals, name=settings.trace_name, scale=settings.trace_scale),
            folder_sha256=pictures.folder_sha256,
        )

    async def probe(self) -> None:
        """Learn what the server makes of words, and whether it takes `ignore_eos`."""
        self._progress(Progress(phase="probe"))
        probed = await probe(self._answer, self._source(), seed=self._seed)
        if probed is not None:
            self.shape = probed.shape
            self.workload = replace(self.workload, ignore_eos=probed.ignore_eos)
            self.notes += probed.notes

    async def warm_up(self) -> None:
        """Requests that are not measured, one after the other, so that the engine has compiled what it needs."""
        source, total = self._source(), self._settings.warm_up_requests
        for done in range(total):
            self._progress(Progress(phase="warm-up", done=done, total=total))
            answer = await self._answer(source.request(self._taken()))
            if answer is None:
                return
            if answer.failure is not None:
                raise NotReachable(f"a request with images failed: {answer.failure.message}")

    async def _answer(self, request: ChatRequest) -> Answer | None:
        until = min(self._ends_at, self._began + self._settings.deadline_seconds)
        return await answer_within(self._client, request, stop=self._stop, seconds=until - monotonic())

    async def climb(self) -> None:
        """Hold the loads one after the other, until there are no more, time is up or too much fails."""
        self._ends_at = min(self._ends_at, monotonic() + self._settings.deadline_seconds)
        while not self._stop.is_set() and (shape := self._shape()) is not None:
            left = self._ends_at - monotonic()
            if left < MINIMUM_STEP_SECONDS:
                self.notes.append("The deadline ended the run before its last step.")
                return
            await self._step(shape, left)
            if self.steps[-1].ended_by == BY_ERRORS:
                return

    def _shape(self) -> LoadShape | None:
        settings = self._settings
        if settings.shapes:
            return settings.shapes[len(self.steps)] if len(self.steps) < len(settings.shapes) else None
        concurrency = next_concurrency(
            self.steps,
            planned=settings.planned_concurrency,
            objectives=settings.objectives,
            maximum=settings.maximum_concurrency,
        )
        return None if concurrency is None else LoadShape(arrival=Arrival.CLOSED, concurrency=concurrency)

    async def _step(self, shape: LoadShape, left: float) -> None:
        settings = self._settings
        shapes_left = len(settings.shapes) - len(self.steps)
        share = left / (shapes_left if settings.shapes else steps_left(self.steps, settings.planned_concurrency))
        fixed = settings.requests is not None or shape.arrival is Arrival.TRACE
        seconds = SENDING_SHARE * left if fixed else min(settings.step_seconds, SENDING_SHARE * share)
        limits = StepLimits(
            seconds=seconds,
            drain_seconds=left - seconds,
            requests=settings.requests,
            interval=settings.interval,
            error_rate=settings.error_rate,
        )
        arrivals = self._arrivals if shape.arrival is Arrival.TRACE else None
        source, times = self._source(), self._offsets(shape)
        step = Step(shape, self._client, source, limits, first=self._next, offsets=times, arrivals=arrivals)
        place = len(self.steps) + 1
        figures = await step.run(
            objectives=settings.objectives,
            interrupted=self._stop,
            going=lambda going: self._progress(Progress(phase="load", step=place, going=going)),
        )
        self._next += step.sent
        self.steps.append(figures)
        if figures.ended_by == BY_ERRORS:
            first = step.failures[0]
            self.notes.append(f"Given up: {first.count} requests failed ({first.kind}): {first.message}")
        self._progress(Progress(phase="load", step=place, ended=figures))

    def _offsets(self, shape: LoadShape) -> Iterable[float]:
        if shape.arrival is Arrival.CLOSED:
            return ()
        if shape.arrival is Arrival.TRACE:
            if self._arrivals is None:
                raise InvalidValue("a load that replays a trace needs one.")
            return self._arrivals.seconds
        return offsets(shape, Random(self._seed))

    def _source(self) -> RequestSource:
        images = self._arrivals.images if self._arrivals is not None else None
        most = max(images or (), default=0)
        return RequestSource(self.workload, self._pictures, seed=self._seed, shape=self.shape, most_images=most)

    def _taken(self) -> int:
        self._next += 1
        return self._next - 1
