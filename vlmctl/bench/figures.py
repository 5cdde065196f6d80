"""What a step of a run measured: rates, latencies, tokens, failures, each figure with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec.structs import replace

from vlmctl.bench.counters import Disagreement, ServerLoad
from vlmctl.bench.endpoint import Failure
from vlmctl.bench.load import LoadShape
from vlmctl.bench.samples import CutOff, Sample
from vlmctl.bench.statistics import Distribution, Estimate, Span, distribution, proportion, throughput
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives

LATE_SECONDS = 0.01  # from the intended to the real time of sending, at the 99th percentile, beyond which it is said


class Tokens(Record, frozen=True, kw_only=True):
    """Tokens of the completed requests, as the server counted them; None: it did not.

    `image_tokens` are part of `prompt_tokens`. `image_tokens_by_difference`: the server does not tell them; they are
    what the prompts have over their text, which is `beyond_text_tokens` for any server: markers around and between
    images are always in it, and in the server's own count of image tokens only for some models.
    """

    prompt_tokens: int | None
    image_tokens: int | None
    image_tokens_by_difference: bool
    cached_tokens: int | None
    output_tokens: int
    beyond_text_tokens: int | None = None

    @property
    def text_tokens(self) -> int | None:
        """Prompt tokens that are not of images."""
        if self.prompt_tokens is None or self.image_tokens is None:
            return None
        return self.prompt_tokens - self.image_tokens


class FailureCount(Record, frozen=True, kw_only=True):
    """Failures of one kind; `message` is the first one's."""

    kind: str
    count: int
    message: str


class StepFigures(Record, frozen=True, kw_only=True):
    """One load and what came of it. Requests that were sent in `window_seconds`, after warming up, count.

    `completed`, `images` and `failures` are of those; `unfinished`: cut off when time was up, `overdue` of them when
    the objective for their first token was already missed. `requests_per_second`: completed while the load lasted, see
    `throughput`; `output_tokens_per_second`: of those. `completed_per_second`: completed over the whole time until the
    last one ended, as most tools tell it. `met`: share of the requests that kept the objectives, failed and overdue
    ones counted as missed; `goodput_per_second`: such requests. `late_p99_seconds`: of sending.
    """

    shape: LoadShape
    window_seconds: float
    whole_seconds: float
    completed: int
    images: int
    unfinished: int
    failures: tuple[FailureCount, ...]
    requests_per_second: Estimate | None
    completed_per_second: float
    mean_in_flight: float
    ttft: Distribution | None
    tpot: Distribution | None
    itl: Distribution | None
    e2e: Distribution | None
    tokens: Tokens
    met: Estimate | None = None
    goodput_per_second: Estimate | None = None
    output_tokens_per_second: Estimate | None = None
    overdue: int = 0
    late_p99_seconds: float = 0.0
    ended_by: str = ""
    server: ServerLoad | None = None
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(failure.count for failure in self.failures)

    @property
    def error_rate(self) -> float:
        """Failed over all that ended."""
        ended = self.completed + self.failed
        return self.failed / ended if ended else 0.0


class Window(Record, frozen=True, kw_only=True):
    """When a step was measured, in monotonic seconds: `start` after warming up, `end` when sending stopped.

    `steady`: from when the load was in its stride, for the throughput; None: it has to count from where it began, and
    that of a closed load (`drained`) to where its last request ended: the server has done by then what was sent.
    `widened`: times as wide are the intervals of rates.
    """

    start: float
    end: float
    last: float  # the last request ended, or was cut off
    steady: float | None = None
    drained: bool = False
    widened: float = 1.0


def step_figures(
    shape: LoadShape,
    samples: Sequence[Sample],
    window: Window,
    *,
    objectives: Objectives,
    cut_off: Sequence[CutOff] = (),
) -> StepFigures:
    """The figures of a step from its samples, and from what was in flight at its end."""
    sent, window = window, whole_window(window, cut_off)
    inside = [sample for sample in samples if window.start <= sample.intended_at < window.end]
    done = [sample for sample in inside if sample.failure is None]
    answered = [sample for sample in samples if sample.failure is None]
    whole = window.last - window.start
    overdue = sum(_overdue(each, sent, objectives) for each in cut_off)
    met, goodput = _goodput(samples, sent, window, objectives=objectives, overdue=overdue)
    late = distribution([sample.sent_at - sample.intended_at for sample in inside])
    return StepFigures(
        shape=shape,
        window_seconds=window.end - window.start,
        whole_seconds=whole,
        completed=len(done),
        images=sum(sample.images for sample in done),
        unfinished=len(cut_off),
        failures=count_failures(sample.failure for sample in inside),
        requests_per_second=_rate(_spans(answered), sent, window),
        completed_per_second=len(done) / whole if whole > 0 else 0.0,
        mean_in_flight=_in_flight(samples, window),
        ttft=_known(sample.ttft_seconds for sample in done),
        tpot=_known(sample.tpot_seconds for sample in done),
        itl=distribution(np.concatenate([np.empty(0, np.float32), *(sample.gaps for sample in done)])),
        e2e=distribution([sample.e2e_seconds for sample in done]),
        tokens=_tokens(done),
        met=met,
        goodput_per_second=goodput,
        output_tokens_per_second=_rate(_spans(answered, tokens=True), sent, window),
        overdue=overdue,
        late_p99_seconds=late.p99.value if late is not None else 0.0,
    )


