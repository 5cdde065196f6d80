"""Requests with large images at times of their own, and what came of them while replicas came and went."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

import httpx
from vlm_operator.kinds import VLMDEPLOYMENT

from tests.cluster.control_plane.operators import Space
from tests.cluster.foretold import Count
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Endpoint
from vlmctl.bench.load import Sending, open_loop
from vlmctl.bench.requests import PromptShape, RequestSource, prepare
from vlmctl.bench.samples import Sample, sample_of
from vlmctl.bench.workload import BenchWorkload
from vlmctl.planning.replica import ReplicaSpeed

LOOK_SECONDS = 0.5
MOST_IN_FLIGHT = 1024  # of a simulated replica


class Replicas(NamedTuple):
    """Those that were asked for, and how many took traffic; `at`: seconds of the monotonic clock. `most_in_flight`:
    requests at the one that has most of them, None where that is not known.
    """

    at: float
    asked: int
    ready: int
    most_in_flight: float | None


def send(endpoint: Endpoint, workload: BenchWorkload, offsets: Sequence[float], *, seed: int) -> list[Sample]:
    """Each request at its time from now, streamed, with images that no other seed has; what came of each, in order."""
    source = RequestSource(workload, prepare(workload, seed=seed), seed=seed, shape=PromptShape())

    async def everything() -> list[Sample]:
        samples = list[Sample]()
        async with Client(endpoint, connections=0) as client:
            await client.open()

            async def one(number: int, intended_at: float | None) -> Sample:
                request = source.request(number)
                answer = await client.ask(request, intended_at=intended_at)
                sample = sample_of(answer, images=workload.image_count, text_tokens=source.text_tokens(request))
                samples.append(sample)
                return sample

            await open_loop(one, Sending(), offsets=offsets)
        return sorted(samples, key=lambda each: each.intended_at)

    return asyncio.run(everything())


@contextmanager
def watched(space: Space, name: str, most_in_flight: Callable[[], float | None]) -> Iterator[list[Replicas]]:
    """Replicas over time, looked at until the end of the context."""
    found, over = list[Replicas](), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                body, most = space.find(VLMDEPLOYMENT, name), most_in_flight()
            except httpx.HTTPError:
                continue
            asked, ready = body["spec"].get("replicas", 1), body["status"].get("readyReplicas", 0)
            found.append(Replicas(time.monotonic(), asked, ready, most))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def measured_speed(
    concurrency: int, requests_per_second: float, *, step_seconds: float, output_tokens: int
) -> ReplicaSpeed:
    """A replica that answers so many a second with so many always in flight, and takes `step_seconds` for a token.

    A step makes a token for each that is decoded, so a request has its part of `output_tokens` steps; what is left of
    its time is its own, the image above all, and holds up all others.
    """
    own = 1.0 / requests_per_second - output_tokens * step_seconds / concurrency
    assert own > 0, (concurrency, requests_per_second, step_seconds)
    return ReplicaSpeed(
        step_seconds=(0.0, *(step_seconds,) * MOST_IN_FLIGHT), prefill_seconds=own, output_tokens=output_tokens
    )


def unexplained(
    samples: Sequence[Sample], replicas: Sequence[Replicas], limit_seconds: float, *, concurrency: int
) -> list[Sample]:
    """Answers whose first token was late although all replicas that were asked for were there, and what had queued
    before they were was answered.

    A Service knows of no queue: requests that wait at one replica do not move to another, and more of them come to it
    as to each.
    """
    behind, is_behind = list[float](), False
    for each in replicas:
        is_empty = each.most_in_flight is not None and each.most_in_flight <= concurrency
        is_behind = each.ready < each.asked or (is_behind and not is_empty)
        behind += [each.at] * is_behind
    assert not is_behind, "nobody has seen the end of a queue"

    def is_explained(sample: Sample) -> bool:
        told_at = sample.finished_at if sample.first_token_at is None else sample.first_token_at
        return any(sample.intended_at < at < told_at for at in behind)

    late = [each for each in samples if each.ttft_seconds is None or each.ttft_seconds > limit_seconds]
    return [each for each in late if not is_explained(each)]


def drops(replicas: Sequence[Replicas]) -> list[float]:
    """When fewer were asked for than before."""
    return [later.at for earlier, later in pairwise(replicas) if later.asked < earlier.asked]


def stage_means(counts: Sequence[Count], lengths: Sequence[float]) -> list[float]:
    """Replicas on average in each stage, of looks at them by seconds since the first one began."""
    found, begin = list[float](), 0.0
    for length in lengths:
        found.append(fmean(count for at, count in counts if begin <= at < begin + length))
        begin += length
    return found


def changes(counts: Sequence[Count]) -> str:
    """Each number with the second from which it held, for people."""
    first = [counts[0], *(later for earlier, later in pairwise(counts) if later[1] != earlier[1])]
    return ", ".join(f"{count} from {at:.0f} s" for at, count in first)


def stages(samples: Sequence[Sample], lengths: Sequence[float], limit_seconds: float) -> list[str]:
    """What the requests of each stage met, for people."""
    lines, begin = list[str](), samples[0].intended_at
    for number, length in enumerate(lengths, 1):
        part = [each for each in samples if begin <= each.intended_at < begin + length]
        told = [each.ttft_seconds for each in part if each.ttft_seconds is not None]
        late = sum(each > limit_seconds for each in told)
        middle = f"{median(told):.2f} s" if told else "none"
        lines.append(f"stage {number}: {len(part)} requests, first token at the median {middle}, {late} late")
        begin += length
    return lines
