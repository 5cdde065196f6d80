"""What Prometheus is told of each VLMDeployment: its status in numbers, as it is at the scrape; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import msgspec
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vlm_operator.records import KubernetesObject
from vlm_operator.status import previous
from vlmctl.api import v1alpha1 as api
from vlmctl.api.reading import objectives, running_benchmark, running_plan
from vlmctl.errors import InvalidValue

UNKNOWN = "unknown"
OF_ONE = ("namespace", "deployment")
OF_MONEY = (*OF_ONE, "model", "gpu")
Sample = tuple[tuple[str, ...], float]  # values of the labels beside OF_ONE (or OF_MONEY), and the number


class Deployed(NamedTuple):
    """A VLMDeployment as it is read for its metrics. `plan`, `benchmark`: of what runs, None while revisions change."""

    namespace: str
    name: str
    wanted: int
    objectives: api.Objectives
    status: api.VLMDeploymentStatus
    plan: api.PlanStatus | None
    benchmark: api.BenchmarkStatus | None


class Family(NamedTuple):
    """One metric. `labels`: all of them; `samples`: what one VLMDeployment adds to it, unknown figures left out."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Deployed], Iterable[Sample]]


class DeploymentMetrics(Collector):
    """All families over the VLMDeployments that `parents` gives, as the API server has them."""

    def __init__(self, parents: Callable[[], Iterable[KubernetesObject]]) -> None:
        self._parents = parents

    def collect(self) -> Iterator[Metric]:
        """Each family with the samples of all VLMDeployments."""
        every = [_deployed(parent) for parent in self._parents()]
        for family in FAMILIES:
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for each in every:
                own = _of_money(each) if family.labels[: len(OF_MONEY)] == OF_MONEY else (each.namespace, each.name)
                for more, value in family.samples(each):
                    metric.add_metric((*own, *more), value)
            yield metric


def _deployed(parent: KubernetesObject) -> Deployed:
    """What is read of it; of a spec that another version wrote, what can be read."""
    metadata, spec = parent["metadata"], parent.get("spec", {})
    asked = api.Objectives()
    with suppress(msgspec.ValidationError):
        asked = msgspec.convert(spec.get("objectives") or {}, api.Objectives)
    wanted, status = spec.get("replicas", 1), previous(parent)
    runs = running_plan(status), running_benchmark(status)
    return Deployed(metadata["namespace"], metadata["name"], wanted, asked, status, *runs)


def _of_money(each: Deployed) -> tuple[str, ...]:
    gpu = each.plan.gpu if each.plan is not None else UNKNOWN
    return (each.namespace, each.name, each.status.model or UNKNOWN, gpu)


def _replicas(each: Deployed) -> Iterator[Sample]:
    yield ("wanted",), each.wanted
    yield ("present",), each.status.replicas
    yield ("ready",), each.status.ready_replicas
    yield ("paid",), _paid(each)


def _paid(each: Deployed) -> int:
    return (each.status.cost.replicas or 0) if each.status.cost is not None else 0


def _conditions(each: Deployed) -> Iterator[Sample]:
    for condition in each.status.conditions:
        yield (condition.type.value, condition.status, condition.reason), 1.0


def _phase(each: Deployed) -> Iterator[Sample]:
    if each.status.phase is not None:
        yield (each.status.phase,), 1.0


def _gpus(each: Deployed) -> Iterator[Sample]:
    if each.status.cost is not None and each.status.cost.gpus is not None:
        yield (), each.status.cost.gpus


def _rates(each: Deployed) -> Iterator[Sample]:
    if each.plan is not None:
        yield ("planned",), float(each.plan.requests_per_second)
    if each.benchmark is not None:
        yield ("measured",), float(each.benchmark.requests_per_second)


def _concurrency(each: Deployed) -> Iterator[Sample]:
    if each.plan is not None:
        yield ("planned",), each.plan.concurrency
    if each.benchmark is not None:
        yield ("measured",), each.benchmark.concurrency


def _drift(each: Deployed) -> Iterator[Sample]:
    if each.status.drift is not None:
        yield (), float(each.status.drift.throughput)


def _hourly(each: Deployed) -> Iterator[Sample]:
    if each.status.cost is not None and each.status.cost.hourly is not None:
        yield (), float(each.status.cost.hourly)


