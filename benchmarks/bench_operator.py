"""How fast the operator is, and how much it takes: with ten VLMDeployments, and with hundreds made at once.

    python benchmarks/bench_operator.py                       # start, a change put back, then 100, 300 and 1,000
    python benchmarks/bench_operator.py --counts 100 --rest-seconds 10
    python benchmarks/bench_operator.py --counts 100 --rest-seconds 10 --profile out.pstats

It starts a control plane of its own (make cluster-tools builds what that needs) and nodes of kwok, and says with which
flags. All of it shares the machine's cores. What was written, and when, is read from the API server's audit log.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from idle_replicas import Replica, all_ready, replicas
from operator_cluster import AGENT, GPUS_PER_NODE, AuditLog, Plane, Running, Write, last, nodes, operator, plane
from vlm_operator.cluster import ApiError, Cluster
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT, Resource
from vlm_operator.login import connect
from vlm_operator.names import DEPLOYMENT
from vlm_operator.proxy import METRICS_PATH
from vlm_operator.records import KubernetesObject
from vlm_operator.tries import FIGHT_SECONDS, FIGHT_WRITES

from vlmctl.api import v1alpha1 as api

COUNTS = (100, 300, 1000)
STARTS, FEW, CHANGES = 5, 10, 60
# Between changes: whoever changes the same object this often is no opponent, whom the operator would give way to.
PAUSE_SECONDS = 1.07 * FIGHT_SECONDS / (FIGHT_WRITES - 1) / FEW
AT_ONCE = 16  # requests of this program
TEAM = 50  # VLMDeployments in a namespace
SCALED_OF = 10  # one of so many is scaled by the operator
LIMIT_SECONDS = 900.0
ASK_SECONDS = 1.0  # between looks at its metrics, which tell of all: of 1,000 they take it 0.3 s each time
QUIET_SECONDS = 3.0  # without a write: it has come to rest
REST_SECONDS = 300.0
NAMESPACES = Resource("Namespace", "v1", "namespaces", namespaced=False, selector=None)
ACCOUNT = BY_KIND["ServiceAccount"]
CHILD_KINDS = tuple(
    BY_KIND[kind]
    for kind in (
        "ControllerRevision",
        "ServiceAccount",
        "Secret",
        "ConfigMap",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
    )
)
CHILDREN = tuple(each.plural for each in CHILD_KINDS)
GOALS = (
    "goals: first pass 2 s after the start, 150 MiB with 10, 95% of changes put back within 1 s; of 1,000 all eight "
    "kinds of children within 60 s and 200 MiB, nothing written at rest or after a restart, all deleted within 60 s"
)
HEADINGS = ("count", "applied s", "bare s", "CPU s", "writes", "MiB", "at rest", "asked", "restart", "MiB", "deleted s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS, help="VLMDeployments that are made at once")
    parser.add_argument("--rest-seconds", type=float, default=REST_SECONDS, help="for which nothing may be written")
    parser.add_argument("--profile", type=Path, help="write a profile of the operator that serves the many")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and take everything down
    with tempfile.TemporaryDirectory() as folder, replicas(), plane(Path(folder) / "plane") as found:
        version = found.kubectl("version", "-o", "yaml").rpartition("gitVersion: ")[2].split()[0]
        with nodes(found, -(-max((FEW, *given.counts)) // GPUS_PER_NODE)):
            print(GOALS)
            print(f"Kubernetes {version} on {os.cpu_count()} cores shared with it: {found.flags()}")
            asyncio.run(measure(found, given.counts, given.rest_seconds, given.profile))


async def measure(plane: Plane, counts: list[int], rest_seconds: float, profile: Path | None) -> None:
    """Everything, each count in a namespace of its own."""
    async with Cluster(connect()) as cluster:
        await few(plane, cluster)
        print("\nmany at once; MiB: at most; restart: seconds until each was looked at, writes")
        print(f"at rest all are Ready and measured, one of {SCALED_OF} is scaled by the operator")
        print(f"at rest: writes in {rest_seconds:.0f} s, share of a core; asked: agents, proxies in that time")
        print("bare: the same children applied by a client that does nothing else, no operator running")
        print("".join(f"{heading:>12}" for heading in HEADINGS))
        for count in counts:
            line = await many(plane, cluster, count, rest_seconds, profile)
            print("".join(f"{cell:>12}" for cell in line), flush=True)


async def few(plane: Plane, cluster: Cluster) -> None:
    """Start, memory and reaction with some VLMDeployments."""
    namespace = "few"
    await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    mark = plane.audit.mark()
    await make(cluster, [namespace], FEW)
    with operator(plane, namespace) as running:
        await applied(running, plane.audit, mark, FEW)
        await at_rest(plane.audit)
    starts = []
    for _ in range(STARTS):
        with operator(plane, namespace) as running:
            starts.append(await passed(running) - running.started_at)
            await asyncio.sleep(QUIET_SECONDS)
            resident_mib = running.resident_mib()
    print(f"start to the end of the first pass: {told(starts)}")
    print(f"at rest with {FEW}: {resident_mib:.0f} MiB")
    with operator(plane, namespace) as running:
        await passed(running)
        changes = [await put_back(cluster, number % FEW) for number in range(CHANGES)]
        print(f"a change of a child until it is put back: {told(changes)}")
        await gone(running, plane, [namespace], FEW)


async def many(
    plane: Plane, cluster: Cluster, count: int, rest_seconds: float, profile: Path | None
) -> tuple[str, ...]:
    """A line of the table."""
    namespaces = [f"team-{count}-{number}" for number in range(-(-count // TEAM))]
    for namespace in namespaces:
        await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    with operator(plane, namespaces[0], profile=profile) as running:
        await running.until(lambda: running.metric("vlmctl_leader") == 1.0, seconds=LIMIT_SECONDS, what="to lead")
        mark, begun, spent = plane.audit.mark(), time.time(), running.cpu_seconds()
        await make(cluster, namespaces, count)
        applied_seconds = await applied(running, plane.audit, mark, count) - begun
        await at_rest(plane.audit)
        cpu_seconds = running.cpu_seconds() - spent
        writes = len(plane.audit.since(mark, of_operator=True))
        await all_ready(plane, cluster, count, limit_seconds=LIMIT_SECONDS)
        await at_rest(plane.audit)
        mark, spent = plane.audit.mark(), running.cpu_seconds()
        Replica.asked.clear()
        await asyncio.sleep(rest_seconds)
        asked = Counter(Replica.asked)
        rest, rest_cpu_seconds = plane.audit.since(mark, of_operator=True), running.cpu_seconds() - spent
        peak_mib = running.resident_mib("VmHWM")
    mark = plane.audit.mark()
    with operator(plane, namespaces[0]) as running:
        restart_seconds = await passed(running, count) - running.started_at
        await asyncio.sleep(QUIET_SECONDS)
        again, again_mib = plane.audit.since(mark, of_operator=True), running.resident_mib("VmHWM")
        children = [body async for body in all_children(cluster, namespaces)]
        deleted_seconds = await gone(running, plane, namespaces, count)
    bare_seconds = await bare(plane, cluster, children)
    return (
        str(count),
        f"{applied_seconds:.1f}",
        f"{bare_seconds:.1f}",
        f"{cpu_seconds:.1f}",
        str(writes),
        f"{peak_mib:.0f}",
        f"{len(rest)}, {100 * rest_cpu_seconds / rest_seconds:.1f}%",
        f"{asked.total() - asked[METRICS_PATH]}, {asked[METRICS_PATH]}",
        f"{restart_seconds:.1f}, {len(again)}",
        f"{again_mib:.0f}",
        f"{deleted_seconds:.1f}",
    )


async def make(cluster: Cluster, namespaces: list[str], count: int) -> None:
    """Create VLMDeployments, each namespace's share of them."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        spec: dict[str, Any] = {"model": {"name": "qwen2.5-vl-3b-instruct"}}
        if number % SCALED_OF == 0:
            spec["scaling"] = {"min": 1, "max": 3, "engine": "Operator"}
        metadata = {"name": f"vision-{number}", "namespace": namespaces[number % len(namespaces)]}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": spec}
        async with free:
            await cluster.create(VLMDEPLOYMENT, body)

    await asyncio.gather(*map(one, range(count)))


