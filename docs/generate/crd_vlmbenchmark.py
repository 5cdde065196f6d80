"""The chart's template of the CustomResourceDefinition of VLMBenchmark, from the records in vlmctl/api."""

from __future__ import annotations

from docs.generate._crd_template import crd_template
from vlmctl.api.crds import vlmbenchmark_crd

PAGE = "../charts/vlm-operator/templates/crds/vlmbenchmarks.yaml"


def render() -> str:
    """The template."""
    return crd_template(vlmbenchmark_crd())
