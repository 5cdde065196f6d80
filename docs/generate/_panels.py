"""The panels of the dashboard: what each shows, in which unit, and what Prometheus is asked for."""

from __future__ import annotations

from typing import NamedTuple

OF = 'namespace=~"$namespace", deployment=~"$deployment"'
BY = "by (namespace, deployment)"
NAMED = "{{namespace}}/{{deployment}}"


class Query(NamedTuple):
    """PromQL, and how a series of it is called."""

    expr: str
    legend: str = NAMED


class Panel(NamedTuple):
    """`unit`: as Grafana calls it. `kind`: timeseries, stat or table. `width`: of 24."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8


MONEY = (
    Panel(
        "Spend",
        "USD per hour of all replicas that hold GPUs. A deployment whose price is not known is missing in it.",
        "currencyUSD",
        (Query(f"sum(max by (namespace, deployment) (vlmctl_deployment_cost_usd_per_hour{{{OF}}}))", "USD per hour"),),
        "stat",
        4,
    ),
    Panel(
        "Waste",
        "The part of the spend for time in which replicas could have answered more, by what they measured.",
        "currencyUSD",
        (Query(f"sum(deployment:vlmctl_idle_usd_per_hour:sum{{{OF}}})", "USD per hour"),),
        "stat",
        4,
    ),
    Panel(
        "GPUs held",
        "GPUs of all pods that have a node.",
        "none",
        (Query(f"sum(max by (namespace, deployment) (vlmctl_deployment_gpus{{{OF}}}))", "GPUs"),),
        "stat",
        4,
    ),
    Panel(
        "Spend by namespace",
        "USD per hour of the replicas that hold GPUs, for whom they are.",
        "currencyUSD",
        (Query('namespace:vlmctl_deployment_cost_usd_per_hour:sum{namespace=~"$namespace"}', "{{namespace}}"),),
        width=12,
    ),
    Panel(
        "Cost of 1,000 requests",
        "Planned, measured (a replica that is never idle) and realised (production's requests, idle time included).",
        "currencyUSD",
        (
            Query(
                "max by (namespace, deployment, basis) "
                f'(vlmctl_deployment_cost_usd_per_1k_requests{{{OF}, basis!="saturated"}})',
                f"{NAMED} {{{{basis}}}}",
            ),
        ),
        width=12,
    ),
    Panel(
        "Cost of 1,000 requests by namespace, last hour",
        "What was paid in the last hour over what was answered in it, by deployments whose price is known.",
        "currencyUSD",
        (Query('namespace:vlmctl_cost_usd_per_1k_requests:realised1h{namespace=~"$namespace"}', "{{namespace}}"),),
        width=12,
    ),
    Panel(
        "Deployments",
        "Each with its model and GPU: USD per hour, and USD per 1,000 requests where replicas are never idle.",
        "currencyUSD",
        (
            Query(f"max by (namespace, deployment, model, gpu) (vlmctl_deployment_cost_usd_per_hour{{{OF}}})", "hour"),
            Query(
                "max by (namespace, deployment, model, gpu) "
                f'(vlmctl_deployment_cost_usd_per_1k_requests{{{OF}, basis="saturated"}})',
                "1,000 requests",
            ),
        ),
        "table",
        12,
    ),
    Panel(
        "Busy",
        "Requests answered over what the replicas that are paid for can answer.",
        "percentunit",
        (Query(f"deployment:vlmctl_busy:ratio{{{OF}}}"),),
        width=12,
    ),
)
SERVING = (
    Panel(
        "Requests answered",
        "By the proxy's count, so without the benchmark's own.",
        "reqps",
        (Query(f"deployment:vlmctl_requests_answered:rate5m{{{OF}}}"),),
    ),
    Panel(
        "In flight",
        "Requests that the proxies have passed on and that are not answered yet.",
        "none",
        (Query(f'sum {BY} (haproxy_backend_current_sessions{{proxy="inference", {OF}}})'),),
    ),
    Panel(
        "Requests failed",
        "Share that was answered with a status of 500 and above.",
        "percentunit",
        (
            Query(
                f'sum {BY} (rate(haproxy_backend_http_responses_total{{proxy="inference", code="5xx", {OF}}}[5m])) / '
                f'sum {BY} (rate(haproxy_backend_http_responses_total{{proxy="inference", {OF}}}[5m]))'
            ),
        ),
    ),
    Panel(
        "Time to first token",
        "95th percentile, with the objective where one is set. Replicas that measure themselves, or whose engine has "
        "just started, are left out.",
        "s",
        (
            Query(f"deployment:vlmctl_time_to_first_token_seconds:p95{{{OF}}}", f"{NAMED} p95"),
            Query(
                f'max {BY} (vlmctl_deployment_objective_seconds{{quantity="ttft", {OF}}})',
                f"{NAMED} objective",
            ),
        ),
    ),
    Panel(
        "Time per output token",
        "95th percentile, with the objective where one is set.",
        "s",
        (
            Query(f"deployment:vlmctl_time_per_output_token_seconds:p95{{{OF}}}", f"{NAMED} p95"),
            Query(f'max {BY} (vlmctl_deployment_objective_seconds{{quantity="tpot", {OF}}})', f"{NAMED} objective"),
        ),
    ),
    Panel(
        "Replicas",
        "Wanted, and ready to take requests.",
        "none",
        (
            Query(
                f'max by (namespace, deployment, state) (vlmctl_deployment_replicas{{{OF}, state=~"wanted|ready"}})',
                f"{NAMED} {{{{state}}}}",
            ),
        ),
    ),
    Panel(
        "Waiting in the engines",
        "Requests that vLLM has accepted and not begun with.",
        "none",
        (Query(f"sum {BY} (vllm:num_requests_waiting{{{OF}}})"),),
    ),
    Panel(
        "KV cache in use",
        "Share of the fullest replica; at 100% requests wait or are begun anew.",
        "percentunit",
        (Query(f"max {BY} (vllm:kv_cache_usage_perc{{{OF}}})"),),
    ),
    Panel(
        "Not as it should be",
        "Conditions that do not hold, or Degraded that does, with their reason.",
        "none",
        (
            Query(
                f'vlmctl_deployment_condition{{{OF}, type!="Degraded", status!="True"}} or '
                f'vlmctl_deployment_condition{{{OF}, type="Degraded", status="True"}}',
                f"{NAMED} {{{{type}}}}: {{{{reason}}}}",
            ),
        ),
    ),
)
BENCHMARK = (
    Panel(
        "Requests per second of a replica",
        "As planned and as measured by a replica before it took requests.",
        "reqps",
        (
            Query(
                f"max by (namespace, deployment, basis) (vlmctl_deployment_requests_per_second{{{OF}}})",
                f"{NAMED} {{{{basis}}}}",
            ),
        ),
    ),
    Panel(
        "Drift",
        "Measured over planned: below 100%, the plan promised more than the replica does.",
        "percentunit",
        (Query(f"max {BY} (vlmctl_deployment_drift_ratio{{{OF}}})"),),
    ),
    Panel(
        "Start",
        "How long the first replica of the present revision took, phase by phase.",
        "s",
        (
            Query(
                f"max by (namespace, deployment, phase) (vlmctl_deployment_start_phase_seconds{{{OF}}})",
                f"{NAMED} {{{{phase}}}}",
            ),
        ),
    ),
)
OPERATOR = (
    Panel(
        "Leaders",
        "Operators that hold the Lease: one for each release of the chart.",
        "none",
        (Query("sum by (job) (vlmctl_leader)", "{{job}}"),),
        "stat",
        4,
    ),
    Panel(
        "Deployments that wait",
        "VLMDeployments that wait to be looked at.",
        "none",
        (Query("sum by (job) (vlmctl_queue_length and on (job, instance) vlmctl_leader == 1)", "{{job}}"),),
        "stat",
        4,
    ),
    Panel(
        "Longest wait",
        "Of the first in the queue.",
        "s",
        (Query("max by (job) (vlmctl_queue_oldest_age_seconds and on (job, instance) vlmctl_leader == 1)", "{{job}}"),),
        "stat",
        4,
    ),
    Panel(
        "Kinds not watched",
        "Changes of their objects are not heard of at once.",
        "none",
        (Query("count by (job) (vlmctl_watch_up == 0) or 0 * sum by (job) (vlmctl_leader)", "{{job}}"),),
        "stat",
        4,
    ),
    Panel(
        "Memory",
        "Resident memory of the operator.",
        "bytes",
        (Query("process_resident_memory_bytes and on (job, instance) vlmctl_leader", "{{instance}}"),),
    ),
    Panel(
        "Passes",
        "Passes over a VLMDeployment, by how they ended.",
        "ops",
        (Query("sum by (job, result) (rate(vlmctl_reconciles_total[5m]))", "{{job}} {{result}}"),),
    ),
    Panel(
        "Length of a pass",
        "Median and 95th percentile.",
        "s",
        (
            Query(
                "histogram_quantile(0.5, sum by (job, le) (rate(vlmctl_reconcile_duration_seconds_bucket[5m])))",
                "{{job}} median",
            ),
            Query(
                "histogram_quantile(0.95, sum by (job, le) (rate(vlmctl_reconcile_duration_seconds_bucket[5m])))",
                "{{job}} p95",
            ),
        ),
    ),
    Panel(
        "Writes",
        "Changes asked of the API server; none at rest but the Lease.",
        "wps",
        (Query("sum by (kind, verb) (rate(vlmctl_api_writes_total[5m]))", "{{verb}} {{kind}}"),),
    ),
)
ROWS = {"Money": MONEY, "Serving": SERVING, "Benchmark and drift": BENCHMARK, "The operator": OPERATOR}
