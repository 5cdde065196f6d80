"""What goes wrong in a cluster, done to it for real: killed processes, an API server that is gone or says no."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from vlm_operator import names
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import eventually
from tests.cluster.node.operators import NAMESPACE, RELEASE
from tests.cluster.node.test_replicas import KILL_AGENT, KILL_ENGINE, NAME, Served, engine

AWAY_SECONDS = (1.0, 15.0)  # an API server or etcd: below the 40 s after which a node would count as lost
STORM_SECONDS = (3.0, 10.0)
SILENT_SECONDS = (5.0, 20.0)
HEARD_OF = timedelta(seconds=5)
REFUSED = re.compile(r'^apiserver_flowcontrol_rejected_requests_total{[^}]*priority_level="refused"[^}]*} [1-9]', re.M)
FLOW = "flowcontrol.apiserver.k8s.io/v1"

Body = dict[str, Any]


class Faults:
    """Each method does one, and returns when it is over."""

    def __init__(self, served: Served, rng: Random) -> None:
        self._served = served
        self._rng = rng

    def kill_operator(self) -> None:
        """The one that leads, as the kernel does when memory is short."""
        pids = list(self._processes(self._pods_of_operator(), "vlm_operator"))
        assert pids
        for pid in pids:
            _send(pid, signal.SIGKILL)

    def kill_agent(self) -> None:
        """A replica's: what it knew is on its volume."""
        self._served.kubectl("exec", self._replica(), "-c", names.AGENT, "--", "python3", "-c", KILL_AGENT)

    def kill_engine(self) -> None:
        """A replica's: it has to start again, and to answer a request before it takes any."""
        name = self._replica()
        before = engine(self._served.space.all("Pod")[name])["restartCount"]
        self._served.kubectl("exec", name, "-c", names.ENGINE, "--", "sh", "-c", KILL_ENGINE)

        def is_told() -> None:
            """The kubelet says so: until then all would seem right."""
            pods = self._served.space.all("Pod")
            if name in pods:
                now = engine(pods[name])
                assert now["restartCount"] > before or not now["ready"]

        eventually(is_told)

    def delete_pod(self) -> None:
        """A replica goes, as when its node is drained."""
        self._served.kubectl("delete", "pod", self._replica(), "--wait=false")

    def silence_agents(self) -> None:
        """No agent answers for a while."""
        self._silence("vlm_operator.agent.sidecar")

    def silence_proxies(self) -> None:
        """No proxy answers for a while, neither users nor who asks how much there is to do."""
        self._silence("haproxy")

    def stop_api_server(self) -> None:
        """It is gone for a while, at once."""
        self._away("apiserver")

    def stop_etcd(self) -> None:
        """The API server is there, and knows nothing."""
        self._away("etcd")

    def refuse_requests(self) -> None:
        """The API server answers 429 to the operator, for a while: to all that it asks but one request at a time."""
        account = {"name": RELEASE, "namespace": NAMESPACE}
        rules = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "clusterScope": True, "namespaces": ["*"]}
        level = {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}}
        flow = {
            "priorityLevelConfiguration": {"name": "refused"},
            "matchingPrecedence": 2,  # 1 is taken
            "rules": [
                {"subjects": [{"kind": "ServiceAccount", "serviceAccount": account}], "resourceRules": [rules]},
            ],
        }
        made: tuple[tuple[str, Body], ...] = (
            ("PriorityLevelConfiguration", {"type": "Limited", "limited": level}),
            ("FlowSchema", flow),
        )
        bodies = [{"apiVersion": FLOW, "kind": kind, "metadata": {"name": "refused"}, "spec": of} for kind, of in made]
        self._served.cluster.apply(*bodies)
        until = time.monotonic() + self._rng.uniform(*STORM_SECONDS)
        while time.monotonic() < until:
            self._scatter()  # so that the operator has more than one request at a time
        told = self._served.cluster.kubectl("get", "--raw", "/metrics")
        self._served.cluster.kubectl("delete", "flowschema,prioritylevelconfiguration", "refused")
        assert REFUSED.search(told)

    def contest(self) -> None:
        """Somebody else writes into the VLMDeployment and into what the operator owns, again and again."""
        until = time.monotonic() + self._rng.uniform(*STORM_SECONDS)
        while time.monotonic() < until:
            self._scatter()
            self._served.space.change(BY_KIND["Service"], NAME, {"spec": {"selector": {"nobody": "has-this"}}})

    def _scatter(self) -> None:
        """Writes of somebody else that no user of the Service notices."""
        space, count = self._served.space, self._rng.randrange(10**9)
        space.change(VLMDEPLOYMENT, NAME, {"metadata": {"annotations": {"example.com/count": str(count)}}})
        space.change(BY_KIND["ServiceAccount"], NAME, {"automountServiceAccountToken": True})
        space.change(
            BY_KIND["PodDisruptionBudget"], NAME, {"spec": {"minAvailable": count % 2, "maxUnavailable": None}}
        )

    def _silence(self, program: str) -> None:
        pods = [pod["metadata"]["uid"] for pod in self._served.space.all("Pod").values()]
        pids = list(self._processes(pods, program))
        assert pids
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        time.sleep(self._rng.uniform(*SILENT_SECONDS))
        for pid in pids:
            _send(pid, signal.SIGCONT)

    def _away(self, part: str) -> None:
        self._served.cluster.stop(part)
        time.sleep(self._rng.uniform(*AWAY_SECONDS))
        self._served.cluster.start(part)
        eventually(self._answers)

    def _answers(self) -> None:
        """The API server does, and its node has been heard of since: after 40 s without it would be taken for lost."""
        cluster, asked = self._served.cluster, datetime.now(UTC)
        cluster.kubectl("get", "--raw", "/readyz")
        (lease,) = cluster.get("leases", "-n", "kube-node-lease")["items"]
        assert datetime.fromisoformat(lease["spec"]["renewTime"]) > asked - HEARD_OF

    def _replica(self) -> str:
        """Any that takes traffic."""
        return self._rng.choice(sorted(eventually(self._some)))

    def _some(self) -> dict[str, Body]:
        pods = self._served.ready_pods()
        assert pods
        return pods

    def _pods_of_operator(self) -> list[str]:
        """The uid of the pod that holds the Lease."""
        where = ("-n", NAMESPACE)

        def leader() -> str:
            (holder,) = {
                each["spec"].get("holderIdentity") for each in self._served.cluster.get("lease", *where)["items"]
            }
            assert holder
            return str(self._served.cluster.get("pod", str(holder).partition("_")[0], *where)["metadata"]["uid"])

        return [eventually(leader)]

    def _processes(self, pods: list[str], program: str) -> Iterator[int]:
        """Of a program, or of a module of Python's, in pods of these uids."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                groups = (folder / "cgroup").read_text()
            except OSError:  # it has ended
                continue
            if program.encode() in words and any(uid in groups for uid in pods):
                yield int(folder.name)


WITHOUT_ENGINE: tuple[Callable[[Faults], None], ...] = (
    Faults.kill_operator,
    Faults.kill_agent,
    Faults.silence_agents,
    Faults.stop_api_server,
    Faults.stop_etcd,
    Faults.refuse_requests,
)
"""After these, replicas serve on as if nothing had been."""

WITH_ENGINE: tuple[Callable[[Faults], None], ...] = (
    Faults.kill_engine,
    Faults.delete_pod,
    Faults.contest,
    Faults.silence_proxies,
)
"""These take a replica, or all, out of traffic for a while."""

STARTING = (Faults.kill_engine, Faults.delete_pod)
"""Of these, those after which an engine has to start."""


def _send(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.kill(pid, what)
