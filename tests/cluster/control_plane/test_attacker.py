"""A user who may write VLMDeployments of one namespace and nothing else, on a real API server: what comes of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from vlm_operator import names
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT
from vlm_operator.proxy import IMAGE

from tests.cluster.control_plane.operators import Space, eventually, running, some
from tests.support.attacks import ATTACKS, METADATA, MODEL
from tests.support.successes import successes

USER = "mallory"
AGENT_IMAGE = "registry.example/vlm-operator:1"  # of the tests' operators
SECONDS_EACH = 1.0
DENIED = (
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "secrets"),
    ("create", "pods"),
    ("get", "pods"),
    ("get", "pods/log"),
    ("create", "pods/exec"),
    ("create", "jobs.batch"),
    ("patch", "deployments.apps"),
    ("get", "configmaps"),
    ("create", "persistentvolumeclaims"),
    ("create", "serviceaccounts/token"),
    ("create", "vlmbenchmarks.vlmctl.dev"),
    ("patch", "vlmdeployments.vlmctl.dev/status"),
    ("impersonate", "users"),
)


@pytest.fixture
def attacked(space: Space) -> Space:
    """A namespace in which the user has his role, and others have a Secret."""
    rule = {"apiGroups": ["vlmctl.dev"], "resources": ["vlmdeployments", "vlmdeployments/scale"], "verbs": ["*"]}
    group = "rbac.authorization.k8s.io"
    metadata = {"name": USER, "namespace": space.name}
    space.cluster.apply(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": USER},
            "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", "namespace": space.name},
            "stringData": {"password": "hunter2"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "payments", "namespace": space.name, "labels": {"owner": "others"}},
            "spec": {"selector": {"app": "payments"}, "ports": [{"port": 80}]},
        },
    )
    return space


def test_the_role_gives_nothing_else(attacked: Space) -> None:
    """He may write them here; no Secret, pod, log or measurement, and nothing in another namespace."""
    may = {(verb, what): allowed(attacked, verb, what) for verb, what in DENIED}
    assert [each for each, answer in may.items() if answer] == []
    assert allowed(attacked, "create", "vlmdeployments.vlmctl.dev")
    assert not allowed(attacked, "create", "vlmdeployments.vlmctl.dev", namespace="default")


def test_no_field_reaches_what_is_not_his(attacked: Space, tmp_path: Path) -> None:
    """Every attack of the table, sent by him: not let in, refused with a reason, or nothing in the children."""
    let_in = [
        f"attack-{number}" for number, each in enumerate(ATTACKS) if posted(attacked, f"attack-{number}", each.spec)
    ]
    assert posted(attacked, "usual", {})
    with running(attacked, tmp_path):

        def answered() -> None:
            found = attacked.all("VLMDeployment")
            assert all(found[name].get("status", {}).get("conditions") for name in (*let_in, "usual"))
            assert attacked.all("Deployment").keys() >= {"usual"}

        eventually(answered, seconds=60 + SECONDS_EACH * len(let_in))
        kinds = ("Deployment", "Job", "NetworkPolicy", "Service", "ServiceAccount", "ConfigMap")
        objects = [each for kind in kinds for each in listed(attacked, kind)]
    usual = attacked.all("Deployment")["usual"]["spec"]["template"]
    images = {AGENT_IMAGE, IMAGE, usual["spec"]["containers"][0]["image"]}
    found = {
        name: successes(
            [each for each in objects if each["metadata"]["labels"][names.DEPLOYMENT] == name],
            attacked.name,
            images=images,
            usual=usual,
        )
        for name in let_in
    }
    fields = {name: ATTACKS[int(name.removeprefix("attack-"))] for name in let_in}
    assert {name: (fields[name], each) for name, each in found.items() if each} == {}
    told = json.dumps(list(attacked.all("VLMDeployment").values()))
    assert "hunter2" not in told


def test_no_name_takes_what_others_have(attacked: Space, tmp_path: Path) -> None:
    """A VLMDeployment with the name of somebody's Service leaves it as it was, and says so."""
    before = attacked.find(BY_KIND["Service"], "payments")
    assert posted(attacked, "payments", {})
    with running(attacked, tmp_path):

        def told() -> None:
            body = attacked.find(VLMDEPLOYMENT, "payments")
            degraded = next(each for each in body["status"]["conditions"] if each["type"] == "Degraded")
            assert degraded["reason"] == "WriteRefused", degraded

        eventually(told)
    after = attacked.find(BY_KIND["Service"], "payments")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_metadata_reaches_nobody(attacked: Space, tmp_path: Path) -> None:
    """Owners, finalizers, labels and annotations that he gives it: what is somebody else's stays as it was."""
    before = attacked.find(BY_KIND["Service"], "payments")
    owner = {"apiVersion": "v1", "kind": "Service", "name": "payments", "uid": before["metadata"]["uid"]}
    metadata = {
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        **{name: value for each in METADATA for name, value in each.items() if name != "ownerReferences"},
    }
    assert posted(attacked, "adorned", {}, metadata)
    with running(attacked, tmp_path):
        eventually(lambda: some(attacked.all("Deployment")))
        children = listed(attacked, "Deployment")
        attacked.change(VLMDEPLOYMENT, "adorned", {"metadata": {"finalizers": None}})
    assert [each["metadata"]["ownerReferences"][0]["name"] for each in children] == ["adorned"]
    attacked.remove("adorned")
    eventually(lambda: gone(attacked, "adorned"))
    after = attacked.find(BY_KIND["Service"], "payments")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def gone(space: Space, name: str) -> None:
    assert name not in space.all("VLMDeployment")


def allowed(space: Space, verb: str, what: str, namespace: str | None = None) -> bool:
    """Whether he may; kubectl ends with an error where not."""
    resource, _, subresource = what.partition("/")
    command = (
        space.cluster.bin / "kubectl",
        *("--kubeconfig", space.cluster.kubeconfig, "auth", "can-i", verb, resource, f"--subresource={subresource}"),
        *("--as", USER, "-n", namespace or space.name),
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() == "yes"


def posted(space: Space, name: str, spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> bool:
    """Whether the API server takes his VLMDeployment, once it knows of his role."""
    eventually(lambda: some(allowed(space, "create", "vlmdeployments.vlmctl.dev")))
    body = {
        "apiVersion": VLMDEPLOYMENT.api_version,
        "kind": VLMDEPLOYMENT.kind,
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"model": {"name": MODEL}, **spec},
    }
    path = VLMDEPLOYMENT.path(space.name)
    answer = space.http.post(path, json=body, headers={"Impersonate-User": USER})
    assert answer.status_code in (201, 400, 422), answer.text
    return answer.status_code == 201


def listed(space: Space, kind: str) -> list[dict[str, Any]]:
    """Children of a kind, each with the kind that lists leave out."""
    return [{**each, "kind": kind} for each in space.all(kind).values()]
