"""Who enforces NetworkPolicies on a node (kube-router), and addresses on it that only pods have a reason to ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.clusters import Cluster
from tests.cluster.node.programs import running_program

PROGRAM = "kube-router"
# Its own --cleanup-config ends where the kernel has no IPVS.
FORGET = "iptables-save -t filter | grep -v -e KUBE-ROUTER -e KUBE-POD-FW -e KUBE-NWPLCY | iptables-restore --wait"
Way = tuple[str, int]  # address and port
# Takes connections at the addresses of its first argument, and says so once it does.
LISTEN = """
import json, selectors, socket, sys
waiting = selectors.DefaultSelector()
for address, port in json.loads(sys.argv[1]):
    waiting.register(socket.create_server((address, port)), selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in waiting.select():
        key.fileobj.accept()[0].close()
"""
# Tries every way at once, as refusals take their time; prints those that led to somebody.
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def is_open(way):
    try:
        socket.create_connection(way[1], timeout=5).close()
        return True
    except OSError:
        return False
ways = list(json.loads(sys.argv[1]).items())
with ThreadPoolExecutor(len(ways)) as threads:
    print(json.dumps([name for (name, _), found in zip(ways, threads.map(is_open, ways)) if found]))
"""


@contextmanager
def enforced(cluster: Cluster, folder: Path) -> Iterator[None]:
    """NetworkPolicies hold on the node until the end of the context, and none of them after it."""
    slot = (cluster.folder / "slot").read_text().strip()
    flags = (
        "--run-firewall",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={cluster.kubeconfig}",
        "--hostname-override=node1",
        f"--service-cluster-ip-range=198.19.{slot}.0/24",
    )
    folder.mkdir()
    try:
        with running_program(cluster, folder, PROGRAM, *flags, through=_on_node(cluster)):
            yield
    finally:
        subprocess.run((*_on_node(cluster), "sh", "-c", FORGET), check=True)


@contextmanager
def listening(cluster: Cluster, ways: Sequence[Way]) -> Iterator[None]:
    """The node has these addresses, and somebody listens at these ports, until the end of the context."""
    addresses = sorted({address for address, _ in ways})
    for address in addresses:
        _change_addresses(cluster, "add", address)
    command = ("setpriv", "--pdeathsig", "KILL", *_on_node(cluster), "python3", "-c", LISTEN, json.dumps(ways))
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            try:
                yield
            finally:
                process.kill()
    finally:
        for address in addresses:
            _change_addresses(cluster, "delete", address)


def open_ways(cluster: Cluster, pod: str, namespace: str, ways: Mapping[str, Way], *, container: str) -> set[str]:
    """Names of those that lead somewhere from inside a container with Python."""
    within = ("exec", pod, "--namespace", namespace, "--container", container, "--")
    found: list[str] = json.loads(cluster.kubectl(*within, "python3", "-c", TRY, json.dumps(ways)))
    return set(found)


def _change_addresses(cluster: Cluster, change: str, address: str) -> None:
    subprocess.run((*_on_node(cluster), "ip", "address", change, f"{address}/32", "dev", "lo"), check=True)


def _on_node(cluster: Cluster) -> tuple[str, ...]:
    """What runs a command in the node's network; its first process is a child of the one that node.sh knows."""
    pid, _ = (cluster.folder / "node.pid").read_text().split()
    init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    return ("nsenter", "--target", init, "--net")
