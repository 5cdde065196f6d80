"""The CRDs on a real API server: what it lets in, refuses and fills in, and what people see of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.cluster.clusters import Cluster, crds
from tests.support.crd_strategies import (
    NOTHING,
    TWINS,
    benchmark_schema,
    benchmarks,
    deployment_schema,
    deployments,
    refused_deployments,
    with_defaults,
)
from vlmctl.api import v1alpha1 as api

NAMED = {"name": "qwen3-vl-8b"}
DRY = {"dryRun": "All", "fieldValidation": "Strict"}
SOME = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MOMENT = "2026-01-01T00:00:00Z"
_numbers = count()


class Server:
    """Requests to the API server, as the administrator."""

    def __init__(self, cluster: Cluster) -> None:
        (entry,) = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"]
        tls = ssl.create_default_context(cafile=cluster.folder / "ca.crt")
        tls.load_cert_chain(cluster.folder / "admin.crt", cluster.folder / "admin.key")
        root = f"{entry['cluster']['server']}/apis/{api.API_VERSION}/namespaces/default"
        self.client = httpx.Client(base_url=root, verify=tls, trust_env=False, timeout=60)

    def create(self, body: dict[str, Any], kind: str = api.KIND, **parameters: str) -> httpx.Response:
        """Ask for an object."""
        return self.client.post(f"/{kind.lower()}s", json=body, params=parameters)

    def patch(self, body: dict[str, Any], change: dict[str, Any], subresource: str = "") -> httpx.Response:
        """Ask for a change of an object."""
        path = f"/{body['kind'].lower()}s/{body['metadata']['name']}{subresource}"
        return self.client.patch(path, json=change, headers={"Content-Type": "application/merge-patch+json"})


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster, cluster_bin: Path) -> Cluster:
    """One that serves our kinds."""
    definitions = crds(cluster_bin)
    control_plane.apply(*definitions)
    names = [f"crd/{definition['metadata']['name']}" for definition in definitions]
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return control_plane


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Server]:
    """Its API server."""
    asked = Server(cluster)
    with asked.client:
        yield asked


def deployment(spec: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """A VLMDeployment as a user writes it."""
    metadata = {"name": name or f"made-{next(_numbers)}"}
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": spec}


def told(response: httpx.Response) -> str:
    """Why the API server refused; fails where it did not."""
    assert response.status_code == 422, response.text
    message: str = response.json()["message"]
    return message


def test_the_schemas_are_structural(cluster: Cluster) -> None:
    """The API server has no complaint about a CRD, so it prunes, defaults and explains."""
    for definition in cluster.get("crd")["items"]:
        conditions = {each["type"]: each["status"] for each in definition["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


@SOME
@given(body=deployments(NOTHING))
def test_what_the_schema_lets_in_is_stored_with_its_defaults(server: Server, body: dict[str, Any]) -> None:
    """The random objects of other tests are such that a cluster has."""
    response = server.create(body, **DRY)
    assert response.status_code == 201, response.text
    assert response.json()["spec"] == with_defaults(deployment_schema(), body)["spec"]


@SOME
@given(body=refused_deployments(NOTHING))
def test_what_the_schema_refuses_is_refused(server: Server, body: dict[str, Any]) -> None:
    """No bound is only in our files."""
    assert server.create(body, **DRY).status_code in (400, 422)


@SOME
@given(body=benchmarks())
def test_benchmarks_are_let_in(server: Server, body: dict[str, Any]) -> None:
    """What a replica measured fits into its kind."""
    response = server.create(body, api.BENCHMARK_KIND, **DRY)
    assert response.status_code == 201, response.text
    assert response.json()["spec"] == with_defaults(benchmark_schema(), body)["spec"]


BROKEN = {
    "give exactly one of huggingFace, pvc and image": {"model": {**NAMED, "source": {}}},
    "give name (of the catalog) or source": {"model": {}},
    "source.huggingFace needs a repository where no name is given": {"model": {"source": {"huggingFace": {}}}},
    "a checkpoint on a volume or in an image needs name or facts, to plan with": {
        "model": {"source": {"image": {"reference": "a"}}}
    },
    "facts describe the model of a source: give source too": {"model": {**NAMED, "facts": {"config": "{}"}}},
    "must not contain '..'": {"model": {**NAMED, "source": {"pvc": {"claimName": "a", "path": "/a/.."}}}},
    "must be above 0, such as 50ms or 2s": {"model": NAMED, "objectives": {"ttft": "0s"}},
    "min must not be above max": {"model": NAMED, "scaling": {"min": 2}},
    "targetUtilization must be 0.05 to 1": {"model": NAMED, "scaling": {"targetUtilization": "0.049"}},
    "idle must be at most 24h": {"model": NAMED, "scaling": {"idle": "1441m"}},
    "budget must be 10s to 1h": {"model": NAMED, "benchmark": {"budget": "9.9s"}},
    "operator Exists takes no value": {
        "model": NAMED,
        "pod": {"tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]},
    },
    "operator Equal needs a key": {"model": NAMED, "pod": {"tolerations": [{"value": "b"}]}},
    "tolerationSeconds is for effect NoExecute": {
        "model": NAMED,
        "pod": {"tolerations": [{"key": "a", "tolerationSeconds": 1, "effect": "NoSchedule"}]},
    },
}


@pytest.mark.parametrize("message", TWINS)
def test_a_rule_says_what_is_wrong(server: Server, message: str) -> None:
    """Whoever breaks a rule is told at once, before any object is there."""
    assert message in told(server.create(deployment(BROKEN[message]), **DRY))


def test_a_label_key_is_checked_before_any_pod_is_made(server: Server) -> None:
    """The Deployment would be refused later, where its author does not look."""
    spec = {"model": NAMED, "pod": {"labels": {"not/a/key": "x"}}}
    assert "keys must match" in told(server.create(deployment(spec), **DRY))


@pytest.mark.parametrize("name", ["a" * 53, "1a", "a.b", "kubernetes", "kubernetes-service"])
def test_a_name_that_its_service_could_not_have_is_refused(server: Server, name: str) -> None:
    """Children have the name too, some with more behind it."""
    assert "the name must" in told(server.create(deployment({"model": NAMED}, name), **DRY))


def test_an_unknown_field_is_refused(server: Server) -> None:
    """As kubectl asks for it, a misspelt field is an error."""
    response = server.create(deployment({"model": NAMED, "hardwear": {}}), **DRY)
    assert response.status_code == 400
    assert 'unknown field "spec.hardwear"' in response.json()["message"]


class TestCache:
    CLAIM: ClassVar = {"size": "100Gi", "storageClassName": "fast"}

    @pytest.fixture
    def cached(self, server: Server) -> dict[str, Any]:
        """A VLMDeployment with a cache, stored."""
        body = deployment({"model": NAMED, "cache": {"pvc": self.CLAIM}})
        assert server.create(body).status_code == 201
        return body

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"size": "90Gi"}, "a volume does not shrink"),
            ({"storageClassName": "slow"}, "storageClassName cannot change"),
            ({"storageClassName": None}, "storageClassName cannot change"),
            ({"accessMode": "ReadWriteOnce"}, "accessMode cannot change"),
        ],
    )
    def test_what_a_claim_cannot_change_cannot_be_asked_for(
        self, server: Server, cached: dict[str, Any], change: dict[str, Any], message: str
    ) -> None:
        """The claim would stay as it is, and the spec would tell otherwise."""
        assert message in told(server.patch(cached, {"spec": {"cache": {"pvc": change}}}))

    @pytest.mark.parametrize("change", [{"size": "1Ti"}, {"size": 200_000_000_000}, {"retain": False}])
    def test_the_rest_can(self, server: Server, cached: dict[str, Any], change: dict[str, Any]) -> None:
        """A claim may grow, and be kept or not."""
        assert server.patch(cached, {"spec": {"cache": {"pvc": change}}}).status_code == 200

    def test_a_cache_can_be_given_up(self, server: Server, cached: dict[str, Any]) -> None:
        """Rules about a change do not keep anyone from ending it."""
        assert server.patch(cached, {"spec": {"cache": None}}).status_code == 200


def test_a_measurement_does_not_change(server: Server) -> None:
    """A figure that could be edited would be no measurement."""
    key = {"model": "m", "checkpoint": "a/m", "precision": "bf16", "gpuProduct": "NVIDIA-L4", "gpuCount": 1}
    key |= {"engineImage": "vllm:1", "arguments": [], "workload": {}}
    figures = {"concurrency": 8, "requestsPerSecond": "2.5", "interval": "2.4-2.6", "measured": "2026-01-01T00:00:00Z"}
    spec = {"key": key, "gpu": "L4", "engineVersion": "1", **figures}
    kind = {"apiVersion": api.API_VERSION, "kind": api.BENCHMARK_KIND}
    body = {**kind, "metadata": {"name": "measured"}, "spec": spec}
    assert server.create(body, api.BENCHMARK_KIND).status_code == 201
    assert "a measurement does not change" in told(server.patch(body, {"spec": {"requestsPerSecond": "99"}}))
    assert server.patch(body, {"metadata": {"labels": {"seen": "yes"}}}).status_code == 200


def test_scale_writes_replicas(cluster: Cluster, server: Server) -> None:
    """`kubectl scale`, autoscalers and people change the same field."""
    body = deployment({"model": NAMED})
    assert server.create(body).status_code == 201
    name = body["metadata"]["name"]
    cluster.kubectl("scale", "vlmd", name, "--replicas=3")
    assert cluster.get("vlmd", name)["spec"]["replicas"] == 3
    status = {"status": {"replicas": 2, "selector": "vlmctl.dev/deployment=x"}}
    assert server.patch(body, status, "/status").status_code == 200
    scale = cluster.get("vlmd", name, "--subresource=scale")
    assert scale["status"] == {"replicas": 2, "selector": "vlmctl.dev/deployment=x"}


def test_people_see_model_state_speed_and_price(cluster: Cluster, server: Server) -> None:
    """`kubectl get vlmd` on a line, and nothing cut off by a path that is not there."""
    body = deployment({"model": NAMED}, "shop")
    assert server.create(body).status_code == 201
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": MOMENT}
    plan = {"checkpoint": "a/b", "precision": "fp8", "gpu": "L4", "gpuCount": 1, "requestsPerSecond": "2"}
    plan |= {"ttft": "1s", "tpot": "30ms", "basis": "estimated"}
    measured = {"requestsPerSecond": "2.45", "interval": "2.4-2.5", "concurrency": 8, "ttft": "1s", "tpot": "30ms"}
    status = {"model": "qwen3-vl-8b", "ready": "1/1", "conditions": [ready], "plan": plan}
    status["benchmark"] = {**measured, "measured": MOMENT}
    status["cost"] = {"hourlyUSD": "0.80", "saturatedPer1kUSD": "0.091", "basis": "measured"}
    assert server.patch(body, {"status": status}, "/status").status_code == 200
    head, line = cluster.kubectl("get", "vlmd", "shop").splitlines()
    assert head.split() == ["NAME", "MODEL", "GPU", "READY", "REASON", "REQ/S", "$/1K", "AGE"]
    assert line.split()[:-1] == ["shop", "qwen3-vl-8b", "L4", "1/1", "Ready", "2.45", "0.091"]
    assert "vlmdeployment.vlmctl.dev/shop" in cluster.kubectl("get", "vlm", "-o", "name")


def test_explain_tells_every_field(cluster: Cluster) -> None:
    """What the records say of a field is what a user reads on the cluster."""
    explained = " ".join(cluster.kubectl("explain", "vlmdeployment.spec").split())
    for name, field in deployment_schema()["properties"]["spec"]["properties"].items():
        assert field["description"] in explained, name
