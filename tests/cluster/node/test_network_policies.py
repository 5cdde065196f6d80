"""NetworkPolicies where a network enforces them: who reaches the pods of a VLMDeployment and of the operator, and what
those reach. The tests run in their order: at the end nobody enforces any, and every way is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from vlm_operator import names, proxy
from vlm_operator.kinds import BY_KIND
from vlm_operator.scalers import RETRY_PORT
from vlm_operator.template import AGENT_PORT

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import Space, eventually, some
from tests.cluster.node import hub
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.enforcement import Way, enforced, listening, open_ways
from tests.cluster.node.failing import CACHE, SHELL, repository, spec
from tests.cluster.node.operators import NAMESPACE, installed, remove_namespace
from tests.cluster.node.test_proxy import CLAIM, ENGINE_SECONDS, NAME, is_ready, manifest
from tests.support.successes import OF_JOBS
from vlmctl.serving import host

SPACE = "walled"
FETCHING = "fetching"  # a VLMDeployment whose weights come from the hub
MONITORING, KEDA, ELSEWHERE = "monitoring", "keda", "elsewhere"  # namespaces
PROMETHEUS = {"app": "prometheus"}
# Addresses for documentation (RFC 5737), of a private network, and of services that give out a node's credentials.
PUBLIC, PRIVATE = "203.0.113.1", "10.255.255.1"
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16")
HTTP_PORT, HTTPS_PORT, DNS_PORT = 80, 443, 53
OPERATOR_PORT = 8080

SERVED = {"service", "pod"}
COMES_IN = {
    "stranger": SERVED,
    "neighbour": SERVED,
    "prometheus": SERVED | {"engine's metrics", "operator's metrics"},
    "beside prometheus": SERVED,
    "interceptor": SERVED | {"retry"},
    "operator": SERVED | {"engine's metrics", "agent", "operator's metrics", "retry"},  # a pod reaches itself
}
AT_MIRROR = {"mirror", "private at the mirror's port"}
GOES_OUT = {
    "engine": {"DNS"},
    "download": {"DNS", "public HTTPS", *AT_MIRROR},
    "operator": {"DNS", "public HTTPS", *AT_MIRROR, "public HTTP", "private HTTPS", "API server", "stranger"},
}


class Place(NamedTuple):
    """A container, from which ways begin."""

    pod: str
    namespace: str
    container: str = "main"


class Walled(NamedTuple):
    """Containers by what they are in a cluster, and ways to guarded pods (`inwards`) and to all else (`outwards`)."""

    cluster: Cluster
    places: Mapping[str, Place]
    inwards: Mapping[str, Way]
    outwards: Mapping[str, Way]
    enforcement: ExitStack

    def reach(self, place: str, ways: Mapping[str, Way]) -> set[str]:
        """Names of the ways that are open from there."""
        pod, namespace, container = self.places[place]
        return open_ways(self.cluster, pod, namespace, ways, container=container)


@pytest.fixture(scope="module")
def walled(
    node: Cluster, operator_image: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walled]:
    """A replica that became ready behind its NetworkPolicy, and everybody who may want something of it."""
    in_monitoring = f"prometheus.namespaceLabels.kubernetes\\.io/metadata\\.name={MONITORING}"
    values = (in_monitoring, *(f"prometheus.podLabels.{name}={value}" for name, value in PROMETHEUS.items()))
    folder = tmp_path_factory.mktemp("enforcement")
    with (
        hub.hub(node.host) as mirror,
        ExitStack() as enforcement,
        installed(node, f"hub.endpoint={mirror}", *values),
        ExitStack() as namespaces,
        closing(Space(node, SPACE)) as space,
    ):
        enforcement.enter_context(enforced(node, folder / "kube-router"))
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        space.make(NAME, manifest(tiny_model))
        space.make(FETCHING, spec(repository(hub.SLOW), **CACHE))
        namespaces.callback(node.kubectl, "delete", "namespace", "--ignore-not-found", MONITORING, KEDA, ELSEWHERE)
        places = surrounding(space)
        eventually(lambda: is_ready(space), seconds=ENGINE_SECONDS)
        places |= guarded(space)
        outwards = outside(node, mirror, places["stranger"])
        with listening(node, [way for way in outwards.values() if way[0] in (PUBLIC, PRIVATE, *METADATA)]):
            yield Walled(node, places, inside(space, places), outwards, enforcement)
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


def surrounding(space: Space) -> dict[str, Place]:
    """A pod for each who may come, and one that is a download by its labels."""
    node = space.cluster
    download = eventually(lambda: _labels_of_download(space))
    made = {
        "stranger": (ELSEWHERE, {}),
        "neighbour": (SPACE, {}),
        "prometheus": (MONITORING, PROMETHEUS),
        "beside prometheus": (MONITORING, {}),
        "interceptor": (KEDA, {}),
        "download": (SPACE, download),
    }
    for namespace in (MONITORING, KEDA, ELSEWHERE):
        node.kubectl("create", "namespace", namespace)
    places = {name: Place(name.replace(" ", "-"), namespace) for name, (namespace, _) in made.items()}
    node.apply(*(_listener(places[name], labels) for name, (_, labels) in made.items()))
    for pod, namespace, _ in places.values():
        node.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--namespace", namespace, "--timeout=110s")
    return places


def guarded(space: Space) -> dict[str, Place]:
    """The pods that were there already."""
    (engine,) = (name for name, pod in space.all("Pod").items() if pod["metadata"]["labels"][names.DEPLOYMENT] == NAME)
    (operator,) = space.cluster.get("pods", "--namespace", NAMESPACE)["items"]
    return {
        "engine": Place(engine, SPACE, names.ENGINE),
        "operator": Place(operator["metadata"]["name"], NAMESPACE, "operator"),
    }


def _labels_of_download(space: Space) -> dict[str, str]:
    job, *_ = some(list(space.all("Job").values()))
    found: dict[str, str] = job["spec"]["template"]["metadata"]["labels"]
    return {name: value for name, value in found.items() if name not in OF_JOBS}  # by which the Job would take it


def _listener(place: Place, labels: Mapping[str, str]) -> dict[str, Any]:
    """A pod that waits at the port that replicas have."""
    command = ["python3", "-m", "http.server", str(host.PORT)]
    probe = {"tcpSocket": {"port": host.PORT}, "periodSeconds": 1}
    container = {"name": place.container, "image": SHELL, "command": command, "readinessProbe": probe}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": place.pod, "namespace": place.namespace, "labels": dict(labels)},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def address_of(cluster: Cluster, place: Place) -> str:
    return str(cluster.get("pod", place.pod, "--namespace", place.namespace)["status"]["podIP"])


def inside(space: Space, places: Mapping[str, Place]) -> dict[str, Way]:
    """Every port of the guarded pods, and the Service."""
    engine, operator = (address_of(space.cluster, places[name]) for name in ("engine", "operator"))
    return {
        "service": (space.find(BY_KIND["Service"], NAME)["spec"]["clusterIP"], HTTP_PORT),
        "pod": (engine, host.PORT),
        "agent": (engine, AGENT_PORT),
        "engine's metrics": (engine, proxy.METRICS_PORT),
        "operator's metrics": (operator, OPERATOR_PORT),
        "retry": (operator, RETRY_PORT),
    }


def outside(cluster: Cluster, mirror: str, stranger: Place) -> dict[str, Way]:
    """What guarded pods may want, and what they may not."""
    (node,) = cluster.get("nodes")["items"]
    dns = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    hub_at = urlsplit(mirror)
    assert hub_at.hostname is not None
    assert hub_at.port is not None
    return {
        "DNS": (dns, DNS_PORT),
        "API server": (cluster.get("service", "kubernetes")["spec"]["clusterIP"], HTTPS_PORT),
        "stranger": (address_of(cluster, stranger), host.PORT),
        "mirror": (hub_at.hostname, hub_at.port),
        "public HTTPS": (PUBLIC, HTTPS_PORT),
        "public HTTP": (PUBLIC, HTTP_PORT),
        "private HTTPS": (PRIVATE, HTTPS_PORT),
        "private at the mirror's port": (PRIVATE, hub_at.port),
        **{f"{each}:{port}": (each, port) for each in METADATA for port in (HTTP_PORT, HTTPS_PORT, hub_at.port)},
    }


@pytest.mark.parametrize("place", COMES_IN)
def test_who_comes_in(walled: Walled, place: str) -> None:
    """Users reach the proxy; the agent, metrics and the operator are for those who need them."""
    eventually(lambda: _equal(walled.reach(place, walled.inwards), COMES_IN[place]))


@pytest.mark.parametrize("place", GOES_OUT)
def test_what_pods_reach(walled: Walled, place: str) -> None:
    """An engine whose weights are there finds names and nobody else; none gets to the node's credentials."""
    eventually(lambda: _equal(walled.reach(place, walled.outwards), GOES_OUT[place]))


def test_engines_find_names(walled: Walled) -> None:
    """Over UDP, as resolvers ask."""
    pod, namespace, container = walled.places["engine"]
    within = ("exec", pod, "--namespace", namespace, "--container", container, "--", "getent", "hosts")
    assert walled.inwards["service"][0] in walled.cluster.kubectl(*within, f"{NAME}.{SPACE}.svc.cluster.local")


def test_nothing_but_policies_shuts_the_ways(walled: Walled) -> None:
    """Once nobody enforces them, everybody is where they were looked for."""
    walled.enforcement.close()
    for place in COMES_IN:
        assert walled.reach(place, walled.inwards) == set(walled.inwards)
    for place in GOES_OUT:
        assert walled.reach(place, walled.outwards) == set(walled.outwards)


def _equal(found: set[str], expected: set[str]) -> None:
    assert found == expected
