"""What stands in for nodes and replicas where there is no kubelet: pods start, answer for their load, and end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
from vlm_operator import names
from vlm_operator.kinds import NODE, POD
from vlm_operator.proxy import METRICS_PORT
from vlm_operator.results import AgentResult, Figures, Ladder, Stage, Task, encode, rfc3339
from vlm_operator.template import AGENT_PORT

from tests.cluster.control_plane.operators import Space

PLACES = 12  # pods at once
CONCURRENCY = 10  # requests in flight that each replica measured, unless it is said otherwise
LOOK_SECONDS = 0.1
HEARTBEAT_SECONDS = 5.0  # of the node; after 40 s without one its pods would not be ready
EXPOSED = (
    'haproxy_backend_current_sessions{{proxy="inference"}} {in_flight}\n'
    'haproxy_backend_http_responses_total{{proxy="inference",code="2xx"}} {answered}\n'
)
InFlight = Callable[[Sequence[str]], dict[str, float]]
_NUMBERS = count(os.getpid() % 150)


class Fleet:
    """All pods of a namespace. `in_flight`: of the addresses that take traffic, the requests at each; one that is
    left out does not answer. `start_seconds`: from a pod's being made to traffic. `concurrency`: that each measured.
    `answered`: by each, so far.
    """

    def __init__(self, space: Space, start_seconds: float, concurrency: int) -> None:
        self.space = space
        self.start_seconds = start_seconds
        self.concurrency = concurrency
        self.in_flight: InFlight = lambda ready: dict.fromkeys(ready, 0.0)
        self.answered = 0
        self.ready: dict[str, str] = {}  # address by pod, in the order in which they came
        self.node = f"node-of-{space.name}"
        network = f"127.{60 + next(_NUMBERS)}.{os.getpid() // 150 % 250}"  # of this fleet: the ports are fixed
        self._free = [f"{network}.{number + 1}" for number in range(PLACES)]
        self._starting: dict[str, tuple[str, float]] = {}
        self._opened: dict[str, str] = {}
        self._end = threading.Event()
        self._beat = 0.0

    def spread(self, total: float) -> None:
        """So many requests in flight from now on, the same at every replica."""
        self.in_flight = lambda ready: dict.fromkeys(ready, total / max(len(ready), 1))

    def silent(self) -> None:
        """No proxy answers."""
        self.in_flight = lambda _ready: {}

    def work(self) -> None:
        """As kubelet and proxies do, until the end."""
        while not self._end.wait(LOOK_SECONDS):
            try:
                self._heartbeat()
                self._look()
            except httpx.HTTPError:
                continue  # a pod has gone meanwhile

    def stop(self) -> None:
        """End it."""
        self._end.set()

    def tell(self, address: str, path: str) -> bytes | None:
        """What is answered at an address; None for nothing."""
        ready = tuple(self.ready.values())
        if path == "/result":
            opened = self._opened.get(address)
            return None if opened is None else encode(_measured(opened, self.concurrency))
        told = self.in_flight(ready).get(address)
        return None if told is None else EXPOSED.format(in_flight=told, answered=self.answered).encode()

    def addresses(self) -> list[str]:
        """All that there may be."""
        return list(self._free)

    def _heartbeat(self) -> None:
        if time.monotonic() - self._beat < HEARTBEAT_SECONDS:
            return
        first, self._beat = self._beat == 0.0, time.monotonic()
        if first:
            labels = {"nvidia.com/gpu.product": "NVIDIA-L4"}
            self.space.ask("POST", NODE.path(), {"metadata": {"name": self.node, "labels": labels}})
        now = rfc3339(datetime.now(UTC))
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Test",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        merge = {"Content-Type": "application/strategic-merge-patch+json"}
        self.space.ask(
            "PATCH", NODE.path(None, self.node, "status"), {"status": {"conditions": [ready]}}, headers=merge
        )

    def _look(self) -> None:
        query = {"labelSelector": f"{names.COMPONENT}={names.ENGINE}"}
        pods = {
            each["metadata"]["name"]: each
            for each in self.space.ask("GET", POD.path(self.space.name), params=query)["items"]
        }
        for name, address in [*self.ready.items(), *((name, at) for name, (at, _) in self._starting.items())]:
            if name not in pods or "deletionTimestamp" in pods[name]["metadata"]:
                self.ready.pop(name, None)
                self._starting.pop(name, None)
                self._opened.pop(address, None)
                self._free.append(address)
        for name, body in pods.items():
            if "deletionTimestamp" in body["metadata"]:
                self.space.ask("DELETE", POD.path(self.space.name, name), {"gracePeriodSeconds": 0})
            elif name in self._starting:
                if time.time() >= self._starting[name][1]:
                    self._open(name)
            elif name not in self.ready and self._free:
                self._start(body)

    def _start(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        made = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
        self._starting[metadata["name"]] = (self._free.pop(0), max(made, time.time() - 1.0) + self.start_seconds)
        target = {"target": {"kind": "Node", "name": self.node}, "metadata": {"name": metadata["name"]}}
        self.space.ask("POST", POD.path(self.space.name, metadata["name"], "binding"), target)

    def _open(self, name: str) -> None:
        address, _ = self._starting[name]
        now = rfc3339(datetime.now(UTC))
        runs: dict[str, Any] = {"started": True, "ready": True, "restartCount": 0, "image": "image", "imageID": "image"}
        runs["state"] = {"running": {"startedAt": now}}
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [{"name": each, **runs} for each in (names.ENGINE, names.AGENT)],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }
        self.space.change(POD, name, {"status": status}, "status")
        del self._starting[name]
        self._opened[address] = now
        self.ready[name] = address


def _measured(opened: str, concurrency: int) -> AgentResult:
    best = Figures(concurrency=concurrency, requests_per_second=2.0, measured=opened)
    return AgentResult(
        stage=Stage.OPEN, task=Task.LADDER, smoked=opened, opened=opened, ladder=Ladder(attempts=1, best=best)
    )


@contextmanager
def fleet(space: Space, *, start_seconds: float = 0.0, concurrency: int = CONCURRENCY) -> Iterator[Fleet]:
    """A fleet at work, with a server for every address."""
    made = Fleet(space, start_seconds, concurrency)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = made.tell(str(self.server.server_address[0]), self.path.partition("?")[0])
            self.send_response(503 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            pass

    servers = [
        ThreadingHTTPServer((address, port), Handler)
        for address in made.addresses()
        for port in (METRICS_PORT, AGENT_PORT)
    ]
    threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in servers]
    threads.append(threading.Thread(target=made.work, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stop()
        threads[-1].join(10)
        for server in servers:
            server.shutdown()
            server.server_close()
