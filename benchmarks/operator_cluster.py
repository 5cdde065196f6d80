"""What the operator is measured on: a control plane of its own, nodes that only claim to be there, the audit log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import yaml

from vlmctl.version import __version__

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = REPOSITORY / "scripts" / "cluster"
CHART = REPOSITORY / "charts" / "vlm-operator"
LOOK_SECONDS = 0.1
AGENT = f"vlm-operator/{__version__}"  # as which the operator writes
LEASES = "leases"
GPUS_PER_NODE = 8
# Nodes live, and pods on them can be deleted; none starts, as while its image is pulled.
STAGES = ("node-initialize", "node-heartbeat-with-lease", "pod-delete")
GARBAGE_PERCENT = "400"  # of Go: memory for time, as a control plane with memory to spare would be set
FLAGS = ("--unsafe-no-fsync", "--kube-api-qps", "--kube-api-burst")


class Write(NamedTuple):
    """A write that the API server did. `at`: seconds since 1970."""

    by: str
    verb: str
    resource: str
    namespace: str
    name: str
    at: float


class AuditLog:
    """All writes so far; `since` a mark, to be told those after it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self._writes: list[Write] = []

    def mark(self) -> int:
        """How many there are by now."""
        with self._path.open("rb") as lines:
            lines.seek(self._read_bytes)
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._read_bytes += len(line)
                self._writes.extend(_writes(json.loads(line)))
        return len(self._writes)

    def since(self, mark: int, *, of_operator: bool = False) -> list[Write]:
        """In order; `of_operator`: its own alone, without the renewals of its Lease."""
        self.mark()
        found = self._writes[mark:]
        return [each for each in found if each.by == AGENT and each.resource != LEASES] if of_operator else found


def _writes(line: dict[str, Any]) -> Iterator[Write]:
    about = line.get("objectRef", {})
    if line["stage"] == "ResponseComplete" and line["responseStatus"].get("code", 500) < 300:
        at = datetime.fromisoformat(line["stageTimestamp"]).timestamp()
        by = line.get("userAgent", "")
        named = about.get("name", "")
        yield Write(by, line["verb"], about.get("resource", ""), about.get("namespace", ""), named, at)


class Plane(NamedTuple):
    """A control plane that is up."""

    folder: Path
    bin: Path
    audit: AuditLog

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As the administrator."""
        command: list[str | Path] = [self.bin / "kubectl", "--kubeconfig", self.folder / "admin.kubeconfig", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def flags(self) -> str:
        """Those that make it fit to be measured on."""
        text = {part: (self.folder / f"{part}.command").read_text() for part in ("etcd", "controllers", "scheduler")}
        told = []
        for part, command in text.items():
            found = re.findall(rf"(?:{'|'.join(FLAGS)})(?: \d+)?", command)
            told.append(f"{part} {' '.join(found)}")
        return "; ".join([*told, f"all of them GOGC={GARBAGE_PERCENT}"])


@contextmanager
def plane(folder: Path) -> Iterator[Plane]:
    """A control plane with the chart's CRDs, taken down at the end; KUBECONFIG names it meanwhile."""
    programs = subprocess.run([SCRIPTS / "build.sh", "--where"], capture_output=True, text=True, check=True)
    found = Plane(folder, Path(programs.stdout.strip()), AuditLog(folder / "audit.log"))
    script = SCRIPTS / "control_plane.sh"
    with_memory = os.environ | {"GOGC": GARBAGE_PERCENT}
    subprocess.run([script, "up", folder, "--owner", str(os.getpid())], check=True, env=with_memory)
    try:
        os.environ["KUBECONFIG"] = str(folder / "admin.kubeconfig")
        rendered = subprocess.run(
            [found.bin / "helm", "template", "bench", CHART], capture_output=True, text=True, check=True
        )
        definitions = [
            each for each in yaml.safe_load_all(rendered.stdout) if each and each["kind"] == "CustomResourceDefinition"
        ]
        found.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(definitions))
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found
    finally:
        subprocess.run([script, "down", folder], check=True)


@contextmanager
def kwok(plane: Plane, stages: Sequence[str], *options: str) -> Iterator[None]:
    """A kwok that takes nodes and pods through these stages of its own; a pod has its node's address."""
    text = re.sub(r"PodIPsWith [^}]*", "NodeIPsWith .spec.nodeName ", (plane.bin / "kwok.yaml").read_text())
    # A kubelet says of each container that runs whether it has passed its startup probe.
    text = re.sub(r"( +)restartCount: 0\n +state:", r"\1restartCount: 0\n\1started: true\n\1state:", text)
    config = plane.folder / f"{stages[-1]}.yaml"
    config.write_text(
        yaml.safe_dump_all(each for each in yaml.safe_load_all(text) if each["metadata"]["name"] in stages)
    )
    command: list[str | Path] = [plane.bin / "kwok", "--kubeconfig", plane.folder / "admin.kubeconfig"]
    command += ["--config", config, "--manage-all-nodes=true", *options]
    with (plane.folder / "kwok.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nodes(plane: Plane, count: int) -> Iterator[None]:
    """So many nodes with GPUs, kept alive by kwok."""
    room = {"cpu": "192", "memory": "1536Gi", "ephemeral-storage": "32Ti", "pods": "250"}
    capacity = {**room, "nvidia.com/gpu": str(GPUS_PER_NODE)}
    made = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"gpu-{number}", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
        for number in range(count)
    ]
    with kwok(plane, STAGES, "--node-lease-duration-seconds=40"):
        plane.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
        plane.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        yield


class Running(NamedTuple):
    """An operator. `started_at`: seconds since 1970."""

    process: subprocess.Popen[bytes]
    started_at: float
    port: int
    log: Path

    async def until(
        self, check: Callable[[], bool], *, seconds: float, what: str, look_seconds: float = LOOK_SECONDS
    ) -> None:
        """Wait for it; raises TimeoutError, at once where the operator has ended."""
        given_up_at = time.monotonic() + seconds
        while not check():
            if time.monotonic() > given_up_at or self.process.poll() is not None:
                *_, told = ["", *self.log.read_text().splitlines()]
                raise TimeoutError(f"{what}: not within {seconds:.0f} s. The operator's last line: {told}")
            await asyncio.sleep(look_seconds)

    def resident_mib(self, field: str = "VmRSS") -> float:
        """Memory of the process now, or at most so far (`VmHWM`)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1024

    def cpu_seconds(self) -> float:
        """Of both cores, in the program and in the kernel."""
        spent = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name: str) -> float | None:
        """A sample of its metrics; None where there is none, or it does not answer yet."""
        try:
            text = urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5).read().decode()
        except OSError:
            return None
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return None if found is None else float(found[1])


@contextmanager
def operator(plane: Plane, namespace: str, *, profile: Path | None = None) -> Iterator[Running]:
    """A process that serves the cluster, with its Lease in the namespace."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = plane.folder / "operator.yaml"
    config.write_text(yaml.safe_dump({"port": port}))
    environment = {**os.environ, "VLM_OPERATOR_CONFIG": str(config), "POD_NAMESPACE": namespace}
    how = [] if profile is None else ["-m", "cProfile", "-o", str(profile)]
    command = [sys.executable, *how, "-m", "vlm_operator"]
    written = plane.folder / "operator.log"
    with written.open("ab") as log:
        started_at = time.time()
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        yield Running(process, started_at, port, written)
    finally:
        process.terminate()
        process.wait()


def last(writes: Sequence[Write]) -> float:
    """When the last of them was done."""
    return max(each.at for each in writes)
