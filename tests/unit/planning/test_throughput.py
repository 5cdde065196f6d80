"""The engine model's parts: experts touched, waiting, engines of the past."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_gpu, make_model
from vlmctl.planning.architecture import kernels_per_step, model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.engines import CURRENT, FIRST_VLLM, SGLANG, Engine, engine_of, with_engine
from vlmctl.planning.placement import engine_settings
from vlmctl.planning.speed import Speed, speed, touched_experts
from vlmctl.planning.throughput import (
    batch_at_rate,
    bottleneck,
    closed_loop,
    highest_rate,
    open_loop,
    requests_per_second,
    step_seconds,
)
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import Experts, ModelSpec, Precision
from vlmctl.specs.workload import ImageInput, Workload


def _speed(
    model: ModelSpec | None = None, gpu: GpuSpec | None = None, *, gpu_count: int = 1, output: int = 200
) -> Speed:
    model, gpu = model or make_model(), gpu or make_gpu()
    workload = Workload(images=(ImageInput(width_pixels=900, height_pixels=900),), output_tokens=output)
    demand = request_demand(model, workload)
    settings = engine_settings(model, gpu, workload, demand)
    return speed(model_figures(model, Precision.BF16), gpu, demand, settings, gpu_count=gpu_count)


@given(st.floats(0.001, 0.5), st.integers(1, 500), st.integers(1, 500))
def test_a_larger_batch_touches_more_experts(share: float, tokens: int, more: int) -> None:
    """One token reads its own share; the share only grows, up to all."""
    assert touched_experts(share, 1) == pytest.approx(share)
    assert touched_experts(share, tokens) <= touched_experts(share, tokens + more) <= 1.0


def test_a_sparse_model_decodes_faster_than_a_dense_one_of_its_size() -> None:
    """With one request in flight only the touched experts are read."""
    dense = make_model(billions=40.0)
    assert dense.language is not None
    experts = Experts(count=128, active=8, intermediate_size=700)
    sparse = replace(dense, language=replace(dense.language, experts=experts, intermediate_size=None))
    assert step_seconds(_speed(sparse), 1) < 0.5 * step_seconds(_speed(dense), 1)


@given(st.integers(1, 256))
def test_little_s_law_holds(batch: int) -> None:
    """The batch at the rate of a batch is that batch, where the host is no limit."""
    coefficients = replace(_speed(output=2000), host=0.0)  # long answers: little time is spent outside decoding
    rate = requests_per_second(coefficients, batch)
    assert batch_at_rate(coefficients, rate, maximum=1000) == pytest.approx(batch, rel=0.03)


@given(st.integers(1, 256))
def test_latencies_of_a_closed_loop_add_up(batch: int) -> None:
    """First token and the others together take as long as the rate says: batch / rate."""
    coefficients = _speed()
    load = closed_loop(coefficients, batch)
    e2e = load.ttft + load.tpot * (coefficients.output_tokens - 1)
    assert e2e == pytest.approx(batch / load.rate)


@given(st.floats(0.05, 0.8), st.integers(1, 300))
def test_a_replica_below_its_capacity_has_bounded_waits(share: float, output: int) -> None:
    """At 80% of the capacity nobody waits for longer than some twenty prefills."""
    coefficients = _speed(output=output)
    rate = share * requests_per_second(coefficients, 256)
    load = open_loop(coefficients, rate, maximum=256)
    alone = open_loop(coefficients, 0.0, maximum=256)
    step = step_seconds(coefficients, 256)
    assert load.ttft_p95 <= alone.ttft + 20 * coefficients.prefill + step


@given(st.integers(1, 256))
def test_no_batch_beats_the_bound_of_the_pruned_search(batch: int) -> None:
    """The rate from per-request work alone is above every real rate."""
    coefficients = _speed()
    assert requests_per_second(coefficients, batch) <= highest_rate(coefficients) * (1 + 1e-9)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_latencies_grow_with_the_rate(low: float, high: float) -> None:
    """A busier replica is never faster, and a 95th percentile is never below its mean."""
    coefficients = _speed()
    capacity = requests_per_second(coefficients, 64)
    rates = sorted((low * capacity, high * capacity))
    found = []
    for rate in rates:
        load = open_loop(coefficients, rate, maximum=64)
        assert load.ttft <= load.ttft_p95 * (1 + 1e-9)
        assert math.isfinite(load.ttft_p95)
        found.append((load.ttft_p95, load.tpot_p95))
    assert found[0][0] <= found[1][0] * (1 + 1e-6)
    assert found[0][1] <= found[1][1] * (1 + 1e-6)


def test_the_host_can_be_the_limit() -> None:
    """More pixels than the cores can decode bound the throughput, and are named."""
    slow = replace(_speed(output=1), host=10.0, host_workers=2)
    assert requests_per_second(slow, 200) == pytest.approx(0.2)
    assert bottleneck(slow, 200) == "image decoding on the host"


def test_several_gpus_share_the_work_and_pay_for_talking() -> None:
    """Two GPUs read faster than one, but not twice as fast in all."""
    one, two = _speed(), _speed(gpu_count=2)
    assert two.dense_read == pytest.approx(one.dense_read / 2)
    assert two.overhead > one.overhead
    assert step_seconds(one, 8) / 2 < step_seconds(two, 8) < step_seconds(one, 8)


@pytest.mark.parametrize(
    ("name", "version", "engine"),
    [
        ("vllm", "0.7.2", FIRST_VLLM),
        ("vllm", "0.19.0", CURRENT),
        ("vllm", "0.7", FIRST_VLLM),
        ("sglang", "0.5.7", SGLANG),
        ("vllm", "", CURRENT),
    ],
)
def test_engines_are_told_apart(name: str, version: str, engine: Engine) -> None:
    """vLLM up to 0.7 and SGLang are slower with images; later ones and those unknown are taken as current."""
    assert engine_of(name, version) is engine
    model = make_model()
    assert model.language is not None
    coefficients = with_engine(_speed(), engine, model.language, host_pixels=900 * 900)
    slower = requests_per_second(coefficients, 16) < requests_per_second(_speed(), 16)
    assert slower is (engine is not CURRENT)


def test_a_queue_before_the_engine_is_part_of_the_first_token() -> None:
    """Requests beyond the sequences that fit wait for as long as it takes to serve those before them."""
    coefficients = _speed()
    free, full = closed_loop(coefficients, 8), closed_loop(coefficients, 24, sequences=8)
    assert full.rate == pytest.approx(free.rate)
    assert full.ttft == pytest.approx(free.ttft + 16 / free.rate)
    assert full.tpot == pytest.approx(free.tpot)


def test_more_kernels_cost_more_time() -> None:
    """A mixture of experts and several GPUs launch more kernels, and so do the block scales of 8-bit mixtures."""
    dense = make_model(billions=40.0)
    assert dense.language is not None
    experts = Experts(count=128, active=8, intermediate_size=700)
    sparse = replace(dense.language, experts=experts, intermediate_size=None)
    layers = dense.language.layers
    alone = kernels_per_step(dense.language, Precision.BF16, tensor_parallel=1)
    assert kernels_per_step(dense.language, Precision.BF16, tensor_parallel=4) == alone + 2 * layers
    assert kernels_per_step(sparse, Precision.BF16, tensor_parallel=1) > alone
    assert kernels_per_step(sparse, Precision.FP8, tensor_parallel=1) > kernels_per_step(
        sparse, Precision.BF16, tensor_parallel=1
    )
