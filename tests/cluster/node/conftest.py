"""A cluster whose node runs pods: vLLM under its image's real name, a tiny model on a volume, GPUs in name only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from vlm_operator import proxy

from tests.cluster.clusters import NODE, REPOSITORY, SCRIPTS, Cluster, cluster_up
from vlmctl.serving.engine_args import ENGINE_VERSION

SHELL_IMAGES = SCRIPTS / "shell_images.py"
VLLM_IMAGE = f"docker.io/vllm/vllm-openai:v{ENGINE_VERSION}"


@pytest.fixture(scope="session")
def engine_venv() -> Path:
    """The virtual environment with vLLM for CPUs."""
    folder = Path(os.environ.get("ENGINE_VENV", REPOSITORY / ".venv-engine")).absolute()
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"no engine in {folder}: make test-cluster installs it, about 5 GB once (or set ENGINE_VENV)")
    return folder


@pytest.fixture(scope="session")
def tiny_model(engine_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the architecture Qwen2-VL with random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    code = "import sys; from pathlib import Path; from tests.support.tiny_models import make_tiny_model as make; "
    command = (engine_venv / "bin" / "python", "-c", code + "make('qwen2vl', Path(sys.argv[1]))", folder)
    subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)  # safetensors are written for their owner alone, and pods run as another user
    return folder


@pytest.fixture(scope="session")
def images(cluster_bin: Path, engine_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives of vLLM, the proxy and this machine's programs, by the images' names."""
    if os.geteuid() != 0:
        pytest.skip("a node that runs pods needs root: sudo make test-cluster")
    if not all(shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") for program in ("runc", "iptables")):
        pytest.skip("no runc or iptables here: make cluster-tools installs them on Debian and Ubuntu")
    root = cluster_bin / "haproxy.tar"
    if not root.exists():
        pytest.skip("no files of HAProxy's image here: make cluster-tools, as root, on Debian or Ubuntu")
    folder = tmp_path_factory.mktemp("images")
    made = {
        VLLM_IMAGE: _shell_images("vllm", VLLM_IMAGE, engine_venv),
        "localhost/shell:1": _shell_images("shell"),
        proxy.IMAGE: _shell_images("haproxy", proxy.IMAGE, root),
    }
    files = {name: folder / f"{number}.tar" for number, name in enumerate(made)}
    for name, content in made.items():
        files[name].write_bytes(content)
    return files


@pytest.fixture(scope="session")
def node_options(engine_venv: Path) -> list[str]:
    """Of a node that shows containers what these images need of this machine."""
    mounts = _shell_images("--mounts", engine_venv).decode().split()
    return [word for folder in mounts for word in ("--mount", folder)]


@pytest.fixture(scope="session")
def node(
    cluster_bin: Path, images: dict[str, Path], node_options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A whole cluster of one node, which has these images."""
    with cluster_up(NODE, cluster_bin, tmp_path_factory.mktemp("node"), node_options) as cluster:
        cluster.load(*images.values())
        yield cluster


@pytest.fixture(scope="session")
def operator_archive() -> tuple[str, Path]:
    """The operator's image as it was built for release: its name, and the archive."""
    named = os.environ.get("VLMCTL_OPERATOR_IMAGE")
    if not named:
        pytest.skip("no image of the operator is named: make test-cluster builds it (or set VLMCTL_OPERATOR_IMAGE)")
    with tarfile.open(named) as archive:
        content = archive.extractfile("manifest.json")
        assert content is not None
        (name,) = json.load(content)[0]["RepoTags"]
    return str(name), Path(named)


@pytest.fixture(scope="session")
def operator_image(node: Cluster, operator_archive: tuple[str, Path]) -> str:
    """The name of the operator's image, which the node has."""
    name, archive = operator_archive
    node.load(archive)
    return name


def claim_of(folder: Path, name: str, namespace: str) -> list[dict[str, object]]:
    """Describe a folder of this machine as a volume, and a claim that gets exactly this volume."""
    mode = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    volume = f"{namespace}-{name}"
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **mode,
                "capacity": size,
                "hostPath": {"path": str(folder), "type": "Directory"},
                "claimRef": {"name": name, "namespace": namespace},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**mode, "volumeName": volume, "resources": {"requests": size}},
        },
    ]


def _shell_images(*arguments: str | Path) -> bytes:
    return subprocess.run(("python3", SHELL_IMAGES, *arguments), check=True, capture_output=True).stdout
