"""The operator with no other rights than the chart gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.operators import Space, at_rest, eventually, running, settled

RELEASE = "vlm-operator"


def account(cluster: Cluster, space: Space, folder: Path, *options: str) -> Path:
    """A kubeconfig of the chart's service account, installed into the namespace with its roles."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=permissions(cluster, space.name, *options))
    return logged_in(cluster, space, folder)


def permissions(cluster: Cluster, namespace: str, *options: str) -> str:
    """The service account and its roles as the chart renders them."""
    shown = [word for part in ("serviceaccount", "rbac") for word in ("--show-only", f"templates/{part}.yaml")]
    chart = str(REPOSITORY / "charts" / "vlm-operator")
    return cluster.helm("template", RELEASE, chart, "--namespace", namespace, *options, *shown)


def logged_in(cluster: Cluster, space: Space, folder: Path) -> Path:
    """A kubeconfig of the service account of the namespace."""
    token = cluster.kubectl("create", "token", RELEASE, "-n", space.name).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("scope", ["one namespace", "the cluster"])
def test_the_charts_rights_are_enough(served: Cluster, space: Space, tmp_path: Path, scope: str) -> None:
    """Everything that the operator does, it may do; of what it may not, it says nothing as it never tries."""
    options = ["--set", f"watchNamespaces={{{space.name}}}"] if scope == "one namespace" else []
    kubeconfig = account(served, space, tmp_path, *options)
    namespaces = [space.name] if options else []
    with running(space, tmp_path, kubeconfig=kubeconfig, namespaces=namespaces) as operator:
        space.make("vision", {"model": {"name": "qwen2.5-vl-3b-instruct"}, "cache": {"pvc": {"size": "10Gi"}}})
        eventually(lambda: space.find(BY_KIND["Job"], next(iter(space.all("Job")), "none")))
        space.make("other")
        settled(space, "other")
        space.change(VLMDEPLOYMENT, "other", {"spec": {"replicas": 2}}, "scale")
        space.change(VLMDEPLOYMENT, "other", {"spec": {"workload": {"outputTokens": 32}}})
        eventually(lambda: settled(space, "other"))
        at_rest(space)
        space.remove("vision")
        space.remove("other")
        told = [line["message"] for line in operator.lines() if line["level"] != "info"]
        assert told == []
        assert operator.stop() == 0
