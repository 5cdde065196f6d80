"""Where the real scheduler puts a download: beside the pods that hold the claim, else where the engine may run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm_operator import names
from vlm_operator.kinds import JOB, NODE, POD

from tests.cluster.control_plane.operators import Space, eventually, running, some

JOB_NAME = "batch.kubernetes.io/job-name"
PRODUCT = "nvidia.com/gpu.product"
ROOM = {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "1Ti", "pods": "110", "nvidia.com/gpu": "8"}
CACHE = {"pvc": {"size": "1Gi", "accessMode": "ReadWriteOnce"}}


@contextmanager
def nodes(space: Space) -> Iterator[list[str]]:
    """Two with the GPU that is planned for, and one with another."""
    products = {f"{space.name}-{number}": product for number, product in enumerate(("NVIDIA-L4", "NVIDIA-L4", "OTHER"))}
    for name, product in products.items():
        labels = {PRODUCT: product, "own": space.name, "kubernetes.io/hostname": name}
        space.ask("POST", NODE.path(), {"metadata": {"name": name, "labels": labels}})
        ready = [{"type": "Ready", "status": "True", "reason": "Up", "message": "up"}]
        space.ask(
            "PATCH",
            NODE.path(None, name, "status"),
            {"status": {"capacity": ROOM, "allocatable": ROOM, "conditions": ready}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
    try:
        yield [name for name, product in products.items() if product != "OTHER"]
    finally:
        for name in products:
            space.ask("DELETE", NODE.path(None, name))


def volume(space: Space) -> None:
    """What the claim will be bound to."""
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": space.name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": space.name, "name": names.cache("vision")},
            "hostPath": {"path": "/nowhere"},
        },
    }
    space.ask("POST", "/api/v1/persistentvolumes", body)


def download_node(space: Space) -> str:
    """Where the download's pod was put."""

    def check() -> str:
        pods = [each for each in space.all("Pod").values() if JOB_NAME in each["metadata"]["labels"]]
        assert len(pods) == 1
        assert "nodeName" in pods[0]["spec"], [each["message"] for each in pods[0]["status"].get("conditions", ())]
        return str(pods[0]["spec"]["nodeName"])

    return eventually(check)


def holder(space: Space, node: str) -> dict[str, Any]:
    """A replica that serves from the claim there."""
    labels = names.labels("vision", names.Component.ENGINE)
    containers = [{"name": names.ENGINE, "image": "image"}]
    metadata = {"name": "holder", "labels": labels}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": containers}}


def test_a_download_goes_where_its_claim_is_held(space: Space, tmp_path: Path) -> None:
    """The first one to a node that the engine may run on, though nothing holds the claim; a later one to the node of
    the replica that does.
    """
    with nodes(space) as ours, running(space, tmp_path):
        volume(space)
        space.make(
            "vision",
            {
                "model": {"name": "qwen2.5-vl-3b-instruct"},
                "cache": CACHE,
                "hardware": {"gpu": "L4"},
                "pod": {"nodeSelector": {"own": space.name}},
            },
        )
        first = download_node(space)
        assert first in ours
        (other,) = set(ours) - {first}
        space.ask("POST", POD.path(space.name), holder(space, other))
        (name,) = space.all("Job")
        policy = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        uid = space.find(JOB, name)["metadata"]["uid"]
        space.ask("DELETE", JOB.path(space.name, name), policy)
        for pod in space.all("Pod"):
            if pod != "holder":
                space.ask("DELETE", POD.path(space.name, pod), {"gracePeriodSeconds": 0})
        eventually(lambda: some(space.find(JOB, name)["metadata"]["uid"] != uid))
        eventually(lambda: some(download_node(space) == other))
