"""The lines on top of every written plan: what was planned, what it rests on, and what may go wrong."""

from __future__ import annotations

from vlmctl.serving.summary import summary
from vlmctl.specs.estimates import CostEstimate, Plan, SpeedEstimate
from vlmctl.specs.model import ModelSpec
from vlmctl.units import show_gib, show_seconds, show_usd
from vlmctl.version import __version__


def header(plan: Plan, model: ModelSpec) -> list[str]:
    """Lines without comment signs, warnings and known trouble last."""
    placement, memory, replicas = plan.placement, plan.memory, summary(plan).replicas
    lines = [
        f"{model.name} ({placement.precision.value}) on {placement.gpu_count}x {placement.gpu}, "
        f"{replicas} {'replica' if replicas == 1 else 'replicas'}; written by vlmctl {__version__}.",
        _speed(plan.speed),
        f"Each GPU: {show_gib(memory.budget_bytes)} taken by vLLM, {show_gib(memory.kv_cache_bytes)} of it KV cache: "
        f"room for {memory.maximum_sequences} requests.",
    ]
    if plan.cost is not None:
        lines.append(_cost(plan.cost))
    lines.extend(f"Warning: {warning}" for warning in plan.warnings)
    lines.extend(f"Known trouble: {each.condition}: {each.effect} ({each.source})." for each in model.serving.known_bad)
    return lines


def _speed(speed: SpeedEstimate) -> str:
    basis = speed.basis.value
    if speed.error_median is not None:
        basis += f", median error {speed.error_median:.0%}"
    return (
        f"Each replica: {speed.requests_per_second:.2f} requests/s with {speed.concurrency} in flight; p95 time to "
        f"first token {show_seconds(speed.ttft_p95_seconds)}, per output token {show_seconds(speed.tpot_p95_seconds)} "
        f"({basis})." + ("" if speed.goodput is None else f" {speed.goodput:.0%} of the requests meet the objectives.")
    )


def _cost(cost: CostEstimate) -> str:
    offer = cost.offer
    return (
        f"{show_usd(cost.usd_per_hour)} an hour, {show_usd(cost.usd_per_1k_requests)} per 1,000 requests at "
        f"{cost.utilization:.0%} use: {offer.instance_type}, {offer.provider} {offer.region}, {offer.kind.value}, "
        f"price of {offer.as_of}."
    )
