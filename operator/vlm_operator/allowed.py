"""What of a spec its own words and the cluster's policy allow: licence, code, images, hosts."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_operator.policy import Policy, code_denied, image_denied, license_denied, media_denied
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.model import License

MAIN = "main"  # branch of the hub that is meant where a spec names no revision


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


def check_media(spec: api.VLMDeploymentSpec, policy: Policy) -> None:
    """Raise Refused where the spec names a host that pictures may not be fetched from."""
    engine = spec.engine or api.Engine()
    for host in engine.allowed_media_domains:
        if denied := media_denied(host, policy):
            raise Refused(
                PlanReason.MEDIA_DENIED,
                f"spec.engine.allowedMediaDomains: {denied}. Leave it out, or have the host named there.",
            )


def check_code(
    spec: api.VLMDeploymentSpec, policy: Policy, *, model: str, repositories: Sequence[str], runs: bool
) -> None:
    """Raise Refused where the engine may not run code that comes with the model of that id.

    `runs`: whether it would. `repositories`: those of the hub that the checkpoint may come from.
    """
    trusts = spec.engine is not None and spec.engine.trust_remote_code
    if runs and not trusts:
        raise _denied(
            f"{model}: vLLM needs to run Python code from {' or '.join(repositories)} to serve it. Read that code, "
            "then allow it with spec.engine.trustRemoteCode; policy.remoteCode of the chart must name its commit too."
        )
    if trusts and not runs:
        raise _denied(
            f"{model}: code of its own runs only for models of the catalog that need it. Leave "
            "spec.engine.trustRemoteCode out."
        )
    for place in _places(spec, repositories) if runs else ():
        if denied := code_denied(place, policy):
            raise _denied(
                f"{model}: {denied}. Have the commit or digest that was read named there, and name it in "
                "spec.model.source."
            )


def _places(spec: api.VLMDeploymentSpec, repositories: Sequence[str]) -> tuple[str, ...]:
    """Where the code would come from, as the policy names what was read; it names no claim, whose files may change."""
    source = spec.model.source or api.ModelSource()
    if source.pvc is not None:
        return (f"the claim {source.pvc.claim_name}",)
    if source.image is not None:
        return (source.image.reference,)
    hub = source.hugging_face or api.HuggingFaceSource()
    return tuple(f"{repository}@{hub.revision or MAIN}" for repository in repositories)


def _denied(message: str) -> Refused:
    return Refused(PlanReason.REMOTE_CODE_DENIED, message)
