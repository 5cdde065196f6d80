"""Who may reach the pods of a VLMDeployment, and what they may reach: the specs of its NetworkPolicies.

Policies know addresses and ports, no names of hosts: a host of pictures is port 443 outside private networks, and a
mirror of the hub is its port anywhere.
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
MIRROR = "HF_ENDPOINT"  # variable of the engine: where the hub is, if elsewhere
OPERATOR = {names.NAME: "vlm-operator"}  # label of the operator's pods
# Where clouds answer with the credentials of the node; the single ones are of Alibaba, Azure, AWS and Google.
METADATA_RANGES = (
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fe80::/10",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
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
    `revisions`: those that pods may be of.
    """
    fetching = [each for each in revisions if _fetches_weights(each)]
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
        "egress": list(_exits(fetching, pictures=any(_takes_pictures(each) for each in revisions))),
    }


def download_rules(name: str, revisions: Sequence[Revision]) -> dict[str, Any]:
    """For the pods of download Jobs: nobody in, and out to the hub."""
    return {
        "podSelector": {"matchLabels": {names.DEPLOYMENT: name, names.COMPONENT: Component.CACHE.value}},
        "policyTypes": ["Ingress", "Egress"],
        "egress": list(_exits([each for each in revisions if download.needed(each)])),
    }


def _exits(fetching: Sequence[Revision], *, pictures: bool = False) -> Iterator[dict[str, Any]]:
    """DNS; HTTPS to public addresses where anything needs it; the hub's mirror for those that fetch from it. Never to
    where the node's own credentials are.

    The mirror's port is a rule of its own: with it, no other port leads into private networks.
    """
    yield {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]}  # a node's DNS cache has a link-local address
    if fetching or pictures:
        yield _exit([HTTPS_PORT], (*METADATA_RANGES, *PRIVATE_RANGES))
    mirrors = sorted({port for each in fetching for port in _mirror_ports(each)})
    if mirrors:
        yield _exit(mirrors, METADATA_RANGES)


def _exit(ports: Sequence[int], shut: Sequence[str]) -> dict[str, Any]:
    blocks = [{"cidr": cidr, "except": [each for each in shut if (":" in each) == (":" in cidr)]} for cidr in ALL]
    return {"to": [{"ipBlock": block} for block in blocks], "ports": [_port(port) for port in ports]}


def _fetches_weights(revision: Revision) -> bool:
    """Whether the engine itself brings its weights from the hub."""
    has_weights = any(each["name"] == "model" for each in revision.template["spec"]["volumes"])
    is_offline = any(each["name"] == "HF_HUB_OFFLINE" for each in _engine(revision)["env"])
    return not (has_weights or is_offline)


def _takes_pictures(revision: Revision) -> bool:
    """Whether requests may name hosts of pictures."""
    return f"{MEDIA_DOMAINS}={NO_DOMAIN}" not in _engine(revision)["args"]


def _mirror_ports(revision: Revision) -> Iterator[int]:
    """The port of the hub's mirror, where the engine is told of one."""
    for variable in _engine(revision)["env"]:
        if variable["name"] == MIRROR:
            with suppress(ValueError):  # no address: whoever reads the variable will say so
                address = urlsplit(variable["value"])
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