async def applied(running: Running, audit: AuditLog, mark: int, count: int) -> float:
    """When so many of each kind of children had been made, in seconds since 1970."""

    made: dict[str, dict[str, float]] = {resource: {} for resource in CHILDREN}
    seen = mark

    def is_complete() -> bool:
        nonlocal seen
        new = audit.since(seen)
        seen += len(new)
        for each in new:
            if each.by == AGENT and each.verb in ("patch", "create") and each.resource in made:
                named = made[each.resource]
                # What is created has no name in its address.
                named.setdefault(f"{each.namespace}/{each.name or len(named)}", each.at)
        return all(len(each) >= count for each in made.values())

    await running.until(is_complete, seconds=LIMIT_SECONDS, what="children applied")
    return max(max(each.values()) for each in made.values())


async def all_children(cluster: Cluster, namespaces: list[str]) -> AsyncIterator[KubernetesObject]:
    """What was applied for VLMDeployments, as it can be applied again without them; but Secrets, which nobody reads."""
    for resource in (each for each in CHILD_KINDS if each.kind != "Secret"):
        for namespace in namespaces:
            async for page, _ in cluster.pages(resource, namespace):
                for body in page:
                    yield anew(body)


def anew(body: KubernetesObject) -> KubernetesObject:
    """Without what the API server gave it."""
    metadata = {name: body["metadata"][name] for name in ("name", "labels", "annotations") if name in body["metadata"]}
    metadata["namespace"] = f"bare-{body['metadata']['namespace']}"
    if body["kind"] == "Service":
        given = ("clusterIP", "clusterIPs")
        body = {**body, "spec": {name: value for name, value in body["spec"].items() if name not in given}}
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


