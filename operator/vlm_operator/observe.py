"""One VLMDeployment as it is at a moment: what the store holds, what its pods' agents tell, and how engines ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from vlm_operator import names, revisions, tolerant
from vlm_operator.benchmarks import is_kept
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.container_states import is_up
from vlm_operator.kinds import NODE, POD, REVISION, VLMBENCHMARK, VLMDEPLOYMENT
from vlm_operator.pod_client import PodClient
from vlm_operator.pod_memory import POLL_SECONDS, Memory, Tail
from vlm_operator.records import Key, KubernetesObject, Observed, Revision
from vlm_operator.reported import container, is_cut_off
from vlm_operator.results import MAXIMUM_BYTES, AgentResult, Stage, read_result
from vlm_operator.store import Name, Store
from vlm_operator.template import AGENT_PORT
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile, InvalidValue

AGENT_SECONDS = 2.0
LOG_SECONDS = 5.0  # the kubelet has to answer the API server
SLOW_PASSES = 8  # that ask agents or kubelets at once who gave no answer the last time: half of all, by default

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Whether pods told anything new, and when to ask them again; None: they have no more to tell."""

    news: bool
    again_seconds: float | None


class Observer:
    """Reads for the reconciler. What agents and engines told is remembered only so as not to ask twice.

    `monitors`: whether the cluster has PodMonitors. `slow_passes`: that may wait at once for agents and kubelets who
    gave no answer the last time.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        *,
        monitors: Callable[[], bool],
        slow_passes: int = SLOW_PASSES,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._monitors = monitors
        self._clock = clock
        self._monotonic = monotonic
        self._agents = PodClient(seconds=AGENT_SECONDS, maximum_bytes=MAXIMUM_BYTES)
        self._slow_places = slow_passes  # that are free
        self._memories: dict[Key, Memory] = {}
        self._unreadable: set[str] = set()  # uids of revisions that were told in the log
        self._is_told_logs = False  # that they may not be read
        self._benchmarks_at = -1  # changes of them
        self._benchmarks: dict[Name, tuple[int, api.VLMBenchmark | None]] = {}  # by name: the version, and what it says

    async def __aenter__(self) -> Self:
        await self._agents.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._agents.__aexit__(kind, error, trace)

    async def ask(self, key: Key) -> Asked:
        """Ask agents that are at work, and for the last lines of engines that ended.

        An agent that is silent is asked again later and later.
        """
        pods = {str(body["metadata"]["uid"]): body for body, _ in self._store.owned(key) if body["kind"] == POD.kind}
        known = self._memories.get(key, Memory())
        working = [
            uid for uid, pod in pods.items() if _is_running(pod) and not _is_settled(pod, known.results.get(uid))
        ]
        now = self._monotonic()
        ended = {uid: (pod, run) for uid, pod in pods.items() if (run := _ended_run(pod)) is not None}
        due, logs = known.due(working, now), known.due_logs(ended, now)
        answers: dict[str, AgentResult | str | None] = dict.fromkeys(due)
        tails: dict[str, Tail | None] = dict.fromkeys(logs)
        with self._place(known, due, logs) as (agents, kubelets):
            told, read = await asyncio.gather(
                asyncio.gather(*(self._ask_agent(pods[uid]) for uid in agents)),
                asyncio.gather(*(self._tail(*ended[uid], known.tails.get(uid)) for uid in kubelets)),
            )
        answers.update(zip(agents, told, strict=True))
        tails.update(zip(kubelets, read, strict=True))
        now = self._monotonic()
        memory = known.after(answers, pods=pods, working=working, now=now)
        runs = {uid: run for uid, (_, (_, run, _)) in ended.items()}
        memory = memory.with_tails(tails, runs=runs, now=now)
        memory = memory.without_rows(uid for uid, pod in pods.items() if is_kept(pod, memory.results.get(uid)))
        for uid in memory.doubted.keys() - known.doubted.keys():
            log.warning("%s of %s: %s", names.AGENT, pods[uid]["metadata"]["name"], memory.doubted[uid])
        self._memories.pop(key, None)
        if memory != Memory():
            self._memories[key] = memory
        at_work = [uid for uid in working if not _is_settled(pods[uid], memory.results.get(uid))]
        pauses = [memory.pause_seconds(uid, now) for uid in at_work]
        pauses += [max(POLL_SECONDS, each.until - now) for each in memory.unread.values()]
        return Asked(news=memory.tells_more_than(known), again_seconds=min(pauses, default=None))

    @contextmanager
    def _place(self, known: Memory, due: list[str], logs: list[str]) -> Iterator[tuple[list[str], list[str]]]:
        """Those of agents and kubelets that the pass asks. Who gave no answer the last time is asked by few passes at
        once, and gives none else: a worker that waits for him looks at no other VLMDeployment.
        """
        quick = [uid for uid in due if uid not in known.silent], [uid for uid in logs if uid not in known.unread]
        if quick == (due, logs) or not self._slow_places:
            yield quick
        else:
            self._slow_places -= 1
            try:
                yield due, logs
            finally:
                self._slow_places += 1

    def keep(self, there: Collection[Key]) -> None:
        """Forget what was told of all other VLMDeployments."""
        self._memories = {key: memory for key, memory in self._memories.items() if key in there}

    def snapshot(self, key: Key) -> Observed | None:
        """The VLMDeployment with everything that belongs to it; None where it is gone."""
        parent = self._store.get(VLMDEPLOYMENT.kind, *key)
        if parent is None:
            self._memories.pop(key, None)
            return None
        memory = self._memories.get(key, Memory())
        pods: list[KubernetesObject] = []
        children: dict[str, dict[str, KubernetesObject]] = {}
        fields: dict[str, dict[str, frozenset[str]]] = {}
        for body, owned in self._store.owned(key):
            if body["kind"] == POD.kind:
                pods.append(body)
            else:
                children.setdefault(body["kind"], {})[body["metadata"]["name"]] = body
                fields.setdefault(body["kind"], {})[body["metadata"]["name"]] = owned
        kept, unreadable = self._revisions(parent, children.get(REVISION.kind, {}))
        return Observed(
            now=self._clock(),
            parent=parent,
            children=children,
            owned=fields,
            pods=tuple(pods),
            revisions=kept,
            unreadable=unreadable,
            benchmarks=self.benchmarks(key.namespace),
            results=dict(memory.results),
            doubted=dict(memory.doubted),
            logs={uid: tail.text for uid, tail in memory.tails.items()},
            monitors=self._monitors(),
        )

    def benchmarks(self, namespace: str) -> tuple[api.VLMBenchmark, ...]:
        """The measurements of a namespace: what one tenant's models do is no concern of another's."""
        changes = self._store.changes(VLMBENCHMARK.kind)
        if self._benchmarks_at != changes:
            known, self._benchmarks_at = self._benchmarks, changes
            self._benchmarks = {
                name: known[name] if known.get(name, (0,))[0] == version else (version, self._benchmark(name))
                for name, version in self._store.versions(VLMBENCHMARK.kind).items()
            }
        return tuple(each for (place, _), (_, each) in self._benchmarks.items() if place == namespace and each)

    def _benchmark(self, name: Name) -> api.VLMBenchmark | None:
        body = self._store.get(VLMBENCHMARK.kind, *name)
        return None if body is None else _benchmark(body)

    def node_label(self, node: str, label: str) -> str | None:
        """A label of a node; None where nodes are not read, or it has none."""
        body = self._store.get(NODE.kind, "", node)
        found = (body or {}).get("metadata", {}).get("labels", {}).get(label)
        return None if found is None else str(found)

    def _revisions(
        self, parent: KubernetesObject, bodies: dict[str, KubernetesObject]
    ) -> tuple[tuple[Revision, ...], dict[str, str]]:
        """Those of this very object, not of one that had its name before; by digest, why others cannot be read."""
        kept: list[Revision] = []
        unreadable: dict[str, str] = {}
        for body in bodies.values():
            metadata = body["metadata"]
            if parent["metadata"]["uid"] not in _owners(body):
                continue
            try:
                kept.append(revisions.read(body))
            except InvalidFile as error:
                unreadable[metadata.get("labels", {}).get(names.REVISION, "")] = str(error)
                if metadata["uid"] not in self._unreadable:
                    self._unreadable.add(metadata["uid"])
                    log.warning("%s is left as it is. %s", metadata["name"], error)
        return tuple(sorted(kept, key=lambda each: (each.number, each.name))), unreadable

    async def _ask_agent(self, pod: KubernetesObject) -> AgentResult | str | None:
        """What it tells, or why that is not believed; None where it is not up yet, or away: its pod's state tells."""
        try:
            content = await self._agents.get(pod, AGENT_PORT, "/result")
            return None if content is None else read_result(content)
        except InvalidValue as error:
            return str(error)

    async def _tail(self, pod: KubernetesObject, run: tuple[str, str, bool], known: Tail | None) -> Tail | None:
        container, ended, previous = run
        known = known if known is not None and known.run == ended else None
        # Before another run was known to follow, the kubelet may have told the log of that one.
        if known is not None and known.previous == previous:
            return known
        metadata = pod["metadata"]
        try:
            async with asyncio.timeout(LOG_SECONDS):
                text = await self._cluster.log_tail(
                    metadata["namespace"], metadata["name"], container=container, previous=previous
                )
        except ApiError as error:  # the kubelet has not got it any more
            if error.is_forbidden and not self._is_told_logs:
                self._is_told_logs = True
                log.warning("Logs of engines that ended cannot be read: %s", error)
            return Tail(ended, previous, known.text if known is not None else "")
        except (Unreachable, TimeoutError):
            return None
        return Tail(ended, previous, text)


