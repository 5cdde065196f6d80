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
from vlm_operator.desired import Monitors, desired
from vlm_operator.download import job_name
from vlm_operator.network import Prometheus
from vlm_operator.proxy import METRICS_PORT
from vlm_operator.records import KubernetesObject, Revision, Verdict
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
    ("NetworkPolicy", f"{NAME}.download"),
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
    assert desired(PARENT, SPEC, Rollout(), new_api_key="k", monitors=Monitors()) == ()


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
        (f"{NAME}.download", {"engine": False, "download": True}),
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
    rules = child("NetworkPolicy", name=f"{NAME}.download")["spec"]
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
        ("fd20:ce::254", 443, False),
        ("fe80::a9fe:a9fe", 443, False),
        ("169.254.169.254", 80, False),
        ("10.0.0.5", 5432, False),
        ("10.0.0.5", 3128, False),
        ("10.0.0.5", 443, False),
        ("172.20.0.1", 443, False),
        ("192.168.0.1", 443, False),
        ("100.100.100.200", 443, False),
        ("168.63.129.16", 443, False),
        ("fd12::1", 443, False),
    ],
)
def test_pods_reach_the_hub_and_never_the_nodes_credentials(address: str, port: int, expected: bool) -> None:
    """DNS, a node's own included, and HTTPS, but not in private networks or where clouds answer with credentials."""
    assert reaches(address, port) is expected
    assert reaches(address, port, CACHED, f"{NAME}.download") is expected


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
    assert policies == [NAME, *([f"{NAME}.download"] if spec.cache else [])]


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


def told_of(made: Revision, mirror: str) -> Revision:
    """The revision, with a mirror of the hub."""
    made.template["spec"]["containers"][0]["env"].append({"name": "HF_ENDPOINT", "value": mirror})
    return made


def engine_exits(rollout: Rollout, spec: api.VLMDeploymentSpec = SPEC, name: str = NAME) -> dict[str, Any]:
    """The policy of the pods that serve, or another."""
    policies = [each for each in wanted(spec, rollout) if each["kind"] == "NetworkPolicy"]
    found: dict[str, Any] = next(each["spec"] for each in policies if each["metadata"]["name"] == name)
    return found


def old_and_new() -> tuple[Revision, Revision]:
    """One that has proved good, and another that nothing is known of."""
    old, new = (
        revision(replace(SPEC, quantization=api.Quantization(each)), number=number, verdict=verdict)
        for each, number, verdict in (("BF16", 1, Verdict.GOOD), ("FP8", 2, Verdict.UNKNOWN))
    )
    return told_of(old, "http://hub.example:8001"), told_of(new, "http://hub.example:8002")


def test_the_ways_out_are_those_of_all_revisions_that_may_run() -> None:
    """While another is rolled out, its mirror is open beside that of the one that runs."""
    old, new = old_and_new()
    rules = engine_exits(Rollout(revisions=(old, new), wanted=new, carried=old))
    assert leads_to(rules, "10.0.0.5", 8001)
    assert leads_to(rules, "10.0.0.5", 8002)


def test_pods_that_still_serve_keep_their_ways_out() -> None:
    """The Deployment has the new template long before the new pods answer; old ones go out until they are gone."""
    old, new = old_and_new()
    of_old = {
        "metadata": {"labels": {names.REVISION: old.digest, names.COMPONENT: names.Component.ENGINE.value}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    deployment: KubernetesObject = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 1, "template": new.template},
        "status": {"observedGeneration": 2},
    }
    for pods, is_open in (([of_old], True), ([], False)):
        rollout = target(NAME, [old, new], new.digest, deployment=deployment, pods=pods)
        assert (rollout.wanted, rollout.carried) == (new, new)
        assert leads_to(engine_exits(rollout), "10.0.0.5", 8001) is is_open
        assert leads_to(engine_exits(rollout), "10.0.0.5", 8002)


