"""The chart's Grafana dashboard, from the panels in _panels.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs.generate._panels import ROWS, Panel

PAGE = "../charts/vlm-operator/dashboards/vlmctl.json"
COLUMNS = 24  # of Grafana's grid
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8}  # in its rows
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39  # of Grafana 10 and 11, which newer ones migrate


def render() -> str:
    """The dashboard's JSON."""
    dashboard = {
        "title": "Vision-language models",
        "uid": "vlmctl",
        "description": "VLMDeployments: what they cost, how they serve, how they compare with their plan.",
        "tags": ["vlmctl", "vllm"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "Namespace", "label_values(vlmctl_deployment_replicas, namespace)"),
                _variable(
                    "deployment",
                    "Deployment",
                    'label_values(vlmctl_deployment_replicas{namespace=~"$namespace"}, deployment)',
                ),
            ]
        },
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    everything = {"text": "All", "value": "$__all"}
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes, as deployments come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": everything,
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Rows from top to bottom, their panels from left to right."""
    number, y = 1, 0
    for title, panels in ROWS.items():
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": _place(0, y, COLUMNS, 1)}
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            height = max(height, HEIGHTS[panel.kind])
            yield {"id": number, **_panel(panel), "gridPos": _place(x, y, panel.width, HEIGHTS[panel.kind])}
            number, x = number + 1, x + panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    is_table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            **({"format": "table", "instant": True} if is_table else {}),
        }
        for index, query in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, **({} if is_table else {"min": 0})}, "overrides": []},
        **({"transformations": _merged(panel)} if is_table else {}),
    }


def _merged(panel: Panel) -> list[dict[str, Any]]:
    """One line for each deployment, whose columns are named for the queries."""
    values = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(panel.queries)}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": values}},
    ]


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}
