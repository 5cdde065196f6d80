"""The chart's own pods, let in by a namespace that takes restricted ones alone; test_children.py has all others."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import yaml
from vlm_operator.kinds import POD

from tests.cluster.clusters import REPOSITORY
from tests.cluster.control_plane.operators import RESTRICTED, Space, eventually
from tests.cluster.control_plane.test_rights import RELEASE

VALUES = ({}, {"operator": {"replicas": 2}, "rbac": {"create": False}})
Body = dict[str, Any]


@pytest.fixture
def guarded(space: Space) -> Space:
    """A namespace that enforces the restricted standard."""
    space.cluster.kubectl("label", "namespace", space.name, RESTRICTED)
    return space


def pods(objects: list[Body]) -> dict[str, Body]:
    """What runs of a chart, by what it is."""
    found = {each["kind"]: each.get("spec", {}).get("template", each) for each in objects if each}
    return {kind: body for kind, body in found.items() if "containers" in body.get("spec", {})}


def let_in(space: Space, pod: Body) -> Any:
    """What the API server answers, which makes nothing."""
    metadata = {"labels": pod["metadata"]["labels"], "generateName": "dry-"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
    return space.ask("POST", POD.path(space.name), body, params={"dryRun": "All"})


@pytest.mark.parametrize("values", VALUES, ids=["by default", "without roles"])
def test_the_charts_pods_are_let_in(guarded: Space, values: Body) -> None:
    """The operator's and that of `helm test`; with a container that may be more they would not be."""
    chart = str(REPOSITORY / "charts" / "vlm-operator")
    more = [word for name, value in values.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]
    objects = list(yaml.safe_load_all(guarded.cluster.helm("template", RELEASE, chart, "-n", guarded.name, *more)))
    guarded.cluster.apply(*(each for each in objects if each and each["kind"] == "ServiceAccount"))
    found = pods(objects)
    assert set(found) == {"Deployment", "Pod"}
    for pod in found.values():
        eventually(lambda pod=pod: let_in(guarded, pod))  # type: ignore[misc]  # a namespace's own account comes late
        del pod["spec"]["containers"][0]["securityContext"]
        with pytest.raises(httpx.HTTPStatusError, match="violates PodSecurity"):
            let_in(guarded, pod)
