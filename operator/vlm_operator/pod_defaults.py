"""What the chart's values give to the pods of every VLMDeployment that does not say otherwise."""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.api import v1alpha1 as api
from vlmctl.specs.record import Record


class PodDefaults(Record, frozen=True, kw_only=True):
    """`image_pull_secrets`: of Secrets in the VLMDeployment's namespace, beside those that it names itself."""

    image_pull_secrets: tuple[str, ...] = ()
    priority_class_name: str | None = None


def with_defaults(spec: api.VLMDeploymentSpec, defaults: PodDefaults) -> api.VLMDeploymentSpec:
    """The spec that a pod template is made from. New revisions alone are: no pod is started anew for a default."""
    if defaults == PodDefaults():
        return spec
    own = spec.pod or api.PodOverrides()
    secrets = tuple(dict.fromkeys((*own.image_pull_secrets, *defaults.image_pull_secrets)))
    priority = own.priority_class_name or defaults.priority_class_name
    return replace(spec, pod=replace(own, image_pull_secrets=secrets, priority_class_name=priority))
