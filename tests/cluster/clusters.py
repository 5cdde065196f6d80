"""Test clusters as scripts/cluster starts them: a control plane, or one with a node that runs pods."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts" / "cluster"
CONTROL_PLANE = SCRIPTS / "control_plane.sh"
NODE = SCRIPTS / "node.sh"
UP_SECONDS = 240.0  # 6 alone; the machine may be busy with other suites
CALL_SECONDS = 120.0
HELM_SECONDS = 300.0  # with --wait, its own --timeout is shorter
READS = frozenset({"get", "list", "watch"})


def programs() -> Path:
    """Tell the folder with kubectl, helm and what a cluster consists of; it may not be built."""
    named = os.environ.get("VLMCTL_CLUSTER_BIN")
    if named:
        return Path(named)
    return Path(_run((SCRIPTS / "build.sh", "--where")).strip())


class Cluster(NamedTuple):
    """A cluster that is up. `folder`: its certificates, logs and `audit.log`; `script`: the one that started it."""

    folder: Path
    script: Path
    bin: Path

    def up(self, *options: str) -> None:
        """Start all of it."""
        self._script("up", *options, seconds=UP_SECONDS)

    def down(self) -> None:
        """End all of it, and remove its folder."""
        self._script("down")

    @property
    def kubeconfig(self) -> Path:
        """Who may do everything."""
        return self.folder / "admin.kubeconfig"

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = CALL_SECONDS) -> str:
        """Run kubectl as the administrator and give what it prints; a failure has what it said."""
        where = ("--kubeconfig", self.kubeconfig, "--cache-dir", self.folder / "discovery")
        return _run((self.bin / "kubectl", *where, *arguments), stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str) -> str:
        """Run helm as the administrator."""
        return _run((self.bin / "helm", "--kubeconfig", self.kubeconfig, *arguments), seconds=HELM_SECONDS)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply objects, on the server's side."""
        objects = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(objects))

    def get(self, *arguments: str) -> dict[str, Any]:
        """Read an object or a list of them."""
        read: dict[str, Any] = json.loads(self.kubectl("get", "-o", "json", *arguments))
        return read

    def requests(self) -> list[dict[str, Any]]:
        """Every write that the API server was asked for, and what service accounts read, as its audit log has them."""
        text = (self.folder / "audit.log").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]  # else half-written

    def writes(self) -> list[dict[str, Any]]:
        """The writes of these."""
        return [each for each in self.requests() if each["verb"] not in READS]

    def stop(self, part: str) -> None:
        """End a part of the cluster at once, such as ``apiserver``."""
        self._script("stop", part)

    def start(self, part: str) -> None:
        """Start a part again, as it was."""
        self._script("start", part)

    def load(self, *images: Path) -> None:
        """Give images to the node."""
        self._script("import", *images)

    def _script(self, action: str, *arguments: str | Path, seconds: float = CALL_SECONDS) -> None:
        # The folder is named, as a test has a cache of its own, where nothing is built.
        environment = {"VLMCTL_CLUSTER_BIN": str(self.bin)}
        _run((self.script, action, self.folder, *arguments), environment=environment, seconds=seconds)

    @property
    def host(self) -> str:
        """The address at which pods reach this machine."""
        return (self.folder / "host").read_text().strip()


@contextmanager
def cluster_up(script: Path, bin: Path, folder: Path, options: Sequence[str] = ()) -> Iterator[Cluster]:
    """Start a cluster in a folder of its own, and take it down at the end, or when this process dies."""
    cluster = Cluster(folder, script, bin)
    cluster.up("--owner", str(os.getpid()), *options)
    try:
        yield cluster
    finally:
        cluster.down()


def crds(bin: Path) -> list[dict[str, Any]]:
    """Render the custom resource definitions that the chart installs."""
    rendered = _run((bin / "helm", "template", "test", REPOSITORY / "charts" / "vlm-operator"))
    return [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "CustomResourceDefinition"]


def _run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = CALL_SECONDS,
) -> str:
    everything = {**os.environ, **(environment or {})}
    done = subprocess.run(command, input=stdin, env=everything, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout
