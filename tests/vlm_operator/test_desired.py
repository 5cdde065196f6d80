"""The children of a VLMDeployment: all of them, by their names, owned, and no more open than they must be."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.desired import desired
from vlm_operator.download import job_name
from vlm_operator.network import Prometheus
from vlm_operator.proxy import METRICS_PORT
from vlm_operator.records import KubernetesObject, Verdict
from vlm_operator.rollout import Rollout, target
from vlm_operator.template import AGENT_PORT, template

from tests.vlm_operator.children import CACHED, NAME, PARENT, PLANNED, SPEC, of_kind, revision, serving, wanted
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import host
from vlmctl.serving.engine_args import ServeArgument

DIGEST = revision(CACHED).digest
OWNER = PARENT["metadata"]["uid"]
KINDS = [
    ("ServiceAccount", NAME),
    ("PersistentVolumeClaim", f"{NAME}-cache"),
    ("NetworkPolicy", NAME),
    ("NetworkPolicy", f"{NAME}-download"),
    ("ControllerRevision", f"{NAME}-{DIGEST}"),
    ("ConfigMap", f"{NAME}-{DIGEST}"),
    ("Job", job_name(NAME, revision(CACHED))),
    ("Service", NAME),
    ("PodDisruptionBudget", NAME),
    ("PodMonitor", NAME),
    ("Deployment", NAME),
]
PODS = {"namespaceSelector": {}}


def child(kind: str, spec: api.VLMDeploymentSpec = CACHED, name: str | None = None) -> KubernetesObject:
    return next(each for each in wanted(spec) if each["kind"] == kind and name in (None, each["metadata"]["name"]))


def selected(labels: dict[str, str]) -> dict[str, bool]:
    """Which pods a selector finds."""
    pods = {
        "engine": child("Deployment")["spec"]["template"]["metadata"]["labels"],
        "download": child("Job")["spec"]["template"]["metadata"]["labels"],
    }
    return {name: labels.items() <= own.items() for name, own in pods.items()}


def reaches(address: str, port: int, spec: api.VLMDeploymentSpec = SPEC, policy: str = NAME) -> bool:
    """Whether the policy lets a pod connect to an address, over TCP."""
    return leads_to(child("NetworkPolicy", spec, policy)["spec"], address, port)


def leads_to(rules: dict[str, Any], address: str, port: int) -> bool:
    there = ipaddress.ip_address(address)
    for rule in rules["egress"]:
        blocks = [each["ipBlock"] for each in rule.get("to", [{"ipBlock": {"cidr": f"{address}"}}])]
        is_open = any(
            there in ipaddress.ip_network(block["cidr"])
            and not any(there in ipaddress.ip_network(hole) for hole in block.get("except", ()))
            for block in blocks
        )
        if is_open and {"port": port, "protocol": "TCP"} in rule["ports"]:
            return True
    return False


def test_every_child_has_its_name() -> None:
    """All rooms find them by these names, in the order in which they are made."""
    assert [(each["kind"], each["metadata"]["name"]) for each in wanted(CACHED)] == KINDS


def test_every_child_says_whose_it_is() -> None:
    """By the labels that watches select and people know, in the namespace of its VLMDeployment."""
    for each in wanted(CACHED):
        labels = each["metadata"]["labels"]
        assert labels[names.MANAGED_BY] == names.FIELD_MANAGER
        assert labels[names.DEPLOYMENT] == labels[names.INSTANCE] == NAME
        assert each["metadata"]["namespace"] == "team"


def test_every_child_goes_with_its_owner() -> None:
    """The VLMDeployment takes its children along, a revision its files, and nobody a claim to be kept."""
    owners = {
        each["kind"]: [(owner["uid"], owner["controller"]) for owner in each["metadata"].get("ownerReferences", [])]
        for each in wanted(CACHED)
    }
    of_revision = [(f"uid-of-{DIGEST}", True)]
    kept = {"ConfigMap": of_revision, "PersistentVolumeClaim": []}
    assert owners == {kind: kept.get(kind, [(OWNER, True)]) for kind, _ in KINDS}
    mine = replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size="1Gi", retain=False)))
    assert child("PersistentVolumeClaim", mine)["metadata"]["ownerReferences"][0]["uid"] == OWNER


def test_nothing_before_a_plan() -> None:
    """A refused spec makes no object at all."""
    assert desired(PARENT, SPEC, Rollout(), new_api_key="k", monitors=True) == ()


def test_what_a_revision_owns_follows_it() -> None:
    """Its ConfigMap and Job name its uid, so they and the pods wait until it has one."""
    made = revision(CACHED, uid="", number=0)
    rollout = target(NAME, [made], made.digest, deployment=None)
    kinds = {each["kind"] for each in desired(PARENT, CACHED, rollout, new_api_key="k")}
    assert "ControllerRevision" in kinds
    assert not {"ConfigMap", "Job", "Deployment"} & kinds


def test_no_pod_before_its_weights() -> None:
    """The Job is there and the Deployment is not, so no GPU waits for a download."""
    made = revision(CACHED)
    rollout = target(NAME, [made], made.digest, deployment=None)
    kinds = {each["kind"] for each in desired(PARENT, CACHED, rollout, new_api_key="k")}
    assert {"ConfigMap", "Job"} <= kinds
    assert "Deployment" not in kinds


@pytest.mark.parametrize(
    ("spec", "has_job"),
    [
        (SPEC, False),
        (CACHED, True),
        (
            replace(
                CACHED, model=api.ModelReference(name="a", source=api.ModelSource(pvc=api.PvcSource(claim_name="w")))
            ),
            False,
        ),
    ],
    ids=["no cache", "hub", "volume"],
)
def test_only_the_hub_is_downloaded_from(spec: api.VLMDeploymentSpec, has_job: bool) -> None:
    """And only into a claim: elsewhere the weights are there, or each pod brings its own."""
    assert ("Job" in {each["kind"] for each in wanted(spec)}) is has_job


def test_the_key_is_made_once() -> None:
    """Until the status says that it is there, and never where the user has one; it is in no other child."""
    new = {**PARENT, "status": {}}
    assert of_kind(wanted(parent=new), "Secret")["stringData"] == {"api-key": "k"}
    assert of_kind(wanted(parent=new), "Secret")["metadata"]["ownerReferences"][0]["uid"] == OWNER
    own = replace(SPEC, api_key=api.SecretKey(name="mine", key="key"))
    for spec, parent in ((SPEC, PARENT), (own, new)):
        assert "Secret" not in {each["kind"] for each in wanted(spec, parent=parent)}


def test_only_engines_serve() -> None:
    """The Service, the budget of disruptions, the monitor and the Deployment find no pod of a download."""
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor", "Deployment"):
        selector = child(kind)["spec"]["selector"]
        assert selected(selector.get("matchLabels", selector)) == {"engine": True, "download": False}
    for name, found in (
        (NAME, {"engine": True, "download": False}),
        (f"{NAME}-download", {"engine": False, "download": True}),
    ):
        assert selected(child("NetworkPolicy", name=name)["spec"]["podSelector"]["matchLabels"]) == found


def test_the_service_ends_at_the_proxy() -> None:
    """Port 80 is the proxy's port, and no container opens another to users."""
    (port,) = child("Service")["spec"]["ports"]
    pods = child("Deployment")["spec"]["template"]["spec"]
    (proxy,) = pods["initContainers"]
    assert (port["port"], port["targetPort"]) == (80, proxy["ports"][0]["containerPort"])
    assert [each["name"] for each in pods["containers"] if "ports" in each] == [names.AGENT]


