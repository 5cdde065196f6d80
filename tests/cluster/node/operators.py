"""The operator on a cluster with a node: installed by its chart with the released image, and watched from outside."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from vlm_operator import names
from vlm_operator.kinds import Resource

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.operators import RESTRICTED, Space

CHART = REPOSITORY / "charts" / "vlm-operator"
RELEASE, NAMESPACE = "vlm-operator", "vlm-system"
INSTALL_SECONDS = 180
WAITING = ("--namespace", NAMESPACE, "--wait", f"--timeout={INSTALL_SECONDS}s")
WATCH_SECONDS = 3600  # longer than any module


@contextmanager
def installed(cluster: Cluster, *values: str) -> Iterator[None]:
    """The chart with its defaults but for `values`; at the end it goes, and all VLMDeployments with it."""
    try:
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("label", "namespace", NAMESPACE, RESTRICTED)
        cluster.helm("install", RELEASE, str(CHART), *WAITING, *_set("crds.keep=false", *values))
        yield
    finally:
        cluster.helm("uninstall", RELEASE, "--ignore-not-found", *WAITING)
        remove_namespace(cluster, NAMESPACE)


def change_values(cluster: Cluster, *values: str) -> None:
    """Install the chart again with other `values`, and all else as it was; returns when the operator runs by them."""
    cluster.helm("upgrade", RELEASE, str(CHART), "--reuse-values", *WAITING, *_set(*values))


def _set(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def scale_operator(cluster: Cluster, replicas: int) -> None:
    """Take the operator away, or bring it back; returns when that is so."""
    where = ("--namespace", NAMESPACE)
    cluster.kubectl("scale", f"deployment/{RELEASE}", f"--replicas={replicas}", *where)
    if replicas:
        cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=60s", *where)
    else:
        cluster.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s", *where)


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Return when it is gone; engines that are still loading would take their whole grace period."""
    cluster.kubectl("delete", "deployments,replicasets,jobs", "--all", "--namespace", name)
    cluster.kubectl("delete", "pods", "--all", "--namespace", name, "--grace-period=1")
    cluster.kubectl("delete", "namespace", name)


class Seen(NamedTuple):
    """An object as a watch told it; `at`: when that was, in seconds of the monotonic clock."""

    at: float
    kind: str
    body: dict[str, Any]

    @property
    def owner(self) -> str:
        """Name of the VLMDeployment that it is, or belongs to."""
        metadata = self.body["metadata"]
        return str(metadata.get("labels", {}).get(names.DEPLOYMENT, metadata["name"]))


class Recorder:
    """Every state of the objects of a namespace that the API server tells, from now on."""

    def __init__(self, space: Space, kinds: Sequence[Resource]) -> None:
        self._space = space
        self._seen: list[Seen] = []
        for kind in kinds:
            threading.Thread(target=self._watch, args=(kind,), daemon=True).start()

    def of(self, kind: str, owner: str) -> list[Seen]:
        """What was seen of a kind that belongs to a VLMDeployment."""
        return [each for each in tuple(self._seen) if (each.kind, each.owner) == (kind, owner)]

    def first(self, kind: str, owner: str, holds: Callable[[dict[str, Any]], bool]) -> Seen | None:
        """The earliest state for which something holds."""
        return next((each for each in self.of(kind, owner) if holds(each.body)), None)

    def until(self, kind: str, owner: str, holds: Callable[[dict[str, Any]], bool], *, seconds: float) -> Seen:
        """The same, waited for; fails with the last state that was seen."""
        until = time.monotonic() + seconds
        while (found := self.first(kind, owner, holds)) is None:
            if time.monotonic() > until:
                states = [each.body.get("status") for each in self.of(kind, owner)[-1:]]
                pytest.fail(f"{owner} after {seconds:g} s: {json.dumps(states, indent=1)}")
            time.sleep(0.1)
        return found

    def _watch(self, kind: Resource) -> None:
        parameters = {"watch": "1", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            with self._space.http.stream("GET", kind.path(self._space.name), params=parameters, timeout=None) as lines:
                for line in lines.iter_lines():
                    self._seen.append(Seen(time.monotonic(), kind.kind, json.loads(line)["object"]))
        except httpx.HTTPError:  # the end of the test
            return


def condition(body: dict[str, Any], kind: str) -> dict[str, str]:
    """A condition of an object; empty where it has none of that kind."""
    conditions: list[dict[str, str]] = body.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})
