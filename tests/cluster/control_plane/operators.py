"""The operator as a process of its own against a control plane, and a plain view of what it does there."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from vlm_operator import names
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, LEASE, VLMDEPLOYMENT, Resource

from tests.cluster.clusters import Cluster

MERGED = {"Content-Type": "application/merge-patch+json"}
REST_SECONDS = 2.0  # in which whatever is not at rest would show
OPERATOR = "vlm-operator"  # how its user agent begins
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"  # label of a namespace that lets in no other pods
PATIENCE_SECONDS = 90.0  # the machine may be busy with other suites
CHILDREN = (
    "Deployment",
    "Service",
    "ServiceAccount",
    "ConfigMap",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "ControllerRevision",
)
MANIFEST = {"model": {"name": "qwen2.5-vl-3b-instruct"}}
_T = TypeVar("_T")


def eventually(check: Callable[[], _T], *, seconds: float = PATIENCE_SECONDS) -> _T:
    """What `check` gives once it holds: it is tried until its assertions do."""
    until = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, httpx.HTTPError, KeyError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def some(found: _T) -> _T:
    """What there is, if there is any."""
    assert found
    return found


class Space:
    """One namespace of a control plane, as its administrator sees it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        context = ssl.create_default_context(cafile=str(cluster.folder / "ca.crt"))
        context.load_cert_chain(cluster.folder / "admin.crt", cluster.folder / "admin.key")
        self.cluster = cluster
        self.name = name
        self.http = httpx.Client(
            base_url=config["clusters"][0]["cluster"]["server"], verify=context, timeout=20, trust_env=False
        )
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def close(self) -> None:
        """Leave no VLMDeployments behind."""
        try:
            self.ask("DELETE", VLMDEPLOYMENT.path(self.name), timeout=PATIENCE_SECONDS)
        finally:
            self.http.close()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The API server's answer; raises httpx.HTTPError for a refusal."""
        answer = self.http.request(method, path, content=None if body is None else json.dumps(body), **more)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()

    def find(self, resource: Resource, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", resource.path(self.name, name))
        return found

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Objects of a kind that are the operator's, by name; of Secrets and VLMDeployments all."""
        resource = BY_KIND[kind]
        query = {} if kind in ("Secret", "VLMDeployment", "VLMBenchmark") else {"labelSelector": resource.selector}
        return {
            each["metadata"]["name"]: each for each in self.ask("GET", resource.path(self.name), params=query)["items"]
        }

    def make(self, name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
        body = {
            "apiVersion": VLMDEPLOYMENT.api_version,
            "kind": VLMDEPLOYMENT.kind,
            "metadata": {"name": name},
            "spec": MANIFEST if spec is None else spec,
        }
        made: dict[str, Any] = self.ask("POST", VLMDEPLOYMENT.path(self.name), body)
        return made

    def change(self, resource: Resource, name: str, patch: dict[str, Any], subresource: str | None = None) -> None:
        """A merge patch by somebody else."""
        path = resource.path(self.name, name, subresource)
        self.ask("PATCH", path, patch, params={"fieldManager": "somebody"}, headers=MERGED)

    def remove(self, name: str) -> None:
        self.ask("DELETE", VLMDEPLOYMENT.path(self.name, name))

    def writes(self) -> list[dict[str, Any]]:
        """What the operator has written here, the Lease left out."""
        return [
            each
            for each in self.cluster.writes()
            if each.get("userAgent", "").startswith(("vlm-operator", "kopf"))
            and each.get("objectRef", {}).get("namespace") == self.name
            and each["objectRef"]["resource"] != LEASE.plural
        ]

    def versions(self) -> dict[str, str]:
        """The version of everything that is the operator's."""
        kinds = (*CHILDREN, "Secret", "VLMDeployment", "VLMBenchmark")
        return {
            f"{kind}/{name}": each["metadata"]["resourceVersion"]
            for kind in kinds
            for name, each in self.all(kind).items()
        }


def settled(space: Space, name: str = "vision") -> dict[str, Any]:
    """The VLMDeployment once everything that it needs is there and its status says so."""

    def check() -> dict[str, Any]:
        for kind in CHILDREN:
            assert space.all(kind), kind
        parent = space.find(VLMDEPLOYMENT, name)
        assert parent["status"]["observedGeneration"] == parent["metadata"]["generation"]
        carried = space.find(DEPLOYMENT, name)["spec"]["template"]["metadata"]["labels"][names.REVISION]
        assert parent["status"]["updateRevision"] == names.of_revision(name, carried)
        return parent

    return eventually(check)


def at_rest(space: Space, seconds: float = REST_SECONDS) -> dict[str, str]:
    """The versions of everything, after a time in which the operator wrote nothing."""

    def check() -> dict[str, str]:
        before = space.versions()
        count = len(space.writes())
        time.sleep(seconds)
        assert space.versions() == before
        assert len(space.writes()) == count
        return before

    return eventually(check)


def scale_writers(space: Space, since: int = 0) -> list[str]:
    """Who has written a VLMDeployment's replicas through /scale, in order: our operator, or a user's name.

    `since`: so many lines of the audit log are left out.
    """
    return [
        OPERATOR if each["userAgent"].startswith(OPERATOR) else each["user"]["username"].rpartition(":")[2]
        for each in space.cluster.writes()[since:]
        if each.get("objectRef", {}).get("namespace") == space.name
        and each["objectRef"]["resource"] == VLMDEPLOYMENT.plural
        and each["objectRef"].get("subresource") == "scale"
        and each["responseStatus"]["code"] < 300
    ]


class OperatorProcess:
    """An operator of one namespace; each process of it has the same `identity`, as in a restarted container.

    `kubeconfig`: who it is, the administrator by default; `namespaces`: those it serves instead, none for all;
    `settings`: more of its configuration.
    """

    def __init__(
        self,
        space: Space,
        folder: Path,
        *,
        program: Sequence[str] = ("-m", "vlm_operator"),
        kubeconfig: Path | None = None,
        namespaces: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        identity: str = "operator-0",
    ) -> None:
        self.space = space
        self.identity = identity
        self.log = folder / "operator.log"
        self._program = program
        self._kubeconfig = kubeconfig or space.cluster.kubeconfig
        self._config = folder / "config.yaml"
        self._config.write_text(
            yaml.safe_dump(
                {
                    "namespaces": [space.name] if namespaces is None else list(namespaces),
                    "agentImage": "registry.example/vlm-operator:1",
                    "inventory": [{"gpu": "l4", "nodes": 4, "gpusPerNode": 4, "usdPerGpuHour": 0.7}],
                    "port": 0,
                    **(settings or {}),
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "VLM_OPERATOR_CONFIG": str(self._config),
            "POD_NAME": self.identity,
            "POD_NAMESPACE": self.space.name,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, *self._program], env=environment, stderr=log)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As the kubelet does; gives the exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(which)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(PATIENCE_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """All that it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(space: Space, folder: Path, **more: Any) -> Iterator[OperatorProcess]:
    """An operator that runs until the end of the context."""
    operator = OperatorProcess(space, folder, **more)
    operator.start()
    try:
        yield operator
    finally:
        operator.kill()
