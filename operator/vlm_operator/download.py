"""The Job that fills the cache with a revision's weights, once, before any pod holds a GPU for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vlm_operator import names
from vlm_operator.records import KubernetesObject, Revision
from vlm_operator.reported import holds
from vlmctl.serving import host, kubernetes

# What vLLM reads of a repository: its own `original/` copies never, other formats only where there are no safetensors
# (vllm/model_executor/model_loader/default_loader.py, vllm/config/load.py).
PROGRAM = """
import sys
from huggingface_hub import HfApi, snapshot_download
repository, revision = sys.argv[1], sys.argv[2] or None
names = HfApi().list_repo_files(repository, revision=revision)
unread = ["original/*"]
if any(name.endswith(".safetensors") for name in names):
    unread += ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]
snapshot_download(repository, revision=revision, ignore_patterns=unread)
"""

# Each try goes on where the last one stopped, and a Secret put right is read at the next one. The kubelet pauses for at
# most 5 minutes between tries, so these are three days.
RETRIES = 1000
# A download waits for the network most of the time; it may take what its node has to spare.
RESOURCES = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "8Gi"}}
KEY_LENGTH = 10  # hexadecimal digits
NOT_FOR_DOWNLOADS = frozenset({"HF_HUB_OFFLINE", "LOCALDOMAIN", "VLLM_API_KEY"})
# Of the engine's pod: a volume made on first use stays near its first pod, and the image is there for the second.
LIKE_THE_ENGINE = (
    "affinity",
    "nodeSelector",
    "tolerations",
    "serviceAccountName",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "securityContext",
    "imagePullSecrets",
    "priorityClassName",
    "schedulerName",
)


def needed(revision: Revision) -> bool:
    """Whether the weights come from the hub into a claim."""
    volumes = {volume["name"]: volume for volume in revision.template["spec"]["volumes"]}
    return "persistentVolumeClaim" in volumes[kubernetes.CACHE] and "model" not in volumes


def job_name(name: str, revision: Revision) -> str:
    """The Job of the VLMDeployment `name`, by what it brings and how: one that changes arguments of the engine finds
    the Job of the revision before, and one that changes the token or the node has another try.
    """
    planned = revision.planned
    brought = (planned.repository, planned.revision, planned.plan.placement.precision.value)
    engine = _engine(revision)
    how = [revision.template["spec"].get(field) for field in LIKE_THE_ENGINE]
    text = json.dumps([brought, engine["image"], _variables(engine), how], sort_keys=True)
    return names.download(name, hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH])


def done(revision: Revision, jobs: Mapping[str, KubernetesObject], name: str) -> bool:
    """Whether the weights are where the engine reads them, as far as it is for the operator to bring them.

    `jobs`: by name, those of the VLMDeployment `name`.
    """
    if not needed(revision):
        return True
    return holds(jobs.get(job_name(name, revision), {}), "Complete")


def current(children: Mapping[str, Mapping[str, KubernetesObject]], name: str) -> dict[str, KubernetesObject]:
    """By name, the Jobs of the VLMDeployment `name` that fill the claim which is there, not one that it took the place
    of. `children`: by kind and name.
    """
    claim = children.get("PersistentVolumeClaim", {}).get(names.cache(name), {})
    since = _created(claim)
    return {name: job for name, job in children.get("Job", {}).items() if not since or _created(job) >= since}


def _created(body: KubernetesObject) -> str:
    """RFC 3339 in UTC, to the second; empty where nobody says so."""
    return str(body.get("metadata", {}).get("creationTimestamp") or "")


def job_spec(revision: Revision, labels: dict[str, str], *, shares_node: bool) -> dict[str, Any]:
    """The Job's spec. `labels`: of its pods, beside those of `spec.pod`, which cost tools and admission policies read;
    `shares_node`: whether the claim is one that a single node holds.
    """
    engine = revision.template["spec"]
    fields = {field: engine[field] for field in LIKE_THE_ENGINE if field in engine}
    if shares_node:
        fields["affinity"] = {**fields.get("affinity", {}), "podAffinity": _near(labels)}
    volumes = [volume for volume in engine["volumes"] if volume["name"] == kubernetes.CACHE]
    pod = {**fields, "restartPolicy": "OnFailure", "containers": [_container(revision)], "volumes": volumes}
    given = {key: value for key, value in revision.template["metadata"]["labels"].items() if key != names.REVISION}
    return {"backoffLimit": RETRIES, "template": {"metadata": {"labels": {**given, **labels}}, "spec": pod}}


def _near(labels: dict[str, str]) -> dict[str, Any]:
    """On the node of the pods that hold the claim already. They are told by a label that the Job's pod has too: then
    Kubernetes takes the rule as met where there are none.
    """
    own = {"matchLabels": {names.DEPLOYMENT: labels[names.DEPLOYMENT]}}
    term = {"labelSelector": own, "topologyKey": "kubernetes.io/hostname"}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def _container(revision: Revision) -> dict[str, Any]:
    planned = revision.planned
    engine = _engine(revision)
    return {
        "name": names.DOWNLOAD,
        "image": engine["image"],
        "command": ["python3", "-c", PROGRAM, planned.repository, planned.revision or ""],
        "env": _variables(engine),
        "resources": RESOURCES,
        "securityContext": engine["securityContext"],
        "volumeMounts": [{"name": kubernetes.CACHE, "mountPath": host.CACHE_FOLDER}],
    }


def _engine(revision: Revision) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in revision.template["spec"]["containers"] if each["name"] == names.ENGINE
    )
    return found


def _variables(engine: dict[str, Any]) -> list[dict[str, Any]]:
    return [variable for variable in engine["env"] if variable["name"] not in NOT_FOR_DOWNLOADS]
