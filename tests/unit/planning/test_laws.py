"""Laws of the planner that hold whatever the numbers are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_catalog, make_gpu, make_model
from vlmctl.planning.architecture import kv_bytes_per_sequence, model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.memory import footprint
from vlmctl.planning.placement import engine_settings, evaluate
from vlmctl.planning.recommend import recommend
from vlmctl.planning.speed import speed
from vlmctl.planning.throughput import requests_per_second
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import AttentionKind, AttentionLayers, Commercial, License, ModelSpec, Precision, Score
from vlmctl.specs.workload import ImageInput, LicensePolicy, Objectives, Requirements, Task, Workload

IMAGE = ImageInput(width_pixels=800, height_pixels=600)


@st.composite
def models(draw: st.DrawFn, name: str = "toy") -> ModelSpec:
    """A model of any plausible size, licence and evidence."""
    layers = draw(st.integers(12, 96))
    commercial = draw(st.sampled_from(list(Commercial)))
    model = make_model(
        name,
        billions=draw(st.floats(1.0, 120.0)),
        layers=layers,
        license=License(
            name="L", commercial=commercial, permissive=commercial is Commercial.YES, source="s", verified=True
        ),
        scores=(Score(benchmark="toyqa", value=draw(st.floats(10, 99)), source="s"),) if draw(st.booleans()) else (),
    )
    assert model.language is not None
    groups = (
        AttentionLayers(
            kind=draw(st.sampled_from([AttentionKind.FULL, AttentionKind.SLIDING])),
            layers=layers,
            query_heads=32,
            kv_heads=draw(st.sampled_from([1, 2, 8, 32])),
            head_dim=128,
            window_tokens=1024,
        ),
    )
    return replace(model, language=replace(model.language, attention=groups))


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """A market with one to six models."""
    count = draw(st.integers(1, 6))
    return make_catalog(tuple(draw(models(f"toy-{index}")) for index in range(count)))


@st.composite
def questions(draw: st.DrawFn) -> Requirements:
    """A question with some conditions set."""
    maybe = st.one_of(st.none(), st.floats(0.05, 20.0))
    return Requirements(
        tasks={Task.GENERAL_VQA: 1.0},
        license=draw(st.sampled_from(list(LicensePolicy))),
        maximum_parameters_billions=draw(st.one_of(st.none(), st.floats(5.0, 120.0))),
        maximum_usd_per_1k_requests=draw(maybe),
        maximum_gpus=draw(st.sampled_from([None, 1, 4])),
        objectives=Objectives(ttft_seconds=draw(maybe), tpot_seconds=draw(st.one_of(st.none(), st.floats(0.005, 0.2)))),
        workload=Workload(
            images=(replace(IMAGE, count=draw(st.integers(1, 4))),),
            output_tokens=draw(st.integers(1, 600)),
            requests_per_second=draw(st.one_of(st.none(), st.floats(0.01, 50.0))),
        ),
    )


@given(catalogs(), questions(), st.integers())
@settings(max_examples=60, deadline=None)
def test_order_of_the_catalog_does_not_matter(catalog: Catalog, question: Requirements, seed: int) -> None:
    """Shuffled models, GPUs and offers give the same answers in the same order."""
    shuffle = random.Random(seed).sample
    mixed = replace(
        catalog,
        models=tuple(shuffle(catalog.models, len(catalog.models))),
        gpus=tuple(shuffle(catalog.gpus, len(catalog.gpus))),
        offers=tuple(shuffle(catalog.offers, len(catalog.offers))),
    )
    assert recommend(mixed, question) == recommend(catalog, question)


@given(catalogs(), questions())
@settings(max_examples=60, deadline=None)
def test_pruned_search_equals_exhaustive_search(catalog: Catalog, question: Requirements) -> None:
    """Stopping at the price bound never changes an answer."""
    assert recommend(catalog, question).answers == recommend(catalog, question, exhaustive=True).answers


RELAXATIONS = {
    "license": {"license": LicensePolicy.ANY},
    "parameters": {"maximum_parameters_billions": None},
    "price": {"maximum_usd_per_1k_requests": None},
    "gpus": {"maximum_gpus": None},
    "objectives": {"objectives": Objectives()},
    "unverified": {"include_unverified": True},
}


@given(catalogs(), questions(), st.sampled_from(sorted(RELAXATIONS)))
@settings(max_examples=120, deadline=None)
def test_relaxing_a_requirement_never_removes_an_answer(catalog: Catalog, question: Requirements, name: str) -> None:
    """Every model answered before is answered after one condition is dropped."""
    before = {answer.model for answer in recommend(catalog, question).answers}
    after = {answer.model for answer in recommend(catalog, replace(question, **RELAXATIONS[name])).answers}
    assert before <= after


@given(catalogs(), questions())
@settings(max_examples=60, deadline=None)
def test_nothing_recommended_fails_to_fit(catalog: Catalog, question: Requirements) -> None:
    """The weights, the activations and at least one request fit the GPUs of every answer."""
    by_id = {model.id: model for model in catalog.models}
    gpus = {gpu.id: gpu for gpu in catalog.gpus}
    for answer in recommend(catalog, question).answers:
        model, gpu = by_id[answer.model], gpus[answer.gpu]
        demand = request_demand(model, question.workload)
        figures = model_figures(model, Precision(answer.quantization))
        setup = engine_settings(model, gpu, question.workload, demand)
        memory = footprint(figures, gpu, demand, setup, gpu_count=answer.gpu_count)
        assert memory.fixed + memory.sequence <= memory.budget
        assert answer.replicas * answer.requests_per_second >= (question.workload.requests_per_second or 0) * (1 - 1e-9)


@given(catalogs(), questions(), st.floats(1.0, 10.0))
@settings(max_examples=60, deadline=None)
def test_cost_is_monotone_in_price(catalog: Catalog, question: Requirements, factor: float) -> None:
    """Dearer machines never make a model cheaper."""
    free = replace(question, maximum_usd_per_1k_requests=None)
    dearer = replace(catalog, offers=tuple(replace(o, usd_per_hour=o.usd_per_hour * factor) for o in catalog.offers))
    before = {answer.model: answer.usd_per_1k_requests for answer in recommend(catalog, free).answers}
    for answer in recommend(dearer, free).answers:
        assert answer.usd_per_1k_requests >= before[answer.model] * (1 - 1e-9)


@given(models(), st.integers(1, 30000), st.integers(0, 30000))
def test_more_context_never_needs_less_memory(model: ModelSpec, tokens: int, more: int) -> None:
    """KV bytes never shrink as a sequence grows."""
    assert model.language is not None
    short = kv_bytes_per_sequence(model.language, tokens)
    assert kv_bytes_per_sequence(model.language, tokens + more) >= short


@given(models(), st.floats(1.0, 4.0), st.integers(1, 200))
def test_a_faster_gpu_never_lowers_throughput(model: ModelSpec, factor: float, batch: int) -> None:
    """More bandwidth and more compute never serve fewer requests."""
    workload = Workload(images=(IMAGE,))
    demand = request_demand(model, workload)
    figures = model_figures(model, Precision.BF16)
    slow, fast = make_gpu("a"), make_gpu("b", bandwidth=1000.0 * factor, tflops=300.0 * factor)
    rates = [
        requests_per_second(
            speed(figures, gpu, demand, engine_settings(model, gpu, workload, demand), gpu_count=1), batch
        )
        for gpu in (slow, fast)
    ]
    assert rates[0] <= rates[1] * (1 + 1e-9)


@given(models(), st.integers(1, 128), st.integers(1, 128))
def test_throughput_and_latency_rise_with_concurrency(model: ModelSpec, low: int, more: int) -> None:
    """More requests in flight never lower the throughput, and never shorten the time per token."""
    workload = Workload(images=(IMAGE,))
    demand = request_demand(model, workload)
    gpu = make_gpu(gib=1000.0)
    setup = engine_settings(model, gpu, workload, demand)
    figures = model_figures(model, Precision.BF16)
    first, second = (
        evaluate(figures, gpu, demand, setup, gpu_count=1, objectives=Objectives(), concurrency=batch)
        for batch in (low, low + more)
    )
    assert second.rate >= first.rate * (1 - 1e-9)
    assert second.tpot >= first.tpot * (1 - 1e-9)


def test_ranking_is_stable_under_ties() -> None:
    """Models that are alike in everything come in the order of their names."""
    alike = tuple(make_model(f"twin-{letter}") for letter in "cab")
    answers = recommend(make_catalog(alike), Requirements(workload=Workload(images=(IMAGE,)))).answers
    assert [answer.model for answer in answers] == ["twin-a", "twin-b", "twin-c"]


@pytest.mark.parametrize("rate", [0.1, 1.0, 7.3, 300.0])
def test_replicas_carry_the_rate(rate: float) -> None:
    """The planned replicas serve what is asked and one fewer, at the target utilization, does not."""
    question = Requirements(workload=Workload(images=(IMAGE,), requests_per_second=rate))
    answer = recommend(make_catalog(), question).answers[0]
    per_replica = answer.requests_per_second
    assert answer.replicas * per_replica >= rate
    assert (answer.replicas - 1) * 0.8 * per_replica < rate
