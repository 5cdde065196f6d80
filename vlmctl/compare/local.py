"""Models served on this machine, one at a time, by a `vllm serve` of the `engine` extra."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Endpoint
from vlmctl.compare.contenders import LocalModel
from vlmctl.errors import NotReachable, UsageError

READY_SECONDS = 1800.0  # weights may have to be downloaded and graphs compiled
POLL_SECONDS = 1.0
STOP_SECONDS = 60.0  # until a server that was told to stop is killed
LOG_LINES = 8  # of a server that died, in the message
LOG_CHARACTERS = 1_200
HOST = "127.0.0.1"


def require_engine() -> str:
    """The path of `vllm`, in this environment or on the PATH; raises UsageError where there is none."""
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.is_file() else shutil.which("vllm")
    if found is None:
        raise UsageError(
            "to serve models here, vLLM must be installed.",
            remedy="Run `pip install 'vlmctl[engine]'`, or compare running servers with --endpoint.",
        )
    return found


@contextlib.asynccontextmanager
async def served(model: LocalModel, *, images: int, ready_seconds: float = READY_SECONDS) -> AsyncIterator[Endpoint]:
    """A server for one model while the context lasts. `images`: the most that one request will hold.

    Raises UsageError without vLLM, NotReachable with the end of its log where it does not come up.
    """
    engine, port = require_engine(), _free_port()
    limit = '--limit-mm-per-prompt={"image":' + str(images) + "}"
    words = ("serve", model.checkpoint, f"--host={HOST}", f"--port={port}", limit, "--enable-prompt-tokens-details")
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            engine, *words, *model.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        endpoint = Endpoint(url=f"http://{HOST}:{port}")
        try:
            await _wait_until_ready(endpoint, process, model, log, ready_seconds)
            yield endpoint
        finally:
            await _stop(process)


async def _wait_until_ready(
    endpoint: Endpoint, process: asyncio.subprocess.Process, model: LocalModel, log: IO[bytes], seconds: float
) -> None:
    try:
        async with asyncio.timeout(seconds), Client(endpoint, connections=1) as client:
            while process.returncode is None:
                try:
                    await client.models()
                except NotReachable:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return
    except TimeoutError as error:
        raise NotReachable(f"{model.checkpoint} was not served within {seconds:g} s: {_log_end(log)}") from error
    raise NotReachable(f"vllm ended with {process.returncode} while loading {model.checkpoint}: {_log_end(log)}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the server and the workers it started, which form a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            _signal_group(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_SECONDS)
            return


def _signal_group(pid: int, number: int) -> None:
    import os

    os.killpg(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _log_end(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return " / ".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:] or "it said nothing."
