"""Names that somebody else has given to objects of his own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vlm_operator import names
from vlm_operator.actions import NEEDED_BY_PODS
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import MANIFEST, Space, eventually, running, settled, some

# Nothing in them is what the operator would write, so that no field would conflict.
TAKEN: dict[str, dict[str, Any]] = {
    "ServiceAccount": {},
    "Secret": {"stringData": {"api-key": "of-somebody-else"}},
    "NetworkPolicy": {"spec": {"podSelector": {"matchLabels": {"app": "other"}}}},
    "Service": {"spec": {"clusterIP": "None", "selector": {"app": "other"}}},
    "PersistentVolumeClaim": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}},
            "storageClassName": "",
        }
    },
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "other"}}}},
    "Deployment": {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "other", "image": "registry.example/other:1"}]},
            },
        }
    },
}
NAMES = {"Secret": names.api_key("vision"), "PersistentVolumeClaim": names.cache("vision")}
CACHED = {**MANIFEST, "cache": {"pvc": {"size": "1Gi", "accessMode": "ReadWriteOnce"}}}


@pytest.mark.parametrize("kind", TAKEN)
def test_objects_of_others_are_left_alone(space: Space, tmp_path: Path, kind: str) -> None:
    """One of the name that the operator did not make is not touched, which the status says; once it is gone, all is
    made. Pods that would need it are not made before that.
    """
    resource = BY_KIND[kind]
    name = NAMES.get(kind, "vision")
    body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **TAKEN[kind]}
    made = space.ask("POST", resource.path(space.name), body)
    with running(space, tmp_path):
        space.make("vision", CACHED if kind == "PersistentVolumeClaim" else MANIFEST)
        eventually(lambda: some("there is one already" in str(space.find(VLMDEPLOYMENT, "vision").get("status"))))
        found = space.find(resource, name)
        assert (found["metadata"]["uid"], found.get("spec", {}).get("selector")) == (
            made["metadata"]["uid"],
            made.get("spec", {}).get("selector"),
        )
        assert "vlm-operator" not in {each["manager"] for each in found["metadata"].get("managedFields", ())}
        if kind in NEEDED_BY_PODS:
            eventually(lambda: some(space.all("Service")))
            assert not space.all("Deployment") | space.all("Job")
        space.ask("DELETE", resource.path(space.name, name))
        if kind == "PersistentVolumeClaim":  # its pods wait for weights, which nobody downloads here
            eventually(lambda: some(space.all("Job")))
        else:
            settled(space)
        eventually(lambda: some("there is one" not in str(space.find(VLMDEPLOYMENT, "vision")["status"])))
