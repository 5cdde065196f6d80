"""Costs as data and as a page for people: offers side by side, sweeps, hosted APIs, and the parts of owning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vlmctl.cli import idle_page, wording
from vlmctl.cli.output import Block, Facts, Heading, Table, Text, plain
from vlmctl.cli.ranking import band_of, request_line
from vlmctl.errors import VlmctlError
from vlmctl.library import Question
from vlmctl.library.costs import ApiCost, SweepPoint
from vlmctl.specs.cold_start import ScaleToZero
from vlmctl.specs.estimates import CostEstimate, Plan
from vlmctl.specs.hardware import OfferKind
from vlmctl.units import show_count, show_seconds, show_usd

OPTIONS_SHOWN = 12  # offers in the table for people; JSON and CSV hold all
UTILIZATIONS = (1.0, 0.5, 0.2)  # shares of the capacity at which the cheapest offer is priced again


class ModelCost(NamedTuple):
    """What `vlmctl cost` found for one model: plans by price, or the error that kept it from any."""

    model: str
    plans: Sequence[Plan] = ()
    sweep: Sequence[SweepPoint] = ()
    apis: Sequence[ApiCost] = ()
    stopped: Sequence[ScaleToZero] = ()  # one for each plan, in their order
    error: VlmctlError | None = None


def data(question: Question, answers: Sequence[ModelCost]) -> dict[str, Any]:
    """What machines read."""
    return {
        "requirements": question.requirements,
        "assumptions": question.assumptions,
        "owned": [plain(cost) | {"gpu": gpu} for gpu, cost in question.owned_costs],
        "models": [
            {
                "model": each.model,
                "options": [option(plan) for plan in each.plans],
                "scale_to_zero": idle_page.data([option(plan) for plan in each.plans], each.stopped),
                "sweep": [_point(point) for point in each.sweep],
                "apis": each.apis,
                "problem": str(each.error) if each.error else None,
            }
            for each in answers
        ],
        "prices_as_of": wording.price_dates(question.catalog.offers),
    }


def option(plan: Plan) -> dict[str, Any]:
    """One offer with what the model costs on it. A page is an image: one scan each."""
    cost = priced(plan)
    return {
        "model": plan.placement.model,
        "gpu": plan.placement.gpu,
        "gpu_count": plan.placement.gpu_count,
        "replicas": cost.replicas,
        "quantization": plan.placement.precision.value,
        "provider": cost.offer.provider,
        "region": cost.offer.region,
        "instance_type": cost.offer.instance_type,
        "kind": cost.offer.kind.value,
        "usd_per_hour": cost.usd_per_hour,
        "usd_per_1k_requests": cost.usd_per_1k_requests,
        "saturated_usd_per_1k_requests": cost.saturated_usd_per_1k_requests,
        "usd_per_1k_images": cost.usd_per_1k_images,
        "usd_per_1k_pages": cost.usd_per_1k_images,
        "usd_per_million_tokens": cost.usd_per_million_tokens,
        "usd_per_month": cost.usd_per_month,
        "utilization": cost.utilization,
        "requests_per_second": plan.speed.requests_per_second,
        "ttft_seconds": plan.speed.ttft_seconds,
        "ttft_p50_seconds": plan.speed.ttft_p50_seconds,
        "ttft_p95_seconds": plan.speed.ttft_p95_seconds,
        "tpot_seconds": plan.speed.tpot_seconds,
        "tpot_p50_seconds": plan.speed.tpot_p50_seconds,
        "tpot_p95_seconds": plan.speed.tpot_p95_seconds,
        "e2e_seconds": plan.speed.e2e_seconds,
        "e2e_p50_seconds": plan.speed.e2e_p50_seconds,
        "e2e_p95_seconds": plan.speed.e2e_p95_seconds,
        "goodput": plan.speed.goodput,
        "basis": plan.speed.basis.value,
        "error_median": plan.speed.error_median,
        "error_p90": plan.speed.error_p90,
        "as_of": cost.offer.as_of,
        "source": cost.offer.source,
    }


def priced(plan: Plan) -> CostEstimate:
    """The plan's cost; plans that are made from offers always have one."""
    assert plan.cost is not None
    return plan.cost