@pytest.mark.parametrize(
    ("mirror", "port"),
    [("http://hub.example", 80), ("http://hub.example:8080", 8080), ("https://hub.example:8443/mirror", 8443)],
)
@pytest.mark.parametrize(("spec", "policy"), [(SPEC, NAME), (CACHED, f"{NAME}.download")], ids=["engine", "download"])
def test_a_mirror_is_one_port_and_no_more(mirror: str, port: int, spec: api.VLMDeploymentSpec, policy: str) -> None:
    """It may be in a private network; other services there, and the nodes' credentials, stay out of reach."""
    made = told_of(revision(spec, verdict=Verdict.GOOD), mirror)
    rules = engine_exits(target(NAME, [made], made.digest, deployment=None), spec, policy)
    assert leads_to(rules, "10.0.0.5", port)
    assert leads_to(rules, "18.164.174.17", 443)
    assert not leads_to(rules, "10.0.0.5", 443)
    assert not leads_to(rules, "18.164.174.17", 22)
    for credentials in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"):
        assert not leads_to(rules, credentials, port)


def test_an_engine_that_goes_out_for_pictures_alone_reaches_no_mirror() -> None:
    """Its weights are there: the port would only lead its pictures' URLs into private networks."""
    domains = ServeArgument(flag="--allowed-media-domains", values=("images.example",), reason="")
    planned = replace(PLANNED, arguments=(*PLANNED.arguments, domains))
    made = told_of(revision(CACHED, planned, verdict=Verdict.GOOD), "http://hub.example:8080")
    rules = engine_exits(target(NAME, [made], made.digest, deployment=None), CACHED)
    assert leads_to(rules, "18.164.174.17", 443)
    assert not leads_to(rules, "10.0.0.5", 8080)
    assert not leads_to(rules, "10.0.0.5", 443)


@given(st.text(max_size=30))
def test_no_address_stops_the_operator(value: str) -> None:
    """The configuration's mirror may be anything."""
    made = told_of(revision(verdict=Verdict.GOOD), value)
    rules = engine_exits(target(NAME, [made], made.digest, deployment=None))
    ports = [port["port"] for rule in rules["egress"][1:] for port in rule["ports"]]
    assert 443 in ports
    assert all(0 < port < 65536 for port in ports)


def test_monitors_where_there_are_any() -> None:
    """A cluster without that kind gets none."""
    endpoints = child("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert [(each["port"], each["path"]) for each in endpoints] == [
        ("metrics", "/metrics"),
        ("metrics", "/proxy/metrics"),
        ("metrics", "/proxy/metrics"),
    ]
    # One label alone says whose series they are, as on those of the operator.
    assert "podTargetLabels" not in child("PodMonitor")["spec"]
    for each in endpoints[:2]:
        assert [rule["targetLabel"] for rule in each["relabelings"]] == ["deployment", "metrics_path"]
    plain = desired(PARENT, SPEC, serving(), new_api_key="k")
    assert "PodMonitor" not in {each["kind"] for each in plain}


def test_readiness_is_told_apart_from_what_is_counted() -> None:
    """Counts go on over it, under the same labels; `up` alone is there once more, of pods that are ready."""
    *counted, asked = child("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert "__meta_kubernetes_pod_ready" not in json.dumps(counted)
    keep, *labels = asked["relabelings"]
    assert (keep["action"], keep["sourceLabels"], keep["regex"]) == ("keep", ["__meta_kubernetes_pod_ready"], "true")
    assert [rule["targetLabel"] for rule in labels] == ["ready", "deployment"]
    assert asked["metricRelabelings"] == [{"action": "drop", "sourceLabels": ["__name__"], "regex": ".*"}]


def test_a_monitor_that_the_api_server_filled_in_is_right() -> None:
    """It puts the usual action where none is said, which would be a difference for ever."""
    for each in child("PodMonitor")["spec"]["podMetricsEndpoints"]:
        assert all("action" in rule for rule in [*each["relabelings"], *each.get("metricRelabelings", [])])


def test_monitors_are_found_by_the_prometheus_that_is_there() -> None:
    """It selects them by labels of its own (kube-prometheus-stack: `release`), beside which ours stay."""
    asked = Monitors(labels={"release": "prometheus", names.DEPLOYMENT: "other"}, interval="10s")
    monitor = of_kind(desired(PARENT, SPEC, serving(), new_api_key="k", monitors=asked), "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["metadata"]["labels"][names.DEPLOYMENT] == NAME
    assert {each["interval"] for each in monitor["spec"]["podMetricsEndpoints"]} == {"10s"}


def test_children_are_json() -> None:
    """Nothing in them is lost on the way to the API server."""
    objects: Any = list(wanted(CACHED))
    assert json.loads(json.dumps(objects)) == objects
