"""The shipped GPUs, offers, hosted APIs, benchmarks and cost table: are they whole, and are they possible at all?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from vlmctl.catalog.load import load_folder
from vlmctl.catalog.names import resolve_gpu
from vlmctl.errors import UnsupportedModel
from vlmctl.planning.apis import api_image_tokens
from vlmctl.specs.hardware import ApiImageRuleKind, Benchmark, Catalog, GpuSpec, HostedApi, Offer, OfferKind
from vlmctl.specs.workload import Task

CATALOG = Path(__file__).resolve().parents[2] / "catalog"
# Rentals of the last years lie between a preemptible T4 or V100 and a GB200 on demand.
USD_PER_GPU_HOUR = (0.1, 40.0)
# NVIDIA's architectures from old to new; a data-centre card of a later one is not slower than its predecessor.
ASCENDING = (("V100-32GB", "A100-40GB-SXM"), ("A100-80GB-SXM", "H100-SXM"), ("H100-SXM", "B200-SXM"), ("T4", "L4"))
# vLLM's installation page for CUDA, August 2026.
OLDEST_SERVED = (7, 5)
PRECISIONS = ("fp16_tflops", "bf16_tflops", "fp8_tflops", "int8_tflops", "fp4_tflops")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(CATALOG)


@pytest.fixture(scope="module")
def gpus(catalog: Catalog) -> dict[str, GpuSpec]:
    return {gpu.id: gpu for gpu in catalog.gpus}


def _same_machine(offers: tuple[Offer, ...]) -> Iterator[dict[OfferKind, Offer]]:
    def key(offer: Offer) -> tuple[str, str, str]:
        return (offer.provider, offer.region, offer.instance_type)

    for _, group in itertools.groupby(sorted(offers, key=key), key):
        yield {offer.kind: offer for offer in group}


class TestGpus:
    def test_ids_are_unique(self, catalog: Catalog) -> None:
        """A GPU stands in the catalog once."""
        assert len({gpu.id for gpu in catalog.gpus}) == len(catalog.gpus) >= 33

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("h100", "H100-SXM"),
            ("a100-80gb", "A100-80GB-SXM"),
            ("A100-40GB", "A100-40GB-SXM"),
            ("rtx-4090", "RTX4090"),
            ("RTX 4090", "RTX4090"),
            ("mi300x", "MI300X"),
            ("l40s", "L40S"),
            ("t4", "T4"),
            ("NVIDIA-H100-80GB-HBM3", "H100-SXM"),
            ("Tesla-T4", "T4"),
        ],
    )
    def test_names_people_write(self, catalog: Catalog, written: str, meant: str) -> None:
        """Short names, spellings and Kubernetes product labels find their GPU."""
        assert resolve_gpu(catalog, written).id == meant

    def test_vllm_runs_where_it_can(self, catalog: Catalog) -> None:
        """NVIDIA cards are served from compute capability 7.5 on, AMD's Instinct as well, other makers' not."""
        for gpu in catalog.gpus:
            version = tuple(int(part) for part in re.findall(r"\d+", gpu.compute_capability or "0"))
            can = gpu.vendor == "amd" or (gpu.vendor == "nvidia" and version >= OLDEST_SERVED)
            assert gpu.served_by == (("vllm",) if can else ()), gpu.id

    def test_what_cannot_be_served_says_why(self, catalog: Catalog) -> None:
        """A GPU without an engine has a note."""
        assert all(gpu.note for gpu in catalog.gpus if not gpu.served_by)

    def test_reported_memory_is_near_the_nominal(self, catalog: Catalog) -> None:
        """An engine sees a little less memory than the nominal size, never more and never below nine tenths."""
        for gpu in catalog.gpus:
            assert 0.9 <= (gpu.memory_gib_reported or gpu.memory_gib_nominal) / gpu.memory_gib_nominal <= 1.0, gpu.id

    def test_narrower_numbers_are_not_slower(self, catalog: Catalog) -> None:
        """FP8 is at least as fast as 16 bit, FP4 at least as FP8, and bf16 as fast as fp16 where both are known."""
        for gpu in catalog.gpus:
            if gpu.fp8_tflops and gpu.bf16_tflops:
                assert gpu.bf16_tflops <= gpu.fp8_tflops <= 2.1 * gpu.bf16_tflops, gpu.id
            if gpu.fp4_tflops and gpu.fp8_tflops:
                assert gpu.fp8_tflops < gpu.fp4_tflops, gpu.id
            if gpu.fp16_tflops and gpu.bf16_tflops:
                assert gpu.fp16_tflops == gpu.bf16_tflops, gpu.id

    def test_every_gpu_has_a_16_bit_rate(self, catalog: Catalog) -> None:
        """Estimates need a 16-bit rate; only cards before Ampere lack bf16."""
        for gpu in catalog.gpus:
            assert gpu.bf16_tflops or gpu.fp16_tflops, gpu.id
            assert (gpu.bf16_tflops is None) == (gpu.architecture in {"volta", "turing"}), gpu.id

    @pytest.mark.parametrize(("older", "newer"), ASCENDING)
    def test_generations_rise(self, gpus: dict[str, GpuSpec], older: str, newer: str) -> None:
        """The successor of a card has more compute in every precision that both know."""
        for field in PRECISIONS:
            before, after = getattr(gpus[older], field), getattr(gpus[newer], field)
            assert before is None or after is None or before < after, field

    def test_intensity_is_possible(self, catalog: Catalog) -> None:
        """16-bit operations per byte of bandwidth lie where real accelerators lie: a slipped unit would not."""
        for gpu in catalog.gpus:
            rate = (gpu.bf16_tflops or gpu.fp16_tflops or 0) * 1000 / gpu.memory_bandwidth_gb_per_second
            assert 80 <= rate <= 600, (gpu.id, rate)

    def test_links_are_slower_than_memory(self, catalog: Catalog) -> None:
        """A link between GPUs is slower than their memory, and no slower than PCIe 3.0."""
        for gpu in catalog.gpus:
            link = gpu.interconnect.gb_per_second
            assert link is None or 16 <= link < gpu.memory_bandwidth_gb_per_second, gpu.id

    def test_achievable_share_is_a_share(self, catalog: Catalog) -> None:
        """Where a maker's own benchmark is known it reaches part of the peak; only AMD publishes one."""
        shares = {gpu.id: gpu.achievable_compute for gpu in catalog.gpus if gpu.achievable_compute is not None}
        assert set(shares) == {"MI300X", "MI325X", "MI355X"}
        assert all(0.4 < share < 0.8 for share in shares.values())


