"""What of a spec its own words and the cluster's policy allow: the model's licence, code of its repository, images."""

from __future__ import annotations

import re

from vlm_operator.model_source import Source
from vlm_operator.policy import Policy, image_denied, license_denied
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.model import License

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def check_license(license: License, spec: api.VLMDeploymentSpec, policy: Policy, *, model: str) -> None:
    """Raise Refused where the licence of the model of that id is not acceptable."""
    if denied := license_denied(license, spec.license_policy, policy):
        raise Refused(PlanReason.LICENSE_DENIED, f"{model}: {denied}.")


def check_images(spec: api.VLMDeploymentSpec, policy: Policy) -> None:
    """Raise Refused where the spec names an image that may not be pulled."""
    engine, source = spec.engine or api.Engine(), spec.model.source or api.ModelSource()
    for field, image in (
        ("spec.engine.image", engine.image),
        ("spec.model.source.image", source.image.reference if source.image is not None else None),
    ):
        if image is not None and (denied := image_denied(image, policy)):
            raise Refused(PlanReason.IMAGE_DENIED, f"{field}: {denied}.")


def check_code(spec: api.VLMDeploymentSpec, source: Source | None, policy: Policy, *, model: str, runs: bool) -> None:
    """Raise Refused where the engine may not run code that comes with the model of that id.

    `runs`: whether it would. `source`: None where the catalog does not know the model any more.
    """
    trusts = spec.engine is not None and spec.engine.trust_remote_code
    if runs and not trusts:
        where = "its repository" if source is None else source.model.repository
        raise _denied(
            f"{model}: vLLM needs to run Python code from {where} to serve it. Read that code, then allow it with "
            "spec.engine.trustRemoteCode; the cluster's policy must allow it too."
        )
    if trusts and not policy.allow_trust_remote_code:
        raise _denied("the cluster's policy does not allow spec.engine.trustRemoteCode.")
    if trusts and source is not None and source.described is not None:
        raise _denied(
            f"{model}: code of its own runs only for models of the catalog that need it. Leave "
            "spec.engine.trustRemoteCode out."
        )
    if runs and (open_to := _may_change(spec.model.source or api.ModelSource(), source)):
        raise _denied(f"{model}: {open_to}")


def _may_change(place: api.ModelSource, source: Source | None) -> str:
    """Why the code that would run may be another than was read, and what to do; empty where it may not."""
    if place.pvc is not None:
        return (
            f"what lies on the claim {place.pvc.claim_name} may be anything by now, code too. Take an image by its "
            "digest, or a commit of the hub."
        )
    if place.image is not None:
        is_pinned = DIGEST.search(place.image.reference) is not None
        return "" if is_pinned else f"{place.image.reference} may become another. Name it by its digest, @sha256:..."
    hub = place.hugging_face or api.HuggingFaceSource()
    if source is not None and not source.of_catalog:
        return (
            f"code runs from the catalog's repository of a model alone, which {hub.repository} is not. Leave "
            "spec.model.source.huggingFace.repository out."
        )
    if COMMIT.fullmatch(hub.revision or ""):
        return ""
    return (
        "its repository may change after its code was read. Name the commit that was read, all 40 digits of it, in "
        "spec.model.source.huggingFace.revision."
    )


def _denied(message: str) -> Refused:
    return Refused(PlanReason.REMOTE_CODE_DENIED, message)
