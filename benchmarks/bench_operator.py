"""How fast the operator is, and how much memory it takes, on the cluster of KUBECONFIG with its CRDs installed.

    python benchmarks/bench_operator.py                  # start, memory with 10 VLMDeployments, changes put back
    python benchmarks/bench_operator.py --many 1000      # and so many VLMDeployments at once

A control plane without nodes is enough (scripts/cluster/control_plane.sh). Everything is made in a new namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import yaml
from vlm_operator.cluster import ApiError, Cluster
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, VLMDEPLOYMENT, Resource
from vlm_operator.login import connect

from vlmctl.api import v1alpha1 as api

STARTS = 5
FEW = 10
CHANGES = 60
PORT = 18080
NAMESPACES = Resource("Namespace", "v1", "namespaces", namespaced=False, selector=None)
ACCOUNT = BY_KIND["ServiceAccount"]
GOALS = "goals: first pass 2 s after the start, 150 MiB with 10, 95% of changes put back within 1 s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=0, help="VLMDeployments that are created at once")
    asyncio.run(measure(parser.parse_args().many))


async def measure(many: int) -> None:
    """Everything, in a namespace that is deleted at the end."""
    namespace = f"bench-{os.getpid()}"
    async with Cluster(connect()) as cluster:
        await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        try:
            with tempfile.TemporaryDirectory() as folder:
                await _measure(cluster, namespace, Path(folder), many)
        finally:
            uid = (await cluster.get(NAMESPACES, None, namespace))["metadata"]["uid"]
            await cluster.delete(NAMESPACES, "", namespace, uid=uid)


async def _measure(cluster: Cluster, namespace: str, folder: Path, many: int) -> None:
    print(GOALS)
    for number in range(FEW):
        await make(cluster, namespace, f"few-{number}")
    async with operator(namespace, folder):
        await deployed(cluster, namespace, FEW)
    seconds = []
    for _ in range(STARTS):
        begun = time.time()
        async with operator(namespace, folder) as process:
            seconds.append(await first_pass() - begun)
            await asyncio.sleep(3.0)
            memory = resident_mib(process.pid)
    print(f"start to the end of the first pass: {told(seconds)}")
    print(f"at rest with {FEW}: {memory:.0f} MiB")
    async with operator(namespace, folder) as process:
        await first_pass()
        changes = [await put_back(cluster, namespace) for _ in range(CHANGES)]
        print(f"a change of a child until it is put back: {told(changes)}")
        if many:
            begun = time.monotonic()
            await asyncio.gather(*(make(cluster, namespace, f"many-{number}") for number in range(many)))
            print(f"{many} created: {time.monotonic() - begun:.1f} s")
            await deployed(cluster, namespace, FEW + many)
            print(f"{many} with all children: {time.monotonic() - begun:.1f} s, {resident_mib(process.pid):.0f} MiB")


@asynccontextmanager
async def operator(namespace: str, folder: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that serves the namespace."""
    config = folder / "config.yaml"
    pool = {"gpu": "l4", "nodes": 4, "gpusPerNode": 4, "usdPerGpuHour": 0.7}
    config.write_text(yaml.safe_dump({"namespaces": [namespace], "inventory": [pool], "port": PORT}))
    environment = {**os.environ, "VLM_OPERATOR_CONFIG": str(config), "POD_NAMESPACE": namespace}
    with (folder / "operator.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "vlm_operator"], env=environment, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def first_pass() -> float:
    """When it was over, in seconds since 1970."""
    while True:
        try:
            text = await asyncio.to_thread(
                lambda: urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=5).read().decode()
            )
        except OSError:
            text = ""
        found = re.search(r'^vlm_operator_reconciles_created{result="done"} (\S+)$', text, re.MULTILINE)
        if found:
            return float(found[1])
        await asyncio.sleep(0.1)


async def make(cluster: Cluster, namespace: str, name: str) -> None:
    """Create a VLMDeployment."""
    spec = {"model": {"name": "qwen2.5-vl-3b-instruct"}}
    metadata = {"name": name, "namespace": namespace}
    await cluster.create(
        VLMDEPLOYMENT, {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": spec}
    )


async def deployed(cluster: Cluster, namespace: str, count: int) -> None:
    """Wait until so many have a Deployment, which comes last."""
    while True:
        found = [len(items) async for items, _ in cluster.pages(DEPLOYMENT, namespace)]
        if sum(found) >= count:
            return
        await asyncio.sleep(0.5)


async def put_back(cluster: Cluster, namespace: str) -> float:
    """Seconds from a change by somebody else until the operator's write."""
    patch = {"automountServiceAccountToken": True}
    changed = await cluster.merge(ACCOUNT, namespace, "few-0", patch)
    begun = time.monotonic()
    async for event in cluster.watch(ACCOUNT, namespace, changed["metadata"]["resourceVersion"]):
        if event.type == "MODIFIED" and event.object["automountServiceAccountToken"] is False:
            break
    seconds = time.monotonic() - begun
    await asyncio.sleep(0.5)
    return seconds


def resident_mib(process: int) -> float:
    """Memory of the process that is its own or in use."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def told(seconds: list[float]) -> str:
    """Median and 95th percentile."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"median {statistics.median(ordered):.2f} s, 95th percentile {late:.2f} s of {len(ordered)}"


if __name__ == "__main__":
    try:
        main()
    except ApiError as error:
        sys.exit(f"{error}\nIs KUBECONFIG set, and are the CRDs of charts/vlm-operator installed?")
