"""What serving a model costs: every offer compared, sweeps over images, hosted APIs, and GPUs that are owned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from vlmctl.errors import InvalidValue, NothingFits, VlmctlError
from vlmctl.library.lookup import find_gpu, find_model
from vlmctl.library.questions import Asked, Question
from vlmctl.planning.apis import api_usd_per_1k_requests, break_even_requests_per_month
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.cold_start import given_start, start
from vlmctl.planning.plan import plan_model
from vlmctl.planning.quality import comparable_mode
from vlmctl.planning.scale_to_zero import scale_to_zero
from vlmctl.specs.cold_start import ScaleToZero, StartConditions
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import Catalog, HostedApi, Offer
from vlmctl.specs.model import ModelSpec, Score
from vlmctl.specs.record import Record
from vlmctl.specs.workload import ImageInput, Requirements, Workload


class SweepPoint(Record, frozen=True, kw_only=True):
    """The cheapest plan for one image size and count; without a plan, `problem` says why there is none."""

    width_pixels: int
    height_pixels: int
    images: int
    plan: Plan | None = None
    problem: str = ""


class SharedScore(Record, frozen=True, kw_only=True):
    """One benchmark, split and mode that both sides were scored on."""

    benchmark: str
    split: str | None
    mode: str
    own: float
    api: float


class ApiCost(Record, frozen=True, kw_only=True):
    """A hosted API on the same workload. Figures are None where the API's image rule is not known (`problem`).

    `break_even_requests_per_month`: above it the own placement costs less; None where it never does.
    """

    api: str
    provider: str
    usd_per_1k_requests: float | None
    break_even_requests_per_month: float | None
    shared_scores: tuple[SharedScore, ...]
    as_of: str
    retired: str | None = None
    problem: str = ""


def cost(
    model: str | ModelSpec, asked: Asked = None, *, catalog: Catalog | None = None, **wishes: Any
) -> tuple[Plan, ...]:
    """What serving a model costs on every offer, the cheapest first; takes and raises what `plan` does."""
    question = Question(asked, catalog=catalog, **wishes)
    spec = model if isinstance(model, ModelSpec) else find_model(model, catalog=question.catalog)
    return compare_offers(spec, question)


def compare_offers(model: ModelSpec, question: Question) -> tuple[Plan, ...]:
    """The model's cheapest plan with each GPU, provider and kind of price, the cheapest per 1,000 requests first.

    Raises UnsupportedModel where no engine serves the model, NothingFits where no placement meets the requirements.
    """
    best = plan_model(model, question.setting(_any_price(question)))
    found = []
    for offers in _groups(question):
        try:
            found.append(plan_model(model, question.setting(_any_price(question), offers=offers)))
        except NothingFits:
            continue
    return tuple(sorted(found or [best], key=_order))


def sweep(model: ModelSpec, question: Question, images: Iterable[ImageInput]) -> tuple[SweepPoint, ...]:
    """The cheapest plan for each image size and count, with everything else as asked."""
    points = []
    for image in images:
        workload = replace(question.requirements.workload, images=(image,))
        plan, problem = None, ""
        try:
            plan = plan_model(model, question.setting(replace(question.requirements, workload=workload)))
        except VlmctlError as error:
            problem = error.message
        points.append(
            SweepPoint(
                width_pixels=image.width_pixels,
                height_pixels=image.height_pixels,
                images=image.count,
                plan=plan,
                problem=problem,
            )
        )
    return tuple(points)


def compare_apis(model: ModelSpec, plan: Plan, catalog: Catalog) -> tuple[ApiCost, ...]:
    """Hosted APIs on the plan's workload, the cheapest first; those that cannot be priced last."""
    found = [_api_cost(api, model, plan) for api in catalog.apis]
    return tuple(sorted(found, key=lambda each: (each.problem != "", each.usd_per_1k_requests or 0.0, each.api)))


def stop_when_idle(
    model: ModelSpec,
    plan: Plan,
    catalog: Catalog,
    conditions: StartConditions,
    *,
    idle_timeout_seconds: float,
    cold_start_seconds: float | None = None,
) -> ScaleToZero:
    """The plan's service stopped when idle, against always on; raises InvalidValue where no rate was asked for.

    `cold_start_seconds`: until a replica is ready; None: the estimate under `conditions`.
    """
    if plan.workload.requests_per_second is None or plan.cost is None:
        raise InvalidValue("scale to zero needs a rate of requests.", remedy="Say it with --rps, such as 0.01.")
    if cold_start_seconds is None:
        placement = plan.placement
        figures, gpu = model_figures(model, placement.precision), find_gpu(placement.gpu, catalog=catalog)
        found = start(figures, gpu, gpu_count=placement.gpu_count, conditions=conditions)
    else:
        found = given_start(cold_start_seconds)
    return scale_to_zero(
        found,
        plan.speed,
        plan.cost,
        requests_per_second=plan.workload.requests_per_second,
        idle_timeout_seconds=idle_timeout_seconds,
    )


def _any_price(question: Question) -> Requirements:
    return replace(question.requirements, spot=True)


def _groups(question: Question) -> list[tuple[Offer, ...]]:
    """The offers by GPU, provider and kind, so that each is answered for by itself."""
    groups: dict[tuple[str, str, str], list[Offer]] = {}
    for offer in question.owned or question.catalog.offers:
        groups.setdefault((offer.gpu, offer.provider, offer.kind.value), []).append(offer)
    return [tuple(offers) for _, offers in sorted(groups.items())]


def _order(plan: Plan) -> tuple[float, str, str]:
    if plan.cost is None:
        return (float("inf"), plan.placement.gpu, "")
    offer = plan.cost.offer
    return (plan.cost.usd_per_1k_requests, plan.placement.gpu, f"{offer.provider} {offer.kind.value}")


def _api_cost(api: HostedApi, model: ModelSpec, plan: Plan) -> ApiCost:
    price, problem = _api_price(api, plan.workload)
    even = None
    own = plan.cost
    # A replica that is always busy is the floor of the own price: an API below it is never caught up with.
    if price is not None and own is not None and own.saturated_usd_per_1k_requests < price:
        even = break_even_requests_per_month(own.usd_per_month, price)
    return ApiCost(
        api=api.id,
        provider=api.provider,
        usd_per_1k_requests=price,
        break_even_requests_per_month=even,
        shared_scores=_shared_scores(model.scores, api.scores),
        as_of=api.as_of,
        retired=api.retired,
        problem=problem,
    )


def _api_price(api: HostedApi, workload: Workload) -> tuple[float | None, str]:
    try:
        return api_usd_per_1k_requests(api, workload), ""
    except VlmctlError as error:
        return None, error.message


def _shared_scores(own: Sequence[Score], theirs: Sequence[Score]) -> tuple[SharedScore, ...]:
    ours, api = _comparable(own), _comparable(theirs)
    return tuple(
        SharedScore(benchmark=key[0], split=key[1] or None, mode=key[2], own=ours[key], api=api[key])
        for key in sorted(ours.keys() & api.keys())
    )


def _comparable(scores: Sequence[Score]) -> dict[tuple[str, str, str], float]:
    """Figures by benchmark, split and mode, the makers' own first; modes that compare with nothing are left out."""
    found: dict[tuple[str, str, str], float] = {}
    for score in sorted(scores, key=lambda score: score.reporter != "maker"):
        mode = comparable_mode(score)
        if mode is not None:
            found.setdefault((score.benchmark, score.split or "", mode), score.value)
    return found
