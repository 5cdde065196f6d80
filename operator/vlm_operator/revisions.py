"""A VLMDeployment's revisions: what a plan was asked for, and the ControllerRevision that keeps the answer."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

import msgspec
import yaml

from vlm_operator import names, proxy, tolerant
from vlm_operator.agent.config import agent_config, encode_config
from vlm_operator.records import KubernetesObject, Planned, Revision, Verdict
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile

DIGEST_LENGTH = 10  # hexadecimal digits: with them, a name of 52 characters still makes a label's value of 63
# Pods are the same whatever these say: they move replicas, hold them back, judge them, or say what plan is allowed.
NOT_PLANNED_BY = ("replicas", "scaling", "benchmark", "paused", "budget", "licensePolicy")
NOT_OF_CLAIM = ("size", "retain")  # the claim grows, and is kept or not, under the same pods
API_VERSION = "apps/v1"
KIND = "ControllerRevision"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast where libyaml is there


def digest(spec: api.VLMDeploymentSpec, replan: str = "") -> str:
    """Of everything that pods are made by. `replan`: the annotation `vlmctl.dev/replan`, which changes nothing else.

    A field that holds its default counts as not written, so a version of the API with more fields gives old objects
    their old digests.
    """
    asked = {key: value for key, value in msgspec.to_builtins(spec).items() if key not in NOT_PLANNED_BY}
    if claim := asked.get("cache", {}).get("pvc"):
        asked["cache"] = {"pvc": {key: value for key, value in claim.items() if key not in NOT_OF_CLAIM}}
    usual = msgspec.to_builtins(api.Workload())  # the one record that is always written whole
    asked["workload"] = {key: value for key, value in msgspec.to_builtins(spec.workload).items() if value != usual[key]}
    asked = {key: value for key, value in asked.items() if value != {}}
    if replan:
        asked[names.REPLAN] = replan
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def new(name: str, digest: str, planned: Planned, template: KubernetesObject) -> Revision:
    """A revision of the VLMDeployment `name` that no ControllerRevision keeps yet; `rollout.target` numbers it."""
    readable = _readable(msgspec.json.encode(planned))
    files = {"agent.json": encode_config(agent_config(planned)), "plan.yaml": readable, **proxy.files()}
    return Revision(
        name=names.of_revision(name, digest),
        number=0,
        digest=digest,
        planned=planned,
        template=template,
        config=files,
    )


def write(revision: Revision, parent: KubernetesObject) -> KubernetesObject:
    """The ControllerRevision, owned by `parent`, the VLMDeployment."""
    metadata = parent["metadata"]
    labels = {**names.labels(metadata["name"], names.Component.PLAN), names.REVISION: revision.digest}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": revision.name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {names.VERDICT: revision.verdict.value},
            "ownerReferences": names.owner(parent),
        },
        "revision": revision.number,
        "data": {
            "planned": json.loads(msgspec.json.encode(revision.planned)),
            "template": revision.template,
            "config": revision.config,
        },
    }


def read(obj: KubernetesObject) -> Revision:
    """The revision that a ControllerRevision keeps; raises InvalidFile where this version cannot read it.

    Fields that a later version has added to the plan are left out: pods are made of the template, which is whole.
    """
    metadata = obj["metadata"]
    try:
        data = msgspec.convert(obj["data"], _Data)
        return Revision(
            name=metadata["name"],
            number=obj["revision"],
            digest=metadata["labels"][names.REVISION],
            planned=tolerant.convert(data.planned, Planned),
            template=obj["data"]["template"],
            config=data.config,
            verdict=_verdict(metadata.get("annotations", {}).get(names.VERDICT)),
            uid=metadata["uid"],
        )
    except (msgspec.ValidationError, KeyError) as error:
        raise InvalidFile(
            f"{KIND} {metadata['name']}",
            f"cannot be read by this version: {error}.",
            remedy=f"Go back to the operator's version that wrote it, or change the annotation {names.REPLAN}.",
        ) from error


class _Template(msgspec.Struct):
    """What every pod template has."""

    metadata: dict[str, Any]
    spec: dict[str, Any]


class _Data(msgspec.Struct):
    """Of a ControllerRevision, as `write` makes it."""

    planned: dict[str, Any]
    template: _Template
    config: dict[str, str] = {}


def _verdict(text: str | None) -> Verdict:
    return Verdict(text) if text in set(Verdict) else Verdict.UNKNOWN


@lru_cache(maxsize=64)
def _readable(planned: bytes) -> str:
    """The plan, given as JSON, as YAML for people."""
    return yaml.dump(json.loads(planned), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)
