"""One VLMDeployment as it is at a moment: what the store holds, what its pods' agents tell, and how engines ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec

from vlm_operator import names, revisions
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.kinds import NODE, POD, REVISION, VLMBENCHMARK, VLMDEPLOYMENT
from vlm_operator.records import Key, KubernetesObject, Observed, Revision
from vlm_operator.reported import container
from vlm_operator.results import MAXIMUM_BYTES, AgentResult, Stage, read_result
from vlm_operator.store import Store
from vlm_operator.template import AGENT_PORT
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue

AGENT_SECONDS = 2.0
LOG_SECONDS = 5.0  # the kubelet has to answer the API server
POLL_SECONDS = 2.5  # while an agent is at work

log = logging.getLogger(__name__)


class _Tail(NamedTuple):
    """The last lines of a run of a container; `previous`: read when another run was known to follow."""

    run: str
    previous: bool
    text: str


class Observer:
    """Reads for the reconciler. What agents and engines told is remembered only so as not to ask twice.

    `monitors`: whether the cluster has PodMonitors.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        *,
        monitors: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._monitors = monitors
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._results: dict[Key, dict[str, AgentResult]] = {}
        self._tails: dict[Key, dict[str, _Tail]] = {}
        self._benchmarks: tuple[int, tuple[api.VLMBenchmark, ...]] = (-1, ())

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=AGENT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, key: Key) -> bool:
        """Ask agents that are at work, and for the last lines of engines that ended; whether to come again for more."""
        pods = [body for body, _ in self._store.owned(key) if body["kind"] == POD.kind]
        results, tails = self._results.get(key, {}), self._tails.get(key, {})
        working = [pod for pod in pods if _is_running(pod) and not _is_settled(pod, results.get(_uid(pod)))]
        ended = [(pod, run) for pod in pods if (run := _ended_run(pod)) is not None]
        told = await asyncio.gather(*(self._ask_agent(pod) for pod in working))
        read = await asyncio.gather(*(self._tail(pod, run, tails.get(_uid(pod))) for pod, run in ended))
        alive = {_uid(pod) for pod in pods}
        fresh = {_uid(pod): result for pod, result in zip(working, told, strict=True) if result is not None}
        self._keep(self._results, key, {uid: each for uid, each in {**results, **fresh}.items() if uid in alive})
        self._keep(self._tails, key, {_uid(pod): tail for (pod, _), tail in zip(ended, read, strict=True) if tail})
        at_work = any(not _is_settled(pod, self._results.get(key, {}).get(_uid(pod))) for pod in working)
        return at_work or None in read

    def snapshot(self, key: Key) -> Observed | None:
        """The VLMDeployment with everything that belongs to it; None where it is gone.

        Raises InvalidFile for a revision that another version of the operator wrote and this one cannot read.
        """
        parent = self._store.get(VLMDEPLOYMENT.kind, *key)
        if parent is None:
            self._results.pop(key, None)
            self._tails.pop(key, None)
            return None
        pods: list[KubernetesObject] = []
        children: dict[str, dict[str, KubernetesObject]] = {}
        fields: dict[str, dict[str, frozenset[str]]] = {}
        for body, owned in self._store.owned(key):
            if body["kind"] == POD.kind:
                pods.append(body)
            else:
                children.setdefault(body["kind"], {})[body["metadata"]["name"]] = body
                fields.setdefault(body["kind"], {})[body["metadata"]["name"]] = owned
        return Observed(
            now=self._clock(),
            parent=parent,
            children=children,
            owned=fields,
            pods=tuple(pods),
            revisions=_revisions(parent, children.get(REVISION.kind, {})),
            benchmarks=self.benchmarks(key.namespace),
            results=dict(self._results.get(key, {})),
            logs={uid: tail.text for uid, tail in self._tails.get(key, {}).items()},
            monitors=self._monitors(),
        )

    def benchmarks(self, namespace: str) -> tuple[api.VLMBenchmark, ...]:
        """The measurements of a namespace: what one tenant's models do is no concern of another's."""
        changes = self._store.changes(VLMBENCHMARK.kind)
        if self._benchmarks[0] != changes:
            read = (_benchmark(body) for body in self._store.all(VLMBENCHMARK.kind))
            self._benchmarks = (changes, tuple(each for each in read if each is not None))
        return tuple(each for each in self._benchmarks[1] if each.metadata.namespace == namespace)

    def node_label(self, node: str, label: str) -> str | None:
        """A label of a node; None where nodes are not read, or it has none."""
        body = self._store.get(NODE.kind, "", node)
        found = (body or {}).get("metadata", {}).get("labels", {}).get(label)
        return None if found is None else str(found)

    async def _ask_agent(self, pod: KubernetesObject) -> AgentResult | None:
        if self._session is None:
            raise RuntimeError("an Observer is used inside `async with`")
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        try:
            # A pod may not send the operator elsewhere.
            async with self._session.get(f"http://{host}:{AGENT_PORT}/result", allow_redirects=False) as response:
                content = b""
                async for piece in response.content.iter_any():
                    content += piece
                    if len(content) > MAXIMUM_BYTES:
                        break  # `read_result` says so
                return read_result(content) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None  # it is not up yet, or away; its pod's state tells
        except InvalidValue as error:
            log.warning("%s of %s: %s", names.AGENT, pod["metadata"]["name"], error)
            return None

    async def _tail(self, pod: KubernetesObject, run: tuple[str, str, bool], known: _Tail | None) -> _Tail | None:
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
        except ApiError:  # the kubelet has not got it any more
            return _Tail(ended, previous, known.text if known is not None else "")
        except (Unreachable, TimeoutError):
            return None
        return _Tail(ended, previous, text)

    @staticmethod
    def _keep(remembered: dict[Key, Any], key: Key, found: dict[str, Any]) -> None:
        remembered.pop(key, None)
        if found:
            remembered[key] = found


