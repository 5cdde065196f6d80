"""KEDA's own programs beside a cluster: its operator, and the adapter by which autoscalers read External metrics."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.clusters import SCRIPTS, Cluster
from tests.cluster.control_plane.adapters import all_keda_crds, established, registered
from tests.cluster.control_plane.prometheus import free_port
from tests.cluster.node.programs import kubeconfig_flags, running_program

NAMESPACE = "keda"
PROGRAMS = ("keda-operator", "keda-adapter")
SERVICE = "keda-metrics-apiserver"
ENVIRONMENT = {
    **dict.fromkeys(("POD_NAMESPACE", "KEDA_CLUSTER_OBJECT_NAMESPACE"), NAMESPACE),
    "WATCH_NAMESPACE": "",
}
METER = "meter"
CERTIFICATE = ". {scripts}/certificates.sh; D={folder}; make_certificate keda /CN=keda DNS:localhost"


@contextmanager
def keda(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Both programs, until the end of the context; skips where they were not built."""
    if not all((cluster.bin / each).exists() for each in PROGRAMS):
        pytest.skip("KEDA is not built here: make autoscalers builds it, 12 minutes once")
    folder.mkdir()
    certificates = _certificates(cluster, folder / "certificates")
    crds = established(cluster, all_keda_crds(cluster.bin))
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    talk, serve = free_port(), free_port()
    operator = ("keda-operator", *_operator_flags(certificates, talk))
    adapter = ("keda-adapter", *_adapter_flags(cluster, certificates, talk, serve))
    try:
        with (
            running_program(cluster, folder, *operator, more=ENVIRONMENT),
            running_program(cluster, folder, *adapter, more=ENVIRONMENT),
            registered(cluster, SERVICE, NAMESPACE, serve),
        ):
            yield
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE)
        cluster.kubectl("delete", *crds)


@contextmanager
def metered(cluster: Cluster, name: str, namespace: str, *, query: str, prometheus: str) -> Iterator[None]:
    """KEDA's adapter serves what a query says as the metric of a ScaledObject, until the end of the context."""
    cluster.apply(*_meter(name, namespace, query=query, prometheus=prometheus))
    try:
        yield
    finally:
        cluster.kubectl("delete", "scaledobject", name, "--namespace", namespace)


def _meter(name: str, namespace: str, *, query: str, prometheus: str) -> list[dict[str, object]]:
    """The ScaledObject, and what it scales instead: nothing of that ever runs."""
    labels = {"meter": name}
    pod = {"containers": [{"name": "none", "image": "localhost/pause:1"}], "nodeSelector": {"never": "there"}}
    template = {"metadata": {"labels": labels}, "spec": pod}
    asked = {"query": query, "serverAddress": prometheus, "threshold": "1000", "ignoreNullValues": "false"}
    trigger = {"type": "prometheus", "metricType": "AverageValue", "metadata": asked}
    bounds = {"minReplicaCount": 1, "maxReplicaCount": 2}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": METER, "namespace": namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"scaleTargetRef": {"name": METER}, **bounds, "triggers": [trigger]},
        },
    ]


def _certificates(cluster: Cluster, folder: Path) -> Path:
    """Both sides show the same one, of the cluster's own authority."""
    folder.mkdir()
    command = CERTIFICATE.format(scripts=SCRIPTS, folder=cluster.folder)
    subprocess.run(("bash", "-ec", command), check=True, capture_output=True)
    for made, read in (("ca.crt", "ca.crt"), ("keda.crt", "tls.crt"), ("keda.key", "tls.key")):
        shutil.copy(cluster.folder / made, folder / read)
    return folder


def _operator_flags(certificates: Path, talk: int) -> tuple[str, ...]:
    return (
        f"--cert-dir={certificates}",
        f"--metrics-service-bind-address=127.0.0.1:{talk}",
        "--metrics-bind-address=0",
        "--health-probe-bind-address=0",
        "--zap-encoder=console",
    )


def _adapter_flags(cluster: Cluster, certificates: Path, talk: int, serve: int) -> tuple[str, ...]:
    return (
        f"--cert-dir={certificates}",
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
        f"--metrics-service-address=localhost:{talk}",
        f"--secure-port={serve}",
        f"--port={free_port()}",
        *kubeconfig_flags(cluster),
    )
