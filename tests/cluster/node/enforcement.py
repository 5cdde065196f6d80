"""Who enforces NetworkPolicies on a node (kube-router), and addresses on it that only pods have a reason to ask."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import eventually, some
from tests.cluster.node.programs import running_program

PROGRAM = "kube-router"
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
FIREWALL = "KUBE-ROUTER-FORWARD"
# Its own --cleanup-config ends where the kernel has no IPVS. Sets of addresses stay, and mean nothing.
FORGET = """
rules=$(iptables-save -t filter) &&
    grep -v -e KUBE-ROUTER -e KUBE-POD-FW -e KUBE-NWPLCY <<<"$rules" | iptables-restore --wait
"""
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
    assert BRIDGED.exists(), "Packets between pods of one node pass no rules here: modprobe br_netfilter"
    (node,) = cluster.get("nodes")["items"]
    flags = (
        "--run-firewall",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--hostname-override={node['metadata']['name']}",
        f"--service-cluster-ip-range={(cluster.folder / 'services').read_text().strip()}",
    )
    folder.mkdir()
    try:
        with running_program(cluster, folder, PROGRAM, *flags, through=_on_node(cluster)):
            eventually(lambda: some(FIREWALL in _run(cluster, "iptables-save")))
            yield
    finally:
        _run(cluster, "bash", "-c", FORGET)


@contextmanager
def listening(cluster: Cluster, ways: Sequence[Way]) -> Iterator[None]:
    """The node has these addresses, and somebody listens at these ports, until the end of the context."""
    addresses = sorted({address for address, _ in ways})
    for address in addresses:
        _run(cluster, "ip", "address", "add", f"{address}/32", "dev", "lo")
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
            _run(cluster, "ip", "address", "delete", f"{address}/32", "dev", "lo")


def open_ways(cluster: Cluster, pod: str, namespace: str, ways: Mapping[str, Way], *, container: str) -> set[str]:
    """Names of those that lead somewhere from inside a container with Python."""
    within = ("exec", pod, "--namespace", namespace, "--container", container, "--")
    found: list[str] = json.loads(cluster.kubectl(*within, "python3", "-c", TRY, json.dumps(ways)))
    return set(found)


def _on_node(cluster: Cluster) -> tuple[str, ...]:
    """What runs a command in the node's network; its first process is a child of the one that node.sh knows."""
    pid, _ = (cluster.folder / "node.pid").read_text().split()
    init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    return ("env", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin", "nsenter", "--target", init, "--net")


def _run(cluster: Cluster, *command: str) -> str:
    return subprocess.run((*_on_node(cluster), *command), check=True, stdout=subprocess.PIPE, text=True).stdout
