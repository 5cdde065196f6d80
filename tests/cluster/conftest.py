"""A control plane for a whole run of tests, or a line that says how to get one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clusters import CONTROL_PLANE, Cluster, cluster_up, programs


@pytest.fixture(scope="session")
def cluster_bin() -> Path:
    """The folder with kubectl, helm and what a cluster consists of."""
    folder = programs()
    if not (folder / "cluster").exists():
        pytest.skip("no test cluster is built here: make cluster-tools, 12 minutes once (or set VLMCTL_CLUSTER_BIN)")
    return folder


@pytest.fixture(scope="session")
def control_plane(cluster_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """API server, controllers and scheduler, without a node."""
    with cluster_up(CONTROL_PLANE, cluster_bin, tmp_path_factory.mktemp("control-plane")) as cluster:
        yield cluster
