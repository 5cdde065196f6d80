"""How fast one replica answers under a load: prefill interference and queueing, from the costs of its steps.

Each finished sequence brings a new prefill of image and prompt tokens, which delays all others: at concurrency b a
request of n output tokens takes n steps and b prefills, so

    throughput(b) = b / (time outside the GPU + n x step(b) + b x prefill)

Under random arrivals requests wait as `waiting` says; `engine_simulation` is what these forms are checked against.
"""

from __future__ import annotations

import math

from vlmctl.planning.speed import Speed, touched_experts
from vlmctl.planning.waiting import (
    P95,
    Distribution,
    StepWait,
    decoding_time,
    quantile,
    queue_seconds,
    queued_quantile,
    share_queued,
    wait_among_others,
    wait_for_step,
)
from vlmctl.specs.record import Record


class Load(Record, frozen=True, kw_only=True):
    """A replica at work: sequences in the engine, requests per second, latencies in seconds.

    `first_token`, and `decoding` of the time from the first token to the last: how they are distributed, a wait
    for a place in the batch left out, which `queued_share` of the requests have, `queued` seconds of it on average.
    """

    batch: float
    rate: float
    ttft: float
    ttft_p95: float
    tpot: float
    tpot_p95: float
    first_token: Distribution | None = None
    decoding: Distribution | None = None
    queued_share: float = 0.0
    queued: float = 0.0


def step_seconds(coefficients: Speed, batch: float) -> float:
    """One decoding step with `batch` sequences."""
    c = coefficients
    experts = c.expert_read * (1.0 - (1.0 - c.expert_share) ** batch) if c.expert_share else 0.0
    weights = c.dense_read + experts
    compute = c.step_compute * batch
    return (weights if weights > compute else compute) + c.overhead + (c.kv_read + c.overhead_per_sequence) * batch


