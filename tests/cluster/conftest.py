"""A control plane for a whole run of tests, or a line that says how to get one."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.clusters import CONTROL_PLANE, Cluster, cluster_up, programs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where VLMCTL_NO_SKIPS is set, as in .ci/run, a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("VLMCTL_NO_SKIPS"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{why} (VLMCTL_NO_SKIPS is set: no test may be skipped here)"
    return report


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
    options = ("--controllers", "--node-monitor-grace-period=1h")  # nodes of tests tell of themselves once
    with cluster_up(CONTROL_PLANE, cluster_bin, tmp_path_factory.mktemp("control-plane"), options) as cluster:
        yield cluster
