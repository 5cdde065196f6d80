"""What the agent in a pod tells the operator: the record that is served at `/result` and kept in the pod.

Another image than the agent's may answer there, so each value has bounds: what lies outside them is no result.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from vlmctl.errors import InvalidValue
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.record import Record

MAXIMUM_BYTES = 512 * 1024  # of a result; a ladder of eight steps has about 60 kB, and an object of the cluster 1.5 MiB
TEXT_LENGTH = 2_000  # characters of what is said to people; the agent cuts it
VERSION_LENGTH = 128  # characters
MAXIMUM_CONCURRENCY = 100_000  # requests in flight at one replica
# A round trip within one machine takes longer: a rate above the requests in flight over this was not measured.
SHORTEST_REQUEST_SECONDS = 1e-4
LONGEST_SECONDS = 86_400.0  # of a latency: a day
ROUNDING = 1e-6  # share by which a rate may lie outside its own interval

_Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", max_length=20)]
_Text = Annotated[str, Meta(max_length=TEXT_LENGTH)]
_Version = Annotated[str, Meta(max_length=VERSION_LENGTH)]
_Rate = Annotated[float, Meta(ge=0, le=MAXIMUM_CONCURRENCY / SHORTEST_REQUEST_SECONDS)]  # requests per second
_Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
_Tokens = Annotated[int, Meta(ge=0, le=100_000_000)]
_Concurrency = Annotated[int, Meta(ge=1, le=MAXIMUM_CONCURRENCY)]


class Task(StrEnum):
    """What a pod does before it takes traffic: one request, a short load as measured before, or a measurement."""

    SMOKE = "smoke"
    PROBE = "probe"
    LADDER = "ladder"


class Stage(StrEnum):
    """Where a pod is on its way to traffic."""

    WAITING = "Waiting"  # for the engine to answer
    SMOKE = "Smoke"
    PROBE = "Probe"
    LADDER = "Ladder"
    OPEN = "Open"  # it takes traffic
    SHUT = "Shut"  # it takes none: `problem` says why, and it is tried again


class Problem(StrEnum):
    """What went wrong. The first four keep traffic away, the last one does not."""

    REQUEST_FAILED = "RequestFailed"
    EMPTY_ANSWER = "EmptyAnswer"
    WRONG_IMAGE_TOKENS = "WrongImageTokens"
    BELOW_MINIMUM = "BelowMinimum"
    NOT_MEASURED = "NotMeasured"


class Figures(Record, frozen=True, kw_only=True):
    """One closed load: `concurrency` requests in flight. None: not known.

    `low`, `high`: 95% confidence interval of the rate. `image_tokens`: of one request, as the engine counts them.
    `measured`: when, RFC 3339.
    """

    concurrency: _Concurrency
    requests_per_second: _Rate
    measured: _Moment
    low: _Rate | None = None
    high: _Rate | None = None
    ttft_p95_seconds: _Seconds | None = None
    tpot_p95_seconds: _Seconds | None = None
    image_tokens: _Tokens | None = None


class Ladder(Record, frozen=True, kw_only=True):
    """What came of measuring. `best`: the step with the highest throughput within the objectives; None: not measured.

    `attempts`: how often it was begun. `rows`: every step. `notes`: what a reader should know.
    """

    attempts: Annotated[int, Meta(ge=0, le=1_000)] = 0
    best: Figures | None = None
    rows: Annotated[tuple[Measurement, ...], Meta(max_length=64)] = ()  # as many as a VLMBenchmark holds
    notes: Annotated[tuple[_Text, ...], Meta(max_length=64)] = ()


class Probe(Record, frozen=True, kw_only=True):
    """A short load at the concurrency that was measured. `minimum`: requests per second that it had to reach.

    `judged`: whether it lasted long enough to tell the rate of such requests.
    """

    figures: Figures
    minimum: _Rate
    judged: bool = True

    @property
    def too_slow(self) -> bool:
        """Whether the rate falls short of the minimum, with its whole interval where there is one."""
        figures = self.figures
        reached = figures.high if figures.high is not None else figures.requests_per_second
        return self.judged and reached < self.minimum


class AgentResult(Record, frozen=True, kw_only=True):
    """All that an agent knows of its pod. Times are RFC 3339, of what last happened; None: it did not yet.

    `problem`, `message`: why traffic is kept away, or why there is no measurement. `opened`: when the pod first took
    traffic. `image_tokens`: of the smoke request. `counted_before`: the engine's counters when it was opened last, so
    that the benchmark's own requests can be taken off those of its users.
    """

    stage: Stage = Stage.WAITING
    problem: Problem | None = None
    message: _Text = ""
    task: Task | None = None
    engine_version: _Version | None = None
    engine_ready: _Moment | None = None
    smoked: _Moment | None = None
    opened: _Moment | None = None
    stuck: _Moment | None = None
    image_tokens: _Tokens | None = None
    probe: Probe | None = None
    ladder: Ladder = Ladder()
    counted_before: Annotated[dict[Annotated[str, Meta(max_length=64)], float], Meta(max_length=64)] = {}

    @property
    def measured(self) -> bool:
        """Whether it holds a measurement."""
        return self.ladder.best is not None


class Word(Record, frozen=True, kw_only=True, rename="camel"):
    """What the operator says to a pod, in its annotation: text, as everything in Kubernetes.

    Of a ladder: `budget`, such as ``90s``. Of a probe: what was measured, and `minimum_of_measured`, the share of it
    that must be reached.
    """

    task: Task
    budget: str | None = None
    requests_per_second: str | None = None
    concurrency: int | None = None
    minimum_of_measured: str | None = None


def encode(record: AgentResult | Word) -> bytes:
    """JSON, the same for the same record."""
    return msgspec.json.encode(record, order="deterministic")


def read_result(content: bytes) -> AgentResult:
    """A result from JSON, which a pod wrote and nobody vouches for; raises InvalidValue."""
    if len(content) > MAXIMUM_BYTES:
        raise InvalidValue(f"the result of an agent is larger than {MAXIMUM_BYTES:,} bytes.")
    try:
        result = msgspec.json.decode(content, type=AgentResult)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"the result of an agent cannot be read: {cut(str(error))}.") from error
    if wrong := _incredible(result):
        raise InvalidValue(f"the result of an agent cannot be believed: {cut(wrong)}.")
    return result


def cut(text: str) -> str:
    """Text as short as a result may hold it."""
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"


def _incredible(result: AgentResult) -> str:
    """Why nobody measured such figures; empty where somebody may have."""
    probe = result.probe.figures if result.probe is not None else None
    figures = (("ladder.best", result.ladder.best), ("probe.figures", probe))
    said = [f"{name} {why}" for name, each in figures if each is not None and (why := _odd_figures(each))]
    rows = [f"row {each.id} {why}" for each in result.ladder.rows if (why := _odd_row(each))]
    return next(iter((*said, *rows)), "")


def _odd_figures(figures: Figures) -> str:
    rate = figures.requests_per_second
    low, high = figures.low if figures.low is not None else rate, figures.high if figures.high is not None else rate
    if not low * (1 - ROUNDING) <= rate <= high * (1 + ROUNDING):
        return f"has {rate:g} requests/s outside of its interval, {low:g} to {high:g}"
    return _too_fast(rate, figures.concurrency)


def _odd_row(row: Measurement) -> str:
    read = {name: value for name, value in msgspec.structs.asdict(row.measured).items() if value is not None}
    longest = {name: LONGEST_SECONDS * 1000 if name.endswith("_ms") else math.inf for name in read}
    odd = sorted(name for name, value in read.items() if not 0 <= value <= longest[name])
    if odd:
        return f"has a {odd[0]} of {read[odd[0]]:g}"
    return _too_fast(read.get("requests_per_second", 0.0), row.load.concurrency or MAXIMUM_CONCURRENCY)


def _too_fast(rate: float, concurrency: int) -> str:
    if rate * SHORTEST_REQUEST_SECONDS <= concurrency <= MAXIMUM_CONCURRENCY:
        return ""
    return f"has {rate:g} requests/s with {concurrency} in flight"


def read_word(content: str) -> Word | None:
    """The word of an annotation; None where there is none yet, or none that can be read."""
    try:
        return msgspec.json.decode(content.encode(), type=Word) if content.strip() else None
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def rfc3339(moment: datetime) -> str:
    """``2026-11-20T12:30:05Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
