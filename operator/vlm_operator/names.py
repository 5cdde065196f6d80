"""Names, labels and owners of everything that belongs to a VLMDeployment, the same for all who write or read it."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

FIELD_MANAGER = "vlm-operator"

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
DOMAIN = "vlmctl.dev/"  # beginning of labels and annotations of ours
DEPLOYMENT = "vlmctl.dev/deployment"  # label: the VLMDeployment's name
SERIES_LABEL = "deployment"  # the same in Prometheus, of series of the operator and of pods
REVISION = "vlmctl.dev/revision"  # label: the digest of the revision

BENCHMARK = "vlmctl.dev/benchmark"  # annotation of a pod: the task of its agent
MEASURED = "vlmctl.dev/measured"  # annotation of a pod: when it measured itself, once that is kept
REPLAN = "vlmctl.dev/replan"  # annotation of a VLMDeployment: another value asks for a new plan
VERDICT = "vlmctl.dev/verdict"  # annotation of a ControllerRevision

ENGINE = "engine"  # container, and component of the pods that serve
AGENT = "agent"  # container
DOWNLOAD = "download"  # container of the download Job's pods

WORD_FILE = "benchmark"  # in volumes of the agent: what it is to do
WORD_SUFFIX = "-word"  # of a ConfigMap's name
API_KEY = "-api-key"  # ends the names of Secrets that the operator makes
JOB_NAME_LENGTH = 63  # the Job controller writes the name into a label of the pods
SERVICE_NAME_LENGTH = 63  # at most; a label of DNS
RETRY_NAME_PART = 20  # of a VLMDeployment's name, for people to tell whose it is
LONG_NAME_PART = 32  # of a VLMDeployment's name that stays in a shortened one


class Component(StrEnum):
    """What a child is for."""

    ENGINE = "engine"
    CACHE = "cache"
    ACCESS = "access"
    PLAN = "plan"
    SCALING = "scaling"


def labels(name: str, component: Component) -> dict[str, str]:
    """Of every child of the VLMDeployment `name`."""
    return {
        NAME: "vllm",
        INSTANCE: name,
        MANAGED_BY: FIELD_MANAGER,
        PART_OF: "vlmctl",
        COMPONENT: component.value,
        DEPLOYMENT: name,
    }


def selector(name: str) -> dict[str, str]:
    """The labels that tell the pods that serve; those of the download Job have another component."""
    return {DEPLOYMENT: name, COMPONENT: Component.ENGINE.value}


def api_key(name: str) -> str:
    """The Secret that the operator makes."""
    return f"{name}{API_KEY}"


def cache(name: str) -> str:
    """The PersistentVolumeClaim."""
    return f"{name}-cache"


def http_route(name: str) -> str:
    """The HTTPScaledObject, which must not have its ScaledObject's name."""
    return f"{name}-http"


def retry(name: str) -> str:
    """The Service by which requests that were held for too long are told to come again.

    It is longer than any VLMDeployment's name, so that none has a Service of that name of its own.
    """
    part = f"{name[:RETRY_NAME_PART].rstrip('-')}-retry-"
    return part + hashlib.sha256(name.encode()).hexdigest()[: SERVICE_NAME_LENGTH - len(part)]


def of_revision(name: str, digest: str) -> str:
    """The ControllerRevision, and its ConfigMap."""
    return f"{name}-{digest}"


def standing_word(name: str, digest: str) -> str:
    """The ConfigMap with what pods of a revision do where nobody tells them; its only key is `WORD_FILE`."""
    return f"{of_revision(name, digest)}{WORD_SUFFIX}"


def download(name: str, digest: str) -> str:
    """The download Job; a long `name` is cut, and told from others cut alike by a hash of the whole."""
    whole = f"{name}-download-{digest}"
    if len(whole) <= JOB_NAME_LENGTH:
        return whole
    told = hashlib.sha256(name.encode()).hexdigest()[: len(digest)]
    return f"{name[:LONG_NAME_PART].rstrip('-')}-{told}-download-{digest}"


def download_policy(name: str) -> str:
    """The NetworkPolicy of download Jobs. The other one has the VLMDeployment's name, which holds no dot."""
    return f"{name}.download"


def owner(obj: dict[str, Any]) -> list[dict[str, Any]]:
    """The `ownerReferences` of a child of `obj`, as it is read from the API server.

    Without blockOwnerDeletion, which some clusters grant only to who may change the owner's finalizers.
    """
    metadata = obj["metadata"]
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return [{**reference, "controller": True}]
