"""What the agent in a pod tells the operator: the record that is served at `/result` and kept in the pod."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from vlmctl.errors import InvalidValue
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.record import Record

MAXIMUM_BYTES = 4 * 1024**2  # of a result; a ladder of eight steps has about 60 kB


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

    concurrency: int
    requests_per_second: float
    measured: str
    low: float | None = None
    high: float | None = None
    ttft_p95_seconds: float | None = None
    tpot_p95_seconds: float | None = None
    image_tokens: int | None = None


class Ladder(Record, frozen=True, kw_only=True):
    """What came of measuring. `best`: the step with the highest throughput within the objectives; None: not measured.

    `attempts`: how often it was begun. `rows`: every step. `notes`: what a reader should know.
    """

    attempts: int = 0
    best: Figures | None = None
    rows: tuple[Measurement, ...] = ()
    notes: tuple[str, ...] = ()


class Probe(Record, frozen=True, kw_only=True):
    """A short load at the concurrency that was measured. `minimum`: requests per second that it had to reach."""

    figures: Figures
    minimum: float


class AgentResult(Record, frozen=True, kw_only=True):
    """All that an agent knows of its pod. Times are RFC 3339, of what last happened; None: it did not yet.

    `problem`, `message`: why traffic is kept away, or why there is no measurement. `opened`: when the pod first took
    traffic. `image_tokens`: of the smoke request. `counted_before`: the engine's counters when it was opened last, so
    that the benchmark's own requests can be taken off those of its users.
    """

    stage: Stage = Stage.WAITING
    problem: Problem | None = None
    message: str = ""
    task: Task | None = None
    engine_version: str | None = None
    engine_ready: str | None = None
    smoked: str | None = None
    opened: str | None = None
    stuck: str | None = None
    image_tokens: int | None = None
    probe: Probe | None = None
    ladder: Ladder = Ladder()
    counted_before: dict[str, float] = {}

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
        return msgspec.json.decode(content, type=AgentResult)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"the result of an agent cannot be read: {error}.") from error


def read_word(content: str) -> Word | None:
    """The word of an annotation; None where there is none yet, or none that can be read."""
    try:
        return msgspec.json.decode(content.encode(), type=Word) if content.strip() else None
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def rfc3339(moment: datetime) -> str:
    """``2026-11-20T12:30:05Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
