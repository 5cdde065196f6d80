"""What a spec may put into pods: the fields whose values are free text to the schema, and not to the namespace.

Who may write VLMDeployments may not thereby run code, read Secrets, or borrow what admission controllers, networks and
Services give to pods with certain words on them. Each rule lists what may be; where that cannot be, what may not.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from vlm_operator import names
from vlm_operator.given_arguments import EXPANDED, RULES
from vlmctl.api import v1alpha1 as api

LABELS = frozenset(names.labels("", names.Component.ENGINE))
# What Services and NetworkPolicies of others commonly find their pods by.
SELECTING = frozenset({"app", "component", "k8s-app", "name", "release", "role", "run", "service", "tier"})
# What monitoring calls its own labels, which those of pods are often mapped onto; and Azure's, that gives an identity.
MEANT_ELSEWHERE = frozenset(
    {"aadpodidbinding", "container", "deployment", "endpoint", "instance", "job", "namespace", "pod"}
)
# With a domain in front, labels and annotations are instructions to some controller: of these it is known to which.
# Without a slash, a key with a dot is one to a container runtime: `io.kubernetes.cri-o.Devices`, `devices.nri.io`.
LABEL_DOMAINS = frozenset({"kueue.x-k8s.io"})
ANNOTATION_DOMAINS = frozenset({"cluster-autoscaler.kubernetes.io", "karpenter.sh", "kueue.x-k8s.io", "prometheus.io"})
SECRET_BEGINNINGS = ("vlm-", "hugging-face")
SYSTEM_PRIORITY = "system-"  # classes that push out what the cluster itself lives on
CONTROL_PLANE = ("node-role.kubernetes.io/", "CriticalAddonsOnly")  # beginnings of taints of the cluster's own nodes
MOST_BYTES = 16_384  # of what each pod holds anew: there may be a thousand, in the memory of all who watch pods
# Variables that something else says.
SAID_ELSEWHERE = {
    "VLLM_API_KEY": "spec.apiKey",
    "HF_TOKEN": "spec.model.source.huggingFace.tokenSecret",
    "HF_ENDPOINT": "the chart's hub.endpoint",
}


def breaches(spec: api.VLMDeploymentSpec) -> Iterator[tuple[str, str]]:
    """Each field that says what it may not, and why, as a sentence that ends with what to do."""
    engine, pod = spec.engine or api.Engine(), spec.pod or api.PodOverrides()
    length = len(msgspec.json.encode((engine, pod)))
    if length > MOST_BYTES:
        yield "spec.engine and spec.pod", f"have {length:,} bytes, once more in each pod. Give {MOST_BYTES:,} at most."
    yield from _variables(engine)
    yield from _secrets(spec)
    yield from _labels(pod)
    for key in pod.annotations:
        if key.startswith(names.DOMAIN):
            yield f"spec.pod.annotations: {key}", "is decided by the operator. Leave it out."
        elif _instructs(key, ANNOTATION_DOMAINS):
            yield f"spec.pod.annotations: {key}", _instruction(ANNOTATION_DOMAINS)
    for toleration in pod.tolerations:
        if toleration.key is None:
            yield "spec.pod.tolerations: one", "tolerates every taint. Name the key of each."
        elif toleration.key.startswith(CONTROL_PLANE):
            yield (
                f"spec.pod.tolerations: {toleration.key}",
                "is of the cluster's own nodes. Leave it out.",
            )
    if pod.priority_class_name is not None and pod.priority_class_name.startswith(SYSTEM_PRIORITY):
        field = f"spec.pod.priorityClassName: {pod.priority_class_name}"
        yield field, "is of the cluster itself. Name another, or leave it out."


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
        field = f"spec.pod.labels: {key}"
        if key in LABELS or key.startswith(names.DOMAIN):
            yield field, "is decided by the operator. Leave it out."
        elif _instructs(key, LABEL_DOMAINS):
            yield field, _instruction(LABEL_DOMAINS)
        elif key in SELECTING:
            yield field, "may be what a Service finds its pods by. Use another name."
        elif key in MEANT_ELSEWHERE:
            yield field, "may be read as a label of metrics, or give an identity. Use another name."


def _instructs(key: str, known: frozenset[str]) -> bool:
    domain, slash, _ = key.partition("/")
    return domain not in known if slash else "." in key


def _instruction(known: frozenset[str]) -> str:
    instead = f"Use a key without dots and slashes, or of {', '.join(sorted(known))}."
    return f"may instruct a controller or a container runtime. {instead}"
