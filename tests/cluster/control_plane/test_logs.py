"""What a real operator logs: lines for machines, each thing once, and nothing that is secret."""

from __future__ import annotations

import base64
from pathlib import Path

from vlm_operator.log_lines import KEYS

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space, at_rest, running, settled
from tests.cluster.control_plane.test_rights import account


def test_lines_are_whole_single_and_without_secrets(served: Cluster, space: Space, tmp_path: Path) -> None:
    """At the most talkative level too: documented keys alone, a line for each write, no API key, no token."""
    kubeconfig = account(served, space, tmp_path, "--set", f"watchNamespaces={{{space.name}}}")
    with running(space, tmp_path, kubeconfig=kubeconfig, settings={"logLevel": "DEBUG"}) as operator:
        space.make("vision")
        settled(space)
        at_rest(space)
        operator.stop()
    lines = operator.lines()
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line) <= set(KEYS)
    wrote = [
        line["message"] for line in lines if line.get("deployment") == "vision" and "it is missing" in line["message"]
    ]
    assert len(wrote) == len(set(wrote)) > 5
    key = base64.b64decode(space.all("Secret")["vision-api-key"]["data"]["api-key"]).decode()
    token = kubeconfig.read_text().partition("token: ")[2].split()[0]
    told = operator.log.read_text()
    assert len(key) > 20
    assert len(token) > 20
    assert key not in told
    assert token not in told
