"""The control plane that other tests stand on: it works, ends whole, and several stand side by side."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.clusters import CONTROL_PLANE, Cluster, cluster_up, crds

GONE_SECONDS = 90.0


def processes_of(folder: Path) -> list[str]:
    """Command lines of this machine's processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended since
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_namespace_with_account(control_plane: Cluster) -> None:
    """A new namespace gets its service account: the API server and the controllers work."""
    control_plane.kubectl("create", "namespace", "made-here")
    control_plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", "made-here", "--timeout=30s")


def test_crds(control_plane: Cluster, cluster_bin: Path) -> None:
    """The API server takes the chart's resource definitions, and serves objects of them."""
    definitions = crds(cluster_bin)
    control_plane.apply(*definitions)
    names = [definition["metadata"]["name"] for definition in definitions]
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in names))
    assert control_plane.get("vlmdeployments", "-n", "kube-public")["items"] == []


def test_owned_objects_are_collected(control_plane: Cluster) -> None:
    """What an object owns goes when it goes."""
    control_plane.kubectl("create", "configmap", "owner")
    uid = control_plane.get("configmap", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    owned = {"name": "owned", "namespace": "default", "ownerReferences": [owner]}
    control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned})
    control_plane.kubectl("delete", "configmap", "owner")
    control_plane.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=60s")


def test_audit(control_plane: Cluster) -> None:
    """Every write is on record with who asked for it, reads are not."""
    control_plane.kubectl("create", "configmap", "recorded")
    control_plane.kubectl("get", "configmap", "recorded")
    verbs = [each["verb"] for each in control_plane.writes() if each["objectRef"].get("name") == "recorded"]
    assert verbs == ["create"]


def test_apiserver_comes_back(control_plane: Cluster) -> None:
    """An API server that was stopped serves the same objects once it is started again."""
    control_plane.kubectl("create", "configmap", "kept")
    control_plane.stop("apiserver")
    with pytest.raises(AssertionError, match="refused"):
        control_plane.kubectl("get", "configmap", "kept")
    control_plane.start("apiserver")
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        try:
            assert control_plane.get("configmap", "kept")["metadata"]["name"] == "kept"
            return
        except AssertionError:
            time.sleep(0.2)
    pytest.fail(f"not back within {GONE_SECONDS:.0f} s")


def test_side_by_side(control_plane: Cluster, cluster_bin: Path, tmp_path: Path) -> None:
    """A second control plane knows nothing of the first one's objects, and leaves nothing behind."""
    control_plane.kubectl("create", "configmap", "first")
    with cluster_up(CONTROL_PLANE, cluster_bin, tmp_path / "second") as second:
        assert "first" not in second.kubectl("get", "configmaps", "-o", "name")
    assert processes_of(tmp_path / "second") == []
    assert not (tmp_path / "second").exists()
    assert "first" in control_plane.kubectl("get", "configmaps", "-o", "name")


def test_ends_with_its_owner(cluster_bin: Path, tmp_path: Path) -> None:
    """A control plane goes with the process it was started for, even one that was killed."""
    folder = tmp_path / "orphan"
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as owner:
        try:
            Cluster(folder, CONTROL_PLANE, cluster_bin).up("--owner", str(owner.pid))
            assert len(processes_of(folder)) >= 4
        finally:
            owner.kill()
    until = time.monotonic() + GONE_SECONDS
    while (folder.exists() or processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not folder.exists()
    assert processes_of(folder) == []
