"""What the agent asks of its engine: one request with images, a short load, a ladder of loads.

All of it carries a header, so that it can be told from the requests of users. The agent does not lower its own
priority: containers share a node's cores by their CPU requests, and within its container it is alone.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from vlm_operator.agent.config import AgentConfig
from vlm_operator.results import VERSION_LENGTH, Figures, Ladder, Probe, Problem, Word, cut, odd_row, rfc3339
from vlmctl.bench.body import ChatRequest, encode_body
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, Endpoint, FailureKind, Timeouts
from vlmctl.bench.figures import StepFigures
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.requests import Pictures, PromptShape, RequestSource, prepare
from vlmctl.bench.results import measurements
from vlmctl.bench.run import SEED_BITS, Report, Settings, run
from vlmctl.bench.steps import BY_ERRORS
from vlmctl.bench.workload import BenchWorkload, workload_from
from vlmctl.errors import InvalidValue, NotReachable, VlmctlError
from vlmctl.specs.record import Record
from vlmctl.units import parse_duration_seconds

HEADERS = {"X-Vlmctl-Benchmark": "1"}
SMOKE_TOKENS = 16  # of the answer: enough to see that it decodes
CANARY_TOKENS = 1
UNANSWERED = frozenset({FailureKind.TIMEOUT, FailureKind.STALLED})
# That a chat template may put beside an image, such as a line break: only where the engine does not count image tokens
# itself, and they are what a prompt with images has over the same one without.
TEMPLATE_TOKENS = 4
# A probe that lasts fewer requests one after the other, and ends with no interval, tells nothing of a replica's speed.
TELLING_REQUESTS = 2


# Of all requests in flight. The container may have 1 GiB; drawing takes 200 MiB at most, and a request in flight three
# times its bytes (measured: 1.4 GiB for 8 requests with 16 images of 4096x4096, 51 MB each).
BODIES_BYTES = 224 * 1024**2


class Drawn(NamedTuple):
    """Pictures, the number that they follow from, and how many requests with them may be in flight."""

    seed: int
    pictures: Pictures
    most_in_flight: int


class Smoke(Record, frozen=True, kw_only=True):
    """What came of one request; without a `problem` it was answered rightly. `unanswered`: nothing came in time."""

    problem: Problem | None = None
    message: str = ""
    image_tokens: int | None = None
    unanswered: bool = False


class Climb(Record, frozen=True, kw_only=True):
    """What came of a ladder. `whole`: no request of it failed for what the engine did."""

    ladder: Ladder
    whole: bool
    engine_version: str | None = None


def bench_workload(config: AgentConfig) -> BenchWorkload:
    """The planned request, without its videos, which the load generator does not send."""
    asked = config.workload
    return workload_from(replace(asked, videos=(), prompt_tokens=max(asked.prompt_tokens, 1)))


def measurable(config: AgentConfig) -> bool:
    """Whether the load generator can send what was planned."""
    return not config.workload.videos


async def draw(config: AgentConfig) -> Drawn:
    """The pictures of a benchmark; takes a core for seconds, best while the engine loads.

    Raises InvalidValue for a request that nobody can send, or that is too large for the agent's memory.
    """
    seed, workload = secrets.randbits(SEED_BITS), bench_workload(config)
    pictures = await asyncio.to_thread(prepare, workload, seed=seed)
    request = RequestSource(workload, pictures, seed=seed, shape=PromptShape()).request(0)
    size_bytes = len(encode_body(request, config.served_name))
    if size_bytes > BODIES_BYTES:
        raise InvalidValue(
            f"the planned request has {size_bytes:,} bytes, and the agent holds {BODIES_BYTES:,}.",
            remedy="Ask for fewer or smaller images in spec.workload.",
        )
    return Drawn(seed, pictures, BODIES_BYTES // size_bytes)


async def smoke(config: AgentConfig, drawn: Drawn) -> Smoke:
    """Ask the planned request once, with a short answer, and look at what comes."""
    workload = bench_workload(config)
    workload = replace(workload, output_tokens=min(SMOKE_TOKENS, workload.output_tokens))
    seed = secrets.randbits(SEED_BITS)  # unlike any request before it, so that no cache answers
    request = RequestSource(workload, drawn.pictures, seed=seed, shape=PromptShape()).request(0)
    try:
        async with _client(config, config.pace.request) as client:
            await client.open()
            answer = await client.ask(request)
            if answer.failure is not None:
                failure = answer.failure
                return Smoke(
                    problem=Problem.REQUEST_FAILED, message=failure.message, unanswered=failure.kind in UNANSWERED
                )
            if _empty(answer):
                return Smoke(problem=Problem.EMPTY_ANSWER, message="the answer holds no text.")
            if not request.images or config.image_tokens is None:
                return Smoke(image_tokens=answer.image_tokens)
            return await _counted(client, request, answer, config.image_tokens)
    except VlmctlError as error:
        return Smoke(problem=Problem.REQUEST_FAILED, message=str(error))


def _empty(answer: Answer) -> bool:
    """Whether nothing was said; reasoning, which has no text here, is something."""
    said = answer.text.strip() if answer.text else answer.token_at
    return not said or answer.output_tokens == 0


async def _counted(client: Client, request: ChatRequest, answer: Answer, planned: tuple[int, int]) -> Smoke:
    """Whether the engine counts image tokens as planned: those alone, or with any of the markers around them.

    Which markers an engine counts as the image's depends on the model: vLLM 0.32, multimodal/inputs.py,
    PlaceholderRange.length.
    """
    low, high = planned
    counted = answer.image_tokens
    if counted is None and answer.prompt_tokens is not None:
        without = await client.ask(replace(request, images=(), max_tokens=1))
        if without.failure is not None or without.prompt_tokens is None:
            return Smoke()
        counted = answer.prompt_tokens - without.prompt_tokens
        slack = TEMPLATE_TOKENS * len(request.images)
        low, high = high - slack, high + slack
    if counted is None or low <= counted <= high:
        return Smoke(image_tokens=counted)
    wanted = f"{planned[0]}" if planned[0] == planned[1] else f"{planned[0]} to {planned[1]}"
    return Smoke(
        problem=Problem.WRONG_IMAGE_TOKENS,
        message=f"the engine counts {counted} image tokens in a request that was planned with {wanted}.",
        image_tokens=counted,
    )


async def probe(config: AgentConfig, word: Word, drawn: Drawn) -> Probe | None:
    """Hold the measured concurrency for `Pace.probe`; None where the word does not say what was measured.

    By Little's law a request lasts concurrency over rate: a probe may be too short for the rate of long ones, and then
    it is not judged. Raises NotReachable where the engine fails.
    """
    measured = _positive(word.requests_per_second)
    if measured is None or not word.concurrency:
        return None
    concurrency = min(word.concurrency, drawn.most_in_flight)
    settings = Settings(
        workload=bench_workload(config),
        shapes=(LoadShape(arrival=Arrival.CLOSED, concurrency=concurrency),),
        deadline_seconds=config.pace.probe,
        budget_seconds=config.pace.probe,
        objectives=config.objectives,
        warm_up_requests=0,
        timeouts=Timeouts(first_token_seconds=config.pace.request),
    )
    report = await run(_endpoint(config), settings, pictures=drawn.pictures)
    if not report.steps or report.steps[0].ended_by == BY_ERRORS:
        raise NotReachable(cut(" ".join(report.notes)))
    figures = _figures(report.steps[0], rfc3339(datetime.now(UTC)))
    is_long = TELLING_REQUESTS * concurrency / measured > config.pace.probe
    share = _positive(word.minimum_of_measured) or 0.0
    return Probe(figures=figures, minimum=share * measured, judged=figures.high is not None or not is_long)


async def ladder(config: AgentConfig, word: Word, drawn: Drawn, *, attempt: int) -> Climb:
    """Climb the ladder around the planned concurrency, within the budget."""
    budget = parse_duration_seconds(word.budget) if word.budget is not None else config.pace.budget
    settings = Settings(
        workload=bench_workload(config),
        planned_concurrency=min(config.concurrency, drawn.most_in_flight),
        maximum_concurrency=min(config.maximum_concurrency, drawn.most_in_flight),
        objectives=config.objectives,
        deadline_seconds=budget,
        budget_seconds=budget,
        warm_up_requests=1,  # the smoke request was another
        seed=drawn.seed,
        timeouts=Timeouts(first_token_seconds=budget),
    )
    try:
        report = await run(_endpoint(config), settings, pictures=drawn.pictures)
    except VlmctlError as error:
        return Climb(
            ladder=Ladder(attempts=attempt, notes=(cut(str(error)),)), whole=not isinstance(error, NotReachable)
        )
    climb = _climbed(config, report, attempt)
    if drawn.most_in_flight >= config.maximum_concurrency:
        return climb
    note = f"No more than {drawn.most_in_flight} requests were in flight: the agent's memory holds no more images."
    return replace(climb, ladder=replace(climb.ladder, notes=(*climb.ladder.notes, note)))


def _climbed(config: AgentConfig, report: Report, attempt: int) -> Climb:
    moment = datetime.now(UTC)
    best = report.best
    measured = best is not None and best.requests_per_second is not None and best.requests_per_second.value > 0
    found = Ladder(
        attempts=attempt,
        best=_figures(best, rfc3339(moment)) if best is not None and measured else None,
        rows=tuple(row for row in measurements(report, config.about, now=moment) if not odd_row(row)),
        notes=tuple(map(cut, report.notes)),
    )
    failed = any(step.ended_by == BY_ERRORS for step in report.steps)
    return Climb(
        ladder=found, whole=not failed, engine_version=(report.server.engine_version or "")[:VERSION_LENGTH] or None
    )


async def hangs(config: AgentConfig) -> bool:
    """Whether a short question is left without an answer; one that is refused, or fails at once, is none of that."""
    request = ChatRequest(prompt="the", max_tokens=CANARY_TOKENS)
    async with _client(config, config.pace.canary) as client:
        client.model = config.served_name
        answer = await client.ask(request)
    return answer.failure is not None and answer.failure.kind in UNANSWERED


def _figures(step: StepFigures, moment: str) -> Figures:
    rate, tokens = step.requests_per_second, step.tokens
    return Figures(
        concurrency=step.shape.concurrency or 1,
        requests_per_second=rate.value if rate is not None else 0.0,
        measured=moment,
        low=rate.low if rate is not None else None,
        high=rate.high if rate is not None else None,
        ttft_p95_seconds=step.ttft.p95.value if step.ttft is not None else None,
        tpot_p95_seconds=step.tpot.p95.value if step.tpot is not None else None,
        image_tokens=round(tokens.image_tokens / step.completed) if tokens.image_tokens and step.completed else None,
    )


def _positive(text: str | None) -> float | None:
    try:
        return value if text is not None and (value := float(text)) > 0 else None
    except ValueError:
        return None


def _endpoint(config: AgentConfig) -> Endpoint:
    return Endpoint(url=config.engine_url, model=config.served_name, headers=HEADERS)


def _client(config: AgentConfig, first_token_seconds: float) -> Client:
    return Client(_endpoint(config), timeouts=Timeouts(first_token_seconds=first_token_seconds))
