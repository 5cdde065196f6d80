"""Names that somebody else has given to objects of his own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import Space, eventually, running, settled, some

# Nothing in them is what the operator would write, so that no field would conflict.
TAKEN: dict[str, dict[str, Any]] = {
    "ServiceAccount": {},
    "NetworkPolicy": {"spec": {"podSelector": {"matchLabels": {"app": "other"}}}},
    "Service": {"spec": {"clusterIP": "None", "selector": {"app": "other"}}},
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


@pytest.mark.parametrize("kind", TAKEN)
def test_objects_of_others_are_left_alone(space: Space, tmp_path: Path, kind: str) -> None:
    """One of the name that the operator did not make is not touched, which the status says; once it is gone, all is
    made.
    """
    resource = BY_KIND[kind]
    body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "vision"}, **TAKEN[kind]}
    made = space.ask("POST", resource.path(space.name), body)
    with running(space, tmp_path):
        space.make("vision")
        eventually(lambda: some("did not make" in str(space.find(VLMDEPLOYMENT, "vision").get("status"))))
        found = space.find(resource, "vision")
        assert (found["metadata"]["uid"], found.get("spec", {}).get("selector")) == (
            made["metadata"]["uid"],
            made.get("spec", {}).get("selector"),
        )
        assert "vlm-operator" not in {each["manager"] for each in found["metadata"].get("managedFields", ())}
        space.ask("DELETE", resource.path(space.name, "vision"))
        settled(space)
        eventually(lambda: some("did not make" not in str(space.find(VLMDEPLOYMENT, "vision")["status"])))
