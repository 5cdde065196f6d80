"""The simulator that plans by a scaling policy, and the operator that carries it out: the same replicas over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from vlm_operator.kinds import VLMDEPLOYMENT

from tests.cluster.control_plane.fleet import fleet
from tests.cluster.control_plane.operators import MANIFEST, Space, eventually, running, some
from tests.cluster.foretold import agreement, foretold, policy_of, steps_of
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.arrivals import Arrivals
from vlmctl.planning.replica import Replica, ReplicaSpeed, Requests
from vlmctl.units import parse_duration_seconds

NAME = "vision"
INTERVAL_SECONDS = 0.5
CONCURRENCY = 100  # so that chance is small beside the steps
START_SECONDS = 3.0
LOOK_SECONDS = 0.25
STEPS = ((10.0, 40.0), (30.0, 350.0), (30.0, 40.0))  # seconds, requests per second
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
AGREES_SHARE = 0.95  # of the time, within one replica


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
    coming = steps_of(STEPS)
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
    benchmark = api.BenchmarkStatus(
        requests_per_second="2", interval="unknown", concurrency=CONCURRENCY, measured="now"
    )
    policy = policy_of(SCALING, benchmark, start, interval_seconds=INTERVAL_SECONDS)
    predicted = foretold(coming, SPEED, policy, START_SECONDS)
    agree = agreement(seen, predicted, interval_seconds=INTERVAL_SECONDS)
    assert max(count for _, count in seen) >= 5
    assert seen[-1][1] <= 2
    assert agree >= AGREES_SHARE, (seen, predicted)


def _start(space: Space) -> float | None:
    """Seconds of the cold start in the status, once that and the concurrency are measured."""
    told = space.find(VLMDEPLOYMENT, NAME)["status"]["scaling"]
    measured = told["basis"] == told["coldStartBasis"] == "measured"
    return parse_duration_seconds(told["coldStart"]) if measured else None