async def bare(plane: Plane, cluster: Cluster, children: list[KubernetesObject]) -> float:
    """Seconds for the writes alone, of which the API server and the controllers' work on them are the rest."""
    namespaces = sorted({body["metadata"]["namespace"] for body in children})
    for namespace in namespaces:
        await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    by_name: dict[tuple[str, str], list[KubernetesObject]] = {}
    for body in children:
        owner = body["metadata"]["labels"][DEPLOYMENT]
        by_name.setdefault((body["metadata"]["namespace"], owner), []).append(body)
    free = asyncio.Semaphore(AT_ONCE)

    async def one(bodies: list[KubernetesObject]) -> None:
        async with free:
            metadata = {"name": bodies[0]["metadata"]["name"], "namespace": bodies[0]["metadata"]["namespace"]}
            await cluster.create(BY_KIND["Secret"], {"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
            for body in bodies:
                await cluster.apply(BY_KIND[body["kind"]], body)

    begun = time.monotonic()
    await asyncio.gather(*map(one, by_name.values()))
    seconds = time.monotonic() - begun
    for namespace in namespaces:
        for resource in CHILD_KINDS:
            plane.kubectl("delete", "--raw", resource.path(namespace))
    return seconds


async def at_rest(audit: AuditLog) -> None:
    """Wait until nothing has been written for a while."""
    while True:
        mark = audit.mark()
        await asyncio.sleep(QUIET_SECONDS)
        if not audit.since(mark, of_operator=True):
            return


async def passed(running: Running, count: int = 1) -> float:
    """When so many passes were over, in seconds since 1970; of the first, the operator tells it."""
    name = 'vlmctl_reconciles_{}{{result="done"}}'

    def is_complete() -> bool:
        return (running.metric(name.format("total")) or 0.0) >= count

    await running.until(is_complete, seconds=LIMIT_SECONDS, what="passes", look_seconds=ASK_SECONDS)
    return running.metric(name.format("created")) or 0.0 if count == 1 else time.time()


async def gone(running: Running, plane: Plane, namespaces: list[str], count: int) -> float:
    """Delete all VLMDeployments; gives the seconds until the last of their children was gone."""
    mark, begun = plane.audit.mark(), time.time()
    for namespace in namespaces:
        plane.kubectl("delete", "--raw", VLMDEPLOYMENT.path(namespace))

    def is_complete() -> bool:
        found = Counter(each.resource for each in deleted())
        return all(found[resource] >= count for resource in CHILDREN)

    def deleted() -> list[Write]:
        return [each for each in plane.audit.since(mark) if each.verb == "delete" and each.namespace in namespaces]

    await running.until(is_complete, seconds=LIMIT_SECONDS, what="children deleted")
    return last(deleted()) - begun


async def put_back(cluster: Cluster, number: int) -> float:
    """Seconds from a change by somebody else until the operator's write; each object is left alone for a while, as
    whoever changes the same one again and again is given way to.
    """
    patch = {"automountServiceAccountToken": True}
    changed = await cluster.merge(ACCOUNT, "few", f"vision-{number}", patch)
    begun = time.monotonic()
    async for event in cluster.watch(ACCOUNT, "few", changed["metadata"]["resourceVersion"]):
        if event.type == "MODIFIED" and event.object["automountServiceAccountToken"] is False:
            break
    seconds = time.monotonic() - begun
    await asyncio.sleep(PAUSE_SECONDS)
    return seconds


def told(seconds: list[float]) -> str:
    """Median and 95th percentile."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"median {statistics.median(ordered):.2f} s, 95th percentile {late:.2f} s of {len(ordered)}"


if __name__ == "__main__":
    try:
        main()
    except (ApiError, TimeoutError) as error:
        raise SystemExit(str(error)) from error
