"""An API server that answers as scripted, and the kubeconfig of a context in it, for the real Kubernetes client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest  # which the benchmarks' environment has not

GROUP = "/apis/vlmctl.dev/v1alpha1"
NODES = "/api/v1/nodes"
FORBIDDEN = 403  # instead of an object: that the account may not see it


@contextmanager
def api_server(objects: Mapping[str, Any]) -> Iterator[str]:
    """The address of one that holds `objects` by path; a number instead of one is the status it answers with.

    Elsewhere it answers 404, and 403 in a namespace named `forbidden`. Objects may change while it runs.
    """

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = objects.get(path, FORBIDDEN if "/forbidden/" in path else 404)
            status = found if isinstance(found, int) else 200
            body = json.dumps({"kind": "Status", "code": status} if isinstance(found, int) else found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(path: Path, server: str, namespace: str | None, *, other: str | None = None) -> Path:
    """A kubeconfig with a context `x`, the current one; `other`: namespace of a second context `y`."""
    contexts = [{"name": "x", "context": _context(namespace)}]
    if other is not None:
        contexts.append({"name": "y", "context": _context(other)})
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": contexts,
            }
        )
    )
    return path


def use(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the kubeconfig: the client reads KUBECONFIG when it is imported, so it is told anew."""
    from kubernetes.config import kube_config

    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(config))


def _context(namespace: str | None) -> dict[str, str]:
    return {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
