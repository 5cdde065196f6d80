"""What a spec may put into pods: the fields whose values are free text to the schema, and not to the namespace.

Who may write VLMDeployments may not thereby run code, read Secrets, or borrow what admission controllers, networks and
Services give to pods with certain words on them. Each rule lists what may be; where that cannot be, what may not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from vlm_operator import names
from vlm_operator.given_arguments import EXPANDED, RULES
from vlmctl.api import v1alpha1 as api

OWN_DOMAIN = f"{api.GROUP}/"
LABELS = frozenset(names.labels("", names.Component.ENGINE))
# What Services and NetworkPolicies of others commonly find their pods by.
SELECTING = frozenset({"app", "component", "k8s-app", "name", "release", "role", "run", "service", "tier"})
# With a domain in front, labels and annotations are instructions to some controller: of these it is known to which.
LABEL_DOMAINS = frozenset({"kueue.x-k8s.io"})
ANNOTATION_DOMAINS = frozenset({"cluster-autoscaler.kubernetes.io", "karpenter.sh", "kueue.x-k8s.io", "prometheus.io"})
SECRET_BEGINNINGS = ("vlm-", "hugging-face")
SYSTEM_PRIORITY = "system-"  # classes that push out what the cluster itself lives on
CONTROL_PLANE = ("node-role.kubernetes.io/", "CriticalAddonsOnly")  # beginnings of taints of the cluster's own nodes
INSIDE = (".local", ".internal", ".svc", ".localhost", ".arpa", ".consul", ".lan", ".home", ".corp", ".intranet")
# Variables that something else says.
SAID_ELSEWHERE = {
    "VLLM_API_KEY": "spec.apiKey",
    "HF_TOKEN": "spec.model.source.huggingFace.tokenSecret",
    "HF_ENDPOINT": "the chart's hub.endpoint",
}


def breaches(spec: api.VLMDeploymentSpec) -> Iterator[tuple[str, str]]:
    """Each field that says what it may not, and why, as a sentence that ends with what to do."""
    engine, pod = spec.engine or api.Engine(), spec.pod or api.PodOverrides()
    yield from _variables(engine)
    yield from _domains(engine)
    yield from _secrets(spec)
    yield from _labels(pod)
    for key in pod.annotations:
        domain, slash, _ = key.partition("/")
        if key.startswith(OWN_DOMAIN):
            yield f"spec.pod.annotations: {key}", "is decided by the operator. Leave it out."
        elif slash and domain not in ANNOTATION_DOMAINS:
            yield f"spec.pod.annotations: {key}", f"may instruct a controller. {_without(ANNOTATION_DOMAINS)}"
    for toleration in pod.tolerations:
        if toleration.key is None:
            yield "spec.pod.tolerations", "one tolerates every taint. Name the key of each."
        elif toleration.key.startswith(CONTROL_PLANE):
            yield (
                f"spec.pod.tolerations: {toleration.key}",
                "is of the cluster's own nodes. Leave it out.",
            )
    if pod.priority_class_name is not None and pod.priority_class_name.startswith(SYSTEM_PRIORITY):
        yield "spec.pod.priorityClassName", "is a class of the cluster itself. Name another, or leave it out."


def _variables(engine: api.Engine) -> Iterator[tuple[str, str]]:
    for variable in engine.env:
        field = f"spec.engine.env: {variable.name}"
        if variable.name in SAID_ELSEWHERE:
            yield field, f"is decided by {SAID_ELSEWHERE[variable.name]}. Leave it out."
        elif variable.name not in RULES.variables:
            yield field, "is not among the variables that may be set (docs/security.md). Leave it out."
        elif EXPANDED in variable.value:
            yield field, f"holds {EXPANDED}, which would be replaced. Leave it out."
        elif "/" in variable.value:
            yield field, "may not name a path or an address. Give a number, a name or a switch."


def _domains(engine: api.Engine) -> Iterator[tuple[str, str]]:
    for domain in engine.allowed_media_domains:
        host = domain.lower()
        if _is_address(host):
            yield f"spec.engine.allowedMediaDomains: {domain}", "is an address. Give the name of a public host."
        elif "." not in host or host.endswith(INSIDE):
            yield f"spec.engine.allowedMediaDomains: {domain}", "is not public. Give the name of a public host."


def _is_address(host: str) -> bool:
    """An IP address, in a form that some resolver takes: ``127.1``, ``0x7f000001`` and ``2130706433`` are 127.0.0.1."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]
        return last.isdigit() or last.startswith("0x")
    return True


def _secrets(spec: api.VLMDeploymentSpec) -> Iterator[tuple[str, str]]:
    """The operator may not read Secrets, so what they are for is in their names."""
    source = spec.model.source or api.ModelSource()
    token = source.hugging_face.token_secret if source.hugging_face is not None else None
    token_field = "spec.model.source.huggingFace.tokenSecret"
    for field, secret in (("spec.apiKey", spec.api_key), (token_field, token)):
        if secret is not None and not secret.name.startswith(SECRET_BEGINNINGS):
            beginnings = " or ".join(SECRET_BEGINNINGS)
            yield f"{field}: {secret.name}", f"does not begin with {beginnings}. Name a Secret that is made for this."
    if token is not None and token.name.endswith(names.API_KEY):
        yield f"{token_field}: {token.name}", "may hold the keys of a VLMDeployment. Name a Secret that holds a token."


def _labels(pod: api.PodOverrides) -> Iterator[tuple[str, str]]:
    for key in pod.labels:
        field, (domain, slash, _) = f"spec.pod.labels: {key}", key.partition("/")
        if key in LABELS or key.startswith(OWN_DOMAIN):
            yield field, "is decided by the operator. Leave it out."
        elif slash and domain not in LABEL_DOMAINS:
            yield field, f"may instruct a controller. {_without(LABEL_DOMAINS)}"
        elif key in SELECTING:
            yield field, "may be what a Service finds its pods by. Use another name."


def _without(domains: frozenset[str]) -> str:
    return f"Use a key without a domain, or of {', '.join(sorted(domains))}."