def _uid(pod: KubernetesObject) -> str:
    return str(pod["metadata"]["uid"])


def _is_running(pod: KubernetesObject) -> bool:
    status = pod.get("status", {})
    if status.get("phase") != "Running" or not status.get("podIP") or "deletionTimestamp" in pod["metadata"]:
        return False
    return "running" in container(pod, names.AGENT).get("state", {})


def _is_settled(pod: KubernetesObject, result: AgentResult | None) -> bool:
    """Whether its agent has nothing more to tell: the pod takes traffic."""
    return result is not None and result.stage is Stage.OPEN and bool(container(pod, names.ENGINE).get("ready"))


def _ended_run(pod: KubernetesObject) -> tuple[str, str, bool] | None:
    """The last run that ended of the container that matters: its name, an id of the run, whether another runs now."""
    for name in (names.ENGINE, names.DOWNLOAD):
        status = container(pod, name)
        for state, previous in (("state", False), ("lastState", True)):
            ended = status.get(state, {}).get("terminated")
            if ended:
                return name, str(ended.get("containerID") or ended.get("finishedAt") or ""), previous
    return None


def _revisions(parent: KubernetesObject, kept: dict[str, KubernetesObject]) -> tuple[Revision, ...]:
    """Those of this very object, not of one that had its name before; raises InvalidFile."""
    uid = parent["metadata"]["uid"]
    own = [each for each in kept.values() if uid in _owners(each)]
    return tuple(sorted(map(revisions.read, own), key=lambda each: (each.number, each.name)))


def _owners(body: KubernetesObject) -> set[str]:
    return {each["uid"] for each in body["metadata"].get("ownerReferences", ())}


def _benchmark(body: KubernetesObject) -> api.VLMBenchmark | None:
    """What another version wrote and this cannot read counts as not there."""
    known = {name: body["metadata"][name] for name in api.Metadata.__struct_encode_fields__ if name in body["metadata"]}
    try:
        return msgspec.convert({**body, "metadata": known}, api.VLMBenchmark)
    except msgspec.ValidationError:
        return None
