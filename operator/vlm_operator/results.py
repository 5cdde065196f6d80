"""What the agent in a pod tells the operator: the record that is served at `/result` and kept in the pod.

Another image than the agent's may answer there, so each value has bounds: what lies outside them is no result.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from vlm_operator import tolerant
from vlmctl.errors import InvalidValue
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.record import Record

MAXIMUM_BYTES = 512 * 1024  # of a result; a ladder of eight steps has about 60 kB, and an object of the cluster 1.5 MiB
TEXT_LENGTH = 2_000  # characters of what is said to people; the agent cuts it
VERSION_LENGTH = 128  # characters
MAXIMUM_CONCURRENCY = 100_000  # requests in flight at one replica
# A round trip within one machine takes longer: a rate above the requests in flight over this was not measured.
SHORTEST_REQUEST_SECONDS = 1e-4
LONGEST_SECONDS = 86_400.0  # of a latency: a day; a rate below one request in it was not measured
SHORTEST_MS = 1e-3  # of a latency that is not 0, as of tokens that came in one piece
MAXIMUM_COUNT = 100_000_000  # of tokens, of requests
MAXIMUM_GPUS = 4_096  # of a replica
MAXIMUM_IMAGES = 10_000  # of a request
MAXIMUM_PIXELS = 100_000  # of an image's side
ROUNDING = 1e-6  # share by which a rate may lie outside its own interval

_Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", max_length=20)]
_Text = Annotated[str, Meta(max_length=TEXT_LENGTH)]
_Version = Annotated[str, Meta(max_length=VERSION_LENGTH)]
_Rate = Annotated[float, Meta(ge=0, le=MAXIMUM_CONCURRENCY / SHORTEST_REQUEST_SECONDS)]  # requests per second
_Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
_Tokens = Annotated[int, Meta(ge=0, le=MAXIMUM_COUNT)]
_Concurrency = Annotated[int, Meta(ge=1, le=MAXIMUM_CONCURRENCY)]
_MOMENTS = ("engine_ready", "smoked", "opened", "stuck")  # fields of a result


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
        result = tolerant.convert(msgspec.json.decode(content), AgentResult)
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
    best = result.ladder.best
    probe = result.probe.figures if result.probe is not None else None
    figures = [(name, each) for name, each in (("ladder.best", best), ("probe.figures", probe)) if each is not None]
    moments = [(name, getattr(result, name)) for name in _MOMENTS]
    moments += [(f"{name}.measured", each.measured) for name, each in figures]
    said = [f"{name} is {each}, which no calendar has" for name, each in moments if each and not _is_moment(each)]
    said += [f"{name} {why}" for name, each in figures if (why := _odd_figures(each))]
    said += ["ladder.best has no requests/s"] if best is not None and _too_slow(best.requests_per_second) else []
    said += [f"row {each.id} {why}" for each in result.ladder.rows if (why := odd_row(each))]
    return next(iter(said), "")


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _odd_figures(figures: Figures) -> str:
    rate = figures.requests_per_second
    low, high = figures.low if figures.low is not None else rate, figures.high if figures.high is not None else rate
    if not low * (1 - ROUNDING) <= rate <= high * (1 + ROUNDING):
        return f"has {rate:g} requests/s outside of its interval, {low:g} to {high:g}"
    return _too_fast(rate, figures.concurrency)


def odd_row(row: Measurement) -> str:
    """Why no run can have measured it, so that nothing may be estimated with it; empty where one may have."""
    asked, split = row.workload, row.parallelism
    counts = {
        "gpu_count": (row.gpu_count, 1, MAXIMUM_GPUS),
        **{name: (count, 1, MAXIMUM_GPUS) for name, count in msgspec.structs.asdict(split).items()},
        "concurrency": (row.load.concurrency, 1, MAXIMUM_CONCURRENCY),
        "requests": (row.load.requests, 1, MAXIMUM_COUNT),
        "prompt_tokens": (asked.prompt_tokens, 0, MAXIMUM_COUNT),
        "output_tokens": (asked.output_tokens, 1, MAXIMUM_COUNT),
        "images": (asked.images, 0, MAXIMUM_IMAGES),
        "image_width": (asked.image_width, 1, MAXIMUM_PIXELS),
        "image_height": (asked.image_height, 1, MAXIMUM_PIXELS),
    }
    for name, (count, least, most) in counts.items():
        if count is not None and not least <= count <= most:
            return f"has a {name} of {count}"
    for name, value in sorted(msgspec.structs.asdict(row.measured).items()):
        is_latency = value is not None and name.endswith("_ms")
        if is_latency and value and not SHORTEST_MS <= value <= LONGEST_SECONDS * 1000:
            return f"has a {name} of {value:g}"
    return _odd_rate(row)


def _odd_rate(row: Measurement) -> str:
    """Of the throughput, which may have to be worked out from latencies."""
    try:
        rate = row.requests_per_second
    except ZeroDivisionError:
        return "has requests that take no time"
    if rate is None:
        return ""
    if _too_slow(rate):
        return f"has {rate:g} requests/s"
    return _too_fast(rate, row.load.concurrency or MAXIMUM_CONCURRENCY)


def _too_slow(rate: float) -> bool:
    return not rate * LONGEST_SECONDS >= 1.0


def _too_fast(rate: float, concurrency: int) -> str:
    if rate * SHORTEST_REQUEST_SECONDS <= concurrency <= MAXIMUM_CONCURRENCY:
        return ""
    return f"has {rate:g} requests/s with {concurrency} in flight"


def read_word(content: str) -> Word | None:
    """The word of an annotation; None where there is none yet, or none that can be read."""
    try:
        return tolerant.convert(msgspec.json.decode(content.encode()), Word) if content.strip() else None
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def rfc3339(moment: datetime) -> str:
    """``2026-11-20T12:30:05Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
