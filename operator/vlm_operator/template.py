"""Plan and spec -> the pod template of a revision: engine, proxy and agent, as the restricted standard has pods.

It starts from the pod that `vlmctl plan --format kubernetes` writes, and adds what the operator needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from vlm_operator import names, proxy
from vlm_operator.records import KubernetesObject, Planned
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import host, kubernetes
from vlmctl.serving.engine_args import command
from vlmctl.units import GIB

MODELS_FOLDER = "/models"  # a checkpoint on a claim or in an image
RUN_FOLDER = "/run/vlmctl"  # engine and agent write there
OPEN = f"{RUN_FOLDER}/open"  # the latch: the agent lets traffic in
STUCK = f"{RUN_FOLDER}/stuck"  # the agent asks for a restart of the engine
POD_FOLDER = "/etc/pod"
WORD_FOLDER = "/etc/word"
AGENT_PORT = 8081

# A container that starts again has proved nothing yet, whatever the one before it left.
START = f'rm -f {OPEN} {STUCK}; exec "$@"'
READY = f'test -e {OPEN} && exec python3 -S -c "$1"'
READY_SECONDS = 5
READY_FAILURES = 3
PROBE_TIMEOUT_SECONDS = 6  # of a program that itself gives up after 5 s
STUCK_STOP_SECONDS = host.BEFORE_STOP_SECONDS + host.AFTER_STOP_SECONDS  # nothing runs on that could finish

MEDIA_DOMAINS = "--allowed-media-domains"
# vLLM takes no domains for any domain. A name that nobody can have leaves URLs that carry the picture (RFC 2606).
NO_DOMAIN = "none.invalid"
# Requests come through the proxy alone.
LISTENS = (f"--host={proxy.ENGINE_HOST}", f"--port={proxy.ENGINE_PORT}")
# Storage of a node that a pod takes beside its checkpoint: compiled graphs, logs, and xet's cache of up to 10 GB.
SCRATCH_GIB = 20
# Of the folder that engine and agent write to: two empty files, and a result of 512 KiB at most, twice while it is
# written. What else an engine writes there is its pod's loss, not the node's.
RUN_SIZE = "64Mi"
CHECKPOINT_MARGIN = 2  # a repository may hold the weights in two layouts (consolidated.safetensors)
# In the place of the search list of resolv.conf (glibc, c-ares): a host that pictures may come from is a whole name,
# where `postgres.other` would else be found as a Service.
NO_SEARCH = {"name": "LOCALDOMAIN", "value": "."}
# A host that pictures may come from does not name others, and nothing is told to anyone else.
KEEPS_TO_ITSELF = {
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
# Memory: `agent.tasks` holds no more requests in flight than fit.
AGENT_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


def template(
    name: str,
    digest: str,
    spec: api.VLMDeploymentSpec,
    planned: Planned,
    *,
    agent_image: str,
    proxy_image: str = proxy.IMAGE,
    hub_endpoint: str | None = None,
) -> KubernetesObject:
    """The pod template of the revision `digest` of the VLMDeployment `name`.

    `hub_endpoint`: instead of the Hugging Face hub. What a user adds to the pod never replaces what is set here.
    """
    overrides = spec.pod or api.PodOverrides()
    labels = {**names.labels(name, names.Component.ENGINE), names.REVISION: digest}
    metadata: dict[str, Any] = {"labels": {**overrides.labels, **labels}}
    if overrides.annotations:
        metadata["annotations"] = dict(overrides.annotations)
    frame = kubernetes.pod_frame(
        planned.plan, resource=planned.gpu_resource, label=planned.node_label, products=planned.node_products
    )
    key = spec.api_key or api.SecretKey(name=names.api_key(name), key="api-key")
    pod: dict[str, Any] = {
        **frame,
        "serviceAccountName": name,
        "initContainers": [proxy.container(proxy_image, key.name, key.key)],
        "containers": [_engine(spec, planned, hub_endpoint), _agent(agent_image)],
        "volumes": [*_volumes(name, digest, spec, planned), proxy.key_volume(key.name, key.key)],
        **_overrides(overrides),
    }
    pod["tolerations"] = [*frame["tolerations"], *(msgspec.to_builtins(each) for each in overrides.tolerations)]
    if claim(spec) is not None:
        # A new volume belongs to root; what is on it already keeps its owner.
        group = {"fsGroup": kubernetes.ENGINE_UID, "fsGroupChangePolicy": "OnRootMismatch"}
        pod["securityContext"] = {**frame["securityContext"], **group}
    return {"metadata": metadata, "spec": pod}


def claim(spec: api.VLMDeploymentSpec) -> api.CachePvc | None:
    """The claim that keeps weights between pods, if one is asked for."""
    return spec.cache.pvc if spec.cache is not None else None


def _engine(spec: api.VLMDeploymentSpec, planned: Planned, hub_endpoint: str | None) -> dict[str, Any]:
    words = _words(planned)
    container = kubernetes.engine_container(
        planned.plan, image=planned.image, resource=planned.gpu_resource, command=words
    )
    asked = spec.engine or api.Engine()
    quiet = [{"name": name, "value": value} for name, value in KEEPS_TO_ITSELF.items()]
    own = [*container["env"], *quiet, *_hub(spec, planned, hub_endpoint)]
    own += [NO_SEARCH] if asked.allowed_media_domains else []
    taken = {each["name"] for each in own}
    more = [{"name": each.name, "value": _literal(each.value)} for each in asked.env if each.name not in taken]
    del container["ports"]  # which are the proxy's
    mounts = [*container["volumeMounts"], {"name": "run", "mountPath": RUN_FOLDER}, *_model_mounts(spec)]
    return {
        **container,
        "name": names.ENGINE,
        "command": ["sh", "-c", START, "--"],
        "args": [_literal(word) for word in words],
        "env": [*own, *more],
        "resources": _resources(container["resources"], spec),
        # The kubelet asks the pod's address, where the proxy listens; not at the port that clients may fill.
        "startupProbe": {
            **container["startupProbe"],
            "httpGet": {"path": proxy.HEALTH, "port": proxy.METRICS_PORT},
        },
        "readinessProbe": {
            "exec": {"command": ["sh", "-c", READY, "--", host.healthy(proxy.ENGINE_PORT)]},
            "periodSeconds": READY_SECONDS,
            "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
            "failureThreshold": READY_FAILURES,
        },
        # An engine that hangs still answers /health; the agent sees that no tokens come.
        "livenessProbe": {
            "exec": {"command": ["test", "!", "-e", STUCK]},
            "periodSeconds": kubernetes.PROBE_SECONDS,
            "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
            "failureThreshold": 1,
            "terminationGracePeriodSeconds": STUCK_STOP_SECONDS,
        },
        "volumeMounts": mounts,
    }


def _words(planned: Planned) -> list[str]:
    """The engine's command, with what holds for every engine of the operator's."""
    words = command(planned.checkpoint or planned.repository, planned.arguments)
    is_limited = any(argument.flag == MEDIA_DOMAINS for argument in planned.arguments)
    return [*words, *([] if is_limited else [f"{MEDIA_DOMAINS}={NO_DOMAIN}"]), *LISTENS]


def _literal(text: str) -> str:
    """The text as the kubelet leaves it, which puts variables in the place of ``$(NAME)`` and ``$`` for ``$$``."""
    return text.replace("$", "$$")


def _agent(image: str) -> dict[str, Any]:
    return {
        "name": names.AGENT,
        "image": image,
        "args": ["-m", "vlm_operator.agent"],
        "ports": [{"name": names.AGENT, "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "resources": AGENT_RESOURCES,
        "securityContext": {**kubernetes.UNPRIVILEGED, "readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "run", "mountPath": RUN_FOLDER},
            {"name": "config", "mountPath": proxy.CONFIG_FOLDER, "readOnly": True},
            {"name": "pod", "mountPath": POD_FOLDER, "readOnly": True},
            {"name": "word", "mountPath": WORD_FOLDER, "readOnly": True},
        ],
    }


def _volumes(name: str, digest: str, spec: api.VLMDeploymentSpec, planned: Planned) -> Iterator[dict[str, Any]]:
    if claim(spec) is not None:
        yield {"name": kubernetes.CACHE, "persistentVolumeClaim": {"claimName": names.cache(name)}}
    else:
        yield {"name": kubernetes.CACHE, "emptyDir": {"sizeLimit": f"{_storage_gib(planned)}Gi"}}
    yield kubernetes.shared_memory_volume(planned.plan)
    yield {"name": "run", "emptyDir": {"sizeLimit": RUN_SIZE}}
    yield {"name": "config", "configMap": {"name": names.of_revision(name, digest)}}
    task = {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{names.BENCHMARK}']"}
    yield {"name": "pod", "downwardAPI": {"items": [{"path": names.WORD_FILE, "fieldRef": task}]}}
    # Made once something was measured, so that gating does not hang on an operator that is there.
    yield {"name": "word", "configMap": {"name": names.standing_word(name, digest), "optional": True}}
    source = spec.model.source
    if source is not None and source.pvc is not None:
        volume = {"claimName": source.pvc.claim_name, "readOnly": True}
        yield {"name": "model", "persistentVolumeClaim": volume}
    if source is not None and source.image is not None:
        yield {"name": "model", "image": {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}}


def _model_mounts(spec: api.VLMDeploymentSpec) -> Iterator[dict[str, Any]]:
    source = spec.model.source
    held = (source.pvc or source.image) if source is not None else None
    if held is None:
        return
    mount = {"name": "model", "mountPath": MODELS_FOLDER, "readOnly": True}
    folder = held.path.strip("/")
    yield {**mount, "subPath": folder} if folder else mount


def _hub(spec: api.VLMDeploymentSpec, planned: Planned, endpoint: str | None) -> Iterator[dict[str, Any]]:
    """How the engine reaches the hub; nothing for a checkpoint that is not from there."""
    source = spec.model.source
    if source is not None and source.hugging_face is None:
        return
    token = source.hugging_face.token_secret if source is not None and source.hugging_face is not None else None
    if token is not None:
        yield kubernetes.token_variable(token.name, token.key, optional=False)
    elif planned.gated is not False:
        yield kubernetes.token_variable(kubernetes.TOKEN_SECRET, kubernetes.TOKEN_KEY, optional=True)
    if endpoint is not None:
        yield {"name": "HF_ENDPOINT", "value": endpoint}
    if claim(spec) is not None:
        yield {"name": "HF_HUB_OFFLINE", "value": "1"}  # the download Job has brought everything


def _resources(planned: Mapping[str, Mapping[str, str]], spec: api.VLMDeploymentSpec) -> dict[str, Any]:
    overrides = spec.pod or api.PodOverrides()
    cpu = {} if overrides.cpu is None else {"cpu": str(overrides.cpu)}
    memory = {} if overrides.memory is None else {"memory": str(overrides.memory)}
    return {
        "requests": {**planned["requests"], **cpu, **memory},
        "limits": {**planned["limits"], **memory},
    }


def _storage_gib(planned: Planned) -> int:
    """Of the node's own, at most. It is not asked for: autoscalers of nodes often do not know what a new one has."""
    return CHECKPOINT_MARGIN * math.ceil(planned.download_bytes / GIB) + SCRATCH_GIB


def _overrides(given: api.PodOverrides) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "nodeSelector": dict(given.node_selector),
        "imagePullSecrets": [{"name": name} for name in given.image_pull_secrets],
        "priorityClassName": given.priority_class_name,
        "runtimeClassName": given.runtime_class_name,
        "schedulerName": given.scheduler_name,
    }
    return {field: value for field, value in fields.items() if value}