def _per_1k(each: Deployed) -> Iterator[Sample]:
    """The saturated cost is that of the rate it names, measured or planned; the planned one follows from the rates."""
    cost = each.status.cost
    if cost is None:
        return
    if cost.realised_per_1k is not None:
        yield ("realised",), float(cost.realised_per_1k)
    if cost.saturated_per_1k is None:
        return
    saturated = float(cost.saturated_per_1k)
    yield ("saturated",), saturated
    if each.status.benchmark is None:
        yield ("planned",), saturated
        return
    yield ("measured",), saturated
    if each.plan is not None and float(each.plan.requests_per_second) > 0:
        measured = float(each.status.benchmark.requests_per_second)
        yield ("planned",), saturated * measured / float(each.plan.requests_per_second)


def _start(each: Deployed) -> Iterator[Sample]:
    """From one step that is known to the next. Weights that were there before the pod took none of its time."""
    steps = each.status.timeline or api.Timeline()
    loaded = steps.image_pulled
    if steps.image_pulled is not None and steps.weights_ready is not None:
        loaded = max(steps.image_pulled, steps.weights_ready)  # text compares: RFC 3339 in UTC, to the second
    for phase, begin, end in (
        ("image", steps.scheduled, steps.image_pulled),
        ("weights", steps.image_pulled, loaded if steps.weights_ready is not None else None),
        ("engine", loaded, steps.engine_ready),
        ("benchmark", steps.engine_ready, steps.benchmarked),
    ):
        if begin is not None and end is not None:
            seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
            yield (phase,), max(0.0, seconds)


def _objectives(each: Deployed) -> Iterator[Sample]:
    with suppress(InvalidValue):
        asked = objectives(each.objectives)
        for quantity, value in (("ttft", asked.ttft_seconds), ("tpot", asked.tpot_seconds)):
            if value is not None:
                yield (quantity,), value


FAMILIES = (
    Family(
        "vlmctl_deployment_replicas",
        "Replicas by state: wanted (spec.replicas), present (pods that there are), ready (those that take traffic), "
        "paid (those that hold the GPUs of a node).",
        (*OF_ONE, "state"),
        _replicas,
    ),
    Family(
        "vlmctl_deployment_condition",
        "1 for the status (True, False or Unknown) and reason that each condition has now.",
        (*OF_ONE, "type", "status", "reason"),
        _conditions,
    ),
    Family("vlmctl_deployment_phase", "1 for the phase that it is in.", (*OF_ONE, "phase"), _phase),
    Family("vlmctl_deployment_gpus", "GPUs of nodes that its pods hold.", OF_MONEY, _gpus),
    Family(
        "vlmctl_deployment_requests_per_second",
        "Requests per second that a replica can answer within the objectives: planned, and measured, here or in "
        "the same circumstances. Missing while one revision takes over from another.",
        (*OF_ONE, "basis"),
        _rates,
    ),
    Family(
        "vlmctl_deployment_concurrent_requests",
        "Requests in flight at a replica for which these rates hold.",
        (*OF_ONE, "basis"),
        _concurrency,
    ),
    Family("vlmctl_deployment_drift_ratio", "Requests per second, measured over planned.", OF_ONE, _drift),
    Family(
        "vlmctl_deployment_cost_usd_per_hour",
        "USD per hour of the replicas that are paid for. Missing where no price is known.",
        OF_MONEY,
        _hourly,
    ),
    Family(
        "vlmctl_deployment_cost_usd_per_1k_requests",
        "USD per 1,000 requests: planned and measured for a replica that is never idle, saturated the better known of "
        "the two, realised from requests answered in production with idle time.",
        (*OF_MONEY, "basis"),
        _per_1k,
    ),
    Family(
        "vlmctl_deployment_start_phase_seconds",
        "Time that the first replica of the present revision took: image pulled, weights fetched, engine ready, "
        "benchmark done.",
        (*OF_ONE, "phase"),
        _start,
    ),
    Family(
        "vlmctl_deployment_objective_seconds",
        "95th percentile that spec.objectives asks for: ttft (first token) and tpot (each further one).",
        (*OF_ONE, "quantity"),
        _objectives,
    ),
)
