"""prometheus-adapter beside a cluster, by the rule and with the flags that docs/scaling.md has for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.adapters import registered
from tests.cluster.control_plane.prometheus import free_port
from tests.cluster.node.programs import kubeconfig_flags, running_program

PROGRAM = "prometheus-adapter"
PAGE = REPOSITORY / "docs" / "scaling.md"
RULES = re.compile(r"^```yaml\n(externalRules:\n.*?)^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"`(--metrics-[a-z-]+=\w+)`")


@contextmanager
def prometheus_adapter(cluster: Cluster, folder: Path, prometheus: str) -> Iterator[None]:
    """It serves External metrics until the end of the context; skips where it was not built. `prometheus`: its URL."""
    if not (cluster.bin / PROGRAM).exists():
        pytest.skip("prometheus-adapter is not built here: make autoscalers builds it")
    folder.mkdir()
    page = PAGE.read_text()
    (rules,) = RULES.findall(page)
    (folder / "rules.yaml").write_text(rules)
    port = free_port()
    flags = (
        f"--config={folder / 'rules.yaml'}",
        f"--prometheus-url={prometheus}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        *kubeconfig_flags(cluster),
        *FLAG.findall(page),
    )
    with running_program(cluster, folder, PROGRAM, *flags), registered(cluster, PROGRAM, "default", port):
        yield
