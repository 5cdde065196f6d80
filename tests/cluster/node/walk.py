"""The console blocks of docs/operator.md, typed into a shell on a cluster whose GPUs exist in name only."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from tests.cluster.clusters import REPOSITORY, Cluster

PAGE = REPOSITORY / "docs" / "operator.md"
CLAIM = "stand-in"  # of the tiny model
STEP_SECONDS = 1800.0  # of the longest wait on the page
SECTION = re.compile(r"^## (?P<title>.*)\n(?P<text>(?:(?!## ).*\n?)*)", re.MULTILINE)
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
APPLIED = re.compile(r"kubectl apply .*-f (?P<file>\S+\.yaml)")
ENGINE_ARGUMENTS = ["--enforce-eager", "--kv-cache-memory-bytes=16777216", "--dtype=bfloat16"]
# What the page says under "How this page is checked", in place of what needs GPUs and 16 GB of weights.
STAND_INS: dict[str, Any] = {
    "workload": {"images": [{"size": "224x224"}], "promptTokens": 32, "outputTokens": 16},
    "benchmark": {"budget": "45s"},
    "pod": {"cpu": "500m", "memory": "3Gi"},
}


def blocks(language: str, title: str = "") -> list[str]:
    """Blocks of a language, of one section or of the whole page, in order."""
    sections = {found["title"]: found["text"] for found in SECTION.finditer(PAGE.read_text(encoding="utf-8"))}
    texts = [sections[title]] if title else list(sections.values())
    return [found["text"] for text in texts for found in BLOCK.finditer(text) if found["language"] == language]


def commands(block: str) -> list[str]:
    """What is typed: lines after a prompt, with those that go on."""
    typed: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            typed.append(line.removeprefix("$ "))
        elif line.startswith("> "):
            typed[-1] += "\n" + line.removeprefix("> ")
    return typed


class Walk:
    """A person with a shell in an empty folder, who is the cluster's administrator. `instead`: words for other ones."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.folder = folder
        port = _free_port()
        self.instead = {
            "localhost:8000": f"localhost:{port}",
            " 8000:80": f" {port}:80",
            "--image 1280x720": "--image 224x224 --prompt-tokens 32 --output-tokens 16",
        }
        self._background: list[subprocess.Popen[bytes]] = []
        path = (str(cluster.bin), str(Path(sys.executable).parent), os.environ["PATH"])
        home = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
        inherited = {name: value for name, value in os.environ.items() if name not in proxies}
        self.environment = {**inherited, **home, "PATH": ":".join(path), "KUBECONFIG": str(cluster.kubeconfig)}
        (folder / "charts").symlink_to(REPOSITORY / "charts")
        Image.new("RGB", (224, 224), "red").save(folder / "scan.png")

    def section(self, title: str) -> list[str]:
        """Do what a section says, and give what each command printed."""
        return [self.run(command) for block in blocks("console", title) for command in commands(block)]

    def run(self, command: str) -> str:
        """Run one command to its end, but for those that stay in the background."""
        for shown, instead in self.instead.items():
            command = command.replace(shown, instead)
        applied = APPLIED.search(command)
        if applied is not None:
            command = command.replace(applied["file"], stand_in(self.folder / applied["file"]))
        if command.endswith("&"):
            return self._stay(command.removesuffix("&"))
        name = command.removeprefix("export ").partition("=")[0] if command.startswith("export ") else ""
        printed = self._bash(f'{command}\nprintf %s "${name}"' if name else command)
        if name:
            self.environment[name] = printed
        return printed

    def end(self) -> None:
        """End what runs in the background."""
        for process in self._background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._background.clear()

    def _bash(self, script: str) -> str:
        done = subprocess.run(
            ("bash", "-euo", "pipefail", "-c", script),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
        with (self.folder / "transcript.txt").open("a") as transcript:
            transcript.write(f"$ {script}\n{done.stdout}{done.stderr}\n")
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _stay(self, command: str) -> str:
        """Start it, and wait for the first line that it prints."""
        process = subprocess.Popen(
            ("bash", "-c", f"exec {command}"),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._background.append(process)
        assert process.stdout is not None
        return process.stdout.readline().decode()


def stand_in(manifest: Path) -> str:
    """Write the manifest again, asking for what a machine without GPUs can do; gives the file's name."""
    deployment = yaml.safe_load(manifest.read_text())
    spec = deployment["spec"]
    spec["model"]["source"] = {"pvc": {"claimName": CLAIM}}
    spec["engine"] = {"arguments": [*spec.get("engine", {}).get("arguments", ()), *ENGINE_ARGUMENTS]}
    spec.update(STAND_INS)
    written = manifest.with_name(f"stand-in-{manifest.name}")
    written.write_text(yaml.safe_dump(deployment))
    return written.name


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
