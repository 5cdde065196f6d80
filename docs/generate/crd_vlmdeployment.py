"""The chart's template of the CustomResourceDefinition of VLMDeployment, from the records in vlmctl/api."""

from __future__ import annotations

from docs.generate._crd_template import crd_template
from vlmctl.api.crds import vlmdeployment_crd

PAGE = "../charts/vlm-operator/templates/crds/vlmdeployments.yaml"


def render() -> str:
    """The template."""
    return crd_template(vlmdeployment_crd())
