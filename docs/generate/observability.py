"""docs/observability.md: metrics, rules, the dashboard, logs and labels for cost tools, from what makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase
from vlm_operator import log_lines, metrics
from vlm_operator.deployment_metrics import FAMILIES

from docs.generate._chart import CHART
from docs.generate._panels import ROWS

PAGE = "observability.md"
INTRODUCTION = """\
# Metrics, alerts, the dashboard and logs

<!-- Written by `make docs` from operator/vlm_operator (metrics, deployment_metrics, log_lines) and
charts/vlm-operator/rules: edit those, or docs/generate/observability.py. -->

The operator serves its metrics on port 8080 under `/metrics`: what it does, and each VLMDeployment's status in numbers.
Engine pods serve theirs on port 8082: vLLM's under `/metrics`, the proxy's (HAProxy) under `/proxy/metrics`.

With the Prometheus Operator, the chart does the rest:

```yaml
podMonitor: {enabled: true}        # scrape the operator; pods of engines have a PodMonitor each, wherever that CRD is
prometheusRule: {enabled: true}    # the rules below
dashboard: {enabled: true}         # the dashboard, for Grafana's sidecar
prometheus:                        # let this Prometheus in, where NetworkPolicies are enforced
  namespaceLabels: {kubernetes.io/metadata.name: monitoring}
```

PodMonitors of engines get `podMonitor.labels` and `podMonitor.interval` too. These labels and `prometheusRule.labels`
take what your Prometheus selects by (`release: prometheus`, say).
Without the Prometheus Operator, load [the rules](../charts/vlm-operator/rules/vlmctl.yaml) and
[the dashboard](../charts/vlm-operator/dashboards/vlmctl.json) as they are, scrape at least once a minute, the
operator with `honor_labels: true` (the namespace in a metric is the VLMDeployment's), and give series of engine pods
the labels `namespace`, `deployment` (the pod's label `vlmctl.dev/deployment`), `pod` and `metrics_path` (which of the
two pages).
"""
OPERATOR = """\
## What the operator does

Of each process; `process_*` of Prometheus' client libraries stand beside them.
"""
DEPLOYMENTS = """\
## What it says of VLMDeployments

Each status as it is at the scrape, told by the leading operator alone, so that sums count each deployment once. A
figure that is not known is missing, never 0.
"""
RECORDED = """\
## Recorded

The requests in these are those that the proxies answered: a replica's benchmark goes past them, and never counts in
what production costs. Latencies are vLLM's, which counts all requests: replicas that have begun to answer production's
less than 5 minutes ago, and those whose engine has just started anew (7 to 10 minutes), are left out of them.
"""
ALERTS = """\
## Alerts

Each has a unit test of `promtool` where it fires and one where it does not. For those about conditions,
`kubectl describe vlmd` and [diagnosis.md](diagnosis.md) say what to do.
"""
DASHBOARD = """\
## The dashboard

Every query in it is run by a test against a real Prometheus, which scrapes a real operator, and vLLM's and HAProxy's
metrics as they were recorded. How Grafana draws it is not tested.
"""
LOGS = """\
## Logs

One JSON object a line on stderr, a traceback and all. No line holds a key, a token, a request or an answer. Of an
engine that ended, a line of its log may be part of a message.

| key | holds |
|---|---|
"""
LABELS = """\
## Who pays

Every engine pod has `app.kubernetes.io/instance` and `vlmctl.dev/deployment` (the VLMDeployment) and
`vlmctl.dev/revision`; `spec.pod.labels` and `spec.pod.annotations` are added to them, the labels also to the pods that
download weights (where an admission policy refused one for want of a label, delete its Job: it is made anew), so those
that your cost tool reads go there:

```yaml
apiVersion: vlmctl.dev/v1alpha1
kind: VLMDeployment
metadata: {name: invoices}
spec:
  model: {name: qwen2.5-vl-7b-instruct}
  pod:
    labels: {team: documents, department: finance, env: production, cost-center: "4711"}
```

[OpenCost](https://opencost.io/docs/) counts what containers request, GPUs included, by pod, and sums by any label of
pods: `aggregate=label:team`, or `label:vlmctl_dev_deployment` for one deployment. The labels that Kubecost looks for
unless told otherwise are `team`, `department`, `owner`, `app` and `env`
([Kyverno's policy that asks for them](https://kyverno.io/policies/kubecost-cel/require-kubecost-labels/require-kubecost-labels)).

The two look at different sides: cost tools split what nodes cost among what runs on them;
`vlmctl_deployment_cost_usd_per_hour` is the price of the GPUs that a deployment holds, from the chart's `inventory` or
the catalog, and is set against the requests answered. How these tools take labels and prices is told as
their documentation has it; they were not tried together with the operator. A team's share by namespace is
`namespace:vlmctl_deployment_cost_usd_per_hour:sum`.
"""


def render() -> str:
    """The page in Markdown. Raises ValueError for a key of log lines that is not told of."""
    rules = yaml.safe_load((CHART / "rules" / "vlmctl.yaml").read_text(encoding="utf-8"))["groups"]
    every = [rule for group in rules for rule in group["rules"]]
    return "\n".join(
        (
            INTRODUCTION,
            OPERATOR,
            _table(("metric", "type", "labels", "meaning"), _of_process()),
            DEPLOYMENTS,
            _table(("metric", "labels", "meaning"), ((_code(f.name), _names(f.labels), f.help) for f in FAMILIES)),
            RECORDED,
            _table(("series", "from"), ((_code(r["record"]), _code(_flat(r["expr"]))) for r in every if "record" in r)),
            ALERTS,
            _table(("alert", "severity", "after", "fires when"), (_alert(r) for r in every if "alert" in r)),
            DASHBOARD,
            _table(("row", "panel", "shows"), ((row, p.title, p.description) for row, ps in ROWS.items() for p in ps)),
            LOGS + "".join(f"| `{key}` | {meaning} |\n" for key, meaning in log_lines.KEYS.items()),
            LABELS,
        )
    )


def _of_process() -> Iterator[tuple[str, ...]]:
    """Those that are defined in metrics.py, in its order."""
    for value in vars(metrics).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield _code(name), family.type, _names(value._labelnames), family.documentation


def _alert(rule: dict[str, Any]) -> tuple[str, ...]:
    return _code(rule["alert"]), rule["labels"]["severity"], rule["for"], _code(_flat(rule["expr"]))


def _flat(expr: str) -> str:
    """PromQL on one line."""
    return " ".join(expr.split()).replace("( ", "(").replace(" )", ")")


def _names(labels: Iterable[str]) -> str:
    return ", ".join(map(_code, labels))


def _code(text: str) -> str:
    return f"`{text}`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    escaped = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    return "".join(f"| {line} |\n" for line in (" | ".join(heads), " | ".join("---" for _ in heads), *escaped))
