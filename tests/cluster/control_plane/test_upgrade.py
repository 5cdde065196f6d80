"""From an earlier commit's chart and operator to these: nothing that serves is made anew."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from vlm_operator.actions import difference
from vlm_operator.kinds import DEPLOYMENT, VLMDEPLOYMENT

from tests.cluster.clusters import CONTROL_PLANE, REPOSITORY, Cluster, cluster_up, crds
from tests.cluster.control_plane.operators import MANIFEST, OperatorProcess, Space, at_rest, eventually, settled, some

CHART = "charts/vlm-operator"
DEFINITIONS = f"{CHART}/templates/crds"
PROGRAM = ("operator", "vlmctl", "catalog", CHART)  # what an earlier operator consists of
RELEASE, PLACE = "vlm-operator", "vlm-system"
NEW_IMAGE = f"registry.example/vlm-operator@sha256:{'0123456789abcdef' * 4}"
SPECS: dict[str, dict[str, Any]] = {
    "plain": MANIFEST,
    "cached": {**MANIFEST, "cache": {"pvc": {"size": "10Gi"}}},
    "many": {**MANIFEST, "replicas": 3, "hardware": {"gpu": "L4"}},
    "paused": {**MANIFEST, "paused": True},
    "told": {**MANIFEST, "workload": {"outputTokens": 64}, "engine": {"arguments": ["--max-num-seqs=64"]}},
}
SERVING = ("plain", "many", "told")  # with pods: "cached" waits for its download


@pytest.fixture(scope="module")
def cluster(cluster_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own, as releases and definitions are the cluster's."""
    with cluster_up(CONTROL_PLANE, cluster_bin, tmp_path_factory.mktemp("upgrade")) as up:
        yield up


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Space]:
    with closing(Space(cluster, "tenant")) as made:
        yield made


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The last tag, or else the newest commit whose definitions differ from these."""
    revision = _git("describe", "--tags", "--abbrev=0")
    if not revision and _git("status", "--porcelain", "--", DEFINITIONS):
        revision = "HEAD"
    if not revision and (changed := _git("rev-list", "-1", "HEAD", "--", DEFINITIONS)):
        revision = _git("rev-parse", "--verify", "--quiet", f"{changed}^")
    if not revision:
        pytest.skip("this clone holds no earlier commit of the chart: git fetch --unshallow --tags")
    folder = tmp_path / "earlier"
    folder.mkdir()
    archive = subprocess.run(["git", "archive", revision, *PROGRAM], cwd=REPOSITORY, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _git(*arguments: str) -> str:
    """What it says; nothing where it fails, as without a repository."""
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def account(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig of the release's service account."""
    token = cluster.kubectl("create", "token", RELEASE, "-n", PLACE).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def serving(space: Space) -> dict[str, dict[str, Any]]:
    """What an upgrade may not change, by name: pods, what they are made by, and what was asked for."""
    kinds = ("pods", "replicasets", "deployments", "controllerrevisions", "vlmdeployments")
    found = {kind: space.cluster.get(kind, "-n", space.name)["items"] for kind in kinds}
    uids = {kind: {each["metadata"]["name"]: each["metadata"]["uid"] for each in found[kind]} for kind in kinds}
    return {
        **uids,
        "templates": {each["metadata"]["name"]: each["spec"]["template"] for each in found["deployments"]},
        "generations": {each["metadata"]["name"]: each["metadata"]["generation"] for each in found["deployments"]},
        "plans": {each["metadata"]["name"]: each["data"] for each in found["controllerrevisions"]},
        "specs": {each["metadata"]["name"]: each["spec"] for each in found["vlmdeployments"]},
    }


def later_chart(folder: Path) -> Path:
    """This chart under a version of its own."""
    chart = folder / "later"
    shutil.copytree(REPOSITORY / CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "99.0.0", "appVersion": "99.0.0"}))
    return chart


def test_an_upgrade_keeps_pods(
    cluster: Cluster, space: Space, earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another chart, operator and image, and changed definitions: templates and pods stay, and no object is lost."""
    cluster.helm("install", RELEASE, str(earlier / CHART), "--namespace", PLACE, "--create-namespace")
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{earlier}:{earlier / 'operator'}")
        patched.setenv("PYTHONSAFEPATH", "1")  # or the working folder comes first
        old = started(space, tmp_path / "old", account(cluster, tmp_path))
    try:
        for name, spec in SPECS.items():
            space.make(name, spec)
        for name in SERVING:
            settled(space, name)
        eventually(lambda: some(len(space.all("Pod")) > len(SERVING) and space.all("Job")))
        at_rest(space)
    finally:
        assert old.stop() == 0
    before = serving(space)
    digest = NEW_IMAGE.partition("@")[2]
    release = (RELEASE, str(later_chart(tmp_path)), "--namespace", PLACE)
    cluster.helm("upgrade", *release, "--set", f"image.digest={digest}")
    for each in crds(cluster.bin):
        installed = cluster.get("crd", each["metadata"]["name"])
        assert installed["spec"]["versions"][0]["schema"] == each["spec"]["versions"][0]["schema"]
    new = started(space, tmp_path / "new", account(cluster, tmp_path), agentImage=NEW_IMAGE)
    try:
        space.make("since")
        settled(space, "since")
        at_rest(space)
        after = serving(space)
        assert difference(before.pop("specs"), after["specs"]) is None  # new fields may have their defaults by now
        for what, had in before.items():
            assert {name: after[what].get(name) for name in had} == had, what
        assert NEW_IMAGE in images(space, "since")
        space.change(VLMDEPLOYMENT, "plain", {"spec": {"workload": {"outputTokens": 32}}})
        eventually(lambda: some(NEW_IMAGE in images(space, "plain")))
        assert [line for line in new.lines() if line["level"] == "error"] == []
    finally:
        new.kill()


def started(space: Space, folder: Path, kubeconfig: Path, **settings: Any) -> OperatorProcess:
    """An operator of the whole cluster with the release's rights."""
    folder.mkdir()
    lease = {"lease": {"namespace": PLACE}}
    operator = OperatorProcess(space, folder, kubeconfig=kubeconfig, namespaces=[], settings={**lease, **settings})
    operator.start()
    return operator


def images(space: Space, name: str) -> list[str]:
    """Those of the pods of a VLMDeployment."""
    pod = space.find(DEPLOYMENT, name)["spec"]["template"]["spec"]
    return [each["image"] for each in (*pod["containers"], *pod.get("initContainers", ()))]