def test_replicas_are_in_no_child() -> None:
    """They are whoever's scales; an apply that drops them would set them to one."""
    assert "replicas" not in child("Deployment")["spec"]


@pytest.mark.parametrize(("surge", "steps"), [(True, (1, 0)), (False, (0, 1))])
def test_pods_follow_each_other(surge: bool, steps: tuple[int, int]) -> None:
    """A new one first, or an old one out of the way; a start may take its time and a stop as well."""
    rollout = replace(serving(), surge=surge)
    fields = of_kind(wanted(rollout=rollout), "Deployment")["spec"]
    assert tuple(fields["strategy"]["rollingUpdate"].values()) == steps
    stop_seconds = fields["template"]["spec"]["terminationGracePeriodSeconds"]
    assert fields["progressDeadlineSeconds"] == host.START_SECONDS + stop_seconds


def claimed(mode: str | None, replicas: int, held: str | None = None) -> tuple[str, int]:
    """The access mode of the claim, and how many pods more than wanted there may be."""
    asked = api.CachePvc(size="1Gi", access_mode=None if mode is None else api.AccessMode(mode))
    spec = replace(SPEC, cache=api.Cache(pvc=asked), scaling=api.Scaling(max=replicas))
    claim = None if held is None else {"spec": {"accessModes": [held]}}
    children = desired(PARENT, spec, serving(spec), new_api_key="k", held_claim=claim)
    steps = of_kind(children, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    return of_kind(children, "PersistentVolumeClaim")["spec"]["accessModes"][0], steps["maxSurge"]


def test_the_access_mode_is_what_the_replicas_need() -> None:
    """Where it is not said: one node for one replica, as every cluster has it, else many."""
    assert claimed(None, 1) == ("ReadWriteOnce", 0)
    assert claimed(None, 2) == ("ReadWriteMany", 1)
    assert claimed("ReadWriteMany", 1) == ("ReadWriteMany", 1)
    assert claimed("ReadWriteOnce", 2) == ("ReadWriteOnce", 0)


def test_a_volume_of_one_node_is_let_go_before_it_is_taken() -> None:
    """A new pod on another node would wait for the old one for ever; what counts is the mode that the claim has."""
    assert claimed(None, 2, held="ReadWriteOnce") == ("ReadWriteOnce", 0)
    assert claimed("ReadWriteOnce", 1, held="ReadWriteMany") == ("ReadWriteMany", 1)


def test_a_new_operator_restarts_nothing() -> None:
    """With another image of the agent, Deployment and ConfigMap are made of the revision as it is kept."""
    kept = revision(CACHED, verdict=Verdict.GOOD)
    newer = template(NAME, kept.digest, CACHED, PLANNED, agent_image="ghcr.io/vlmctl/vlm-operator:2")
    assert newer != kept.template
    rollout = target(NAME, [kept], kept.digest, deployment=None)
    assert of_kind(wanted(CACHED, rollout), "Deployment")["spec"]["template"] == kept.template
    assert of_kind(wanted(CACHED, rollout), "ConfigMap")["data"] == kept.config


def entrances(prometheus: Prometheus | None = None) -> list[tuple[list[dict[str, Any]], list[int]]]:
    """Who may come in, at which ports."""
    children = desired(PARENT, SPEC, serving(), new_api_key="k", prometheus=prometheus)
    rules = of_kind(children, "NetworkPolicy")["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    return [(rule["from"], [port["port"] for port in rule["ports"]]) for rule in rules["ingress"]]


def test_requests_come_from_the_cluster_and_the_agent_hears_the_operator_alone() -> None:
    """Two rules, and everything else is shut."""
    operator = {**PODS, "podSelector": {"matchLabels": {names.NAME: "vlm-operator"}}}
    assert entrances() == [([PODS], [host.PORT]), ([operator], [AGENT_PORT, METRICS_PORT])]
    assert entrances(Prometheus()) == entrances()


@pytest.mark.parametrize(
    ("prometheus", "peer"),
    [
        (Prometheus(pod_labels={"a": "b"}), {**PODS, "podSelector": {"matchLabels": {"a": "b"}}}),
        (Prometheus(namespace_labels={"n": "m"}), {"namespaceSelector": {"matchLabels": {"n": "m"}}}),
        (
            Prometheus(namespace_labels={"n": "m"}, pod_labels={"a": "b"}),
            {"namespaceSelector": {"matchLabels": {"n": "m"}}, "podSelector": {"matchLabels": {"a": "b"}}},
        ),
    ],
)
def test_prometheus_gets_metrics_and_nothing_else(prometheus: Prometheus, peer: dict[str, Any]) -> None:
    """Pods with all the labels that the configuration names, at the port for metrics."""
    assert entrances(prometheus)[2:] == [([peer], [METRICS_PORT])]


def test_nobody_comes_in_to_a_download() -> None:
    """No rule for that direction shuts it."""
    rules = child("NetworkPolicy", name=f"{NAME}-download")["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in rules


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("18.164.174.17", 443, True),
        ("2600:9000::1", 443, True),
        ("10.96.0.10", 53, True),
        ("169.254.20.10", 53, True),
        ("169.254.169.254", 443, False),
        ("169.254.170.2", 443, False),
        ("fd00:ec2::254", 443, False),
        ("fe80::a9fe:a9fe", 443, False),
        ("169.254.169.254", 80, False),
        ("10.0.0.5", 5432, False),
        ("10.0.0.5", 3128, False),
        ("10.0.0.5", 443, False),
        ("172.20.0.1", 443, False),
        ("192.168.0.1", 443, False),
        ("100.100.100.200", 443, False),
        ("fd12::1", 443, False),
    ],
)
def test_pods_reach_the_hub_and_never_the_nodes_credentials(address: str, port: int, expected: bool) -> None:
    """DNS, a node's own included, and HTTPS, but not in private networks or where clouds answer with credentials."""
    assert reaches(address, port) is expected
    assert reaches(address, port, CACHED, f"{NAME}-download") is expected


@pytest.mark.parametrize(
    "spec",
    [
        CACHED,
        replace(SPEC, model=api.ModelReference(name="a", source=api.ModelSource(pvc=api.PvcSource(claim_name="w")))),
        replace(SPEC, model=api.ModelReference(name="a", source=api.ModelSource(image=api.ImageSource(reference="w")))),
    ],
    ids=["cache", "volume", "image"],
)
def test_engines_whose_weights_are_there_reach_nothing(spec: api.VLMDeploymentSpec) -> None:
    """Names are still resolved; a Job that downloads has a policy of its own, and only where there is one."""
    assert not reaches("18.164.174.17", 443, spec)
    assert reaches("10.96.0.10", 53, spec)
    policies = [each["metadata"]["name"] for each in wanted(spec) if each["kind"] == "NetworkPolicy"]
    assert policies == [NAME, *([f"{NAME}-download"] if spec.cache else [])]


def test_hosts_of_pictures_are_reached() -> None:
    """By an engine that may fetch from any, on the port of HTTPS, outside private networks."""
    domains = ServeArgument(flag="--allowed-media-domains", values=("images.example",), reason="")
    planned = replace(PLANNED, arguments=(*PLANNED.arguments, domains))
    rollout = serving(CACHED, planned)
    rules = next(
        each for each in wanted(CACHED, rollout) if each["metadata"]["name"] == NAME and each["kind"] == "NetworkPolicy"
    )["spec"]
    assert leads_to(rules, "18.164.174.17", 443)
    assert not leads_to(rules, "10.0.0.5", 443)


def test_the_ways_out_are_those_of_all_revisions_that_may_run() -> None:
    """While another is rolled out, its mirror is open beside that of the one that runs."""
    mirrors = {"old": "http://hub.example:8001", "new": "http://hub.example:8002"}
    old, new = (
        revision(replace(SPEC, quantization=api.Quantization(each)), number=number, verdict=verdict)
        for each, number, verdict in (("BF16", 1, Verdict.GOOD), ("FP8", 2, Verdict.UNKNOWN))
    )
    for made, address in ((old, mirrors["old"]), (new, mirrors["new"])):
        made.template["spec"]["containers"][0]["env"].append({"name": "HF_ENDPOINT", "value": address})
    rollout = Rollout(revisions=(old, new), wanted=new, carried=old)
    rules = of_kind(wanted(SPEC, rollout), "NetworkPolicy")["spec"]
    assert leads_to(rules, "10.0.0.5", 8001)
    assert leads_to(rules, "10.0.0.5", 8002)


@pytest.mark.parametrize(
    ("name", "value", "port"),
    [
        ("HTTPS_PROXY", "http://proxy.example:3128", 3128),
        ("https_proxy", "proxy.example:3128", 3128),
        ("HF_ENDPOINT", "http://hub.example", 80),
        ("HF_ENDPOINT", "https://hub.example:8443/mirror", 8443),
    ],
)
def test_pods_reach_what_they_are_told_of(name: str, value: str, port: int) -> None:
    """A proxy or a mirror of the hub listens where it listens, not on the nodes' addresses."""
    spec = replace(SPEC, engine=api.Engine(env=(api.Variable(name=name, value=value),)))
    assert reaches("10.0.0.5", port, spec)
    assert reaches("10.0.0.5", 443, spec)
    assert not reaches("169.254.169.254", port, spec)


@given(st.text(max_size=30))
def test_no_address_stops_the_operator(value: str) -> None:
    """What a user writes there is theirs."""
    spec = replace(SPEC, engine=api.Engine(env=(api.Variable(name="HTTPS_PROXY", value=value),)))
    ports = [port["port"] for port in child("NetworkPolicy", spec)["spec"]["egress"][1]["ports"]]
    assert 443 in ports
    assert all(0 < port < 65536 for port in ports)


def test_monitors_where_there_are_any() -> None:
    """A cluster without that kind gets none."""
    endpoints = child("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert [(each["port"], each["path"]) for each in endpoints] == [
        ("metrics", "/metrics"),
        ("metrics", "/proxy/metrics"),
    ]
    plain = desired(PARENT, SPEC, serving(), new_api_key="k")
    assert "PodMonitor" not in {each["kind"] for each in plain}


def test_children_are_json() -> None:
    """Nothing in them is lost on the way to the API server."""
    objects: Any = list(wanted(CACHED))
    assert json.loads(json.dumps(objects)) == objects
