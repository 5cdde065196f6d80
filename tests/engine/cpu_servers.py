"""vLLM servers on CPU as processes of their own, for tests that need an endpoint that really computes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

START_SECONDS = 240.0  # 25 for one alone, three times that for several on two busy cores
STOP_SECONDS = 20.0
LOG_SHOWN = 4000  # characters of the end of a log
MIB = 2**20
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",  # two stall on small machines
}
ARGUMENTS = (
    "--dtype=bfloat16",
    "--max-model-len=4096",
    "--enforce-eager",
    f"--kv-cache-memory-bytes={32 * MIB}",
    "--max-num-seqs=8",
)


class CpuServer(NamedTuple):
    """A server that was started; `process` leads a group that holds the engine too."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it and its engine at once, as a machine that fails."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@contextmanager
def cpu_servers(checkpoints: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[list[CpuServer]]:
    """Serve checkpoints, each with arguments of its own, all started at once; named as their folders."""
    servers: list[CpuServer] = []
    try:
        for folder, arguments in checkpoints:
            servers.append(_start(folder, arguments))
        until = time.monotonic() + START_SECONDS
        for server in servers:
            _wait(server, until)
        yield servers
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.kill()


def _start(folder: Path, arguments: Sequence[str]) -> CpuServer:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    place = (f"--model={folder}", f"--served-model-name={folder.name}", "--host=127.0.0.1", f"--port={port}")
    log = folder.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            (*program, *place, *ARGUMENTS, *arguments),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    return CpuServer(f"http://127.0.0.1:{port}", process, log)


def _wait(server: CpuServer, until: float) -> None:
    """Return once it answers."""
    while time.monotonic() < until:
        assert server.process.poll() is None, f"the server ended:\n{_end_of(server.log)}"
        try:
            if httpx.get(f"{server.url}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise TimeoutError(f"no server after {START_SECONDS:.0f} s:\n{_end_of(server.log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_SHOWN:]