def _is_running(pod: KubernetesObject) -> bool:
    status = pod.get("status", {})
    if status.get("phase") != "Running" or not status.get("podIP") or "deletionTimestamp" in pod["metadata"]:
        return False
    # Of a lost node all is told as it was.
    return not is_cut_off(pod) and "running" in container(pod, names.AGENT).get("state", {})


def _is_settled(pod: KubernetesObject, result: AgentResult | None) -> bool:
    """Whether its agent has nothing more to tell: the pod takes traffic."""
    return result is not None and result.stage is Stage.OPEN and bool(container(pod, names.ENGINE).get("ready"))


def _ended_run(pod: KubernetesObject) -> tuple[str, str, bool] | None:
    """The last run that ended of the container that matters: its name, an id of the run, whether another runs now.

    None where its end tells nothing: the engine is up again, or the download is done.
    """
    for name in (names.ENGINE, names.DOWNLOAD):
        status = container(pod, name)
        if name == names.ENGINE and is_up(status):
            continue
        for state, previous in (("state", False), ("lastState", True)):
            ended = status.get(state, {}).get("terminated")
            if ended and (name == names.ENGINE or ended.get("exitCode")):
                return name, str(ended.get("containerID") or ended.get("finishedAt") or ""), previous
    return None


def _owners(body: KubernetesObject) -> set[str]:
    return {each["uid"] for each in body["metadata"].get("ownerReferences", ())}


def _benchmark(body: KubernetesObject) -> api.VLMBenchmark | None:
    """What another version wrote and this cannot read counts as not there."""
    known = {name: body["metadata"][name] for name in api.Metadata.__struct_encode_fields__ if name in body["metadata"]}
    try:
        return tolerant.convert({**body, "metadata": known}, api.VLMBenchmark)
    except msgspec.ValidationError:
        return None