def steady(plans: Sequence[Plan]) -> Plan:
    """The cheapest plan on machines that stay, unlike spot ones; the cheapest of all where there is none."""
    return next((plan for plan in plans if priced(plan).offer.kind is not OfferKind.SPOT), plans[0])


def _point(point: SweepPoint) -> dict[str, Any]:
    size = {"image": f"{point.width_pixels}x{point.height_pixels}", "images": point.images}
    if point.plan is None:
        return {**size, "image_tokens": None, "option": None, "problem": point.problem}
    return {**size, "image_tokens": point.plan.image_tokens, "option": option(point.plan), "problem": None}


def blocks(question: Question, answers: Sequence[ModelCost]) -> list[Block]:
    """What people read."""
    page: list[Block] = [Text(request_line(question.requirements))]
    if question.assumptions:
        page.append(Text(f"Assumed: {'; '.join(question.assumptions)}."))
    page += _owned_blocks(question)
    for each in answers:
        page += [Heading(each.model), *(_model_blocks(each) if each.error is None else [Text(str(each.error))])]
    first = next(each.plans[0] for each in answers if each.plans)
    return [*page, Text(_legend(question, first))]


def _owned_blocks(question: Question) -> list[Block]:
    if not question.owned_costs:
        return []
    terms = question.ownership
    pairs = []
    for gpu, cost in question.owned_costs:
        price = "not counted" if not cost.purchase_usd_per_hour else f"over {terms.years:g} years"
        pairs += [
            (f"{gpu}, purchase", f"{show_usd(cost.purchase_usd_per_hour)} per hour, {price}"),
            (
                f"{gpu}, power",
                f"{show_usd(cost.power_usd_per_hour)} per hour: {terms.power_share:.0%} of its maximum, "
                f"PUE {terms.pue:g}, {show_usd(terms.usd_per_kwh)} per kWh",
            ),
            (
                f"{gpu}, operations",
                f"{show_usd(cost.operations_usd_per_hour)} per hour: "
                f"{show_usd(terms.operations_usd_per_month)} per month",
            ),
        ]
    return [Heading("What one of your GPUs costs"), Facts(pairs)]


def _model_blocks(each: ModelCost) -> list[Block]:
    best = priced(each.plans[0])
    shares = ", ".join(
        f"{show_usd(best.saturated_usd_per_1k_requests / share)} at {share:.0%} use" for share in UTILIZATIONS
    )
    found: list[Block] = [_option_table(each.plans[:OPTIONS_SHOWN])]
    if len(each.plans) > OPTIONS_SHOWN:
        found.append(Text(f"{len(each.plans) - OPTIONS_SHOWN} dearer ones are in -o csv."))
    offer = best.offer
    where = f"{offer.instance_type} of {offer.provider} in {offer.region}, {offer.kind.value}"
    if offer.kind is OfferKind.OWNED:
        where = f"your own {offer.instance_type}"
    found.append(
        Text(
            f"Cheapest: {where}, "
            f"{show_count(each.plans[0].request_tokens)} tokens per "
            f"request. Per 1,000 requests {shares}: idle hours cost as much as busy ones."
        )
    )
    found.append(Text(wording.latencies(each.plans[0].speed)))
    found += idle_page.blocks(each.plans, each.stopped)
    return [*found, *_sweep_blocks(each.sweep), *_api_blocks(each.apis, priced(steady(each.plans)))]


