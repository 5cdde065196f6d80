"""What in the children of a VLMDeployment would be the success of an attack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_operator import names, proxy
from vlm_operator.bounds import SECRET_BEGINNINGS
from vlm_operator.given_arguments import RULES
from vlm_operator.network import METADATA_RANGES
from vlm_operator.template import KEEPS_TO_ITSELF, LISTENS, MEDIA_DOMAINS, NO_DOMAIN, NO_SEARCH

Body = dict[str, Any]
PLANNED_FLAGS = frozenset({"--revision", MEDIA_DOMAINS, *(word.partition("=")[0] for word in LISTENS)})
MOST_BYTES = 32_768  # of a pod, of which half is for what its spec says
CONTAINERS = frozenset({names.ENGINE, names.DOWNLOAD, proxy.NAME, names.AGENT})
TOLERATED = frozenset({"nvidia.com/gpu", "amd.com/gpu"})
# Of pods' labels: what the suite's own specs ask for, and what the API server gives to those of a Job.
HARMLESS_LABELS = frozenset({"team"})
OF_JOBS = frozenset(
    {"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}
)
VOLUMES = frozenset({"configMap", "downwardAPI", "emptyDir", "image", "persistentVolumeClaim", "secret"})


def successes(
    objects: Sequence[Body],
    namespace: str,
    *,
    images: set[str],
    usual: Body,
    weights: str = "",
    hosts: tuple[str, ...] = (),
) -> list[str]:
    """What in the children of a VLMDeployment is not its writer's to have.

    `images`: those that may run. `usual`: the pod template of one that asks for nothing. `weights`: the registry that
    images of weights come from, if any may. `hosts`: those that pictures may be fetched from.
    """
    found: list[str] = []
    for each in objects:
        kind, metadata = each["kind"], each["metadata"]
        if metadata["namespace"] != namespace:
            found.append(f"{kind} in {metadata['namespace']}")
        if kind in ("Deployment", "Job"):
            template = each["spec"]["template"]
            pod = template["spec"]
            found += _of_pod(pod, metadata["labels"][names.DEPLOYMENT], images, usual["spec"], weights)
            found += _of_hosts(pod, {f"{MEDIA_DOMAINS}={each}" for each in (NO_DOMAIN, *hosts)})
            found += _of_metadata(template["metadata"], usual["metadata"])
            length = len(json.dumps(template))
            found += [f"{length:,} bytes in each pod"] if length > MOST_BYTES else []
        if kind == "NetworkPolicy":
            found += _of_network(each["spec"])
    return found


def _of_metadata(metadata: Body, usual: Body) -> Iterator[str]:
    for key in metadata.get("annotations", {}):
        if "/" in key or "." in key:
            yield f"the annotation {key}"
    for key in metadata["labels"].keys() - usual["labels"].keys() - HARMLESS_LABELS - OF_JOBS:
        yield f"the label {key}"


def _of_pod(pod: Body, name: str, images: set[str], usual: Body, weights: str) -> Iterator[str]:
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.get(field):
            yield field
    if pod["serviceAccountName"] != name or pod["automountServiceAccountToken"] is not False:
        yield "a service account"
    if pod["securityContext"] != usual["securityContext"] | pod["securityContext"]:
        yield "a security context"
    for volume in pod["volumes"]:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"a volume: {kinds}"
        yield from _of_secret(volume.get("secret", {}).get("secretName"), name)
        reference = volume.get("image", {}).get("reference")
        if reference is not None and not (weights and reference.startswith(f"{weights}/")):
            yield f"the image {reference}"
    if pod.get("priorityClassName", "").startswith("system-"):
        yield f"the priority {pod['priorityClassName']}"
    for toleration in pod["tolerations"]:
        if not toleration.get("key") or toleration["key"] not in TOLERATED:
            yield f"a toleration: {toleration}"
    known = {variable["name"] for each in usual["containers"] for variable in each.get("env", ())}
    known |= {"HF_TOKEN", "HF_HUB_OFFLINE", NO_SEARCH["name"], *KEEPS_TO_ITSELF, *RULES.variables}
    for container in containers:
        if container["name"] not in CONTAINERS or container["image"] not in images:
            yield f"the image {container['image']}"
        if container["securityContext"]["capabilities"] != {"drop": ["ALL"]}:
            yield "capabilities"
        for variable in container.get("env", ()):
            if container["name"] in (names.ENGINE, names.DOWNLOAD) and variable["name"] not in known:
                yield f"the variable {variable['name']}"
            secret = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
            yield from _of_secret(secret, name)
            if variable["name"] == "HF_TOKEN" and secret is not None and secret.endswith(names.API_KEY):
                yield f"the keys in {secret}"
        texts = [*container.get("command", ()), *container.get("args", ())]
        for text in (*texts, *(variable.get("value", "") for variable in container.get("env", ()))):
            if "$(" in text.replace("$$", ""):
                yield f"what the kubelet puts in the place of {text}"
        if container["name"] == names.ENGINE:
            yield from _of_engine(container, next(each for each in usual["containers"] if each["name"] == names.ENGINE))


def _of_engine(container: Body, usual: Body) -> Iterator[str]:
    if container["command"] != usual["command"]:
        yield "a command"
    if tuple(container["args"][-len(LISTENS) :]) != LISTENS:
        yield "another address to listen at"
    domains = [word for word in container["args"] if word.startswith(MEDIA_DOMAINS)]
    if domains != [f"{MEDIA_DOMAINS}={NO_DOMAIN}"] and NO_SEARCH not in container["env"]:
        yield "the cluster's Services by short names"
    flags = {word.partition("=")[0] for word in container["args"] if word.startswith("--")}
    planned = {word.partition("=")[0] for word in usual["args"] if word.startswith("--")} | PLANNED_FLAGS
    yield from (f"the argument {each}" for each in flags - planned - set(RULES.values))


def _of_hosts(pod: Body, usual: set[str]) -> Iterator[str]:
    """Hosts of pictures; vLLM takes each word that follows the flag for one more."""
    for words in (each.get("args", ()) for each in pod["containers"]):
        for at, word in enumerate(words):
            if word.startswith(MEDIA_DOMAINS) and (word not in usual or not words[at + 1].startswith("--")):
                yield f"pictures by {word} {words[at + 1]}"


def _of_secret(secret: str | None, name: str) -> Iterator[str]:
    if secret is not None and secret != names.api_key(name) and not secret.startswith(SECRET_BEGINNINGS):
        yield f"the Secret {secret}"


def _of_network(rules: Body) -> Iterator[str]:
    for rule in rules["egress"]:
        if {port["port"] for port in rule["ports"]} == {53}:
            continue
        shut = {hole for peer in rule["to"] for hole in peer["ipBlock"]["except"]}
        if not set(METADATA_RANGES) <= shut:
            yield "a way to the metadata service"
