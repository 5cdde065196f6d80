"""values.schema.json of the chart, by which Helm refuses values that it does not know."""

from __future__ import annotations

import json

from docs.generate import _chart

PAGE = "../charts/vlm-operator/values.schema.json"


def render() -> str:
    """The schema as JSON."""
    return json.dumps(_chart.schema(), indent=2, ensure_ascii=False) + "\n"
