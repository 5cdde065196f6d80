"""What happens to tests of clusters where something is missing that they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.clusters import REPOSITORY

NEEDS_TOOLS = "tests/cluster/control_plane/test_chart.py::test_the_chart_passes"
MISSING = "no test cluster is built here: make cluster-tools"


@pytest.mark.parametrize(("variable", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_a_skip_is_a_failure_where_none_may_be(variable: str, outcome: str, tmp_path: Path) -> None:
    """In CI, where VLMCTL_NO_SKIPS is set; elsewhere it is told what to do."""
    environment = {**os.environ, "VLMCTL_CLUSTER_BIN": str(tmp_path), "VLMCTL_NO_SKIPS": variable}
    command = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", NEEDS_TOOLS)
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) is (not variable), done.stdout
    assert outcome in done.stdout
    assert MISSING in " ".join(done.stdout.split())
