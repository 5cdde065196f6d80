"""Replicas that only claim to be there, ready and idle: their pods are kwok's, and one server answers for them all."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from operator_cluster import REPOSITORY, Plane, kwok
from vlm_operator.cluster import Cluster
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.proxy import METRICS_PATH, METRICS_PORT
from vlm_operator.reported import holds
from vlm_operator.results import AgentResult, Figures, Ladder, Stage, Task, encode, rfc3339
from vlm_operator.template import AGENT_PORT

STAGES = ("node-initialize", "pod-ready")  # kwok sees to the pods of those nodes alone that it sees to
NOWHERE = ("203.0.113.1", 9)  # a documentation address
LOOK_SECONDS = 3.0
METRICS = (REPOSITORY / "tests/cluster/control_plane/exposition/haproxy_2.6.txt").read_text()
# Nothing in flight, and nothing answered so far: a replica's first requests are news, as what they cost then shows.
IDLE_METRICS = re.sub(r"((?:current_sessions|http_responses_total)\S+) \d+", r"\1 0", METRICS).encode()
REQUESTS_PER_SECOND, CONCURRENCY = 2.6, 52  # measured: as planned, so that nothing is wrong


class Replica(BaseHTTPRequestHandler):
    """What its agent and its proxy answer. `opened`: when all took traffic, RFC 3339; `asked`: each request's path."""

    protocol_version = "HTTP/1.1"  # connections stay open, as those to agents do
    wbufsize = -1  # head and body in one packet
    opened = ""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: D102 - the name that http.server looks for
        path = self.path.partition("?")[0]
        self.asked.append(path)
        content = IDLE_METRICS if path == METRICS_PATH else encode(_measured(self.opened))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:  # noqa: D102
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # a look at all replicas opens hundreds of connections at once


def _measured(opened: str) -> AgentResult:
    best = Figures(concurrency=CONCURRENCY, requests_per_second=REQUESTS_PER_SECOND, measured=opened)
    ladder = Ladder(attempts=1, best=best)
    return AgentResult(stage=Stage.OPEN, task=Task.LADDER, smoked=opened, opened=opened, ladder=ladder)


def address() -> str:
    """Of this machine, and of all pods; the loopback's only where there is no other, as no Endpoints may have that:
    controllers then try again and again.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, suppress(OSError):
        asked.connect(NOWHERE)  # which sends nothing
        return str(asked.getsockname()[0])
    return "127.0.0.1"


@contextmanager
def replicas() -> Iterator[None]:
    """Answer for all that there will be."""
    servers: list[_Server] = []
    try:
        for port in (AGENT_PORT, METRICS_PORT):
            try:
                servers.append(_Server((address(), port), Replica))
            except OSError as error:
                raise SystemExit(f"Port {port}, of all replicas: {error.strerror}. End who listens there.") from error
            threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        yield
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()


async def all_ready(plane: Plane, cluster: Cluster, count: int, *, limit_seconds: float) -> None:
    """Have the pods start, and wait until so many VLMDeployments are Ready and measured; raises TimeoutError."""
    Replica.opened = rfc3339(datetime.now(UTC))
    given_up_at, found = time.monotonic() + limit_seconds, 0
    with kwok(plane, STAGES, "--node-ip", address()):
        while found < count:
            if time.monotonic() > given_up_at:
                raise TimeoutError(f"{found} of {count} VLMDeployments became Ready within {limit_seconds:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
            pages = [page async for page, _ in cluster.pages(VLMDEPLOYMENT, None)]
            found = sum(holds(each, "Ready") and holds(each, "Benchmarked") for page in pages for each in page)
