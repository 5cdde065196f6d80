"""A VLMDeployment with a plan, and its objects as an API server holds them: defaults filled in, fields owned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from msgspec.structs import replace
from vlm_operator import names, revisions
from vlm_operator.actions import Action, actions, owned_paths
from vlm_operator.desired import Monitors, desired
from vlm_operator.records import KubernetesObject, Observed, Planned, Revision, Verdict
from vlm_operator.rollout import Rollout, target
from vlm_operator.template import template

from tests.support.plans import L4, MODEL, PLAN
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import engine_arguments

NAME = "reader"
SPEC = api.VLMDeploymentSpec(model=api.ModelReference(name=MODEL.id))
CACHED = replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size="100Gi")))
PARENT: KubernetesObject = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": NAME, "namespace": "team", "uid": "3f1c0d5e-0000-4000-8000-000000000001", "generation": 1},
    "spec": {"model": {"name": MODEL.id}},
    "status": {"apiKeySecret": f"{NAME}-api-key"},
}
PLANNED = Planned(
    plan=PLAN,
    model=MODEL.id,
    served_name=MODEL.id,
    repository=MODEL.repository,
    checkpoint=MODEL.repository,
    image="vllm/vllm-openai:v0.32.0",
    arguments=engine_arguments(PLAN, MODEL, L4),
    gpu_resource="nvidia.com/gpu",
    node_label="nvidia.com/gpu.product",
    node_products=("NVIDIA-L4",),
    gated=False,
)
AGENT = "ghcr.io/vlmctl/vlm-operator:1"
# How the API server tells items of a list apart (x-kubernetes-list-map-keys of its OpenAPI document), by field.
KEYS = {
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
ATOMIC = {"nodeSelector", "podSelector", "selector"}  # x-kubernetes-map-type of the same document
PORT_KEYS = (("containerPort", "protocol"), ("port", "protocol"))
OPAQUE = "data"  # of ControllerRevisions and ConfigMaps: kept as it is
IDENTITY = ("f:apiVersion", "f:kind", "f:name", "f:namespace")


def revision(spec: api.VLMDeploymentSpec = SPEC, planned: Planned = PLANNED, **changes: Any) -> Revision:
    """What `spec` asks for, kept in the cluster."""
    digest = revisions.digest(spec)
    made = template(NAME, digest, spec, planned, agent_image=AGENT)
    kept = {"number": 1, "uid": f"uid-of-{digest}", **changes}
    return replace(revisions.new(NAME, digest, planned, made), **kept)


def serving(spec: api.VLMDeploymentSpec = SPEC, planned: Planned = PLANNED) -> Rollout:
    """A revision that has proved good, and runs."""
    good = revision(spec, planned, verdict=Verdict.GOOD)
    return target(NAME, [good], good.digest, deployment=None)


def wanted(
    spec: api.VLMDeploymentSpec = SPEC, rollout: Rollout | None = None, parent: KubernetesObject = PARENT
) -> tuple[KubernetesObject, ...]:
    """All children of a VLMDeployment that serves, PodMonitor and all."""
    return desired(parent, spec, rollout or serving(spec), new_api_key="k", monitors=Monitors())


def of_kind(objects: Sequence[KubernetesObject], kind: str) -> KubernetesObject:
    """The only one of its kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


