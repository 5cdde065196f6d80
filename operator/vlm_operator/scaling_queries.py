"""PromQL that KEDA asks. Where a figure is not known a query has no value, which KEDA takes as an error."""

from __future__ import annotations

from vlm_operator import names, proxy
from vlmctl.planning.scaling import ANSWERED_SECONDS

# Both scrapes around an answer are in it for two minutes or more, as the chart's podMonitor.interval is 60 s at most,
# and KEDA looks every 60 s or a little more at most.
ANSWERED_WINDOW = f"{ANSWERED_SECONDS / 60:g}m"
READY_LABEL = "ready"  # "true": the pod of the series is in the Service, by its condition Ready


def in_flight_query(namespace: str, name: str, *, to_zero: bool = False) -> str:
    """The requests in flight at all replicas; no value unless the proxy of each that takes traffic was scraped.

    A part of the load would look like less of it. Replicas that leave are no part: their proxies close while what they
    had is answered, and pods of a lost node stay for long. `to_zero`: 0 where no replica is there, or all that are
    have failed.
    """
    of = _selected(namespace, name)
    load = f'sum(haproxy_backend_current_sessions{{proxy="{proxy.BACKEND}",{of}}})'
    ready = f'up{{{of},{READY_LABEL}="true"}}'
    scraped = f'up{{{of},metrics_path="{proxy.METRICS_PATH}"}} == 1'
    known = f"{load} and on() (count({scraped} and on(pod) {ready}) == count({ready}))"
    return f"{known} or {_at_rest(namespace, name)}" if to_zero else known


def answered_query(namespace: str, name: str) -> str:
    """Whether replicas are needed of late, 1 or 0: one was missing, or a request was answered.

    Short requests come and go between two looks at those in flight. A replica that has just started has answered none,
    and its time without a request begins with it; one that fails to start has none. Where the operator is not scraped
    answers alone count.
    """
    answers = f'haproxy_backend_http_responses_total{{proxy="{proxy.BACKEND}",{_selected(namespace, name)}}}'
    missing = f"(max({_replicas(namespace, name, 'wanted')}) > bool min({_fewest_ready(namespace, name)})) == 1"
    missing = f"({missing} unless on() {_failed(namespace, name)})"
    return f"{missing} or sum(increase({answers}[{ANSWERED_WINDOW}])) > bool 0 or {_at_rest(namespace, name)}"


def _selected(namespace: str, name: str) -> str:
    return f'namespace="{namespace}",{names.SERIES_LABEL}="{name}"'


def _replicas(namespace: str, name: str, state: str) -> str:
    return f'vlmctl_deployment_replicas{{namespace="{namespace}",deployment="{name}",state="{state}"}}'


def _fewest_ready(namespace: str, name: str) -> str:
    return f"min_over_time({_replicas(namespace, name, 'ready')}[{ANSWERED_WINDOW}])"


def _at_rest(namespace: str, name: str) -> str:
    return f"{_asleep(namespace, name)} or 0 * {_failed(namespace, name)}"


def _failed(namespace: str, name: str) -> str:
    """1 where replicas failed to start of late: those that try again and again are not needed for it."""
    phase = f'vlmctl_deployment_phase{{namespace="{namespace}",deployment="{name}",phase="Failed"}}'
    return f"max(max_over_time({phase}[{ANSWERED_WINDOW}]))"


def _asleep(namespace: str, name: str) -> str:
    """0 where none is wanted and none is there, as the operator's own metrics tell: a Prometheus that does not find
    the pods cannot tell that there are none.
    """
    of = f'namespace="{namespace}",deployment="{name}",state=~"wanted|present"'
    return f"sum(vlmctl_deployment_replicas{{{of}}}) == 0"
