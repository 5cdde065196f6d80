"""What `helm test` asks, against a real operator and API server, as the account that the chart makes for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.operators import Space, eventually, running
from tests.cluster.control_plane.prometheus import free_port
from tests.cluster.control_plane.test_rights import RELEASE

Asked = Callable[[int], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def asked(served: Cluster, space: Space, tmp_path: Path) -> Asked:
    """Runs the test of the chart against an operator on a port of this machine."""
    chart = str(REPOSITORY / "charts" / "vlm-operator")
    shown = ("--show-only", "templates/tests/installed.yaml")
    told = served.helm("template", RELEASE, chart, "--namespace", space.name, *shown)
    objects = list(yaml.safe_load_all(told))
    served.apply(*(each for each in objects if each["kind"] != "Pod"))
    (pod,) = (each for each in objects if each["kind"] == "Pod")
    token = served.kubectl("create", "token", pod["spec"]["serviceAccountName"], "-n", space.name).strip()
    config = yaml.safe_load(served.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    kubeconfig = tmp_path / "test.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    *words, _, namespace = pod["spec"]["containers"][0]["args"]

    def run(port: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words, f"http://127.0.0.1:{port}/healthz", namespace]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_it_passes_where_all_is_well(asked: Asked, space: Space, tmp_path: Path) -> None:
    """The operator answers, a VLMDeployment would be taken, and none is made."""
    port = free_port()
    with running(space, tmp_path, settings={"port": port}):
        done = eventually(lambda: _passed(asked(port)))
    assert done.stdout.splitlines() == ["The operator answers.", "One leads.", "VLMDeployments are taken."]
    assert space.all("VLMDeployment") == {}


def _passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stderr
    return done


def test_it_fails_where_nobody_answers(asked: Asked) -> None:
    """With a line that says so, and what to look at."""
    done = asked(free_port())
    assert done.returncode == 1
    assert "See the log of the operator's Deployment." in done.stderr
    assert "Traceback" not in done.stderr
