"""What other engines scale by on a control plane: an external metrics API of our own, and the CRDs of KEDA."""

from __future__ import annotations

import json
import ssl
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
from tests.cluster.control_plane.operators import eventually

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
API = f"{VERSION}.{GROUP}"  # name of its APIService


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
    try:
        with registered(cluster, "metrics-adapter", "default", server.server_address[1]):
            yield made
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def registered(cluster: Cluster, service: str, namespace: str, port: int) -> Iterator[None]:
    """External metrics are a part of the API, which a server on this machine answers, until the end of the context.

    They replace whoever answered before, for good.
    """
    objects = _registration(service, namespace, port)
    cluster.apply(*objects)
    try:
        eventually(lambda: cluster.kubectl("get", "--raw", f"/apis/{GROUP}/{VERSION}"))
        yield
    finally:  # or no namespace can be deleted
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=listed)


def _registration(service: str, namespace: str, port: int) -> list[dict[str, Any]]:
    place = {"name": service, "namespace": namespace}
    spec = {
        "group": GROUP,
        "version": VERSION,
        "service": {**place, "port": port},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    here = {"type": "ExternalName", "externalName": "localhost"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": here},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API}, "spec": spec},
    ]


def keda_crds(bin: Path) -> list[dict[str, Any]]:
    """KEDA's own definition of ScaledObjects, and its HTTP add-on's, or a stand-in where that is not built."""
    (scaled_objects,) = (each for each in all_keda_crds(bin) if each["metadata"]["name"] == "scaledobjects.keda.sh")
    stand_in = open_crd("http.keda.sh", "v1alpha1", "HTTPScaledObject", "httpscaledobjects")
    return [scaled_objects, *(http_add_on_crds(bin) or [stand_in])]


def http_add_on_crds(bin: Path) -> list[dict[str, Any]]:
    """As they are in the add-on's module; none where that is not built."""
    path = bin / "keda-http.yaml"
    return [each for each in yaml.safe_load_all(path.read_text()) if each] if path.exists() else []


def all_keda_crds(bin: Path) -> list[dict[str, Any]]:
    """As they are in KEDA's module."""
    if not (bin / "keda.yaml").exists():
        pytest.skip(f"no keda.yaml in {bin}: make cluster-tools puts it there")
    return [each for each in yaml.safe_load_all((bin / "keda.yaml").read_text()) if each]


def established(cluster: Cluster, crds: list[dict[str, Any]]) -> list[str]:
    """Make the kinds known, and wait until they are; gives the objects for kubectl."""
    cluster.apply(*crds)
    names = [f"crd/{each['metadata']['name']}" for each in crds]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return names


def open_crd(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    """A definition that takes anything, for one whose own is not to be had."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }
