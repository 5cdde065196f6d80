"""Measured against planned, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from vlmctl.bench.figures import StepFigures
from vlmctl.bench.load import Arrival
from vlmctl.bench.statistics import Estimate
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Workload
from vlmctl.units import SECONDS_PER_HOUR


class Planned(Record, frozen=True, kw_only=True):
    """What a plan says of one replica; None: its file does not say. Seconds; latencies are means where not said.

    `image_tokens`: of one request, with the markers around and between images.
    """

    model: str
    weights: str
    gpu: str
    gpu_count: int
    workload: Workload
    objectives: Objectives = Objectives()
    requests_per_second: float | None = None
    concurrency: int | None = None
    ttft_seconds: float | None = None
    ttft_p95_seconds: float | None = None
    tpot_seconds: float | None = None
    tpot_p95_seconds: float | None = None
    e2e_seconds: float | None = None
    image_tokens: int | None = None
    usd_per_hour: float | None = None


class Drift(Record, frozen=True, kw_only=True):
    """One figure of a plan and what was measured. `ratio`: measured over planned."""

    quantity: str
    planned: float
    measured: Estimate
    ratio: float

    @property
    def error(self) -> float:
        """Of the estimate: |planned - measured| / measured."""
        return abs(1.0 / self.ratio - 1.0) if self.ratio else float("inf")


class Money(Record, frozen=True, kw_only=True):
    """What a step costs at a price of the server per hour, in USD; intervals follow from the throughput's."""

    usd_per_hour: float
    usd_per_1k_requests: Estimate
    usd_per_1k_images: Estimate | None
    usd_per_million_tokens: Estimate | None


def step_at(steps: Sequence[StepFigures], concurrency: int | None) -> StepFigures | None:
    """The closed step with so many in flight, else the nearest by ratio; without a number, the fastest one."""
    closed = [step for step in steps if step.shape.arrival is Arrival.CLOSED and step.requests_per_second is not None]
    if concurrency is None:
        return max(
            closed, key=lambda step: step.requests_per_second.value if step.requests_per_second else 0, default=None
        )
    return min(closed, key=lambda step: _times_apart(step.shape.concurrency or 1, concurrency), default=None)


def _times_apart(one: int, other: int) -> float:
    return max(one, other) / min(one, other)


def drift(planned: Planned, step: StepFigures) -> tuple[Drift, ...]:
    """The figures that the plan and a step both have."""
    ttft, tpot, e2e, tokens = step.ttft, step.tpot, step.e2e, step.tokens
    beyond_text = tokens.beyond_text_tokens  # as a plan counts: whether servers count markers depends on the model
    image_tokens = beyond_text / step.completed if beyond_text is not None and step.completed else None
    pairs = (
        ("requests_per_second", planned.requests_per_second, step.requests_per_second),
        ("ttft_seconds", planned.ttft_seconds, ttft and ttft.mean),
        ("ttft_p95_seconds", planned.ttft_p95_seconds, ttft and ttft.p95),
        ("tpot_seconds", planned.tpot_seconds, tpot and tpot.mean),
        ("tpot_p95_seconds", planned.tpot_p95_seconds, tpot and tpot.p95),
        ("e2e_seconds", planned.e2e_seconds, e2e and e2e.mean),
        ("image_tokens", planned.image_tokens, None if image_tokens is None else Estimate(value=image_tokens)),
    )
    return tuple(
        Drift(quantity=name, planned=said, measured=seen, ratio=seen.value / said)
        for name, said, seen in pairs
        if said and seen
    )


def money(step: StepFigures, usd_per_hour: float) -> Money | None:
    """What the requests of a step cost on a server that is kept as busy; None without throughput."""
    rate, done = step.requests_per_second, step.completed
    if rate is None or not rate.value or not done:
        return None
    per_second = usd_per_hour / SECONDS_PER_HOUR
    images = step.images / done
    tokens = ((step.tokens.prompt_tokens or 0) + step.tokens.output_tokens) / done
    return Money(
        usd_per_hour=usd_per_hour,
        usd_per_1k_requests=_per_request(1000 * per_second, rate),
        usd_per_1k_images=_per_request(1000 * per_second / images, rate) if images else None,
        usd_per_million_tokens=_per_request(1e6 * per_second / tokens, rate) if tokens else None,
    )


def _per_request(per_second: float, rate: Estimate) -> Estimate:
    return Estimate(
        value=per_second / rate.value,
        low=per_second / rate.high if rate.high else None,
        high=per_second / rate.low if rate.low else None,
    )
