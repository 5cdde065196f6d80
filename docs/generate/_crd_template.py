"""A CustomResourceDefinition as a template of the chart.

Helm neither upgrades nor deletes what lies in a chart's `crds/` folder, so they are templates, kept on an uninstall.
"""

from __future__ import annotations

from typing import Any

import yaml

HEAD = """\
{{- if .Values.crds.install }}
# Written by `make docs` from the records in vlmctl/api: edit those.
"""
KEPT = """\
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""
END = "{{- end }}\n"


def crd_template(definition: dict[str, Any]) -> str:
    """The definition, installed where the chart's values say so."""
    parts = [_dump({key: definition[key]}) for key in ("apiVersion", "kind", "metadata", "spec")]
    return HEAD + "".join(parts[:3]) + KEPT + parts[3] + END


def _dump(value: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=118, allow_unicode=True)
    return text.replace("{{", '{{ "{{" }}')
