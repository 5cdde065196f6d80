"""The operator against a real API server and its controllers: children are made, kept right, and left alone at rest."""

from __future__ import annotations

import time
from pathlib import Path

from vlm_operator import names
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, POD, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import (
    CHILDREN,
    MANIFEST,
    REST_SECONDS,
    OperatorProcess,
    Space,
    at_rest,
    eventually,
    running,
    settled,
    some,
)

SERVICE, ACCOUNT = BY_KIND["Service"], BY_KIND["ServiceAccount"]


def test_children_are_made(space: Space, tmp_path: Path) -> None:
    """One manifest with a model's name becomes everything that serves it, owned by it and labelled."""
    with running(space, tmp_path):
        space.make("vision")
        parent = settled(space)
        for kind in CHILDREN:
            for child in space.all(kind).values():
                assert child["metadata"]["labels"][names.DEPLOYMENT] == "vision"
                (owner,) = child["metadata"]["ownerReferences"]
                assert owner["controller"]
        (secret,) = space.all("Secret").values()
        assert len(secret["data"]["api-key"]) >= 43  # 32 random bytes in base64
        (account,) = space.all("ServiceAccount").values()
        assert account["automountServiceAccountToken"] is False
        pods = eventually(lambda: some(space.all("Pod")))
        assert len(pods) == 1
        assert parent["status"]["apiKeySecret"] == secret["metadata"]["name"]


def test_foreign_changes(space: Space, tmp_path: Path) -> None:
    """A field of ours that another changes is put back; a field of his own is left alone, as are his objects."""
    with running(space, tmp_path):
        space.make("vision")
        settled(space)
        space.change(ACCOUNT, "vision", {"automountServiceAccountToken": True, "metadata": {"labels": {"his": "own"}}})
        space.change(SERVICE, "vision", {"metadata": {"labels": {names.COMPONENT: "his"}, "annotations": {"a": "b"}}})
        space.change(DEPLOYMENT, "vision", {"spec": {"replicas": 3, "minReadySeconds": 7}})

        def put_back() -> None:
            account = space.find(ACCOUNT, "vision")
            service = space.find(SERVICE, "vision")
            deployment = space.find(DEPLOYMENT, "vision")
            assert account["automountServiceAccountToken"] is False
            assert account["metadata"]["labels"]["his"] == "own"
            assert service["metadata"]["labels"][names.COMPONENT] == "engine"
            assert service["metadata"]["annotations"]["a"] == "b"
            assert deployment["spec"]["replicas"] == 1
            assert deployment["spec"]["minReadySeconds"] == 7

        eventually(put_back)
        at_rest(space)


def with_pods_at_rest(space: Space) -> dict[str, str]:
    """At rest once the scheduler, in its own time, has found no node for the pod, and that is told."""

    def told() -> None:
        conditions = space.find(VLMDEPLOYMENT, "vision")["status"]["conditions"]
        assert any("No node takes the pod" in each["message"] for each in conditions)

    eventually(told)
    return at_rest(space)


def test_what_is_deleted_comes_back(space: Space, tmp_path: Path) -> None:
    """A child that somebody deletes is made again, and only that one is written."""
    with running(space, tmp_path):
        space.make("vision")
        settled(space)
        before = with_pods_at_rest(space)
        space.ask("DELETE", SERVICE.path(space.name, "vision"))
        eventually(lambda: space.find(SERVICE, "vision"))
        after = at_rest(space)
        assert {name for name in after if after[name] != before.get(name)} == {"Service/vision"}


def test_rest_and_restart(space: Space, tmp_path: Path) -> None:
    """At rest nothing is written, and neither by an operator that is started again, killed or stopped before."""
    operator = OperatorProcess(space, tmp_path)
    operator.start()
    space.make("vision")
    settled(space)
    before = with_pods_at_rest(space)
    writes = len(space.writes())
    operator.kill()
    for terms in (2, 3):
        operator.start()
        eventually(lambda led=terms: some(operator.log.read_text().count("Leading as") == led))
        time.sleep(REST_SECONDS)
        assert operator.stop() == 0
    assert space.versions() == before
    assert len(space.writes()) == writes


