"""KEDA's own programs beside a cluster: its operator, and the adapter by which autoscalers read External metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.clusters import SCRIPTS, Cluster
from tests.cluster.control_plane.adapters import API, GROUP, VERSION, all_keda_crds, established, registration
from tests.cluster.control_plane.operators import eventually
from tests.cluster.control_plane.prometheus import free_port

NAMESPACE = "keda"
PROGRAMS = ("keda-operator", "keda-adapter")
SERVICE = "keda-metrics-apiserver"
STOP_SECONDS = 10.0
METER = "meter"
CERTIFICATE = ". {scripts}/certificates.sh; D={folder}; make_certificate keda /CN=keda DNS:localhost"


@contextmanager
def keda(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Both programs, until the end of the context; skips where they were not built."""
    if not all((cluster.bin / each).exists() for each in PROGRAMS):
        pytest.skip("KEDA is not built here: make keda builds it, 6 minutes once and its modules' download")
    folder.mkdir()
    certificates = _certificates(cluster, folder / "certificates")
    crds = established(cluster, all_keda_crds(cluster.bin))
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *_readers())
    talk, serve = free_port(), free_port()
    try:
        with (
            running_program(cluster, folder, "keda-operator", *_operator_flags(certificates, talk)),
            running_program(cluster, folder, "keda-adapter", *_adapter_flags(cluster, certificates, talk, serve)),
        ):
            cluster.apply(*registration(SERVICE, NAMESPACE, serve))
            eventually(lambda: cluster.kubectl("get", "--raw", f"/apis/{GROUP}/{VERSION}"))
            try:
                yield
            finally:  # or no namespace can be deleted
                cluster.kubectl("delete", "apiservice", API)
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE)
        cluster.kubectl("delete", *crds)


def metered(name: str, namespace: str, *, query: str, prometheus: str) -> list[dict[str, object]]:
    """A ScaledObject for the sake of its metric, and what it scales instead: nothing of that ever runs."""
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
        *(f"--{use}-kubeconfig={cluster.kubeconfig}" for use in ("lister", "authentication", "authorization")),
    )


@contextmanager
def running_program(
    cluster: Cluster,
    folder: Path,
    program: str,
    *flags: str,
    through: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """One of KEDA's programs as the cluster's administrator, until the end of the context; its log is in `folder`.

    `through`: a command that runs it; `more`: of its environment.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "KUBECONFIG": str(cluster.kubeconfig),
        **dict.fromkeys(("POD_NAMESPACE", "KEDA_CLUSTER_OBJECT_NAMESPACE"), NAMESPACE),
        "WATCH_NAMESPACE": "",
        **(more or {}),
    }
    with (folder / f"{program}.log").open("wb") as log:
        # It ends with this process, however that ends.
        command = ("setpriv", "--pdeathsig", "KILL", *through, str(cluster.bin / program), *flags)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield
            assert process.poll() is None, (folder / f"{program}.log").read_text()[-2000:]
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _readers() -> list[dict[str, object]]:
    """The controller of autoscalers may read External metrics, as KEDA's manifests have it."""
    name, api = "keda-external-metrics-reader", "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    rules = [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]}]
    return [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    ]
