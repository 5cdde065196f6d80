"""HAProxy as pods run it, before a small server that stands in for the engine; both on free ports of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlm_operator import proxy

from vlmctl.serving import host

UP_SECONDS = 20.0
INSTALLED = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
_NAMED = os.environ.get("VLMCTL_HAPROXY_ROOT")  # a root folder with another release of it, and its own libraries
ROOT = _NAMED if _NAMED and Path(_NAMED).is_dir() else None  # only root makes one
KEYS_READ_SECONDS = 0.2  # instead of proxy.READ_KEYS_SECONDS


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Engine(ThreadingHTTPServer):
    """Answers every path; `heard`: method, path, headers and length of the body of each request.

    A body of `stream` gets a chunk, and the next one each time `more` is released; to one of `wait` nothing is said
    until then.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, str, dict[str, str], int]] = []
        self.more = threading.Semaphore(0)
        super().__init__(("127.0.0.1", port), _Answer)

    @property
    def paths(self) -> list[str]:
        """What was asked for, without probes."""
        return [path for _, path, _, _ in self.heard if path != "/health"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.heard.append((self.command, self.path, headers, len(body)))
        if body == b"stream":
            self._stream()
            return
        if body == b"wait":
            self.server.more.acquire(timeout=3 * UP_SECONDS)  # longer than a test waits
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            if number:
                self.server.more.acquire(timeout=UP_SECONDS)
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None: ...


class Pod:
    """The proxy, its engine, and the file with its keys. `replaced`: more of the configuration, such as a long wait."""

    def __init__(self, folder: Path, replaced: Mapping[str, str] | None = None) -> None:
        self.port, self.metrics_port, engine_port = free_ports(3)
        self.keys = folder / proxy.KEY_NAME
        self.keys.write_text("first\n")
        self.log = folder / "log"
        self._folder = folder
        self._replaced = {
            f"bind :{host.PORT} ": f"bind 127.0.0.1:{self.port} ",
            f"bind :{proxy.METRICS_PORT} ": f"bind 127.0.0.1:{self.metrics_port} ",
            f":{proxy.ENGINE_PORT}": f":{engine_port}",
            proxy.CONFIG_FOLDER: str(folder),
            proxy.KEY_FOLDER: str(folder),
            f"({proxy.READ_KEYS_SECONDS * 1000})": f"({round(KEYS_READ_SECONDS * 1000)})",
            **(replaced or {}),
        }
        assert all(each in "".join(proxy.files().values()) for each in self._replaced)
        for name, text in proxy.files().items():
            (folder / name).write_text(self._here(text))
        self.engine = Engine(engine_port)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, more: str = "") -> list[str]:
        """The container's command, with this folder."""
        program, *words = proxy.container(proxy.IMAGE, "secret", "key")["command"]
        assert program == "haproxy"
        return [*_program(), *([more] if more else []), *(self._here(word) for word in words)]

    @contextmanager
    def running(self) -> Iterator[Pod]:
        """Both, until the end."""
        thread = threading.Thread(target=self.engine.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        try:
            self._wait()
            yield self
        finally:
            self.process.kill()
            self.process.wait()
            self.engine.shutdown()
            self.engine.server_close()

    def client(self, key: str | None = "first", *, port: int | None = None) -> httpx.Client:
        """Who asks with a key, or with none."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{port or self.port}"
        return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=UP_SECONDS)

    def _here(self, text: str) -> str:
        for there, here in self._replaced.items():
            text = text.replace(there, here)
        return text

    def _wait(self) -> None:
        until = time.monotonic() + UP_SECONDS
        with self.client(None, port=self.metrics_port) as client:
            while True:
                try:
                    client.get("/proxy/health").raise_for_status()
                    return
                except httpx.HTTPError:
                    assert time.monotonic() < until, self.log.read_text()
                    time.sleep(0.05)


def _program() -> list[str]:
    """How HAProxy is started, with the libraries beside it."""
    if ROOT is None:
        assert INSTALLED is not None
        return [INSTALLED]
    (loader,) = Path(ROOT).glob("usr/lib/*/ld-linux-*.so.*")
    return [str(loader), "--library-path", str(loader.parent), f"{ROOT}/usr/sbin/haproxy"]


needs_haproxy = pytest.mark.skipif((ROOT or INSTALLED) is None, reason="no haproxy here: apt-get install haproxy")
