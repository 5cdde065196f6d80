"""A service that stops when idle: how often it starts, what it is paid for, who waits. Closed form for random arrivals.

Arrivals are Poisson at rate r, requests take d seconds, the service stops once nothing was in flight for the timeout t,
and a start takes s seconds. Once it runs, it stays until a gap between arrivals exceeds d + t, which takes
(e^(r(d + t)) - 1) / r on average; one cycle of waiting for a request (1 / r), starting and running is thus
s + e^(r(d + t)) / r long.
"""

from __future__ import annotations

import math

from vlmctl.errors import InvalidValue
from vlmctl.specs.cold_start import ColdStart, ScaleToZero
from vlmctl.specs.estimates import CostEstimate, SpeedEstimate
from vlmctl.specs.hardware import OfferKind
from vlmctl.units import SECONDS_PER_HOUR

SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
PAID_ALWAYS = frozenset({OfferKind.OWNED, OfferKind.COMMITTED})  # machines that cost the same when they stand still
LARGEST_EXPONENT = 700.0  # e^700 is the end of double precision: such a service never stops


def scale_to_zero(
    cold_start: ColdStart,
    speed: SpeedEstimate,
    cost: CostEstimate,
    *,
    requests_per_second: float,
    idle_timeout_seconds: float,
) -> ScaleToZero:
    """What stopping idle replicas costs and saves, all replicas stopping and starting together.

    A machine is paid from the moment it is wished for; owned and committed ones are paid all day. Raises InvalidValue
    for a rate that is not above 0 or a timeout below 0.
    """
    if not 0 < requests_per_second < math.inf:
        raise InvalidValue("scale to zero needs a rate of requests.", remedy="Say it with --rps.")
    if not 0 <= idle_timeout_seconds < math.inf:
        raise InvalidValue(f"an idle timeout of {idle_timeout_seconds:g} s cannot be.", remedy="Give 10m, say.")
    rate, start, served = requests_per_second, cold_start.seconds, speed.e2e_seconds
    exponent = min(rate * (idle_timeout_seconds + served), LARGEST_EXPONENT)
    cycle = start + math.exp(exponent) / rate
    cycles = SECONDS_PER_DAY / cycle
    running = cycles * math.expm1(exponent) / rate
    # Of every gap between arrivals the first d seconds are busy: (1 - e^(-rd)) / r of them on average.
    busy = cycles * math.exp(exponent) * -math.expm1(-rate * served) / rate
    starting = cycles * start
    hourly = cost.usd_per_hour / SECONDS_PER_HOUR
    paid = SECONDS_PER_DAY if cost.offer.kind in PAID_ALWAYS else starting + running
    return ScaleToZero(
        cold_start=cold_start,
        idle_timeout_seconds=idle_timeout_seconds,
        starts_per_day=cycles,
        paid_seconds_per_day=starting + running,
        starting_seconds_per_day=starting,
        idle_seconds_per_day=max(0.0, running - busy),
        busy_seconds_per_day=min(busy, running),
        waiting_share=(1 + rate * start) / (rate * cycle),
        first_ttft_seconds=start + speed.ttft_seconds,
        usd_per_day=hourly * paid,
        always_on_usd_per_day=hourly * SECONDS_PER_DAY,
    )
