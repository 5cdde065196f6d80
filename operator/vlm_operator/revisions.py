"""A VLMDeployment's revisions: what a plan was asked for, and the ControllerRevision that keeps the answer."""

from __future__ import annotations

import hashlib
import json

import msgspec
import yaml

from vlm_operator import names
from vlm_operator.agent.config import agent_config, encode_config
from vlm_operator.records import KubernetesObject, Planned, Revision, Verdict
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile

DIGEST_LENGTH = 10  # hexadecimal digits: with them, a name of 52 characters still makes a label's value of 63
# Nothing is planned by these: they move replicas, hold them back or judge them, and pods run on when they change.
NOT_PLANNED_BY = ("replicas", "scaling", "benchmark", "paused")
API_VERSION = "apps/v1"
KIND = "ControllerRevision"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast where libyaml is there


def digest(spec: api.VLMDeploymentSpec, replan: str = "") -> str:
    """Of everything that a user plans by. `replan`: the annotation `vlmctl.dev/replan`, which changes nothing else.

    A field that holds its default counts as not written, so a version of the API with more fields gives old objects
    their old digests.
    """
    asked = {key: value for key, value in msgspec.to_builtins(spec).items() if key not in NOT_PLANNED_BY}
    usual = msgspec.to_builtins(api.Workload())  # the one record that is always written whole
    asked["workload"] = {key: value for key, value in msgspec.to_builtins(spec.workload).items() if value != usual[key]}
    asked = {key: value for key, value in asked.items() if value != {}}
    if replan:
        asked[names.REPLAN] = replan
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def new(name: str, digest: str, planned: Planned, template: KubernetesObject) -> Revision:
    """A revision of the VLMDeployment `name` that no ControllerRevision keeps yet; `rollout.target` numbers it."""
    files = {"agent.json": encode_config(agent_config(planned)), "plan.yaml": _readable(planned)}
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
    """The revision that a ControllerRevision keeps; raises InvalidFile where this version cannot read it."""
    metadata, data = obj["metadata"], obj.get("data") or {}
    try:
        return Revision(
            name=metadata["name"],
            number=obj["revision"],
            digest=metadata["labels"][names.REVISION],
            planned=msgspec.convert(data["planned"], Planned),
            template=data["template"],
            config=data.get("config", {}),
            verdict=_verdict(metadata.get("annotations", {}).get(names.VERDICT)),
            uid=metadata["uid"],
        )
    except (msgspec.ValidationError, KeyError) as error:
        raise InvalidFile(
            f"{KIND} {metadata['name']}",
            f"cannot be read by this version: {error}.",
            remedy=f"Go back to the operator's version that wrote it, or change the annotation {names.REPLAN}.",
        ) from error


def _verdict(text: str | None) -> Verdict:
    return Verdict(text) if text in set(Verdict) else Verdict.UNKNOWN


def _readable(planned: Planned) -> str:
    """The plan as YAML, for people."""
    return yaml.dump(msgspec.to_builtins(planned), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)