class TestOffers:
    def test_gpus_exist(self, catalog: Catalog, gpus: dict[str, GpuSpec]) -> None:
        """Every offer names a GPU of the catalog."""
        assert {offer.gpu for offer in catalog.offers} <= set(gpus)

    def test_prices_are_sane(self, catalog: Catalog) -> None:
        """No price per GPU and hour is off by a slipped digit."""
        low, high = USD_PER_GPU_HOUR
        for offer in catalog.offers:
            assert low <= offer.usd_per_gpu_hour <= high, offer

    def test_spot_is_not_dearer(self, catalog: Catalog) -> None:
        """A spot machine costs no more than the same machine on demand."""
        pairs = [
            machine
            for machine in _same_machine(catalog.offers)
            if {OfferKind.SPOT, OfferKind.ON_DEMAND} <= set(machine)
        ]
        assert len(pairs) > 50
        for machine in pairs:
            assert machine[OfferKind.SPOT].usd_per_hour <= machine[OfferKind.ON_DEMAND].usd_per_hour

    def test_more_gpus_cost_more(self, catalog: Catalog) -> None:
        """Within a provider's region, kind and GPU the largest machine costs more than the smallest."""
        groups: dict[tuple[str, ...], list[Offer]] = {}
        for offer in catalog.offers:
            groups.setdefault((offer.provider, offer.region, offer.kind.value, offer.gpu), []).append(offer)
        for offers in groups.values():
            smallest = min(offers, key=lambda offer: (offer.gpu_count, offer.usd_per_hour))
            largest = max(offers, key=lambda offer: (offer.gpu_count, offer.usd_per_hour))
            assert smallest.gpu_count == largest.gpu_count or smallest.usd_per_hour < largest.usd_per_hour

    def test_google_prices_include_the_machine(self, catalog: Catalog) -> None:
        """Each Google price is of GPU, CPU and memory together: the L4 machine costs more than its GPU (0.56) alone."""
        machines = {
            (offer.instance_type, offer.kind): offer for offer in catalog.offers if offer.region == "us-central1"
        }
        small, large = (machines[f"g2-standard-{cpus}", OfferKind.ON_DEMAND] for cpus in (4, 12))
        assert 0.56 < small.usd_per_hour < large.usd_per_hour

    def test_nothing_was_inferred(self, catalog: Catalog) -> None:
        """No offer was computed back from somebody's cost figures."""
        assert not [offer for offer in catalog.offers if "infer" in (offer.source + offer.note).lower()]

    def test_unknown_days_are_said(self, catalog: Catalog) -> None:
        """An offer without a day says so in its note; most offers have a day."""
        undated = [offer for offer in catalog.offers if offer.as_of == "unknown"]
        assert all("date" in offer.note for offer in undated)
        assert len(undated) < len(catalog.offers) / 4


