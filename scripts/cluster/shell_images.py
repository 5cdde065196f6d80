"""Write container images without building any: a few small files, and links to what the node mounts read-only.

Usage: shell_images.py pause PROGRAM > IMAGE.tar           what keeps a pod's namespaces open: localhost/pause:1
       shell_images.py shell > IMAGE.tar                   the programs of this machine: localhost/shell:1
       shell_images.py vllm NAME ENVIRONMENT > IMAGE.tar   NAME, whose `vllm` and `python3` are those of a virtual
                                                           environment; `--mounts ENVIRONMENT` tells the folders for
                                                           `node.sh up --mount`
       shell_images.py haproxy NAME ROOT.tar > IMAGE.tar   NAME, whose files are those of a root folder with HAProxy

In containers, node.sh mounts folders of this machine under /host; links lead there, so that an image keeps its real
name and is started as the real one would be, without the gigabytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

HOST = "/host"
PROGRAMS = ("bin", "lib", "lib64", "sbin")  # links into /usr, as Debian lays them out
VLLM_USER = 2000  # what the vllm/vllm-openai image runs as
HAPROXY_USER = "99"  # the official image's
PATH = "/opt/vllm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VLLM_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",  # two stall on small machines
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


class Entry(NamedTuple):
    """A file with content, a link to `target`, or, with neither, a folder."""

    path: str
    content: bytes | None = None
    target: str | None = None
    mode: int = 0o755
    owner: int = 0


def layer(entries: list[Entry]) -> bytes:
    """Pack the entries, and the folders that hold them, always into the same bytes."""
    named = {entry.path: entry for entry in entries}
    for path in list(named):
        for parent in PurePosixPath(path).parents:
            if parent.name:
                named.setdefault(str(parent), Entry(str(parent)))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(named):
            entry = named[path]
            info = tarfile.TarInfo(path)
            info.mode, info.uid, info.gid = entry.mode, entry.owner, 0
            if entry.target is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
            elif entry.content is None:
                info.type = tarfile.DIRTYPE
            info.size = len(entry.content or b"")
            archive.addfile(info, io.BytesIO(entry.content or b""))
    return buffer.getvalue()


def image(name: str, content: bytes, **config: object) -> bytes:
    """Pack an image of one layer as `docker save` would; `config`: of its containers (Entrypoint, Env, User ...)."""
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(described).encode(), "layer.tar": content}
    files["manifest.json"] = json.dumps(manifest).encode()
    return layer([Entry(path, data, mode=0o644) for path, data in files.items()])


def of_this_machine() -> list[Entry]:
    """List what a root folder needs for the programs of this machine to run in it."""
    users = b"root:x:0:0:root:/root:/bin/sh\nvllm:x:2000:0::/home/vllm:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    return [
        *(Entry(name, target=f"{HOST}/usr/{name}") for name in PROGRAMS),
        Entry("usr", target=f"{HOST}/usr"),
        Entry("etc/ssl", target=f"{HOST}/etc/ssl"),
        Entry("etc/ld.so.cache", target=f"{HOST}/etc/ld.so.cache"),
        Entry("etc/passwd", users, mode=0o644),
        Entry("etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644),
        Entry("tmp", mode=0o1777),
        Entry("home/vllm", owner=VLLM_USER),
        *(Entry(name) for name in ("root", "run", "var/tmp")),
    ]


def mounts(environment: Path) -> list[Path]:
    """Tell the folders that a virtual environment's Python needs, beside /usr."""
    code = "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"
    answer = subprocess.run((environment / "bin/python", "-c", code), check=True, capture_output=True, text=True)
    return [path for path in map(Path, answer.stdout.split()) if path.parts[1] != "usr"]


def vllm(name: str, environment: Path) -> bytes:
    """Make the image of vLLM at the environment's version, whose distribution has another name than `vllm` asks for."""
    python = environment / "bin/python"
    code = "from importlib.metadata import version; print(version('vllm-cpu'))"
    version = subprocess.run((python, "-c", code), check=True, capture_output=True, text=True).stdout.strip()
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n".encode()
    command = f'#!/bin/sh\nexec {python} -m vllm.entrypoints.cli.main "$@"\n'.encode()
    entries = [
        *of_this_machine(),
        *(Entry(str(path).lstrip("/"), target=f"{HOST}{path}") for path in mounts(environment)),
        Entry("opt/vllm/bin/vllm", command),
        Entry("opt/vllm/bin/python3", f'#!/bin/sh\nexec {python} "$@"\n'.encode()),
        Entry(f"opt/vllm/vllm-{version}+cpu.dist-info/METADATA", metadata, mode=0o644),
    ]
    variables = {"PATH": PATH, "PYTHONPATH": "/opt/vllm", **VLLM_ENVIRONMENT}
    return image(
        name,
        layer(entries),
        Entrypoint=["vllm", "serve"],
        Env=[f"{variable}={value}" for variable, value in variables.items()],
        User=f"{VLLM_USER}:0",
        WorkingDir="/home/vllm",
    )


def haproxy(name: str, root: Path) -> bytes:
    """Make the image of HAProxy, with the user and the signal to stop that the official one has."""
    variables = [f"PATH={PATH}"]
    return image(name, root.read_bytes(), Cmd=["haproxy"], Env=variables, User=HAPROXY_USER, StopSignal="SIGUSR1")


def main(arguments: list[str]) -> None:
    """Write the image that the arguments ask for to stdout."""
    match arguments:
        case ["--mounts", environment]:
            print(*mounts(Path(environment)), sep="\n")
        case ["pause", program]:
            content = Path(program).read_bytes()
            sys.stdout.buffer.write(image("localhost/pause:1", layer([Entry("pause", content)]), Entrypoint=["/pause"]))
        case ["shell"]:
            path = f"PATH={PATH}"
            sys.stdout.buffer.write(image("localhost/shell:1", layer(of_this_machine()), Cmd=["/bin/sh"], Env=[path]))
        case ["haproxy", name, root]:
            sys.stdout.buffer.write(haproxy(name, Path(root)))
        case ["vllm", name, environment]:
            sys.stdout.buffer.write(vllm(name, Path(environment).absolute()))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
