"""VLMDeployments that each fail in a way of their own, and what they need around them to do so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vlm_operator import names
from vlm_operator.kinds import DEPLOYMENT, POD, VLMDEPLOYMENT
from vlm_operator.reasons import AvailableReason, ModelReason, PlanReason

from tests.cluster.node import hub
from tests.cluster.node.operators import condition

SPACE = "diagnoses"
SLOW = "slow"
MODEL = "qwen2.5-vl-3b-instruct"
SHELL = "localhost/shell:1"  # has no vLLM
ABSENT = "vlm-absent"  # the Secret, the claim
REFUSED = "refused"  # the PriorityClass whose quota is empty
TOKEN = {"name": "vlm-bad-token", "key": "token"}
SMALL = {"cpu": "10m", "memory": "3Gi"}
LOADING = {"cpu": "100m"}  # of engines that get as far as Python

Body = dict[str, Any]


class Case(NamedTuple):
    """A spec, the state that it leads to, and what is to be said of that.

    `shows`: whether an object of `kind` is in that state.
    """

    name: str
    spec: Body
    condition: str
    reason: str
    says: str
    shows: Callable[[Body], bool]
    kind: str = POD.kind


def spec(source: Body | None = None, *, pod: Body | None = None, **more: Any) -> Body:
    model = {"name": MODEL} if source is None else {"name": MODEL, "source": source}
    return {"model": model, "pod": {**SMALL, **(pod or {})}, **more}


def repository(name: str, **more: Any) -> Body:
    return {"huggingFace": {"repository": name, **more}}


def waits(*reasons: str) -> Callable[[Body], bool]:
    return lambda pod: any(each.get("state", {}).get("waiting", {}).get("reason") in reasons for each in statuses(pod))


def statuses(pod: Body) -> list[Body]:
    return list(pod.get("status", {}).get("containerStatuses", ()))


def has_ended(pod: Body) -> bool:
    """Whether the engine or the download ended once."""
    return any(
        status.get(state, {}).get("terminated")
        for status in statuses(pod)
        if status["name"] in (names.ENGINE, names.DOWNLOAD)
        for state in ("state", "lastState")
    )


def is_unschedulable(pod: Body) -> bool:
    return condition(pod, "PodScheduled").get("status") == "False"


def is_there(_: Body) -> bool:
    return True


def makes_no_pods(deployment: Body) -> bool:
    return condition(deployment, "ReplicaFailure").get("status") == "True"


CACHE = {"cache": {"pvc": {"size": "1Gi", "accessMode": "ReadWriteOnce"}}}
CASES = (
    Case(
        "refused-plan",
        spec(hardware={"count": 16}),
        "Planned",
        PlanReason.UNSUPPORTED,
        "no such node has more than 8 GPUs",
        is_there,
        VLMDEPLOYMENT.kind,
    ),
    Case(
        "selector",
        spec(pod={"nodeSelector": {"zone": "nowhere"}}),
        "Available",
        AvailableReason.NO_MATCHING_NODE,
        "spec.pod.nodeSelector",
        is_unschedulable,
    ),
    Case(
        "cpu",
        spec(pod={"cpu": "64"}),
        "Available",
        AvailableReason.INSUFFICIENT_CPU,
        "lower spec.pod.cpu",
        is_unschedulable,
    ),
    Case(
        "memory",
        spec(pod={"memory": "900Gi"}),
        "Available",
        AvailableReason.INSUFFICIENT_MEMORY,
        "lower spec.pod.memory",
        is_unschedulable,
    ),
    Case(
        "claim",
        spec({"pvc": {"claimName": ABSENT}}),
        "Available",
        AvailableReason.VOLUME_UNAVAILABLE,
        "spec.model.source.pvc",
        is_unschedulable,
    ),
    Case(
        "quota",
        spec(pod={"priorityClassName": REFUSED}),
        "Available",
        AvailableReason.POD_REFUSED,
        "Raise the ResourceQuota",
        makes_no_pods,
        DEPLOYMENT.kind,
    ),
    Case(
        "secret",
        spec(repository(hub.GATED, tokenSecret={"name": ABSENT, "key": "token"})),
        "Available",
        AvailableReason.CONFIGURATION_MISSING,
        f'secret "{ABSENT}" not found',
        waits("CreateContainerConfigError"),
    ),
    Case(
        "image",
        spec(engine={"image": "registry.example/no/such:1"}),
        "Available",
        AvailableReason.IMAGE_PULL_FAILED,
        "registry.example/no/such:1 cannot be pulled",
        waits("ErrImagePull", "ImagePullBackOff"),
    ),
    Case(
        "gpus",  # others have some of them by now
        spec(hardware={"count": 8}) | {"model": {"name": "qwen2.5-vl-72b-instruct"}},
        "Available",
        AvailableReason.INSUFFICIENT_GPU,
        "too few nvidia.com/gpu free",
        is_unschedulable,
    ),
    Case(
        "crash",
        spec(engine={"image": SHELL}),
        "Available",
        AvailableReason.CRASH_LOOP,
        "ends with exit code 127",
        has_ended,
    ),
    Case(
        "out-of-memory",
        spec(pod={"memory": "64Mi"}),
        "Available",
        AvailableReason.HOST_OUT_OF_MEMORY,
        "Raise spec.pod.memory",
        has_ended,
    ),
    Case(
        SLOW,
        spec(repository(hub.SLOW)),
        "Available",
        AvailableReason.STARTUP_TIMEOUT,
        "did not answer within 20 s",
        has_ended,
    ),
    Case(
        "argument",
        spec(pod=LOADING, engine={"arguments": ["--max-num-seqs=many"]}),
        "Available",
        AvailableReason.INVALID_ARGUMENT,
        "vLLM refuses --max-num-seqs: invalid int value: 'many'",
        has_ended,
    ),
    Case(
        "gated",
        spec(repository(hub.GATED), pod=LOADING),
        "ModelReady",
        ModelReason.GATED_REPOSITORY,
        f"The repository {hub.GATED} is gated",
        has_ended,
    ),
    Case(
        "gated-download",
        spec(repository(hub.GATED), **CACHE),
        "ModelReady",
        ModelReason.GATED_REPOSITORY,
        f"The repository {hub.GATED} is gated",
        has_ended,
    ),
    Case(
        "token",
        spec(repository(hub.TOKEN_REFUSED, tokenSecret=TOKEN), **CACHE),
        "ModelReady",
        ModelReason.INVALID_TOKEN,
        "The hub does not accept the token",
        has_ended,
    ),
    Case(
        "missing",
        spec(repository(hub.MISSING), **CACHE),
        "ModelReady",
        ModelReason.REPOSITORY_NOT_FOUND,
        f"There is no repository {hub.MISSING}",
        has_ended,
    ),
)


def short_startup_probe() -> list[Body]:
    """A policy that gives the engine of one VLMDeployment 20 s to start, instead of an hour."""
    change = 'JSONPatch{op: "replace", path: "/spec/containers/0/startupProbe/failureThreshold", value: 2}'
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    chosen = {"resourceRules": [pods], "objectSelector": {"matchLabels": {names.DEPLOYMENT: SLOW}}}
    metadata = {"name": "short-startup-probe"}
    policy = {
        "matchConstraints": chosen,
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{change}]"}}],
    }
    api = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": policy},
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": metadata["name"]},
        },
    ]


def empty_quota() -> list[Body]:
    """A priority of which no pod may be made."""
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": REFUSED},
        "value": 1,
    }
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": [REFUSED]}
    quota = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}}
    metadata = {"name": REFUSED, "namespace": SPACE}
    return [priority, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": quota}]


def volumes(folder: Path) -> Iterator[Body]:
    """A volume for the cache of each case that has one."""
    for case in CASES:
        if "cache" in case.spec:
            path = folder / case.name
            path.mkdir()
            path.chmod(0o777)  # pods run as another user
            claim = {"name": names.cache(case.name), "namespace": SPACE}
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{SPACE}-{case.name}"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": "1Gi"},
                    "claimRef": claim,
                    "hostPath": {"path": str(path), "type": "Directory"},
                },
            }


def unbound_claim() -> Body:
    """A claim that nobody makes a volume for."""
    wanted = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": ABSENT, "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}


def token_secret() -> Body:
    metadata = {"name": TOKEN["name"], "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {TOKEN["key"]: "hf_wrong"}}


def surroundings(folder: Path) -> list[Body]:
    """What the cases need, each object by itself; `folder`: for volumes."""
    return [*short_startup_probe(), *empty_quota(), *volumes(folder), unbound_claim(), token_secret()]
