"""Two operators for the same namespaces: one works, the other waits for its Lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from vlm_operator.kinds import BY_KIND, LEASE

from tests.cluster.control_plane.operators import OperatorProcess, Space, at_rest, eventually, settled, some

HANDOVER_SECONDS = 10.0
KILLS = 3
ACCOUNT = BY_KIND["ServiceAccount"]


@pytest.fixture
def replica(space: Space, tmp_path: Path) -> Iterator[Callable[[str], OperatorProcess]]:
    """Starts an operator of that identity."""
    started: list[OperatorProcess] = []

    def start(identity: str) -> OperatorProcess:
        (tmp_path / identity).mkdir()
        started.append(OperatorProcess(space, tmp_path / identity, identity=identity))
        started[-1].start()
        return started[-1]

    yield start
    for operator in started:
        operator.kill()


def leads(space: Space, operator: OperatorProcess) -> bool:
    lease = space.ask("GET", LEASE.path(space.name, "vlm-operator"))
    return bool(lease["spec"]["holderIdentity"] == operator.identity)


def test_only_the_leader_works(space: Space, replica: Callable[[str], OperatorProcess]) -> None:
    """Beside a leader, another operator writes nothing; it takes over when the leader is stopped."""
    first = replica("first")
    eventually(lambda: some(leads(space, first)))
    second = replica("second")
    space.make("vision")
    settled(space)
    at_rest(space)
    assert not any(line["logger"] == "vlm_operator.writes" for line in second.lines())
    assert first.stop() == 0
    space.make("other")
    settled(space, "other")
    assert leads(space, second)


def test_a_killed_leader_is_followed(space: Space, replica: Callable[[str], OperatorProcess]) -> None:
    """After kill -9 of the leader, the other leads within 10 s, puts a change back, and makes nothing twice."""
    leader = replica("operator-0")
    space.make("vision")
    settled(space)
    for kill in range(KILLS):
        other = replica(f"operator-{kill + 1}")
        eventually(lambda waiting=other: some("Waiting" in waiting.log.read_text()))  # type: ignore[misc]
        before = at_rest(space)
        leader.kill()
        killed_at = time.time()
        space.change(ACCOUNT, "vision", {"automountServiceAccountToken": True})
        eventually(lambda: some(not space.find(ACCOUNT, "vision")["automountServiceAccountToken"]))
        assert leads(space, other)
        acquired = space.ask("GET", LEASE.path(space.name, "vlm-operator"))["spec"]["acquireTime"]
        put_back = time.time() - killed_at
        seconds = datetime.fromisoformat(acquired).timestamp() - killed_at
        print(f"handover: {seconds:.1f} s, and put back {put_back:.1f} s after the kill")
        assert seconds < HANDOVER_SECONDS
        assert put_back < 3 * HANDOVER_SECONDS
        assert at_rest(space).keys() == before.keys()
        leader = other