def whole_window(window: Window, cut_off: Sequence[CutOff]) -> Window:
    """The window up to where the oldest request that was cut off began, since those that began later and are done were
    the quick ones; as it is, where that would leave less than half.
    """
    end = min((window.end, *(each.intended_at for each in cut_off)))
    return replace(window, end=end) if end - window.start >= (window.end - window.start) / 2 else window


def _goodput(
    samples: Sequence[Sample], sent: Window, whole: Window, *, objectives: Objectives, overdue: int
) -> tuple[Estimate | None, Estimate | None]:
    """The share of requests that kept the objectives, and how many a second; None without objectives."""
    if objectives == Objectives():
        return None, None
    kept = [sample for sample in samples if sample.failure is None and _keeps(sample, objectives)]
    asked = sum(_sent_in(sent, sample) for sample in samples) + overdue
    met = proportion(sum(_sent_in(sent, sample) for sample in kept), asked)
    return met, _rate(_spans(kept), sent, whole)


def _rate(spans: Sequence[Span], sent: Window, whole: Window) -> Estimate | None:
    """Per second. Requests that count where they end are known to the end, whatever was then in flight."""
    if sent.steady is not None:
        return throughput(spans, sent.steady, whole.end, widened=sent.widened)
    if sent.drained:
        return throughput(spans, sent.start, sent.last, widened=sent.widened)
    return throughput(spans, sent.start, sent.end, by_end=True, widened=sent.widened)


def _spans(samples: Iterable[Sample], *, tokens: bool = False) -> list[Span]:
    return [Span(each.intended_at, each.finished_at, each.output_tokens if tokens else 1.0) for each in samples]


def _sent_in(window: Window, request: Sample | CutOff) -> bool:
    return window.start <= request.intended_at < window.end


def _overdue(request: CutOff, window: Window, objectives: Objectives) -> bool:
    """Whether a request of the window had missed the objective for its first token when it was cut off."""
    limit, came = objectives.ttft_seconds, request.first_token_at
    waited = (window.last if came is None else came) - request.intended_at
    return limit is not None and waited > limit and _sent_in(window, request)


def count_failures(failures: Iterable[Failure | None]) -> tuple[FailureCount, ...]:
    """Failures by kind, the most frequent first."""
    found = [failure for failure in failures if failure is not None]
    first = {failure.kind: failure.message for failure in reversed(found)}
    counts = Counter(failure.kind for failure in found)
    return tuple(
        FailureCount(kind=kind.value, count=count, message=first[kind]) for kind, count in counts.most_common()
    )


def _keeps(sample: Sample, objectives: Objectives) -> bool:
    ttft, tpot = sample.ttft_seconds, sample.tpot_seconds
    if objectives.ttft_seconds is not None and (ttft is None or ttft > objectives.ttft_seconds):
        return False
    return objectives.tpot_seconds is None or tpot is None or tpot <= objectives.tpot_seconds


def _known(values: Iterable[float | None]) -> Distribution | None:
    return distribution([value for value in values if value is not None])


def _in_flight(samples: Iterable[Sample], window: Window) -> float:
    """Mean number of requests under way in the window."""
    length = window.end - window.start
    inside = (
        max(min(sample.finished_at, window.end) - max(sample.intended_at, window.start), 0.0) for sample in samples
    )
    return sum(inside) / length if length > 0 else 0.0


def _tokens(done: Sequence[Sample]) -> Tokens:
    told = [(sample.prompt_tokens, sample.text_tokens) for sample in done if sample.prompt_tokens is not None]
    prompt = sum(tokens for tokens, _ in told) if told else None
    apart = [sample.image_tokens for sample in done if sample.image_tokens is not None]
    cached = [sample.cached_tokens for sample in done if sample.cached_tokens is not None]
    beyond = max(round(prompt - sum(text for _, text in told)), 0) if prompt is not None else None
    image: int | None = sum(apart) if apart else None
    by_difference = False
    if not any(sample.images for sample in done):
        image = 0
    elif image is None and beyond is not None:
        image, by_difference = beyond, True
    return Tokens(
        prompt_tokens=prompt,
        image_tokens=image,
        image_tokens_by_difference=by_difference,
        cached_tokens=sum(cached) if cached else None,
        output_tokens=sum(sample.output_tokens for sample in done),
        beyond_text_tokens=beyond,
    )
