"""A stand-in of the Hugging Face hub that gives nothing away: what it answers follows from the repository's name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATED, SLOW, TOKEN_REFUSED, MISSING = "acme/gated", "acme/slow", "acme/private", "acme/missing"
SLOW_SECONDS = 120
# The headers by which the hub says why it refuses (huggingface_hub 2.4.0, utils/_http.py).
_REFUSALS = {
    GATED: (401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}),
    TOKEN_REFUSED: (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
}
_NOT_FOUND = (404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})


@contextmanager
def hub(address: str) -> Iterator[str]:
    """Its URL, on a free port of an address of this machine."""
    over = threading.Event()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = self.path.removeprefix("/api/models")
            if path.startswith(f"/{SLOW}/"):
                over.wait(SLOW_SECONDS)
            refused = next((_REFUSALS[each] for each in _REFUSALS if path.startswith(f"/{each}")), _NOT_FOUND)
            self.send_response(refused[0])
            for header, value in refused[1].items():
                self.send_header(header, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