def requests_per_second(coefficients: Speed, batch: float) -> float:
    """Throughput with `batch` requests always in flight, bounded by what the host can decode."""
    c = coefficients
    rate = batch / (c.request + c.host + c.output_tokens * step_seconds(c, batch) + batch * c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def highest_rate(coefficients: Speed) -> float:
    """An upper bound of the throughput at any batch: only the work that grows with every request."""
    c = coefficients
    growing = c.kv_read + c.step_compute + c.overhead_per_sequence
    rate = 1.0 / (c.output_tokens * growing + c.prefill)
    return min(rate, c.host_workers / c.host) if c.host else rate


def closed_loop(
    coefficients: Speed, concurrency: int, *, sequences: int | None = None, burst_share: float = 0.0
) -> Load:
    """`concurrency` requests always in flight, of which the engine takes at most `sequences` at once; the others wait.

    A prompt waits for the prefills that are under way (`waiting`); what is left of batch / rate (Little's law)
    is the time between tokens. `burst_share`: requests that were sent all at once when the load began.
    """
    c = coefficients
    batch = concurrency if sequences is None else min(concurrency, sequences)
    rate = requests_per_second(c, batch)
    step = step_seconds(c, batch)
    busy = rate * c.prefill * (batch - 1) / batch
    queue = (concurrency - batch) / rate
    ttft = _first_token_among(c, batch, step, busy, queue)
    first = ttft.mean - queue
    tpot = max(step, (batch / rate - first) / (c.output_tokens - 1)) if c.output_tokens > 1 else step
    following = max(c.output_tokens - 1, 1)
    mean = ttft.mean + burst_share * concurrency * c.prefill / 2
    late = max(tpot, _late_tpot(c, step, rate * (batch - 1) / batch, tpot))
    return Load(
        batch=float(batch),
        rate=rate,
        ttft=mean,
        ttft_p95=max(mean, min(quantile(ttft, P95), ttft.least + step + (batch - 1) * c.prefill)),
        tpot=tpot,
        tpot_p95=late,
        first_token=Distribution(min(ttft.least, mean), mean, ttft.variance),
        decoding=Distribution(following * step, following * tpot, (following * (late - tpot) / P95.deviations) ** 2),
    )


def _first_token_among(coefficients: Speed, batch: int, step: float, busy: float, queue: float) -> Distribution:
    """Time to first token beside `batch` - 1 others; what it waits for besides is the same for all."""
    c = coefficients
    outside = queue + c.request + c.host
    if batch == 1:
        return Distribution(outside + c.prefill_latency, outside + c.prefill_latency, 0.0)
    wait = wait_among_others(step, c.prefill, busy)
    least = outside + max(c.prefill_latency, step + c.prefill)
    return Distribution(least, least + wait.mean, wait.variance)


def open_loop(coefficients: Speed, rate: float, *, maximum: int) -> Load:
    """`rate` requests arrive per second at random, and at most `maximum` sequences are in the engine at once."""
    c = coefficients
    prefill, following = c.prefill, c.output_tokens - 1 or 1
    fluid = batch_at_rate(c, rate, maximum=maximum, tolerance=0.05)  # the tangent at it does the rest
    around = fluid if fluid > 1.0 else 1.0
    step, full = step_seconds(c, around), step_seconds(c, maximum)
    growth = step_seconds(c, around + 1.0) - step
    met = 1.0 - math.exp(-fluid)  # share of the arrivals that find a step under way
    own, added = c.prefill_latency, step + prefill - c.prefill_latency
    if added > 0.0:
        own += met * added
    wait = wait_for_step(met * step, prefill, rate * prefill)
    ttft = _first_token(c, rate, own, wait)
    # Prompts that came during one's own step are the first to hold up one's decoding.
    own += wait.beside
    alone = following * (step + growth * (1.0 - around)) + rate * prefill * own
    window = decoding_time(alone, following * growth, prefill, rate)
    longest = following * full + (maximum - 1) * prefill  # every other place is given away once
    decoding = window.mean if window.mean < longest else longest
    batch = rate * (decoding + own)
    share = share_queued(batch, maximum, rate * rate * (window.variance + wait.variance))
    queued = queue_seconds(maximum / (c.output_tokens * full + maximum * prefill), rate)
    late_decoding, mean = quantile(window, P95), ttft.mean + share * queued
    late = queued_quantile(ttft, share, queued, P95)
    return Load(
        batch=batch if batch < maximum else float(maximum),
        rate=rate,
        ttft=mean,
        ttft_p95=late if late > mean else mean,
        tpot=decoding / following,
        tpot_p95=min(max(late_decoding, decoding), longest) / following,
        first_token=ttft,
        decoding=window,
        queued_share=share,
        queued=queued,
    )


def _first_token(coefficients: Speed, rate: float, own: float, wait: StepWait) -> Distribution:
    """What is outside the engine, where a worker prepares images; the wait for a step; `own` seconds of one's own."""
    c = coefficients
    least = c.request + c.host + own
    if not c.host:
        return Distribution(least, least + wait.mean, wait.variance)
    share = share_queued(rate * c.host, c.host_workers)
    queued = queue_seconds(c.host_workers / c.host, rate)
    return Distribution(
        least, least + wait.mean + share * queued, wait.variance + share * (2.0 - share) * queued * queued
    )


def batch_at_rate(coefficients: Speed, rate: float, *, maximum: int, tolerance: float = 1e-3) -> float:
    """Sequences decoded when `rate` requests arrive evenly (Little's law), at most `maximum`; relative tolerance."""
    c = coefficients
    free = 1.0 - rate * c.prefill
    if free <= 0.0:
        return float(maximum)
    share = rate * c.output_tokens
    # A dense model's step is the higher of two straight lines in the batch, reading and multiplying: solved at once,
    # they start the search for all.
    growing = c.kv_read + c.overhead_per_sequence
    reading, multiplying = free - share * growing, free - share * (growing + c.step_compute)
    if multiplying <= 0.0:
        return float(maximum)
    batch = max(share * (c.dense_read + c.overhead) / reading, share * c.overhead / multiplying)
    batch = min(batch, float(maximum))
    for _ in range(40):
        following = min(share * step_seconds(c, max(batch, 1.0)) / free, float(maximum))
        if abs(following - batch) <= tolerance * batch:
            return following
        batch = following
    return batch


def _late_tpot(coefficients: Speed, step: float, rate: float, mean: float) -> float:
    """95th percentile time per output token, the prefills that fall into one request's decoding taken as Poisson."""
    c = coefficients
    arrivals = rate * c.output_tokens * mean
    return step + (arrivals + P95.deviations * math.sqrt(arrivals)) * c.prefill / c.output_tokens


def bottleneck(coefficients: Speed, batch: float) -> str:
    """What takes most of the time at that batch, in the field's words."""
    c = coefficients
    experts = c.expert_read * touched_experts(c.expert_share, batch)
    per_request = {
        "weights read (memory bandwidth)": c.output_tokens * (c.dense_read + experts) / batch,
        "KV cache read (memory bandwidth)": c.output_tokens * c.kv_read,
        "decode compute": c.output_tokens * c.step_compute,
        "step overhead": c.output_tokens * (c.overhead / batch + c.overhead_per_sequence),
        "vision encoder": c.encoder,
        "prefill compute": c.prefill - c.encoder,
        "image decoding on the host": c.host / c.host_workers,
    }
    return max(per_request, key=lambda name: per_request[name])
