"""Plans by what the cluster has measured."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.records import Planned
from vlm_operator.results import odd_row

from tests.support.gpu_nodes import pool
from tests.vlm_operator.planning import QWEN, planned
from tests.vlm_operator.test_model_source import FACTS, PVC
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.load import load_catalog
from vlmctl.library.calibration import calibration_of
from vlmctl.serving.engine_args import ENGINE_VERSION
from vlmctl.specs.estimates import Basis
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism


class TestMeasured:
    def benchmark(self, plan: Planned, *, factor: float) -> api.VLMBenchmark:
        """What an agent would measure at the planned concurrency, `factor` times as fast as planned."""
        placement, speed, asked = plan.plan.placement, plan.plan.speed, plan.plan.workload
        row = Measurement(
            id="row",
            source="test",
            model=plan.model,
            weights=placement.precision.value,
            gpu=placement.gpu,
            gpu_count=placement.gpu_count,
            parallelism=Parallelism(tensor=placement.gpu_count),
            engine="vllm",
            engine_version=ENGINE_VERSION,
            workload=MeasuredWorkload(
                prompt_tokens=asked.prompt_tokens,
                output_tokens=asked.output_tokens,
                images=1,
                image_width=asked.images[0].width_pixels,
                image_height=asked.images[0].height_pixels,
            ),
            load=Load(kind="closed", concurrency=speed.concurrency),
            measured=Measured(requests_per_second=speed.requests_per_second * factor),
        )
        nothing = replace(row, id="nothing", measured=Measured(requests_per_second=0.0))
        key = api.BenchmarkKey(
            model=plan.model,
            checkpoint=plan.repository,
            precision=placement.precision.value,
            gpu_product=plan.node_products[0],
            gpu_count=placement.gpu_count,
            engine_image=plan.image,
            arguments=(),
            workload=api.Workload(),
        )
        return api.VLMBenchmark(
            api_version=api.API_VERSION,
            kind=api.BENCHMARK_KIND,
            metadata=api.Metadata(name=f"b-{factor}"),
            spec=api.VLMBenchmarkSpec(
                key=key,
                gpu=placement.gpu,
                engine_version=ENGINE_VERSION,
                concurrency=speed.concurrency,
                requests_per_second="1",
                interval="1-1",
                measured="2026-11-20T12:30:05Z",
                rows=(msgspec.to_builtins(row), {"id": "not a row"}, msgspec.to_builtins(nothing)),
            ),
        )

    def test_what_was_measured_is_planned_with(self) -> None:
        """The same model, GPU and workload: the basis is `measured`, and the estimate has moved to the measurement."""
        cluster = Inventory(pools=(pool("L4", 1, 0.5),))
        before = planned(**QWEN, inventory=cluster)
        assert before.plan.speed.basis is Basis.ESTIMATED
        for factor in (0.6, 1.5):
            after = planned(**QWEN, inventory=cluster, benchmarks=(self.benchmark(before, factor=factor),))
            assert after.plan.speed.basis is Basis.MEASURED
            ratio = after.plan.speed.requests_per_second / before.plan.speed.requests_per_second
            assert (ratio > 1.0) is (factor > 1.0)
        assert planned(**QWEN, inventory=cluster).plan == before.plan

    def test_a_measurement_can_change_which_gpu_is_cheapest(self) -> None:
        """That is what it is for."""
        cluster = Inventory(pools=(pool("L4", 1, 0.5), pool("H100-SXM", 1, 8.0)))
        first = planned(**QWEN, inventory=cluster)
        other = {"L4": "H100-SXM", "H100-SXM": "L4"}[first.plan.placement.gpu]
        slow = self.benchmark(first, factor=0.15)
        assert planned(**QWEN, inventory=cluster, benchmarks=(slow,)).plan.placement.gpu == other

    def test_described_models_are_measured_too(self) -> None:
        """By the facts in the spec, as the catalog knows nothing of them."""
        fields = {"model": {"name": "tiny", "source": PVC, "facts": FACTS}}
        before = planned(**fields)
        after = planned(**fields, benchmarks=(self.benchmark(before, factor=0.9),))
        assert (before.plan.speed.basis, after.plan.speed.basis) == (Basis.ESTIMATED, Basis.MEASURED)

    @given(
        rate=st.none() | st.floats(1e-5, 100) | st.floats(0, allow_infinity=False),
        latencies=st.lists(st.none() | st.floats(1e-3, 1e6) | st.floats(0, 1e8), min_size=3, max_size=3),
        counts=st.lists(st.integers(0, 4), min_size=3, max_size=3),
        gpus=st.integers(1, 8) | st.integers(0, 10**6),
        concurrency=st.none() | st.integers(1, 512) | st.integers(0, 10**6),
        tokens=st.tuples(st.integers(0, 10**9), st.integers(1, 512) | st.integers(0, 10**9)),
        side=st.none() | st.integers(1, 4096) | st.integers(0, 10**6),
        images=st.integers(0, 4) | st.integers(0, 10**5),
        text=st.text(max_size=8),
    )
    def test_rows_that_are_believed_are_planned_with(
        self,
        rate: float | None,
        latencies: list[float | None],
        counts: list[int],
        gpus: int,
        concurrency: int | None,
        tokens: tuple[int, int],
        side: int | None,
        images: int,
        text: str,
    ) -> None:
        """Or left out; whatever stands in one, no plan of its namespace ends with a bug."""
        catalog = load_catalog()
        ttft, tpot, e2e = latencies
        row = Measurement(
            id="row",
            source=text,
            model=QWEN["model"]["name"],
            weights="bf16",
            gpu="L4",
            gpu_count=gpus,
            parallelism=Parallelism(tensor=gpus, pipeline=counts[0], data=counts[1], expert=counts[2]),
            engine="vllm",
            engine_version=text,
            workload=MeasuredWorkload(
                prompt_tokens=tokens[0], output_tokens=tokens[1], images=images, image_width=side, image_height=side
            ),
            load=Load(kind="closed", concurrency=concurrency),
            measured=Measured(ttft_ms=ttft, tpot_ms=tpot, e2e_ms=e2e, requests_per_second=rate),
        )
        if not odd_row(row):
            calibration_of(replace(catalog, measurements=(row,)))
