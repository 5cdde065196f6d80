"""The programs of KEDA's HTTP add-on beside a cluster: the interceptor, which holds requests, and its scaler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.adapters import established, http_add_on_crds
from tests.cluster.control_plane.operators import eventually
from tests.cluster.control_plane.prometheus import free_port
from tests.cluster.node.keda import ENVIRONMENT, NAMESPACE
from tests.cluster.node.programs import running_program

INTERCEPTOR, SCALER = "keda-http-interceptor", "keda-http-scaler"
ADMIN = "interceptor-admin"  # the Service by which the scaler finds interceptors
SEARCH = "search svc.cluster.local cluster.local\noptions ndots:5\n"  # as in a pod
# In a file system of its own, where the cluster's DNS is asked.
WITH_DNS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"')


class AddOn(NamedTuple):
    """`interceptor`: the address to which users send requests; `scaler`: host and port, for KEDA."""

    interceptor: str
    scaler: str


def skip_unless_built(cluster: Cluster) -> None:
    """Skip the test where the add-on's programs are not there."""
    if not all((cluster.bin / each).exists() for each in (INTERCEPTOR, SCALER)):
        pytest.skip("KEDA's HTTP add-on is not built here: make autoscalers builds it")


@contextmanager
def http_add_on(cluster: Cluster, folder: Path) -> Iterator[AddOn]:
    """Both programs, in KEDA's own namespace, until the end of the context."""
    folder.mkdir()
    crds = established(cluster, http_add_on_crds(cluster.bin))
    proxy, admin, scaler = free_port(), free_port(), free_port()
    cluster.apply(*_admin_service(cluster.host, admin))
    names = folder / "resolv.conf"
    names.write_text(f"nameserver {_address_of_node(cluster)}\n{SEARCH}")
    of_interceptor = {
        **ENVIRONMENT,
        "KEDA_HTTP_PROXY_PORT": str(proxy),
        "KEDA_HTTP_ADMIN_PORT": str(admin),
        "KEDA_HTTP_SHUTDOWN_DELAY": "0s",
        "OTEL_PROM_EXPORTER_ENABLED": "false",
    }
    target = "KEDA_HTTP_SCALER_TARGET_ADMIN"
    of_scaler = {
        **ENVIRONMENT,
        "KEDA_HTTP_SCALER_PORT": str(scaler),
        f"{target}_NAMESPACE": NAMESPACE,
        f"{target}_SERVICE": ADMIN,
        f"{target}_DEPLOYMENT": "interceptor",
        f"{target}_PORT": str(admin),
        "OTEL_PROM_EXPORTER_ENABLED": "false",
    }
    try:
        with (
            running_program(cluster, folder, INTERCEPTOR, through=(*WITH_DNS, str(names)), more=of_interceptor),
            running_program(cluster, folder, SCALER, more=of_scaler),
        ):
            address = f"http://127.0.0.1:{proxy}"
            eventually(lambda: httpx.get(address, timeout=5, trust_env=False))
            yield AddOn(interceptor=address, scaler=f"127.0.0.1:{scaler}")
    finally:
        cluster.kubectl("delete", *crds)


def _address_of_node(cluster: Cluster) -> str:
    (node,) = cluster.get("nodes")["items"]
    return next(str(each["address"]) for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def _admin_service(host: str, port: int) -> list[dict[str, Any]]:
    """The interceptor's place, as a cluster has it where that is a pod."""
    place = {"name": ADMIN, "namespace": NAMESPACE}
    named = {"name": "admin", "port": port, "protocol": "TCP"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": {"ports": [named]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**place, "labels": {"kubernetes.io/service-name": ADMIN}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
            "ports": [named],
        },
    ]
