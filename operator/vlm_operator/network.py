"""Who may reach the pods of a VLMDeployment, and what they may reach: the specs of its NetworkPolicies.

Policies know addresses and ports, no names of hosts: a mirror or a host of pictures is a port that is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from vlm_operator import download, names, proxy
from vlm_operator.names import Component
from vlm_operator.records import Revision
from vlm_operator.template import AGENT_PORT, MEDIA_DOMAINS, NO_DOMAIN
from vlmctl.serving import host
from vlmctl.specs.record import Record

DNS_PORT = 53
HTTP_PORT = 80
HTTPS_PORT = 443
OPERATOR = {names.NAME: "vlm-operator"}  # label of the operator's pods
# Variables of the engine that name what else it is to reach.
ADDRESSES = frozenset({"HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"})
# Where clouds answer with the credentials of the node.
METADATA_RANGES = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
# Where other services of the cluster and its network are (RFC 1918, 6598, 4193); the hub is not.
PRIVATE_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
ALL = ("0.0.0.0/0", "::/0")


class Prometheus(Record, frozen=True, kw_only=True):
    """The pods that may ask engines for metrics, by labels of their namespace and their own; no labels at all: none."""

    namespace_labels: Mapping[str, str] = {}
    pod_labels: Mapping[str, str] = {}


def engine_rules(name: str, revisions: Sequence[Revision], prometheus: Prometheus | None) -> dict[str, Any]:
    """For the pods that serve: requests from the whole cluster, the agent and metrics for the operator, metrics for
    Prometheus; out to the hub and to hosts of pictures, where one of the revisions needs either.
    """
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": OPERATOR}}
    entrances = [
        {"from": [{"namespaceSelector": {}}], "ports": [_port(host.PORT)]},
        {"from": [operator], "ports": [_port(AGENT_PORT), _port(proxy.METRICS_PORT)]},
    ]
    if prometheus is not None and prometheus != Prometheus():
        entrances.append({"from": [_peer(prometheus)], "ports": [_port(proxy.METRICS_PORT)]})
    return {
        "podSelector": {"matchLabels": names.selector(name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": entrances,
        "egress": list(_exits([each for each in revisions if _goes_out(each)])),
    }


def download_rules(name: str, revisions: Sequence[Revision]) -> dict[str, Any]:
    """For the pods of download Jobs: nobody in, and out to the hub."""
    return {
        "podSelector": {"matchLabels": {names.DEPLOYMENT: name, names.COMPONENT: Component.CACHE.value}},
        "policyTypes": ["Ingress", "Egress"],
        "egress": list(_exits([each for each in revisions if download.needed(each)])),
    }


def _exits(revisions: Sequence[Revision]) -> Iterator[dict[str, Any]]:
    """DNS, and HTTPS where any revision needs it; never to where the node's own credentials are."""
    yield {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]}  # a node's DNS cache has a link-local address
    if not revisions:
        return
    named = {port for each in revisions for port in _named_ports(each)}
    shut = METADATA_RANGES if named else (*METADATA_RANGES, *PRIVATE_RANGES)
    blocks = [{"cidr": cidr, "except": [each for each in shut if (":" in each) == (":" in cidr)]} for cidr in ALL]
    ports = sorted({HTTPS_PORT, *named})
    yield {"to": [{"ipBlock": block} for block in blocks], "ports": [_port(port) for port in ports]}


def _goes_out(revision: Revision) -> bool:
    """Whether the engine fetches its weights from the hub, or pictures from anywhere."""
    engine = _engine(revision)
    has_weights = any(each["name"] == "model" for each in revision.template["spec"]["volumes"])
    is_offline = any(each["name"] == "HF_HUB_OFFLINE" for each in engine["env"])
    return not (has_weights or is_offline) or f"{MEDIA_DOMAINS}={NO_DOMAIN}" not in engine["args"]


def _named_ports(revision: Revision) -> Iterator[int]:
    """Ports of the hub's mirror and of proxies, where the engine is told of one."""
    for variable in _engine(revision)["env"]:
        if variable["name"] in ADDRESSES and "value" in variable:
            named = variable["value"]
            with suppress(ValueError):  # no address: whoever reads the variable will say so
                address = urlsplit(named if "://" in named else f"//{named}")
                yield address.port or (HTTPS_PORT if address.scheme == "https" else HTTP_PORT)


def _engine(revision: Revision) -> dict[str, Any]:
    containers: Iterable[dict[str, Any]] = revision.template["spec"]["containers"]
    return next(each for each in containers if each["name"] == names.ENGINE)


def _peer(prometheus: Prometheus) -> dict[str, Any]:
    """Pods with these labels, in namespaces with those; no labels of the one mean any."""
    peer: dict[str, Any] = {"namespaceSelector": {}}
    if prometheus.namespace_labels:
        peer["namespaceSelector"] = {"matchLabels": dict(prometheus.namespace_labels)}
    if prometheus.pod_labels:
        peer["podSelector"] = {"matchLabels": dict(prometheus.pod_labels)}
    return peer


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": port, "protocol": protocol}
