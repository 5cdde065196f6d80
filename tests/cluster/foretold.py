"""The replicas that the simulator foretells for a load, to be set beside those that a cluster asked for."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec
from vlm_operator.scaling_policy import Start, scale

from tests.vlm_operator.children import PLANNED
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.arrivals import Arrivals
from vlmctl.planning.replica import ReplicaSpeed
from vlmctl.planning.scaling import ScalingPolicy, as_external_metric
from vlmctl.planning.traffic import run_fleet

Count = tuple[float, int]  # seconds since the load began, replicas
SEED = 7


def steps_of(rates: Sequence[tuple[float, float]]) -> Arrivals:
    """Random requests at the rates of the steps: (seconds, requests per second) of each, one after the other."""
    rng, seconds, begin = Random(SEED), array("d"), 0.0
    for length, rate in rates:
        now = begin + rng.expovariate(rate)
        while now < begin + length:
            seconds.append(now)
            now += rng.expovariate(rate)
        begin += length
    return Arrivals(seconds=seconds, duration_seconds=begin)


def policy_of(
    spec: Mapping[str, Any], benchmark: api.BenchmarkStatus, start_seconds: float, *, interval_seconds: float
) -> ScalingPolicy:
    """What a VLMDeployment's `spec.scaling` comes to."""
    start = Start(seconds=start_seconds, measured=True)
    scaling = msgspec.convert(spec, api.Scaling)
    policy = scale(scaling, PLANNED, benchmark, start, minimum=scaling.min, interval_seconds=interval_seconds).policy
    return policy if spec["engine"] == "Operator" else as_external_metric(policy)


def foretold(coming: Arrivals, speed: ReplicaSpeed, policy: ScalingPolicy, start_seconds: float) -> list[Count]:
    """Replicas over time, from one that is ready; those that leave count until they have answered."""
    run = run_fleet(coming, speed, policy, cold_start_seconds=start_seconds, replicas_at_start=1)
    return [(sample.seconds, sample.replicas) for sample in run.samples]


def agreement(
    seen: Sequence[Count], predicted: Sequence[Count], *, interval_seconds: float, distance: int = 1
) -> float:
    """Share of the looks at which no more than so many replicas were between what was seen and what was foretold for
    that moment, two looks of the policy before, or one after: when it looks is chance, and writes follow a look.
    """
    near = 0
    for at, count in seen:
        around = [each for when, each in predicted if at - 2 * interval_seconds < when <= at + interval_seconds]
        near += min(abs(count - each) for each in around) <= distance
    return near / len(seen)
