"""PromQL that KEDA asks. Where a figure is not known a query has no value, which KEDA takes as an error."""

from __future__ import annotations

from vlm_operator import names, proxy

# Back from now, of answers that keep replicas awake. Both scrapes around an answer are in it for two minutes or more,
# as the chart's podMonitor.interval is 60 s at most, and KEDA looks every 60 s or a little more at most.
ANSWERED_WINDOW = "3m"


def in_flight_query(namespace: str, name: str, *, to_zero: bool = False) -> str:
    """The requests in flight at all replicas; no value while a replica's proxy cannot be scraped.

    A part of the load would look like less of it. `to_zero`: 0 where no replica is there.
    """
    of = _selected(namespace, name)
    load = f'sum(haproxy_backend_current_sessions{{proxy="{proxy.BACKEND}",{of}}})'
    known = f'{load} unless on() (up{{{of},metrics_path="{proxy.METRICS_PATH}"}} == 0)'
    return f"{known} or {_asleep(namespace, name)}" if to_zero else known


def answered_query(namespace: str, name: str) -> str:
    """Whether a request was answered of late, 1 or 0: short ones come and go between two looks at those in flight."""
    answers = f'haproxy_backend_http_responses_total{{proxy="{proxy.BACKEND}",{_selected(namespace, name)}}}'
    return f"sum(increase({answers}[{ANSWERED_WINDOW}])) > bool 0 or {_asleep(namespace, name)}"


def _selected(namespace: str, name: str) -> str:
    return f'namespace="{namespace}",{names.SERIES_LABEL}="{name}"'


def _asleep(namespace: str, name: str) -> str:
    """0 where none is wanted and none is there, as the operator's own metrics tell: a Prometheus that does not find
    the pods cannot tell that there are none.
    """
    of = f'namespace="{namespace}",deployment="{name}",state=~"wanted|present"'
    return f"sum(vlmctl_deployment_replicas{{{of}}}) == 0"