def _option_table(plans: Sequence[Plan]) -> Table:
    headers = ("GPU", "Provider", "Kind", "$/h", "$/1k", "$/1k img", "$/1M tok", "$/month", "Use", "TTFT")
    rows = [
        (
            wording.gpus(plan.placement.gpu, plan.placement.gpu_count, priced(plan).replicas),
            priced(plan).offer.provider,
            priced(plan).offer.kind.value,
            show_usd(priced(plan).usd_per_hour),
            show_usd(priced(plan).usd_per_1k_requests),
            "-" if (per_image := priced(plan).usd_per_1k_images) is None else show_usd(per_image),
            show_usd(priced(plan).usd_per_million_tokens),
            f"${priced(plan).usd_per_month:,.0f}",
            f"{priced(plan).utilization:.0%}",
            show_seconds(plan.speed.ttft_p95_seconds),
        )
        for plan in plans
    ]
    return Table(headers, rows, right=headers[3:])


def _sweep_blocks(sweep: Sequence[SweepPoint]) -> list[Block]:
    if not sweep:
        return []
    headers = ("Image", "Images", "Image tokens", "$/1k", "$/1k img", "req/s", "GPU")
    return [
        Heading("Over images, each on its cheapest offer"),
        Table(headers, [_sweep_row(p) for p in sweep], right=headers[1:-1]),
    ]


def _sweep_row(point: SweepPoint) -> tuple[str, ...]:
    size = (f"{point.width_pixels}x{point.height_pixels}", str(point.images))
    plan = point.plan
    if plan is None:
        return (*size, "-", "-", "-", "-", point.problem)
    cost = priced(plan)
    return (
        *size,
        f"{plan.image_tokens:,}",
        show_usd(cost.usd_per_1k_requests),
        show_usd(cost.usd_per_1k_images or 0.0),
        f"{plan.speed.requests_per_second:.1f}",
        wording.gpus(plan.placement.gpu, plan.placement.gpu_count, cost.replicas),
    )


def _api_blocks(apis: Sequence[ApiCost], own: CostEstimate) -> list[Block]:
    known = [api for api in apis if api.usd_per_1k_requests is not None]
    if not apis:
        return []
    rows = [
        (
            api.api + (" (retired)" if api.retired else ""),
            show_usd(api.usd_per_1k_requests or 0.0),
            f"{(api.usd_per_1k_requests or 0.0) / own.usd_per_1k_requests:.1f}x",
            "never" if api.break_even_requests_per_month is None else f"{api.break_even_requests_per_month:,.0f}",
            _shared(api),
        )
        for api in known
    ]
    headers = ("Hosted API", "$/1k", "of own", "Pays from", "Scores on the same benchmarks: own / API")
    table = Table(headers, rows, right=("$/1k", "of own", "Pays from"))
    note = (
        "List prices without caching or batch discounts, and without the reasoning tokens that reasoning models bill "
        "as output; their scores may come from reasoning. Pays from: requests a month above which the cheapest offer "
        "that is not spot, rented all month, costs less than the API."
    )
    unpriced = [api.api for api in apis if api.usd_per_1k_requests is None]
    if unpriced:
        note += f" Not priced, since how they count images is not published: {', '.join(unpriced)}."
    return [Heading("Hosted APIs on the same requests"), table, Text(note)]


def _shared(api: ApiCost) -> str:
    shown = [
        f"{wording.score_key(each.benchmark, each.split, None)} {wording.number(each.own)} / {wording.number(each.api)}"
        for each in api.shared_scores
    ]
    return ", ".join(shown[:2]) + (f" and {len(shown) - 2} more" if len(shown) > 2 else "") or "none in common"


def _legend(question: Question, plan: Plan) -> str:
    return (
        "GPU: replicas x GPUs of one. $/h, $/month: all replicas. $/1k: per 1,000 requests at this load; $/1k img: per "
        "1,000 images, or pages where each is one scan; $/1M tok: per million tokens in and out. Use: share of the "
        "capacity that the load takes. TTFT: 95th percentile. "
        f"Prices as of {wording.price_dates(question.catalog.offers)}. "
        f"{band_of(plan.speed, question.catalog.error_bands)}"
    )
