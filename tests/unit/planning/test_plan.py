"""From a chosen placement to a plan, and every term of it explained."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.records import SOURCE, make_catalog, make_model
from vlmctl.errors import NothingFits, UnsupportedModel
from vlmctl.planning.choices import Setting, allowed_offers
from vlmctl.planning.demand import request_demand
from vlmctl.planning.explain import explain
from vlmctl.planning.plan import plan_choice, plan_model
from vlmctl.planning.recommend import recommend
from vlmctl.planning.requirements import THINKING_TOKENS
from vlmctl.planning.search import cheapest_placement
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Edition, Precision, QuantizedCheckpoint, Serving
from vlmctl.specs.workload import ImageInput, Objectives, Requirements, Workload

WORKLOAD = Workload(images=(ImageInput(width_pixels=900, height_pixels=600, count=2),), requests_per_second=3.0)


def _setting(catalog: Catalog, requirements: Requirements) -> Setting:
    return Setting(
        requirements=requirements,
        gpus={gpu.id: gpu for gpu in catalog.gpus},
        offers=allowed_offers(catalog.offers, requirements),
        measures=(),
    )


def test_a_plan_is_what_recommend_answered() -> None:
    """The plan of a model and its answer name the same placement, price and latencies."""
    catalog, asked = make_catalog(), Requirements(workload=WORKLOAD, objectives=Objectives(ttft_seconds=1.0))
    plan = plan_model(catalog.models[0], _setting(catalog, asked))
    answer = recommend(catalog, asked).answers[0]
    assert (plan.placement.gpu, plan.placement.gpu_count) == (answer.gpu, answer.gpu_count)
    assert plan.cost == answer.cost
    assert plan.speed.ttft_p95_seconds == answer.ttft_p95_seconds
    assert plan.memory.fits
    assert plan.request_tokens == answer.request_tokens


def test_the_tokens_of_a_plan_add_up() -> None:
    """Text, image, marker and output tokens are the request, so that what an engine counts can be compared."""
    catalog, asked = make_catalog(), Requirements(workload=WORKLOAD)
    plan = plan_model(catalog.models[0], _setting(catalog, asked))
    assert plan.marker_tokens is not None
    assert plan.request_tokens == 64 + plan.image_tokens + plan.marker_tokens + 256


def test_settings_are_decided_once() -> None:
    """Context, images and memory share in the plan cover the request that the estimate is of."""
    catalog, asked = make_catalog(), Requirements(workload=WORKLOAD)
    settings = plan_model(catalog.models[0], _setting(catalog, asked)).placement.settings
    assert settings.max_model_len >= 2 * 256 + 64 + 256
    assert settings.max_images == 2
    assert (settings.max_image_width, settings.max_image_height) == (900, 600)


def test_impossible_plans_say_what_stands_in_the_way() -> None:
    """An unserved model and an objective out of reach are errors that name the cause and the option to relax."""
    catalog = make_catalog()
    unserved = replace(catalog.models[0], serving=Serving(last_version="0.10.2", source=SOURCE))
    with pytest.raises(UnsupportedModel, match=r"0\.10\.2"):
        plan_model(unserved, _setting(catalog, Requirements(workload=WORKLOAD)))
    hurried = Requirements(workload=WORKLOAD, objectives=Objectives(ttft_seconds=0.001))
    with pytest.raises(NothingFits, match="--ttft"):
        plan_model(catalog.models[0], _setting(catalog, hurried))


def test_quantised_checkpoints_are_taken_only_with_published_quality() -> None:
    """Without a wish a checkpoint of unknown quality is not planned; asked for by name it is."""
    fp8 = QuantizedCheckpoint(precision=Precision.FP8, repository="toys/fp8", source=SOURCE)
    catalog = make_catalog((make_model(quantizations=(fp8,)),))
    plain = Requirements(workload=WORKLOAD)
    assert plan_model(catalog.models[0], _setting(catalog, plain)).placement.precision is Precision.BF16
    wished = replace(plain, quantizations=("fp8",))
    assert plan_model(catalog.models[0], _setting(catalog, wished)).placement.repository == "toys/fp8"
    shown = make_model(quantizations=(replace(fp8, quality_published=True),))
    assert plan_model(shown, _setting(catalog, plain)).placement.precision is Precision.FP8


def test_thinking_costs_more() -> None:
    """A thinking edition is priced with its reasoning, and a hybrid one where thinking is asked for."""
    instruct, hybrid = make_model("plain"), make_model("hybrid", edition=Edition.HYBRID)
    catalog = make_catalog((instruct, hybrid, make_model("thinker", edition=Edition.THINKING)))
    prices = {a.model: a.usd_per_1k_requests for a in recommend(catalog, Requirements()).answers}
    assert prices["plain"] == prices["hybrid"] < prices["thinker"]
    asked = {a.model: a for a in recommend(catalog, Requirements(needs=("thinking",))).answers}
    assert asked["hybrid"].usd_per_1k_requests == asked["thinker"].usd_per_1k_requests
    assert str(f"{THINKING_TOKENS:,}") in asked["hybrid"].warnings[0]


def test_the_explanation_adds_up() -> None:
    """Every term has a formula and a source, and the money section ends in the plan's own price."""
    catalog, asked = make_catalog(), Requirements(workload=WORKLOAD)
    model, setting = catalog.models[0], _setting(catalog, asked)
    demand = request_demand(model, WORKLOAD)
    choice, _ = cheapest_placement(model, demand, setting)
    assert choice is not None
    plan = plan_choice(model, demand, choice, setting)
    sections = explain(model, demand, choice, plan, setting)
    assert all(term.formula and term.source for section in sections for term in section.terms)
    terms = {term.name: term.value for section in sections for term in section.terms}
    assert plan.cost is not None
    assert terms["per 1,000 requests"] == plan.cost.usd_per_1k_requests
    assert terms["sequence"] == plan.request_tokens
    used = sum(item.bytes for item in plan.memory.items)
    assert terms["KV cache"] * 1e9 == pytest.approx(plan.memory.budget_bytes - used, abs=100)
