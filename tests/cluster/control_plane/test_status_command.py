"""`vlmctl status` and `vlmctl top` of objects that a real API server keeps, with only the verbs they say they need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.control_plane.operators import Space
from tests.support.command_line import command_line
from tests.support.deployments import ALL, CAPTIONS, CHARTS, RECEIPTS
from vlmctl.api import v1alpha1 as api

READER = "reader"
VERBS = [{"apiGroups": [api.GROUP], "resources": ["vlmdeployments"], "verbs": ["get", "list"]}]


def made(space: Space, *bodies: dict[str, Any]) -> None:
    """The objects, with the status that an operator would have written."""
    for body in bodies:
        own = {"name": body["metadata"]["name"], "namespace": space.name}
        head = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": own}
        space.cluster.apply({**head, "spec": body["spec"]})
        patch = json.dumps({"status": body["status"]})
        space.cluster.kubectl(
            "patch", "vlmdeployment", own["name"], "-n", space.name, "--subresource=status", "--type=merge", "-p", patch
        )


def as_reader(space: Space, path: Any) -> None:
    """A kubeconfig at `path` of an account that may read the deployments of its namespace, and nothing else."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": READER, "namespace": space.name}}
    account = {"kind": "ServiceAccount", "name": READER, "namespace": space.name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": READER}
    space.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": head["metadata"]},
        {**head, "kind": "Role", "rules": VERBS},
        {**head, "kind": "RoleBinding", "subjects": [account], "roleRef": role},
    )
    token = space.cluster.kubectl("create", "token", READER, "-n", space.name).strip()
    config = json.loads(space.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    (context,) = config["contexts"]
    context["context"] |= {"user": READER, "namespace": space.name}
    config["users"] = [{"name": READER, "user": {"token": token}}]
    path.write_text(json.dumps(config), encoding="utf-8")


def test_what_the_api_server_keeps_is_shown_to_a_reader(
    space: Space, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With get and list of vlmdeployments alone: a table, a page, and advice that says what could not be read."""
    vlmctl = command_line(capsys)
    made(space, *ALL)
    as_reader(space, tmp_path / "config")
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))

    table = vlmctl("status")
    assert table.code == 0, table.err
    assert [line.split()[0] for line in table.out.splitlines()[2:6]] == ["captions", "charts", "forms", "receipts"]

    (page,) = vlmctl("status", "receipts", "-o", "json").json
    assert page["namespace"] == space.name
    assert page["created"]
    assert page["figures"]["requests_per_second"]["planned"] == 0.638
    assert page["scaling"]["max"] == RECEIPTS["spec"]["scaling"]["max"]
    assert [each["type"] for each in page["conditions"]] == [each.value for each in api.ConditionType]

    found = vlmctl("top", "-o", "json")
    assert found.code == 0, found.err
    assert found.json["gpus_from"] == "what the deployments run on"
    assert len(found.json["notes"]) == 2
    hourly = sum(float(each["status"]["cost"]["hourlyUSD"]) for each in (CAPTIONS, CHARTS, RECEIPTS))
    assert found.json["totals"]["usd_per_hour"] == pytest.approx(hourly)
    assert {each["name"]: each["outlook"]["verdict"] for each in found.json["deployments"]}["receipts"] == "recommended"

    everywhere = vlmctl("top", "-A")
    assert (everywhere.code, "--namespace" in everywhere.err) == (4, True)
    assert vlmctl("status", "none").code == 2
