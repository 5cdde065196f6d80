"""What the operator tells Prometheus of itself, and the registry that /metrics shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

RECONCILE_SECONDS = Histogram(
    "vlmctl_reconcile_duration_seconds",
    "How long one pass over one VLMDeployment took.",
    buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0),
    registry=REGISTRY,
)
RECONCILES = Counter(
    "vlmctl_reconciles",
    "Passes over a VLMDeployment, by how they ended: done or failed.",
    ["result"],
    registry=REGISTRY,
)
API_WRITES = Counter(
    "vlmctl_api_writes",
    "Requests by which the API server was changed, by the verb of the right that they need, and kind.",
    ["verb", "kind"],
    registry=REGISTRY,
)
QUEUE_LENGTH = Gauge("vlmctl_queue_length", "VLMDeployments that wait for a pass.", registry=REGISTRY)
QUEUE_AGE_SECONDS = Gauge(
    "vlmctl_queue_oldest_age_seconds", "How long the first of them has waited; 0 where none waits.", registry=REGISTRY
)
LEADS = Gauge("vlmctl_leader", "1 while this process holds the Lease.", registry=REGISTRY)
WATCHING = Gauge(
    "vlmctl_watch_up",
    "1 while objects of the kind are watched in every namespace served; VLMDeployments, which kopf watches, are left "
    "out.",
    ["kind"],
    registry=REGISTRY,
)

VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}  # of a right, by HTTP method
CONTENT_TYPE = CONTENT_TYPE_LATEST


@contextmanager
def shown(collector: Collector) -> Iterator[None]:
    """Show more metrics, asked for at each scrape, while in the context."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def exposition() -> bytes:
    """All of it in the text form."""
    return generate_latest(REGISTRY)
