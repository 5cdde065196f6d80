"""What the operator tells Prometheus of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

RECONCILE_SECONDS = Histogram(
    "vlm_operator_reconcile_duration_seconds",
    "How long one pass over one VLMDeployment took.",
    buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0),
    registry=REGISTRY,
)
RECONCILES = Counter(
    "vlm_operator_reconciles", "Passes over a VLMDeployment, by how they ended.", ["result"], registry=REGISTRY
)
API_WRITES = Counter(
    "vlm_operator_writes",
    "Objects written to the API server, by kind and method.",
    ["kind", "method"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("vlm_operator_queue_depth", "VLMDeployments that wait for a pass.", registry=REGISTRY)
LEADS = Gauge("vlm_operator_leader", "1 while this process holds the Lease.", registry=REGISTRY)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """All of it in the text form."""
    return generate_latest(REGISTRY)
