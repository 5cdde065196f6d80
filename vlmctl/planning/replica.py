"""One replica under load, event by event: the host decodes images, prefills come one by one and hold up decoding, and
all sequences being decoded share the engine's steps.

Decoding is processor sharing in virtual time: a clock that counts the tokens which every sequence of the batch has got,
and runs at 1 / step_seconds(batch). A sequence that joins at clock v and wants n more tokens ends at v + n, whatever
the batch does, so that an event costs a heap operation and not a pass over the batch (virtual time as in Parekh and
Gallager, 1993).
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from enum import IntEnum
from heapq import heappop, heappush, heapreplace

from vlmctl.planning.arrivals import Arrivals
from vlmctl.planning.corrected import UNCORRECTED, Factors, corrected
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.speed import Speed
from vlmctl.planning.throughput import open_loop, step_seconds
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Workload

NEVER = math.inf
NOBODY = -1
STEPS_TO_FIRST_TOKEN = 1.5  # of decoding, beside the own prefill


class ReplicaSpeed(Record, frozen=True, kw_only=True):
    """What a replica takes. `step_seconds[b]`: one token for each of b sequences; its length bounds the batch.

    `prefill_seconds` of the GPU for every request, more with each text token and image, and `alone_seconds` until its
    first token where nothing else is decoded; `host_seconds`, likewise, of one of `host_workers` cores;
    `request_seconds` pass outside both. `prompt_tokens`, `output_tokens`, `images`: of a request without its own.
    """

    step_seconds: tuple[float, ...]
    prefill_seconds: float = 0.0
    prefill_seconds_per_token: float = 0.0
    prefill_seconds_per_image: float = 0.0
    alone_seconds: float = 0.0
    host_seconds: float = 0.0
    host_seconds_per_image: float = 0.0
    host_workers: int = 1
    request_seconds: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 1
    images: int = 0


def replica_speed(
    coefficients: Speed,
    demand: RequestDemand,
    workload: Workload,
    *,
    sequences: int,
    factors: Factors = UNCORRECTED,
    rate: float = 0.0,
) -> ReplicaSpeed:
    """The planner's coefficients as a simulation takes them: the one place that knows how the two hang together.

    Prefill beside the encoder is taken to grow with a request's tokens, and all that images take with their number.
    Measured `factors` stretch what comes before the first token, and decoding, as they do at `rate` requests/s.
    """
    images = 0 if workload.videos else workload.image_count  # a video's part is every request's
    per_token = (coefficients.prefill - coefficients.encoder) / max(demand.sequence_tokens + demand.cross_tokens, 1)
    per_image = (coefficients.encoder + per_token * demand.image_tokens) / images if images else 0.0
    host_per_image = coefficients.host / images if images else 0.0
    load = open_loop(coefficients, rate / factors.throughput, maximum=sequences)
    measured = corrected(load, factors, output_tokens=coefficients.output_tokens)
    before, after = measured.ttft / load.ttft, measured.tpot / load.tpot
    return ReplicaSpeed(
        step_seconds=(0.0, *(after * step_seconds(coefficients, batch) for batch in range(1, sequences + 1))),
        prefill_seconds=before
        * max(0.0, coefficients.prefill - per_token * workload.prompt_tokens - per_image * images),
        prefill_seconds_per_token=before * per_token,
        prefill_seconds_per_image=before * per_image,
        alone_seconds=before * (coefficients.prefill_latency - coefficients.prefill),
        host_seconds=before * (coefficients.host - host_per_image * images),
        host_seconds_per_image=before * host_per_image,
        host_workers=coefficients.host_workers,
        request_seconds=before * coefficients.request,
        prompt_tokens=workload.prompt_tokens,
        output_tokens=coefficients.output_tokens,
        images=images,
    )


class Requests:
    """What each request takes on a replica, and when it was answered: columns by its number, times in seconds.

    `first_token_at` and `finished_at` are NEVER until they are known.
    """

    __slots__ = ("arrived_at", "finished_at", "first_token_at", "host_seconds", "output_tokens", "prefill_seconds")

    def __init__(self, arrivals: Arrivals, speed: ReplicaSpeed) -> None:
        count = len(arrivals.seconds)
        prompts = arrivals.prompt_tokens or (speed.prompt_tokens,) * count
        images = arrivals.images or (speed.images,) * count
        per_token, per_image = speed.prefill_seconds_per_token, speed.prefill_seconds_per_image
        self.arrived_at = arrivals.seconds
        self.prefill_seconds = array(
            "d",
            (
                speed.prefill_seconds + per_token * tokens + per_image * number
                for tokens, number in zip(prompts, images, strict=True)
            ),
        )
        self.host_seconds = array(
            "d", (speed.host_seconds + speed.host_seconds_per_image * number for number in images)
        )
        self.output_tokens = arrivals.output_tokens or (speed.output_tokens,) * count
        self.first_token_at = array("d", (NEVER,)) * count
        self.finished_at = array("d", (NEVER,)) * count


class _Next(IntEnum):
    """What happens next on a replica."""

    PREFILL_STARTS = 0
    PREFILL_ENDS = 1
    SEQUENCE_ENDS = 2


class Replica:
    """One replica at work. `next_at`: when something happens on it by itself; `in_flight`: requests it has accepted;
    `given_at`: when it was given the last one.
    """

    __slots__ = (
        "_clock", "_decoding", "_kind", "_now", "_prefilling", "_ready_at", "_requests", "_sequences", "_speed",
        "_waiting", "_workers", "given_at", "idle_since", "in_flight", "next_at",
    )  # fmt: skip

    def __init__(self, speed: ReplicaSpeed, requests: Requests, now: float = 0.0) -> None:
        self._speed = speed
        self._requests = requests
        self._sequences = len(speed.step_seconds) - 1
        self._workers = [now] * speed.host_workers
        self._waiting: deque[tuple[float, int]] = deque()  # (when it is decoded and may start, number)
        self._decoding: list[tuple[float, int]] = []  # (clock at its end, number)
        self._prefilling = NOBODY
        self._clock = 0.0
        self._now = now
        self._kind = _Next.PREFILL_STARTS
        self.next_at = NEVER
        self.in_flight = 0
        self.given_at = -NEVER
        self.idle_since = now

    @property
    def waiting(self) -> int:
        """Accepted requests whose prefill has not begun."""
        return len(self._waiting)

    def submit(self, number: int, now: float) -> None:
        """Accept a request; the replica must have been advanced to `now`."""
        requests = self._requests
        host = requests.host_seconds[number]
        ready = now + self._speed.request_seconds
        if host > 0.0:
            ended = max(self._workers[0], now) + host
            heapreplace(self._workers, ended)
            ready += ended - now
        self.in_flight += 1
        self.given_at = now
        # Images are handed on in the order they came, as one renderer queue does.
        if self._waiting and self._waiting[-1][0] > ready:
            ready = self._waiting[-1][0]
        self._waiting.append((ready, number))
        if ready < self.next_at and self._prefilling == NOBODY and len(self._decoding) < self._sequences:
            self._kind, self.next_at = _Next.PREFILL_STARTS, ready

    def advance(self, until: float) -> None:
        """Let everything happen that is due up to `until`."""
        while self.next_at <= until:
            self._step()

    def finish(self) -> None:
        """Let everything that was accepted be answered."""
        while self.next_at < NEVER:
            self._step()

    def _step(self) -> None:
        """The next event, and what follows it."""
        now, decoding, requests = self.next_at, self._decoding, self._requests
        steps = self._speed.step_seconds
        if self._kind == _Next.SEQUENCE_ENDS:
            self._clock, number = heappop(decoding)
            self._finish(number, now)
        elif self._kind == _Next.PREFILL_ENDS:
            number, self._prefilling = self._prefilling, NOBODY
            # Beside others a prompt waits for the step under way, half of one on average, and shares the next.
            batch = len(decoding)
            lag = STEPS_TO_FIRST_TOKEN * steps[batch] if batch else self._speed.alone_seconds
            requests.first_token_at[number] = now + lag
            left = requests.output_tokens[number] - 1
            if left > 0:
                heappush(decoding, (self._clock + left + lag / steps[batch + 1], number))
            else:
                self._finish(number, now + lag)
        elif decoding:
            self._clock += (now - self._now) / steps[len(decoding)]
        self._now = now
        batch = len(decoding)
        if self._waiting and batch < self._sequences:
            ready, number = self._waiting[0]
            if ready <= now:
                self._waiting.popleft()
                self._prefilling = number
                self._kind, self.next_at = _Next.PREFILL_ENDS, now + requests.prefill_seconds[number]
                return
        else:
            ready = NEVER
        self.next_at = now + (decoding[0][0] - self._clock) * steps[batch] if batch else NEVER
        self._kind = _Next.SEQUENCE_ENDS
        if ready < self.next_at:
            self._kind, self.next_at = _Next.PREFILL_STARTS, ready

    def _finish(self, number: int, now: float) -> None:
        self._requests.finished_at[number] = now
        self.in_flight -= 1
        self.idle_since = now
