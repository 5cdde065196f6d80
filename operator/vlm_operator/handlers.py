"""What kopf calls: it connects, watches VLMDeployments, and takes signals. It writes nothing and keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import kopf

from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.login import session
from vlm_operator.running import Operator
from vlmctl.api import v1alpha1 as api

PREFIX = api.GROUP
EXIT_SECONDS = 20.0  # to stop in: below the 30 s after which the kubelet kills
IDLE_SECONDS = 0.2  # by default a worker keeps its place for 5 s after each event
WORKERS = 256
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
MOST_BACKOFF_SECONDS = 15


class _ForEver:
    """Pauses between tries of a request, without an end: kopf would give up after a minute, and stop."""

    def __iter__(self) -> Iterator[float]:
        seconds = 1
        while True:
            yield seconds
            seconds = min(MOST_BACKOFF_SECONDS, 2 * seconds)


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf compares each object with how its handlers saw it last, at some milliseconds an event; nothing here asks."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing is looked at."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Nothing was kept."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


class Lifetime:
    """The operator from kopf's start to its end. `stop`: set it, and kopf ends; `error`: what ended the operator."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.stop = asyncio.Event()
        self.error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let it run."""
        self._task = asyncio.create_task(self.operator.run())
        self._task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Stop it, and wait until the Lease is given back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.error = None if task.cancelled() else task.exception()
        self.stop.set()


def registry(lifetime: Lifetime) -> kopf.OperatorRegistry:
    """All handlers."""
    found = kopf.OperatorRegistry()

    @kopf.on.startup(registry=found)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        tune(settings)
        lifetime.begin()

    @kopf.on.cleanup(registry=found)
    async def end(**_: Any) -> None:
        await lifetime.end()

    @kopf.on.login(registry=found)
    async def connect(**_: Any) -> kopf.AiohttpSession:
        return session()

    @kopf.on.event(api.GROUP, api.VERSION, "vlmdeployments", registry=found)
    async def take(event: kopf.RawEvent, **_: Any) -> None:
        lifetime.operator.take(event["type"], dict(event["object"]))

    return found


def tune(settings: kopf.OperatorSettings) -> None:
    """Nothing is written by kopf, lost connections are tried again for ever, events do not queue up, and no list is
    read as a whole.
    """
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # it would need to read all namespaces and CRDs
    settings.persistence.finalizer = f"{PREFIX}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.watching.chunk_size = VLMDEPLOYMENT.page
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.queueing.worker_limit = WORKERS
    settings.networking.error_backoffs = _ForEver()
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
