"""The Lease: operators and an API server of the tests' own, on one clock, over real connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from vlm_operator.cluster import Cluster, Connection
from vlm_operator.leadership import DEADLINE_SECONDS, LEASE_SECONDS, RETRY_SECONDS, Leadership

from tests.support import virtual_time

PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases"


class Leases:
    """Keeps one Lease as the API server does, with optimistic locking. `away`: nothing is answered with success."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    @property
    def holder(self) -> str:
        return "" if self.lease is None else self.lease["spec"]["holderIdentity"]

    async def get(self, _: web.Request) -> web.Response:
        if self.away:
            return web.json_response({"message": "away"}, status=503)
        if self.lease is None:
            return web.json_response({"message": "not found", "reason": "NotFound"}, status=404)
        return web.json_response(self.lease)

    async def write(self, request: web.Request) -> web.Response:
        if self.away:
            return web.json_response({"message": "away"}, status=503)
        body = await request.json()
        told = body["metadata"].get("resourceVersion")
        if told != (None if self.lease is None else str(self.version)):
            return web.json_response({"message": "conflict", "reason": "Conflict"}, status=409)
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return web.json_response(self.lease)


class Worker:
    """Work that notes when it ran."""

    def __init__(self) -> None:
        self.terms: list[list[float]] = []

    @property
    def is_working(self) -> bool:
        return bool(self.terms) and len(self.terms[-1]) == 1

    async def __call__(self) -> None:
        self.terms.append([asyncio.get_running_loop().time()])
        try:
            await asyncio.Event().wait()
        finally:
            self.terms[-1].append(asyncio.get_running_loop().time())


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[Leases, Cluster]]:
    leases = Leases()
    app = web.Application()
    app.add_routes(
        [web.get(f"{PATH}/ours", leases.get), web.put(f"{PATH}/ours", leases.write), web.post(PATH, leases.write)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    async with Cluster(Connection(f"http://{host}:{port}", ssl.create_default_context(), dict)) as cluster:
        yield leases, cluster
    await runner.cleanup()


def start(cluster: Cluster, identity: str) -> tuple[Worker, asyncio.Task[None]]:
    worker, clock = Worker(), asyncio.get_running_loop().time
    leadership = Leadership(cluster, namespace="system", name="ours", identity=identity, clock=clock)
    return worker, asyncio.create_task(leadership.run(worker))


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_one_leads_and_gives_it_back() -> None:
    """Of two operators one works; when it is stopped, the other does within a retry."""

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            first, first_task = start(cluster, "a")
            await asyncio.sleep(1)
            second, second_task = start(cluster, "b")
            await asyncio.sleep(60)
            assert (first.is_working, second.is_working, leases.holder) == (True, False, "a")
            await stop(first_task)
            assert (first.is_working, leases.holder) == (False, "")
            await asyncio.sleep(RETRY_SECONDS + 0.5)
            assert (second.is_working, leases.holder) == (True, "b")
            assert leases.lease is not None
            assert leases.lease["spec"]["leaseTransitions"] == 1
            await stop(second_task)

    virtual_time.run(scenario())


def test_a_dead_leader_is_replaced_after_its_lease() -> None:
    """A Lease that is no longer renewed is taken once its time has passed on the other's own clock, not before."""

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            leases.lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "ours", "namespace": "system", "resourceVersion": "0"},
                "spec": {"holderIdentity": "dead", "leaseDurationSeconds": LEASE_SECONDS, "renewTime": "2020-01-01"},
            }
            worker, task = start(cluster, "b")
            await asyncio.sleep(LEASE_SECONDS - 0.5)
            assert not worker.is_working
            await asyncio.sleep(RETRY_SECONDS + 1)
            assert worker.is_working
            await stop(task)

    virtual_time.run(scenario())


def test_a_restarted_leader_goes_on_at_once() -> None:
    """A process whose identity holds the Lease already, as after a crash in the same pod, does not wait."""

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            leases.lease = {
                "metadata": {"name": "ours", "namespace": "system", "resourceVersion": "0"},
                "spec": {"holderIdentity": "a", "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": "t"},
            }
            worker, task = start(cluster, "a")
            await asyncio.sleep(0.5)
            assert worker.is_working
            assert leases.lease["spec"]["acquireTime"] == "t"
            await stop(task)

    virtual_time.run(scenario())


def test_work_stops_before_another_may_begin(caplog: pytest.LogCaptureFixture) -> None:
    """A leader that cannot renew stops early enough, and works again when the API server is back."""

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            worker, task = start(cluster, "a")
            await asyncio.sleep(20)
            away_at = asyncio.get_running_loop().time()
            leases.away = True
            await asyncio.sleep(60)
            stopped_at = worker.terms[0][1]
            assert stopped_at - away_at <= DEADLINE_SECONDS + 0.5 < LEASE_SECONDS
            leases.away = False
            await asyncio.sleep(RETRY_SECONDS + 0.5)
            assert worker.is_working
            await stop(task)

    virtual_time.run(scenario())
    assert "Traceback" not in caplog.text


def test_a_lease_that_was_taken_ends_the_term() -> None:
    """A leader that finds another's name in the Lease stops at its next renewal."""

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            worker, task = start(cluster, "a")
            await asyncio.sleep(1)
            assert leases.lease is not None
            leases.version += 1
            leases.lease["metadata"]["resourceVersion"] = str(leases.version)
            leases.lease["spec"]["holderIdentity"] = "thief"
            await asyncio.sleep(6)
            assert not worker.is_working
            assert leases.holder == "thief"
            await stop(task)

    virtual_time.run(scenario())


def test_what_ends_the_work_ends_the_operator() -> None:
    """An error that the work raises is not taken for a lost Lease."""

    async def broken() -> None:
        raise ZeroDivisionError("provoked")

    async def scenario() -> None:
        async with api_server() as (leases, cluster):
            leadership = Leadership(cluster, namespace="system", name="ours", identity="a")
            with pytest.raises(ZeroDivisionError):
                await leadership.run(broken)
            assert leases.holder == ""

    virtual_time.run(scenario())
