"""The simulator that plans by a scaling policy, and the operator that carries it out: the same replicas over time."""

from __future__ import annotations

import itertools
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.scaling_policy import Start, scale

from tests.cluster.control_plane.fleet import fleet
from tests.cluster.control_plane.operators import MANIFEST, Space, eventually, running, some
from tests.vlm_operator.children import PLANNED
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.arrivals import Arrivals
from vlmctl.planning.replica import Replica, ReplicaSpeed, Requests
from vlmctl.planning.traffic import run_fleet
from vlmctl.units import parse_duration_seconds

NAME = "vision"
INTERVAL_SECONDS = 0.5
CONCURRENCY = 100  # so that chance is small beside the steps
START_SECONDS = 3.0
LOOK_SECONDS = 0.25
STEPS = ((0.0, 40.0), (10.0, 350.0), (40.0, 40.0), (70.0, 0.0))  # from when on, requests per second
SPEED = ReplicaSpeed(step_seconds=(0.01,) * 251, output_tokens=100)  # a second for each of 250 at once
SCALING = {
    "min": 1,
    "max": 8,
    "engine": "Operator",
    "behavior": {
        "scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 2}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 8,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 2}],
        },
    },
}
AGREES_WITHIN = 1  # replicas
AGREES_SHARE = 0.95  # of the time


def arrivals() -> Arrivals:
    """Random requests at the rates of the steps."""
    rng, seconds = Random(7), array("d")
    for (begin, rate), (end, _) in itertools.pairwise(STEPS):
        now = begin + rng.expovariate(rate)
        while now < end:
            seconds.append(now)
            now += rng.expovariate(rate)
    return Arrivals(seconds=seconds, duration_seconds=STEPS[-1][0])


class Traffic:
    """The requests on replicas that come and go as the operator has it, each as the simulator serves it."""

    def __init__(self, coming: Arrivals) -> None:
        self._coming = coming
        self._requests = Requests(coming, SPEED)
        self._began = time.monotonic()
        self._next = 0
        self._replicas: dict[str, Replica] = {}
        self._lock = threading.Lock()

    @property
    def now(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self._began

    def in_flight(self, ready: Sequence[str]) -> dict[str, float]:
        """At each address that takes traffic, everything that has come by now included."""
        with self._lock:
            now = self.now
            self._replicas = {each: self._replicas.get(each) or Replica(SPEED, self._requests, now) for each in ready}
            while self._next < len(self._coming.seconds) and self._coming.seconds[self._next] <= now:
                self._route(self._coming.seconds[self._next])
            for replica in self._replicas.values():
                replica.advance(now)
            return {address: float(each.in_flight) for address, each in self._replicas.items()}

    def _route(self, at: float) -> None:
        for replica in self._replicas.values():
            replica.advance(at)
        least = min(self._replicas.values(), key=lambda each: (each.in_flight, each.given_at))
        least.submit(self._next, at)
        self._next += 1


def test_the_simulator_predicts_the_replicas(space: Space, tmp_path: Path) -> None:
    """Of the same requests the simulator makes the same replicas as the operator: within one, 95% of the time."""
    coming = arrivals()
    settings = {"scaling": {"intervalSeconds": INTERVAL_SECONDS}}
    with (
        fleet(space, start_seconds=START_SECONDS, concurrency=CONCURRENCY) as pods,
        running(space, tmp_path, settings=settings),
    ):
        space.make(NAME, {**MANIFEST, "scaling": SCALING})
        start = eventually(lambda: some(_start(space)))
        time.sleep(4 * INTERVAL_SECONDS)  # the operator has looked
        traffic = Traffic(coming)
        pods.in_flight = traffic.in_flight
        seen: list[tuple[float, int]] = []
        while traffic.now < coming.duration_seconds:
            seen.append((traffic.now, int(space.find(VLMDEPLOYMENT, NAME)["spec"].get("replicas", 1))))
            time.sleep(LOOK_SECONDS)
    policy = scale(
        msgspec.convert(SCALING, api.Scaling),
        PLANNED,
        api.BenchmarkStatus(requests_per_second="2", interval="unknown", concurrency=CONCURRENCY, measured="now"),
        Start(seconds=start, measured=True),
        minimum=1,
        interval_seconds=INTERVAL_SECONDS,
    ).policy
    run = run_fleet(coming, SPEED, policy, cold_start_seconds=START_SECONDS, replicas_at_start=1)
    predicted = [(sample.seconds, sample.replicas) for sample in run.samples]
    distances = [(_distance(count, predicted, at), count, at) for at, count in seen]
    agree = sum(distance <= AGREES_WITHIN for distance, _, _ in distances) / len(distances)
    assert max(count for _, count in seen) >= 5
    assert seen[-1][1] <= 2
    assert agree >= AGREES_SHARE, [each for each in distances if each[0] > AGREES_WITHIN]


def _start(space: Space) -> float | None:
    """Seconds of the cold start in the status, once that and the concurrency are measured."""
    told = space.find(VLMDEPLOYMENT, NAME)["status"]["scaling"]
    measured = told["basis"] == told["coldStartBasis"] == "measured"
    return parse_duration_seconds(told["coldStart"]) if measured else None


def _distance(count: int, samples: list[tuple[float, int]], seconds: float) -> int:
    """From the replicas predicted for that moment, or one look before or after: when the operator looks is chance."""
    near = [foretold for at, foretold in samples if seconds - 2 * INTERVAL_SECONDS < at <= seconds + INTERVAL_SECONDS]
    return min(abs(count - foretold) for foretold in near)