class TestHostedApis:
    @pytest.fixture(params=[api.id for api in load_folder(CATALOG).apis])
    def api(self, request: pytest.FixtureRequest, catalog: Catalog) -> HostedApi:
        return next(api for api in catalog.apis if api.id == request.param)

    def test_output_costs_no_less_than_input(self, api: HostedApi) -> None:
        """Output tokens cost at least as much as input tokens, cached ones less."""
        assert 0 < api.input_usd_per_million <= api.output_usd_per_million
        assert (api.cached_input_usd_per_million or 0) < api.input_usd_per_million

    def test_rule_counts_or_is_unknown(self, api: HostedApi) -> None:
        """A page costs a sane number of tokens, or the rule is unknown and marked unverified."""
        if api.image_rule.kind is ApiImageRuleKind.UNKNOWN:
            assert not api.image_rule.verified
            with pytest.raises(UnsupportedModel):
                api_image_tokens(api.image_rule, 1240, 1754)
        else:
            assert 64 <= api_image_tokens(api.image_rule, 1240, 1754) <= 40_000

    def test_scores_name_their_setting(self, api: HostedApi) -> None:
        """No two scores of one API stand under the same benchmark, split, mode, reporter and source."""
        keys = [(s.benchmark, s.split, s.mode, s.reporter, s.source, s.value) for s in api.scores]
        assert len(keys) == len(set(keys))


class TestBenchmarks:
    def test_scores_have_a_benchmark_and_stay_on_its_scale(self, catalog: Catalog) -> None:
        """Every score of a model or an API belongs to a benchmark and lies on its scale."""
        known = {benchmark.id: benchmark for benchmark in catalog.benchmarks}
        scores = [score for model in catalog.models for score in model.scores]
        scores += [score for api in catalog.apis for score in api.scores]
        for score in scores:
            assert 0 <= score.value <= known[score.benchmark].scale_maximum, score

    def test_tasks_have_evidence(self, catalog: Catalog) -> None:
        """Each task that a VLM is chosen for has a benchmark, captioning apart: no score of one is in the catalog."""
        smaller = {Task.TRANSCRIPTION, Task.CLASSIFICATION, Task.DETECTION, Task.IMAGE_SEARCH, Task.TEXT_ONLY}
        covered = {task for benchmark in catalog.benchmarks for task in benchmark.tasks}
        assert {task.value for task in Task if task not in smaller} - covered == {"captioning"}

    def test_scales_that_differ(self, catalog: Catalog) -> None:
        """OCRBench runs to 1000, and edit distances to 1 with lower being better."""
        known: dict[str, Benchmark] = {benchmark.id: benchmark for benchmark in catalog.benchmarks}
        assert known["OCRBench"].scale_maximum == 1000
        assert known["OmniDocBench-edit"].scale_maximum == 1
        assert [item.id for item in catalog.benchmarks if not item.higher_is_better] == ["OmniDocBench-edit"]


class TestCostMatrix:
    def test_rows_resolve(self, catalog: Catalog, gpus: dict[str, GpuSpec]) -> None:
        """Rows of the published cost table name GPUs and models of the catalog, and agree with themselves."""
        table = yaml.safe_load((CATALOG / "cost_matrix.yaml").read_text(encoding="utf-8"))
        models = {model.id for model in catalog.models}
        for row in table["rows"]:
            assert row["gpu"] in gpus
            assert row.get("catalog_model") is None or row["catalog_model"] in models
            hourly = row["usd_per_1k_requests"] / 1000 * row["requests_per_second"] * 3600
            assert 1 <= hourly / row["gpu_count"] <= 4, row["model"]
