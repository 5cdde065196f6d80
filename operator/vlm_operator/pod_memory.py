"""What the pods of a VLMDeployment have told, remembered only so as not to ask twice; and when to ask again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from vlm_operator.results import AgentResult

POLL_SECONDS = 2.5  # while an agent is at work
MOST_PAUSE_SECONDS = 30.0  # until an agent that gives no answer is asked again


class Tail(NamedTuple):
    """The last lines of a run of a container; `previous`: read when another run was known to follow."""

    run: str
    previous: bool
    text: str


class Silence(NamedTuple):
    """How often in a row an agent gave no answer, and until when (of the monotonic clock) it is not asked."""

    times: int = 0
    until: float = 0.0

    def after(self, now: float) -> Silence:
        """The same after one more."""
        return Silence(self.times + 1, now + min(MOST_PAUSE_SECONDS, POLL_SECONDS * 2.0 ** min(self.times, 16)))


HEARD = Silence()


class Memory(NamedTuple):
    """By the uids of pods. `doubted`: why what an agent says is not believed. `silent`: agents that do not answer;
    `unread`: pods whose kubelet does not tell their log.
    """

    results: Mapping[str, AgentResult] = {}
    doubted: Mapping[str, str] = {}
    tails: Mapping[str, Tail] = {}
    silent: Mapping[str, Silence] = {}
    unread: Mapping[str, Silence] = {}

    def due(self, working: Collection[str], now: float) -> list[str]:
        """Those of the agents at work that are to be asked now."""
        return [uid for uid in working if self.silent.get(uid, HEARD).until <= now]

    def due_logs(self, ended: Collection[str], now: float) -> list[str]:
        """Those of the pods with a container that ended whose logs are to be asked for now."""
        return [uid for uid in ended if self.unread.get(uid, HEARD).until <= now]

    def pause_seconds(self, uid: str, now: float) -> float:
        """Until an agent is to be asked again."""
        return max(POLL_SECONDS, self.silent.get(uid, HEARD).until - now)

    def after(
        self,
        told: Mapping[str, AgentResult | str | None],
        *,
        pods: Collection[str],
        working: Collection[str],
        now: float,
    ) -> Memory:
        """With what agents told (a text: why it is not believed), of the `pods` that there are.

        `working`: those whose agents may have more to tell.
        """
        fresh = {uid: each for uid, each in told.items() if isinstance(each, AgentResult)}
        doubted = {uid: each for uid, each in told.items() if isinstance(each, str)}
        unheard = [uid for uid in told if uid not in fresh]
        silent = {uid: each for uid, each in self.silent.items() if uid in working and uid not in fresh}
        return self._replace(
            results={uid: each for uid, each in {**self.results, **fresh}.items() if uid in pods},
            doubted={uid: why for uid, why in {**self.doubted, **doubted}.items() if uid in pods and uid not in fresh},
            silent={**silent, **{uid: self.silent.get(uid, HEARD).after(now) for uid in unheard}},
        )

    def with_tails(self, read: Mapping[str, Tail | None], *, runs: Mapping[str, str], now: float) -> Memory:
        """With what was `read` of logs; None: the kubelet gave no answer, and what is known stays, even
        of an earlier run. `runs`: by pod, the run of its container that ended last.
        """
        known = {uid: tail for uid, tail in self.tails.items() if uid in runs}
        failed = {uid: self.unread.get(uid, HEARD).after(now) for uid, tail in read.items() if tail is None}
        waiting = {uid: each for uid, each in self.unread.items() if uid in runs and uid not in read}
        fresh = {uid: tail for uid, tail in read.items() if tail is not None}
        return self._replace(tails={**known, **fresh}, unread={**waiting, **failed})

    def without_rows(self, noted: Iterable[str]) -> Memory:
        """Without the rows of measurements that are kept in the cluster."""
        results = dict(self.results)
        for uid in noted:
            results[uid] = replace(results[uid], ladder=replace(results[uid].ladder, rows=()))
        return self._replace(results=results)

    def tells_more_than(self, other: Memory) -> bool:
        """Whether anything was told that `other` does not hold."""
        return (self.results, self.doubted, self.tails) != (other.results, other.doubted, other.tails)
