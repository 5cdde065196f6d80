"""One deployment in full: what its status says, set beside its plan and worked out into money and durations."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from vlmctl.api import v1alpha1 as api
from vlmctl.api.reading import is_rolling_out, running_benchmark
from vlmctl.library.deployments import Deployment, number, running
from vlmctl.planning.running import Running
from vlmctl.specs.record import Record
from vlmctl.units import HOURS_PER_MONTH, parse_duration_seconds

SERVED_NAME = "--served-model-name"
OWN_KEY = "api-key"  # in the Secret that the operator makes
STEPS = ("scheduled", "image_pulled", "weights_ready", "engine_ready", "benchmarked")


class Figure(Record, frozen=True, kw_only=True):
    """A quantity of one replica. `objective`: the most that is asked for; `ratio`: measured over planned."""

    planned: float | None = None
    measured: float | None = None
    objective: float | None = None
    ratio: float | None = None


class Figures(Record, frozen=True, kw_only=True):
    """Planned and measured. Latencies are 95th percentiles; money is where the replica is never idle.

    `planned_basis`, `planned_error`: of the planned rate; `interval`, `concurrency`, `measured_at`: of the measured.
    """

    requests_per_second: Figure = Figure()
    ttft_seconds: Figure = Figure()
    tpot_seconds: Figure = Figure()
    usd_per_1k: Figure = Figure()
    planned_basis: str | None = None
    planned_error: float | None = None
    interval: str | None = None
    concurrency: int | None = None
    measured_at: str | None = None


class Money(Record, frozen=True, kw_only=True):
    """Dollars of all replicas that are paid for. `realised_usd_per_1k`: idle time included; `answers_nothing`: an hour
    was paid for in which no request was answered.
    """

    usd_per_hour: float | None = None
    usd_per_month: float | None = None
    realised_usd_per_1k: float | None = None
    answers_nothing: bool = False
    idle_share: float | None = None
    waste_usd_per_hour: float | None = None
    price_source: str | None = None
    price_as_of: str | None = None


class Step(Record, frozen=True, kw_only=True):
    """When a step was reached, and the seconds since the one before it; None for the first."""

    name: str
    at: str
    seconds: float | None = None


class Access(Record, frozen=True, kw_only=True):
    """How to ask it: `model` is the name in requests, `secret` and `key` hold what they must carry."""

    url: str | None = None
    model: str | None = None
    secret: str | None = None
    key: str | None = None


class Standing(Record, frozen=True, kw_only=True):
    """A deployment. `precision`, `gpu`, `gpu_count` and `checkpoint` are None where it is not known which plan runs.

    `rolls_out`: one revision takes over from another, so that no figure is of all that runs.
    """

    namespace: str
    name: str
    created: str
    model: str | None
    phase: str | None
    wanted_replicas: int
    ready_replicas: int
    precision: str | None
    gpu: str | None
    gpu_count: int | None
    checkpoint: str | None
    conditions: tuple[api.Condition, ...]
    figures: Figures
    money: Money
    scaling: api.Scaling | None
    scaled_by: api.ScalingStatus | None
    timeline: tuple[Step, ...]
    current_revision: str | None
    update_revision: str | None
    rolls_out: bool
    access: Access
    notes: tuple[str, ...]
    unreadable: str

    def condition(self, kind: api.ConditionType) -> api.Condition | None:
        """The condition of that type."""
        return next((each for each in self.conditions if each.type is kind), None)


def standing(deployment: Deployment) -> Standing:
    """All that is known of it."""
    spec, status, run = deployment.spec, deployment.status, running(deployment)
    known = run or Running(replicas=deployment.wanted_replicas)
    return Standing(
        namespace=deployment.namespace,
        name=deployment.name,
        created=deployment.created,
        model=deployment.model,
        phase=status.phase,
        wanted_replicas=deployment.wanted_replicas,
        ready_replicas=status.ready_replicas,
        precision=known.precision,
        gpu=known.gpu,
        gpu_count=known.gpu_count,
        checkpoint=status.plan.checkpoint if status.plan is not None and known.gpu is not None else None,
        conditions=status.conditions,
        figures=_figures(deployment, known),
        money=_money(status.cost, run),
        scaling=spec.scaling if spec is not None else None,
        scaled_by=status.scaling,
        timeline=timeline(status.timeline),
        current_revision=status.current_revision,
        update_revision=status.update_revision,
        rolls_out=is_rolling_out(status),
        access=_access(deployment),
        notes=status.plan.notes if status.plan is not None else (),
        unreadable=deployment.unreadable,
    )


def timeline(told: api.Timeline | None) -> tuple[Step, ...]:
    """The steps that were reached, as they came."""
    reached = [(at, name) for name in STEPS if (at := getattr(told, name, None)) is not None]
    reached.sort(key=lambda pair: (_moment(pair[0]), STEPS.index(pair[1])))
    steps: list[Step] = []
    for at, name in reached:
        seconds = (_moment(at) - _moment(steps[-1].at)).total_seconds() if steps else None
        steps.append(Step(name=name, at=at, seconds=seconds))
    return tuple(steps)


def _figures(deployment: Deployment, run: Running) -> Figures:
    status, spec = deployment.status, deployment.spec
    plan = status.plan if run.gpu is not None else None
    asked = spec.objectives if spec is not None else api.Objectives()
    found = running_benchmark(status)
    measured_usd_per_1k = run.usd_per_1k if run.measured_per_second is not None else None
    return Figures(
        requests_per_second=_figure(run.planned_per_second, run.measured_per_second),
        ttft_seconds=_latency(plan.ttft if plan else None, found.ttft if found else None, asked.ttft),
        tpot_seconds=_latency(plan.tpot if plan else None, found.tpot if found else None, asked.tpot),
        usd_per_1k=_figure(run.planned_usd_per_1k, measured_usd_per_1k),
        planned_basis=plan.basis if plan else None,
        planned_error=run.planned_error,
        interval=found.interval if found else None,
        concurrency=found.concurrency if found else None,
        measured_at=found.measured if found else None,
    )


def _latency(planned: str | None, measured: str | None, objective: str | None) -> Figure:
    return _figure(*(None if text is None else parse_duration_seconds(text) for text in (planned, measured, objective)))


def _figure(planned: float | None, measured: float | None, objective: float | None = None) -> Figure:
    ratio = measured / planned if measured is not None and planned else None
    return Figure(planned=planned, measured=measured, objective=objective, ratio=ratio)


def _money(cost: api.CostStatus | None, run: Running | None) -> Money:
    if cost is None or run is None:
        return Money()
    hourly = run.usd_per_hour
    return Money(
        usd_per_hour=hourly,
        usd_per_month=None if hourly is None else hourly * HOURS_PER_MONTH,
        realised_usd_per_1k=number(cost.realised_per_1k),
        answers_nothing=cost.idle,
        idle_share=run.idle_share,
        waste_usd_per_hour=run.waste_usd_per_hour,
        price_source=cost.price_source,
        price_as_of=cost.as_of,
    )


def _access(deployment: Deployment) -> Access:
    status, spec = deployment.status, deployment.spec
    own = spec.api_key if spec is not None else None
    return Access(
        url=status.url,
        model=_served_name(status.plan) or deployment.model,
        secret=status.api_key_secret,
        key=None if status.api_key_secret is None else own.key if own is not None else OWN_KEY,
    )


def _served_name(plan: api.PlanStatus | None) -> str | None:
    """The first name that the engine is told to answer to, however its argument is spelled."""
    words = plan.arguments if plan is not None else ()
    for word, following in pairwise((*words, "")):
        if word == SERVED_NAME:
            return following
        if word.startswith(f"{SERVED_NAME}="):
            return word.partition("=")[2]
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