def test_scale(space: Space, tmp_path: Path) -> None:
    """Replicas go from the VLMDeployment's scale to the Deployment's, to zero and back, and into no applied object."""
    with running(space, tmp_path):
        space.make("vision")
        settled(space)
        for replicas in (3, 0, 2):
            space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": replicas}}, "scale")

            def scaled(wanted: int = replicas) -> None:
                assert space.find(DEPLOYMENT, "vision")["spec"]["replicas"] == wanted
                assert len(space.all("Pod")) == wanted

            eventually(scaled)
        fields = space.find(DEPLOYMENT, "vision")["metadata"]["managedFields"]
        (ours,) = [each for each in fields if each["manager"] == names.FIELD_MANAGER and each["operation"] == "Apply"]
        assert "f:replicas" not in ours["fieldsV1"]["f:spec"]
        at_rest(space)


def test_born_at_zero(space: Space, tmp_path: Path) -> None:
    """Who asks for no replicas never gets a pod, not even for a moment."""
    with running(space, tmp_path):
        space.make("vision", {**MANIFEST, "replicas": 0})
        eventually(lambda: some(space.all("ControllerRevision")))
        at_rest(space)
        assert not space.all("Pod")
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 1}}, "scale")
        eventually(lambda: some(space.all("Pod")))


def test_update(space: Space, tmp_path: Path) -> None:
    """Another model is another revision; the old one is kept to go back to."""
    with running(space, tmp_path):
        space.make("vision")
        first = settled(space)["status"]["updateRevision"]
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"workload": {"outputTokens": 64}}})
        eventually(lambda: some(settled(space)["status"]["updateRevision"] != first))
        at_rest(space)
        assert len(space.all("ControllerRevision")) == 2
        assert {pod["metadata"]["labels"][names.REVISION] for pod in space.all(POD.kind).values()} >= {
            settled(space)["status"]["updateRevision"].rpartition("-")[2]
        }


def test_a_download_ends_with_its_revision(space: Space, tmp_path: Path) -> None:
    """A Job that brings what is no longer asked for goes, with its pods; the ConfigMaps of revisions stay."""
    with running(space, tmp_path):
        space.make("vision", {**MANIFEST, "cache": {"pvc": {"size": "10Gi"}}})
        eventually(lambda: some(space.all("Job")))
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"cache": None}})
        settled(space)
        eventually(lambda: some(not space.all("Job")))
        eventually(lambda: some(not [name for name in space.all("Pod") if "download" in name]))
        assert len(space.all("ControllerRevision")) == 2
        at_rest(space)


def test_pause(space: Space, tmp_path: Path) -> None:
    """While paused, children are left as they are, whatever is changed; afterwards they are put right."""
    with running(space, tmp_path):
        space.make("vision")
        settled(space)
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"paused": True}})
        at_rest(space)
        space.ask("DELETE", SERVICE.path(space.name, "vision"))
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 2}})
        at_rest(space)
        assert not space.all("Service")
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"paused": False}})
        eventually(lambda: space.find(SERVICE, "vision"))


def test_deletion(space: Space, tmp_path: Path) -> None:
    """Nothing is left of a VLMDeployment that is deleted, with the operator running or not."""
    operator = OperatorProcess(space, tmp_path)
    operator.start()
    space.make("vision")
    space.make("other")
    settled(space)
    settled(space, "other")
    space.remove("vision")

    def gone(name: str) -> None:
        for kind in (*CHILDREN, "Secret", "Pod"):
            assert name not in {each.split("-")[0] for each in space.all(kind)}, kind

    eventually(lambda: gone("vision"))
    operator.kill()
    space.remove("other")
    eventually(lambda: gone("other"))
    assert not space.all("VLMDeployment")
