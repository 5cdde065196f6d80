"""A fleet under traffic: each request goes to the replica with the fewest in flight, the scaling policy is asked at
intervals, new replicas start cold, and those no longer wanted finish what they have.
"""

from __future__ import annotations

import math
from collections import deque
from operator import itemgetter
from typing import NamedTuple

from msgspec.structs import replace

from vlmctl.planning.arrivals import Arrivals
from vlmctl.planning.replica import Replica, ReplicaSpeed, Requests
from vlmctl.planning.scaling import Observation, ScalingPolicy, State, decide


class Sample(NamedTuple):
    """The fleet at one moment. `replicas`: paid for; `ready`: taking requests; `waiting`: without a prefill begun."""

    seconds: float
    replicas: int
    ready: int
    in_flight: int
    waiting: int


class Run(NamedTuple):
    """What happened until `duration_seconds`. `bill`: (when, change) of the replicas that are paid for, in order."""

    duration_seconds: float
    requests: Requests
    samples: list[Sample]
    bill: list[tuple[float, int]]
    cold_starts: int


def run_fleet(
    arrivals: Arrivals,
    speed: ReplicaSpeed,
    policy: ScalingPolicy,
    *,
    cold_start_seconds: float,
    replicas_at_start: int,
) -> Run:
    """The arrivals on a fleet that starts with so many replicas ready. A policy of equal bounds is never asked."""
    fleet = _Fleet(arrivals, speed, policy, cold_start_seconds=cold_start_seconds, replicas=replicas_at_start)
    for number, now in enumerate(arrivals.seconds):
        if fleet.next_change_at <= now:
            fleet.advance(now)
        fleet.route(number, now)
    return fleet.end(arrivals.duration_seconds)


class _Fleet:
    """The replicas by what they do: `ready` take requests, `starting` will, `leaving` finish."""

    def __init__(
        self,
        arrivals: Arrivals,
        speed: ReplicaSpeed,
        policy: ScalingPolicy,
        *,
        cold_start_seconds: float,
        replicas: int,
    ) -> None:
        self.speed, self.policy, self.cold_start_seconds = speed, policy, cold_start_seconds
        self.requests = Requests(arrivals, speed)
        self.state = State()
        self.ready = [Replica(speed, self.requests) for _ in range(replicas)]
        self.starting: list[float] = []  # when each will be ready, the oldest first
        self.leaving: list[Replica] = []
        self.waiting: deque[int] = deque()  # requests that no replica has taken
        self.bill: list[tuple[float, int]] = [(0.0, replicas)]
        self.samples: list[Sample] = []
        self.cold_starts = 0
        self.looks = 0
        self.arrived_at = -math.inf
        self.next_change_at = 0.0

    def route(self, number: int, now: float) -> None:
        """Give a request to the replica with the fewest in flight; without one it waits.

        Equals take turns: were it always the same one, answers of one length would come to it in bunches for ever.
        """
        self.arrived_at = now
        best: Replica | None = None
        for replica in self.ready:
            if replica.next_at <= now:
                replica.advance(now)
            if (
                best is None
                or replica.in_flight < best.in_flight
                or (replica.in_flight == best.in_flight and replica.given_at < best.given_at)
            ):
                best = replica
        if best is not None:
            best.submit(number, now)
            return
        self.waiting.append(number)
        if not self.starting:  # asleep: whoever holds the request wakes the fleet at once
            self._look(now)
            self._schedule()

    def advance(self, until: float) -> None:
        """Let replicas become ready and the policy look, as far as they are due up to `until`."""
        while self.next_change_at <= until:
            now = self.next_change_at
            if self.starting and self.starting[0] <= now:
                self._start(now)
            if self.looks * self.policy.interval_seconds <= now:
                self.looks += 1
                self._look(now)
                self.samples.append(self._sample(now))
            self._schedule()

    def end(self, now: float) -> Run:
        """Let the time run out; what is not answered by then stays so."""
        self.advance(now)
        self._catch_up(now)
        self.samples.append(self._sample(now))
        return Run(now, self.requests, self.samples, sorted(self.bill, key=itemgetter(0)), self.cold_starts)

    def _schedule(self) -> None:
        look_at = self.looks * self.policy.interval_seconds
        self.next_change_at = min(look_at, self.starting[0]) if self.starting else look_at

    def _catch_up(self, now: float) -> None:
        """Advance every replica, and stop paying for those that were leaving and are empty."""
        for replica in (*self.ready, *self.leaving):
            replica.advance(now)
        self.bill += [(min(replica.idle_since, now), -1) for replica in self.leaving if not replica.in_flight]
        self.leaving = [replica for replica in self.leaving if replica.in_flight]

    def _look(self, now: float) -> None:
        """Ask the policy, and do as it says."""
        self._catch_up(now)
        current = len(self.ready) + len(self.starting)
        always_on = self.policy.minimum_replicas == self.policy.maximum_replicas == current
        if always_on or (current == 0 and not self.waiting):  # nothing that the policy could change
            return
        in_flight = len(self.waiting) + sum(replica.in_flight for replica in self.ready)
        seen = Observation(replicas=current, in_flight=float(in_flight), missing=len(self.starting))
        if self.state.active_at is not None:  # requests that came and went between looks count too
            self.state = replace(self.state, active_at=max(self.state.active_at, self.arrived_at))
        decision = decide(self.policy, self.state, seen, now)
        self.state = decision.state
        change = decision.replicas - current
        if change > 0:
            self.starting += [now + self.cold_start_seconds] * change
            self.bill.append((now, change))
            self.cold_starts += change
        elif change < 0:
            self._remove(-change, now)

    def _remove(self, count: int, now: float) -> None:
        """As a Deployment shrinks: those not yet ready first, then the newest, which finish what they have."""
        unready = min(count, len(self.starting))
        del self.starting[len(self.starting) - unready :]
        kept = len(self.ready) - (count - unready)
        gone, self.ready = self.ready[kept:], self.ready[:kept]
        self.leaving += [replica for replica in gone if replica.in_flight]
        self.bill += [(now, -1)] * (unready + sum(not replica.in_flight for replica in gone))

    def _start(self, now: float) -> None:
        """Take in the replicas that are ready, and give them what waited."""
        while self.starting and self.starting[0] <= now:
            del self.starting[0]
            self.ready.append(Replica(self.speed, self.requests, now))
        held, self.waiting = self.waiting, deque()
        for number in held:
            self.route(number, now)

    def _sample(self, now: float) -> Sample:
        ready = len(self.ready)
        return Sample(
            seconds=now,
            replicas=ready + len(self.starting) + len(self.leaving),
            ready=ready,
            in_flight=len(self.waiting) + sum(each.in_flight for each in (*self.ready, *self.leaving)),
            waiting=len(self.waiting) + sum(each.waiting for each in (*self.ready, *self.leaving)),
        )
