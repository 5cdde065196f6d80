"""What stands in for nodes and replicas where there is no kubelet: pods start, answer for their load, and end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
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
UNANSWERED_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.0  # of the nodes; after 50 s without one their pods would not be ready
ROOM = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "4Ti", "pods": "110", "nvidia.com/gpu": "8"}
EXPOSED = (
    'haproxy_backend_current_sessions{{proxy="inference"}} {in_flight}\n'
    'haproxy_backend_http_responses_total{{proxy="inference",code="2xx"}} {answered}\n'
)
InFlight = Callable[[Sequence[str]], dict[str, float]]
_NUMBERS = cycle(range(20))


class Fleet:
    """All pods of a namespace. `in_flight`: of the addresses that take traffic, the requests at each; one that is
    left out does not answer. `start_seconds`: from a pod's being made to traffic. `concurrency`: that each measured.
    `answered`: by each, so far. `nodes`: with GPUs, onto which the scheduler puts pods; without any, the fleet puts
    all pods onto a node of its own that has no GPU. `away`: the nodes that are lost, which nobody hears of;
    `asked_in_vain`: of what addresses there something was asked, in order.
    """

    def __init__(self, space: Space, start_seconds: float, concurrency: int, nodes: Sequence[str] = ()) -> None:
        self.space = space
        self.start_seconds = start_seconds
        self.concurrency = concurrency
        self.in_flight: InFlight = lambda ready: dict.fromkeys(ready, 0.0)
        self.answered = 0
        self.ready: dict[str, str] = {}  # address by pod, in the order in which they came
        self.nodes = tuple(nodes) or (f"node-of-{space.name}",)
        self.away: set[str] = set()
        self.asked_in_vain: list[str] = []
        self._room = ROOM if nodes else {}
        self._lost: frozenset[str] = frozenset()  # addresses
        pid, first = os.getpid(), PLACES * next(_NUMBERS)
        network = f"127.{60 + pid // 250 % 150}.{pid % 250}"  # of this process: the ports are fixed
        self._free = [f"{network}.{first + number + 1}" for number in range(PLACES)]
        self._starting: dict[str, tuple[str, float]] = {}
        self._opened: dict[str, str] = {}
        self._end = threading.Event()

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
                self._look()
            except httpx.HTTPError:
                continue  # a pod has gone meanwhile

    def beat(self) -> None:
        """As the nodes do, until the end: whatever the pods wait for, none is lost that is not away."""
        made: set[str] = set()
        while not self._end.is_set():
            for node in self.nodes:
                try:
                    if node not in made:
                        self._join(node)
                        made.add(node)
                    if node not in self.away:
                        self._heartbeat(node)
                except httpx.HTTPError:
                    continue  # at the next beat
            self._end.wait(HEARTBEAT_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._end.set()

    def tell(self, address: str, path: str) -> bytes | None:
        """What is answered at an address; None for nothing."""
        ready = [each for each in tuple(self.ready.values()) if each not in self._lost]
        if path == "/result":
            opened = self._opened.get(address)
            return None if opened is None else encode(_measured(opened, self.concurrency))
        told = self.in_flight(ready).get(address)
        return None if told is None else EXPOSED.format(in_flight=told, answered=self.answered).encode()

    def hears(self, address: str) -> bool:
        """Whether a request comes to anybody; if not, it is told after longer than anybody waits."""
        if address not in self._lost:
            return True
        self.asked_in_vain.append(address)
        self._end.wait(UNANSWERED_SECONDS)
        return False

    def addresses(self) -> list[str]:
        """All that there may be."""
        return list(self._free)

    def _join(self, node: str) -> None:
        metadata = {"name": node, "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}}
        body = {"apiVersion": NODE.api_version, "kind": NODE.kind, "metadata": metadata}
        query, applied = {"fieldManager": "fleet"}, {"Content-Type": "application/apply-patch+yaml"}
        self.space.ask("PATCH", NODE.path(None, node), body, params=query, headers=applied)

    def _heartbeat(self, node: str) -> None:
        now = rfc3339(datetime.now(UTC))
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Test",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        merge = {"Content-Type": "application/strategic-merge-patch+json"}
        status = {"capacity": self._room, "allocatable": self._room, "conditions": [ready]}
        self.space.ask("PATCH", NODE.path(None, node, "status"), {"status": status}, headers=merge)

    def _look(self) -> None:
        query = {"labelSelector": f"{names.COMPONENT}={names.ENGINE}"}
        pods = {
            each["metadata"]["name"]: each
            for each in self.space.ask("GET", POD.path(self.space.name), params=query)["items"]
        }
        lost = {name for name, body in pods.items() if body["spec"].get("nodeName") in self.away}
        self._lost = frozenset(address for name, address in self.ready.items() if name in lost)
        for name, address in [*self.ready.items(), *((name, at) for name, (at, _) in self._starting.items())]:
            if name not in pods or ("deletionTimestamp" in pods[name]["metadata"] and name not in lost):
                self.ready.pop(name, None)
                self._starting.pop(name, None)
                self._opened.pop(address, None)
                self._free.append(address)
        for name, body in pods.items():
            if name in lost:
                continue
            if "deletionTimestamp" in body["metadata"]:
                self.space.ask("DELETE", POD.path(self.space.name, name), {"gracePeriodSeconds": 0})
            elif name in self._starting:
                if time.time() >= self._starting[name][1]:
                    self._open(name)
            elif name not in self.ready and self._free and ("nodeName" in body["spec"] or not self._room):
                self._start(body)

    def _start(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        made = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
        self._starting[metadata["name"]] = (self._free.pop(0), max(made, time.time() - 1.0) + self.start_seconds)
        if "nodeName" not in body["spec"]:
            target = {"target": {"kind": "Node", "name": self.nodes[0]}, "metadata": {"name": metadata["name"]}}
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
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
            ],
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
def fleet(
    space: Space, *, start_seconds: float = 0.0, concurrency: int = CONCURRENCY, nodes: Sequence[str] = ()
) -> Iterator[Fleet]:
    """A fleet at work, with a server for every address."""
    made = Fleet(space, start_seconds, concurrency, nodes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = str(self.server.server_address[0])
            if not made.hears(address):
                return
            content = made.tell(address, self.path.partition("?")[0])
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
    threads += [threading.Thread(target=each, daemon=True) for each in (made.beat, made.work)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stop()
        for thread in threads[-2:]:
            thread.join(10)
        for server in servers:
            server.shutdown()
            server.server_close()
