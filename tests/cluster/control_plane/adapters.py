"""What other engines scale by on a control plane: an external metrics API of our own, and the CRDs of KEDA."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from vlm_operator.results import rfc3339

from tests.cluster.clusters import Cluster

KEDA = "github.com/kedacore/keda/v2@v2.21.0"
GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
DOWNLOAD_SECONDS = 120.0


class Adapter:
    """As prometheus-adapter: one metric. `value` of None: it has none. `asked`: paths and queries of requests."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        kind = {"apiVersion": f"{GROUP}/{VERSION}"}
        if "/namespaces/" not in path:
            resource = {"name": "metric", "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList"}
            listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
            return 200, {**listed, "resources": [{**resource, "verbs": ["get"]}]}
        self.asked.append(path)
        name = path.partition("?")[0].rpartition("/")[2]
        if self.value is None:
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
        now = rfc3339(datetime.now(UTC))
        item = {"metricName": name, "metricLabels": {}, "timestamp": now, "value": f"{round(self.value * 1000)}m"}
        return 200, {**kind, "kind": "ExternalMetricValueList", "metadata": {}, "items": [item]}


@contextmanager
def adapter(cluster: Cluster) -> Iterator[Adapter]:
    """An adapter that the API server asks for external metrics until the end of the context."""
    made = Adapter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = made.answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cluster.folder / "apiserver.crt", cluster.folder / "apiserver.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = {"name": "metrics-adapter", "namespace": "default"}
    service = {"type": "ExternalName", "externalName": "localhost"}
    registered = {
        "group": GROUP,
        "version": VERSION,
        "service": {**place, "port": server.server_address[1]},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    api_service = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": service},
        {**api_service, "metadata": {"name": f"{VERSION}.{GROUP}"}, "spec": registered},
    )
    try:
        yield made
    finally:
        cluster.kubectl("delete", "apiservice", f"{VERSION}.{GROUP}")
        cluster.kubectl("delete", "service", place["name"], "-n", place["namespace"])
        server.shutdown()
        server.server_close()


def keda_crds() -> list[dict[str, Any]]:
    """KEDA's own definition of ScaledObjects, and a stand-in of its HTTP add-on's, which no registry has."""
    if shutil.which("go") is None:
        pytest.skip("KEDA's resource definitions come with its Go module")
    done = subprocess.run(
        ["go", "mod", "download", "-json", KEDA], capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, cwd="/"
    )
    if done.returncode:
        pytest.skip(f"the Go module {KEDA} cannot be read: {done.stdout[-300:]}")
    folder = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases"
    return [yaml.safe_load((folder / "keda.sh_scaledobjects.yaml").read_text()), _http_scaled_objects()]


def _http_scaled_objects() -> dict[str, Any]:
    names = {"kind": "HTTPScaledObject", "plural": "httpscaledobjects"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "httpscaledobjects.http.keda.sh"},
        "spec": {
            "group": "http.keda.sh",
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}],
        },
    }