class ApiServer:
    """Objects by kind and name, written as server-side apply does: what is no longer applied goes, what others wrote
    stays. It knows defaults and spellings of the kinds that the operator writes, as a Kubernetes 1.37 answered them.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], KubernetesObject] = {}

    def apply(self, body: KubernetesObject) -> None:
        """Write the whole object in the operator's name."""
        place = (body["kind"], body["metadata"]["name"])
        held = self.objects.get(place, {"metadata": {"uid": f"uid-{len(self.objects)}"}})
        fields = fields_of(body)
        _remove(held, held["metadata"].get("managedFields", [{}])[0].get("fieldsV1", {}), fields)
        _merge(held, body)
        held = _without_empty(held)
        _fill(held)
        owned = {"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
        held["metadata"]["managedFields"] = [owned]
        self.objects[place] = held

    def observed(self, parent: KubernetesObject = PARENT) -> Observed:
        """What the operator sees of it."""
        children: dict[str, dict[str, KubernetesObject]] = {}
        owned: dict[str, dict[str, frozenset[str]]] = {}
        for (kind, name), held in self.objects.items():
            body = deepcopy(held)
            owned.setdefault(kind, {})[name] = owned_paths(body["metadata"].pop("managedFields", []))
            children.setdefault(kind, {})[name] = body
        return Observed(now=0.0, parent=parent, children=children, owned=owned)


def carry_out(server: ApiServer, objects: Sequence[KubernetesObject], replicas: int = 1) -> tuple[Action, ...]:
    """Do what is to be done for `objects`; gives what was done."""
    done = actions(objects, server.observed(), replicas=replicas)
    for action in done:
        if action.body is not None:
            server.apply(action.body)
        elif action.replicas is not None:
            server.objects[action.kind, action.name]["spec"]["replicas"] = action.replicas
        else:
            del server.objects[action.kind, action.name]
    return done


def at_rest(spec: api.VLMDeploymentSpec = SPEC) -> ApiServer:
    """An API server on which everything was done that a new VLMDeployment needs."""
    server = ApiServer()
    carry_out(server, wanted(spec))
    return server


def fields_of(value: Any, field: str = "") -> dict[str, Any]:
    """`fieldsV1` of an applied object; items of a list have paths of their own only where they have keys."""
    if field in (OPAQUE, *ATOMIC):
        return {}
    if isinstance(value, dict):
        told = {f"f:{name}": fields_of(part, name) for name, part in value.items()}
        return {path: below for path, below in told.items() if path not in IDENTITY or field not in ("", "metadata")}
    keys = _keys(field, value)
    if not keys:
        return {}
    return {_item(item, keys): {".": {}, **fields_of(item, "item")} for item in value}


def _item(item: dict[str, Any], keys: Sequence[str]) -> str:
    return "k:" + json.dumps({key: item[key] for key in keys}, separators=(",", ":"), sort_keys=True)


def _keys(field: str, value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return ()
    if field == "ports" and "name" in value[0]:
        return next(keys for keys in PORT_KEYS if keys[0] in value[0])
    return KEYS.get(field, ())


def _merge(held: dict[str, Any], new: dict[str, Any]) -> None:
    for name, value in new.items():
        keys = _keys(name, value)
        if isinstance(value, dict) and isinstance(held.get(name), dict) and name not in ATOMIC:
            _merge(held[name], value)
        elif keys and name in held:
            for item in value:
                same = [each for each in held[name] if all(each.get(key) == item[key] for key in keys)]
                if same:
                    _merge(same[0], item)
                else:
                    held[name].append(item)
        else:
            held[name] = value


def _remove(held: Any, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Take out what was owned and is applied no more."""
    for path, below in old.items():
        if path == ".":
            continue
        if path.startswith("f:"):
            name = path[2:]
            if path not in new:
                held.pop(name, None)
            elif name in held:
                _remove(held[name], below, new[path])
        else:
            asked = json.loads(path[2:])
            for item in [each for each in held if asked.items() <= each.items()]:
                if path not in new:
                    held.remove(item)
                else:
                    _remove(item, below, new[path])


DEFAULTS: dict[str, dict[str, Any]] = {
    "containers": {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"},
    "startupProbe": {"successThreshold": 1},
    "readinessProbe": {"successThreshold": 1},
    "livenessProbe": {"successThreshold": 1},
    "httpGet": {"scheme": "HTTP"},
    "configMap": {"defaultMode": 420},
    "downwardAPI": {"defaultMode": 420},
    "template.spec": {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"},
}
SPELLED = {"requests", "limits"}
EMPTY = {"env", "tolerations"}


def _without_empty(body: Any, field: str = "") -> Any:
    """A copy without the empty values of variables and tolerations, which are not kept."""
    if isinstance(body, list):
        return [_without_empty(item, field) for item in body]
    if not isinstance(body, dict):
        return body
    kept = {name: part for name, part in body.items() if field not in EMPTY or (name, part) != ("value", "")}
    return {name: deepcopy(part) if name == OPAQUE else _without_empty(part, name) for name, part in kept.items()}


def _fill(held: Any, field: str = "") -> None:
    """Defaults, and quantities in their shortest form."""
    if isinstance(held, list):
        for item in held:
            _fill(item, field)
    if not isinstance(held, dict):
        return
    if field in SPELLED:
        held.update({name: _short(value) for name, value in held.items()})
        return
    for name, value in DEFAULTS.get(field, {}).items():
        held.setdefault(name, value)
    for name, value in held.items():
        if name != OPAQUE:
            _fill(value, "template.spec" if (field, name) == ("template", "spec") else name)


def _short(quantity: str) -> str:
    for long, short, step in (("Mi", "Gi", 1024), ("Ki", "Mi", 1024), ("m", "", 1000)):
        number = quantity.removesuffix(long)
        if number != quantity and number.isdigit() and int(number) % step == 0:
            return _short(f"{int(number) // step}{short}")
    return quantity


def leaves(fields: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of `fieldsV1` that hold no others."""
    for path, below in fields.items():
        if not below.keys() - {"."}:
            yield (*above, path)
        else:
            yield from leaves({name: part for name, part in below.items() if name != "."}, (*above, path))
