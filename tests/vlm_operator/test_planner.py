"""Plans in a cluster: they fit it, are the cheapest, keep to what is allowed, and say what they decided or why not."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.inventory import inventory
from vlm_operator.planner import Planner
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Inventory, Planned, Pool
from vlm_operator.refusal import Refused

from tests.support.records import SOURCE, make_catalog, make_model
from tests.vlm_operator.gpu_nodes import node, pool
from tests.vlm_operator.test_model_source import PROCESSOR, PVC, TINY
from vlmctl import library
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import ENGINE_VERSION, engine_arguments
from vlmctl.serving.host import engine_image
from vlmctl.serving.manifest import vlmdeployment
from vlmctl.specs.estimates import Basis
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism
from vlmctl.specs.model import Precision, QuantizedCheckpoint
from vlmctl.specs.workload import LicensePolicy
from vlmctl.units import HOURS_PER_MONTH

CATALOG = library.load_catalog()
PLANNER = Planner(CATALOG)
L4_AND_H100 = Inventory(pools=(pool("L4", 4, 0.5), pool("H100-SXM", 8, 3.0)))
ANYTHING = Policy()
OPTIONS = ("--checkpoint", "--allow-remote-code", "--quantization ", "--gpu ", "--max-usd", "--include-unverified")
QWEN: dict[str, Any] = {"model": {"name": "qwen3-vl-8b"}}
SMALL = {"small": 24, "mid": 48, "big": 141}  # GPUs of the made-up catalog, GiB
IMAGE = [{"size": "800x600"}]


def spec_of(**fields: Any) -> api.VLMDeploymentSpec:
    return msgspec.convert(fields, api.VLMDeploymentSpec)


def planned(
    *,
    inventory: Inventory = L4_AND_H100,
    policy: Policy = ANYTHING,
    planner: Planner = PLANNER,
    benchmarks: tuple[api.VLMBenchmark, ...] = (),
    engine_image: str | None = None,
    **fields: Any,
) -> Planned:
    return planner.plan(spec_of(**fields), inventory, policy, benchmarks, engine_image=engine_image)


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as found:
        planned(**fields)
    return found.value


def values(plan: Planned) -> dict[str, tuple[str, ...]]:
    return {argument.flag: argument.values for argument in plan.arguments}


def checkpoint(precision: Precision, *, quality_published: bool) -> QuantizedCheckpoint:
    repository = f"toys/{precision.value}"
    return QuantizedCheckpoint(
        precision=precision, repository=repository, quality_published=quality_published, source=SOURCE
    )


@st.composite
def planners(draw: st.DrawFn) -> Planner:
    """A planner that knows one model, perhaps with quantized checkpoints."""
    checkpoints = tuple(
        QuantizedCheckpoint(
            precision=precision,
            repository=f"toys/{precision.value}",
            quality_published=draw(st.booleans()),
            source=SOURCE,
        )
        for precision in (Precision.FP8, Precision.AWQ)
        if draw(st.booleans())
    )
    model = make_model("toy", billions=draw(st.floats(1.0, 400.0)), quantizations=checkpoints)
    return Planner(make_catalog((model,)))


@st.composite
def pools(draw: st.DrawFn, *, priced: bool = False) -> Pool:
    """Nodes of one of the made-up GPUs."""
    gpu, gpus = draw(st.sampled_from(sorted(SMALL))), draw(st.integers(1, 10))
    usd = draw(st.floats(0.0, 20.0) if priced else st.floats(0.0, 20.0) | st.none())
    return pool(gpu, gpus, usd, product=f"{gpu}-{draw(st.sampled_from('ab'))}")


CLUSTERS = st.lists(pools(), max_size=5).map(lambda found: Inventory(pools=tuple(found)))
WISHES = st.fixed_dictionaries(
    {"model": st.just({"name": "toy"}), "workload": st.just({"images": IMAGE})},
    optional={
        "quantization": st.sampled_from(["Auto", "BF16", "FP8"]),
        "objectives": st.sampled_from([{}, {"ttft": "500ms"}, {"ttft": "3s", "tpot": "60ms"}]),
        "hardware": st.fixed_dictionaries(
            {}, optional={"gpu": st.sampled_from([*SMALL, "mid-a"]), "count": st.sampled_from([1, 2, 3, 4, 16])}
        ),
    },
)


class Outcome:
    """A plan, or why there is none."""

    def __init__(self, planner: Planner, cluster: Inventory, fields: dict[str, Any], policy: Policy = ANYTHING) -> None:
        self.plan: Planned | None = None
        self.refused: Refused | None = None
        try:
            self.plan = planned(planner=planner, inventory=cluster, policy=policy, **fields)
        except Refused as error:
            self.refused = error


class TestLaws:
    @given(planners(), CLUSTERS, WISHES)
    @settings(max_examples=300)
    def test_a_plan_fits_a_pool(self, planner: Planner, cluster: Inventory, wishes: dict[str, Any]) -> None:
        """One that has the GPU, as many of them in a node as a replica takes, and its label; and memory is enough."""
        found = Outcome(planner, cluster, wishes).plan
        if found is None:
            return
        placement, asked = found.plan.placement, wishes.get("hardware", {})
        fitting = [
            each
            for each in cluster.pools
            if (each.gpu, each.label, each.resource) == (placement.gpu, found.node_label, found.gpu_resource)
            and each.gpus_per_node >= placement.gpu_count
        ]
        assert set(found.node_products) <= {each.product for each in fitting}
        assert found.node_products
        assert found.plan.memory.fits
        assert placement.gpu_count == asked.get("count", placement.gpu_count)
        assert asked.get("gpu", placement.gpu) in (placement.gpu, *found.node_products)
        assert found.usd_per_gpu_hour in {each.usd_per_gpu_hour for each in fitting}
        assert (found.plan.cost is None) is (found.usd_per_gpu_hour is None)

    @given(planners(), CLUSTERS, pools(priced=True), WISHES)
    @settings(max_examples=200)
    def test_more_pools_never_cost_more(
        self, planner: Planner, cluster: Inventory, more: Pool, wishes: dict[str, Any]
    ) -> None:
        """A pool that is added can only make the plan cheaper, and never takes it away."""
        before = Outcome(planner, cluster, wishes).plan
        after = Outcome(planner, Inventory(pools=(*cluster.pools, more)), wishes).plan
        if before is None:
            return
        assert after is not None
        if before.plan.cost is not None:
            assert after.plan.cost is not None
            assert after.plan.cost.usd_per_1k_requests <= before.plan.cost.usd_per_1k_requests * (1 + 1e-9)

    @given(planners(), CLUSTERS, WISHES, st.floats(0.001, 5.0), st.floats(0.0, 1.0), st.booleans())
    @settings(max_examples=200)
    def test_a_tighter_budget_never_allows_more(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], usd: float, share: float, monthly: bool
    ) -> None:
        """What is refused stays refused, and what is allowed is within the limit."""
        field, scale = ("maxUSDPerMonth", 5000.0) if monthly else ("maxUSDPer1k", 1.0)
        loose, tight = (
            Outcome(planner, cluster, {**wishes, "budget": {field: f"{limit * scale:.6f}"}})
            for limit in (usd, usd * share)
        )
        if tight.plan is None:
            return
        assert loose.plan is not None
        cost = tight.plan.plan.cost
        assert cost is not None
        spent = cost.usd_per_hour * HOURS_PER_MONTH if monthly else cost.usd_per_1k_requests
        assert spent <= usd * share * scale + 1e-6

    @given(planners(), CLUSTERS, WISHES, st.sampled_from(list(LicensePolicy)), st.sampled_from(list(LicensePolicy)))
    def test_a_stricter_licence_policy_never_allows_more(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], one: LicensePolicy, other: LicensePolicy
    ) -> None:
        """And what it allows is planned alike."""
        order = [LicensePolicy.ANY, LicensePolicy.RESEARCH, LicensePolicy.COMMERCIAL, LicensePolicy.PERMISSIVE]
        loose, strict = sorted((one, other), key=order.index)
        found = Outcome(planner, cluster, wishes, Policy(license=strict)).plan
        if found is not None:
            assert found == Outcome(planner, cluster, wishes, Policy(license=loose)).plan

    @given(planners(), CLUSTERS, WISHES, st.randoms())
    def test_plans_and_refusals_are_the_same_every_time(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], rng: random.Random
    ) -> None:
        """Whatever the order of the pools, and however many nodes there are of each: no message moves by itself."""
        shuffled = list(cluster.pools)
        rng.shuffle(shuffled)
        grown = Inventory(pools=tuple(replace(each, nodes=each.nodes + 7) for each in shuffled))
        one, other = Outcome(planner, cluster, wishes), Outcome(planner, grown, wishes)
        assert one.plan == other.plan
        if one.refused is not None:
            assert other.refused is not None
            assert (one.refused.reason, one.refused.message) == (other.refused.reason, other.refused.message)

    @given(planners(), CLUSTERS, WISHES)
    def test_a_plan_is_kept_whole(self, planner: Planner, cluster: Inventory, wishes: dict[str, Any]) -> None:
        """A ControllerRevision holds it as JSON, and it is read back as it was."""
        found = Outcome(planner, cluster, wishes).plan
        if found is not None:
            assert msgspec.json.decode(msgspec.json.encode(found), type=Planned) == found

    @given(st.sampled_from(CATALOG.models), st.sampled_from(list(api.Quantization)), st.booleans())
    @settings(max_examples=150)
    def test_every_model_of_the_catalog_ends_in_a_plan_or_a_reason(
        self, model: Any, quantization: api.Quantization, trust: bool
    ) -> None:
        """Never in an error; and no sentence speaks of options of the command line."""
        fields = {"model": {"name": model.id}, "quantization": quantization, "engine": {"trustRemoteCode": trust}}
        found = Outcome(PLANNER, L4_AND_H100, fields, Policy(allow_trust_remote_code=True))
        assert (found.plan is None) is not (found.refused is None)
        told = found.plan.notes if found.plan is not None else (str(found.refused),)
        assert not any(option in sentence for sentence in told for option in OPTIONS)


class TestPrecision:
    PLAIN = make_model("toy", billions=30.0)

    def toy(self, **published: bool) -> Planned:
        """A model too large for the GPU in 16 bit, planned on four of them at most."""
        checkpoints = tuple(
            QuantizedCheckpoint(
                precision=Precision(name), repository=f"toys/{name}", quality_published=shown, source=SOURCE
            )
            for name, shown in published.items()
        )
        planner = Planner(make_catalog((replace(self.PLAIN, quantizations=checkpoints),)))
        cluster = Inventory(pools=(pool("mid", 4, 1.0),))
        return planned(planner=planner, inventory=cluster, model={"name": "toy"}, workload={"images": IMAGE})

    def test_auto_takes_only_what_has_published_quality(self) -> None:
        """A cheaper checkpoint of unknown quality is left alone, and the plan says so."""
        found = self.toy(awq=False)
        assert found.plan.placement.precision is Precision.BF16
        assert "Precision bf16, the model's own: of awq no quality was published." in found.notes

    def test_auto_takes_a_checkpoint_of_published_quality_where_it_is_cheaper(self) -> None:
        """And names it."""
        found = self.toy(fp8=True, awq=False)
        assert (found.plan.placement.precision, found.repository, found.gated) == (Precision.FP8, "toys/fp8", None)
        assert any(note.startswith("Precision fp8 by toys/fp8, whose quality was published") for note in found.notes)

    def test_what_is_asked_for_is_not_decided(self) -> None:
        """A precision in the spec is taken as it is, and no note speaks of it."""
        found = planned(**QWEN, quantization="FP8")
        assert found.plan.placement.precision is Precision.FP8
        assert not any(note.startswith("Precision") for note in found.notes)


class TestHardware:
    def test_the_cheapest_that_serves_is_taken(self) -> None:
        """Per request, not per hour; objectives that it misses rule it out."""
        cheap = planned(**QWEN, inventory=Inventory(pools=(pool("L4", 4, 0.5), pool("H100-SXM", 8, 12.0))))
        assert (cheap.plan.placement.gpu, cheap.usd_per_gpu_hour) == ("L4", 0.5)
        fast = planned(
            **QWEN,
            objectives={"ttft": "300ms"},
            inventory=Inventory(pools=(pool("L4", 1, 0.5), pool("H100-SXM", 8, 12.0))),
        )
        assert fast.plan.placement.gpu == "H100-SXM"

    def test_gpu_and_count_are_kept_to(self) -> None:
        """As `vlmctl plan` wrote them into the manifest, though fewer would be cheaper."""
        found = planned(**QWEN, hardware={"gpu": "NVIDIA-L4", "count": 4})
        assert (found.plan.placement.gpu, found.plan.placement.gpu_count) == ("L4", 4)
        assert values(found)["--tensor-parallel-size"] == ("4",)
        assert found.plan.cost is not None
        assert found.plan.cost.usd_per_hour == pytest.approx(2.0)

    def test_without_a_price_the_least_gpu_time_is_taken(self) -> None:
        """Money is then unknown, and said to be."""
        found = planned(**QWEN, inventory=Inventory(pools=(pool("L4", 4, None),)))
        assert (found.plan.cost, found.usd_per_gpu_hour) == (None, None)
        assert any("No price of L4 is known" in note for note in found.notes)

    def test_slices_are_never_planned_on(self) -> None:
        """MIG and shared products are no GPUs to the planner, and the refusal lists them."""
        cluster = inventory([node("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", 7), node("NVIDIA-L4-SHARED", 16)], (), CATALOG)
        found = refused(**QWEN, inventory=cluster)
        assert found.reason is PlanReason.NO_INVENTORY
        assert "MIG slices" in found.message
        assert "NVIDIA-L4-SHARED" in found.message

    @pytest.mark.parametrize(
        ("hardware", "reason", "words"),
        [
            ({"gpu": "L40S"}, PlanReason.NO_INVENTORY, "no node of this cluster has L40S, only H100-SXM, L4"),
            ({"gpu": "L44"}, PlanReason.INVALID_SPEC, "unknown GPU 'L44'"),
            ({"gpu": "L4", "count": 16}, PlanReason.UNSUPPORTED, "LeaderWorkerSet"),
            ({"count": 16}, PlanReason.UNSUPPORTED, "no such node has more than 8 GPUs"),
        ],
    )
    def test_hardware_that_is_not_there_is_refused(
        self, hardware: dict[str, Any], reason: PlanReason, words: str
    ) -> None:
        """With what there is; a replica never spans nodes."""
        found = refused(**QWEN, hardware=hardware)
        assert (found.reason, words in found.message) == (reason, True), found.message


class TestNothingFits:
    def test_too_large_shows_the_sum_and_the_ways_out(self) -> None:
        """Every term of the memory, what would fit there, and which node would do."""
        message = refused(model={"name": "qwen2.5-vl-72b"}, inventory=Inventory(pools=(pool("L4", 4, 0.5),))).message
        for words in (
            "qwen2.5-vl-72b fits no GPU of this cluster.",
            "On 4x L4 (bf16)",
            "language weights",
            "activations",
            "KV cache of one request",
            "GiB too much.",
            "There it would fit with the awq checkpoint.",
            "A node with ",
            "LeaderWorkerSet",
        ):
            assert words in message, message

    def test_the_sum_adds_up(self) -> None:
        """The terms and the shortfall are those of vLLM's share of the memory."""
        message = refused(model={"name": "qwen2.5-vl-72b"}, inventory=Inventory(pools=(pool("L4", 4, 0.5),))).message
        terms, rest = message.split("vLLM takes ")[1].split(" too much")[0].split(": ", 1)
        amounts = [
            float(term.removesuffix(" GiB").rsplit(" ", 1)[-1]) for term in rest.replace(", ", " + ").split(" + ")
        ]
        budget, shortfall = float(terms.removesuffix(" GiB")), amounts.pop()
        assert sum(amounts) - budget == pytest.approx(shortfall, abs=0.05 * (len(amounts) + 2))

    def test_other_gpus_of_the_cluster_are_named(self) -> None:
        """Where the spec's own choice of GPU stands in the way."""
        found = refused(model={"name": "qwen2.5-vl-72b"}, hardware={"gpu": "L4"})
        assert found.reason is PlanReason.NOTHING_FITS
        assert "H100-SXM, which this cluster has, would do." in found.message

    def test_missed_objectives_say_how_near_the_best_comes(self) -> None:
        """With the latency of the nearest placement."""
        found = refused(**QWEN, objectives={"ttft": "10ms"})
        assert found.reason is PlanReason.NOTHING_FITS
        assert "ttft: p95 " in found.message
        assert "No GPU of the catalog would do" in found.message


class TestPolicy:
    def test_a_licence_is_denied(self) -> None:
        """By the cluster or the spec, before anything is planned."""
        found = refused(model={"name": "gemma-3-4b"}, policy=Policy(license=LicensePolicy.PERMISSIVE))
        assert found.reason is PlanReason.LICENSE_DENIED
        assert "the cluster's policy asks for permissive" in found.message
        own = refused(model={"name": "gemma-3-4b"}, licensePolicy="Permissive")
        assert own.reason is PlanReason.LICENSE_DENIED

    def test_code_of_others_runs_only_where_both_allow_it(self) -> None:
        """The user who has read it, and the cluster."""
        model = {"model": {"name": "internvl3-8b"}}
        trusting = {**model, "engine": {"trustRemoteCode": True}}
        allowing = Policy(allow_trust_remote_code=True)
        for fields in (model, trusting, {**model, "policy": allowing}):
            assert refused(**fields).reason is PlanReason.REMOTE_CODE_DENIED
        assert "--trust-remote-code" in values(planned(**trusting, policy=allowing))
        assert "--trust-remote-code" not in values(planned(**QWEN, engine={"trustRemoteCode": True}, policy=allowing))

    @pytest.mark.parametrize(
        "fields",
        [
            {**QWEN, "engine": {"image": "evil.org/vllm:1"}},
            {"model": {"name": "qwen3-vl-8b", "source": {"image": {"reference": "evil.org/weights:1"}}}},
        ],
    )
    def test_images_come_from_allowed_registries(self, fields: dict[str, Any]) -> None:
        """Those that users name; the operator's own configuration is not asked."""
        policy = Policy(image_registries=("ghcr.io/acme",))
        assert refused(**fields, policy=policy).reason is PlanReason.IMAGE_DENIED
        assert planned(**QWEN, policy=policy, engine_image="docker.io/any/vllm:1").image == "docker.io/any/vllm:1"

    def test_a_month_counts_all_replicas(self) -> None:
        """With room for the cheapest replica and not for three of them, three are refused."""
        budget = {"maxUSDPerMonth": "500"}
        assert planned(**QWEN, budget=budget).plan.placement.gpu == "L4"
        found = refused(**QWEN, budget=budget, replicas=3)
        assert found.reason is PlanReason.OVER_BUDGET
        assert "1x L4" in found.message
        assert "3 replicas cost $1,095.00 a month, above the $500.00 of spec.budget.maxUSDPerMonth" in found.message

    def test_the_cluster_has_a_budget_too(self) -> None:
        """It names itself, so that the user knows whom to ask."""
        found = refused(**QWEN, policy=Policy(max_usd_per_1k=0.0001), budget={"maxUSDPer1k": "5"})
        assert found.reason is PlanReason.OVER_BUDGET
        assert "the cluster's policy" in found.message

    def test_no_budget_covers_an_unknown_price(self) -> None:
        """Whatever the budget is."""
        unpriced = Inventory(pools=(pool("L4", 4, None),))
        found = refused(**QWEN, inventory=unpriced, budget={"maxUSDPer1k": "1000000"})
        assert found.reason is PlanReason.OVER_BUDGET
        assert "no price" in found.message


class TestArguments:
    @pytest.mark.parametrize("name", ["qwen3-vl-8b", "pixtral-12b", "gemma-4-12b", "qwen3-vl-30b-a3b", "llava-1.5-7b"])
    def test_the_manifest_of_the_cli_is_planned_as_it_was_written(self, name: str) -> None:
        """Same placement and arguments as `vlmctl plan` chose (without a rate), on a cluster that has the GPU."""
        wishes = {"image": "1680x2240", "gpu": ["L4", "H100-SXM"], "ttft": "3s"}
        model = library.find_model(name, catalog=CATALOG)
        written = library.plan(model, wishes, catalog=CATALOG)
        manifest = msgspec.convert(msgspec.to_builtins(vlmdeployment(written, model)), api.VLMDeployment)
        found = PLANNER.plan(manifest.spec, L4_AND_H100, ANYTHING)
        assert found.plan.placement == written.placement
        gpu = library.find_gpu(written.placement.gpu, catalog=CATALOG)
        assert found.arguments == engine_arguments(written, model, gpu)
        assert (found.image, found.checkpoint) == (engine_image(gpu), written.placement.repository)

    def test_without_images_in_the_spec_one_of_the_usual_size_is_planned(self) -> None:
        """A model that sees, planned for no image at all, would refuse every image; the note says what was assumed."""
        found = planned(**QWEN)
        assert '"image": {"count": 1, "width": 1280, "height": 720}' in values(found)["--limit-mm-per-prompt"][0]
        assert any("one image of 1280x720" in note for note in found.notes)
        assert not any("one image of" in note for note in planned(**QWEN, workload={"images": IMAGE}).notes)

    def test_the_users_own_replace_the_planned(self) -> None:
        """And the plan says that its estimates do not know them."""
        arguments = ["--max_num_seqs", "8", "--served-model-name", "reader", "also"]
        found = planned(**QWEN, engine={"arguments": arguments, "image": "me/vllm:next"})
        assert values(found)["--max-num-seqs"] == ("8",)
        assert [argument.flag for argument in found.arguments].count("--max-num-seqs") == 1
        assert (found.served_name, found.image) == ("reader", "me/vllm:next")
        assert any("--max-num-seqs" in note for note in found.notes)
        assert any(ENGINE_VERSION in note for note in found.notes)

    def test_a_revision_is_passed_on(self) -> None:
        """To the engine, as the hub's main branch moves."""
        found = planned(model={"name": "qwen3-vl-8b", "source": {"huggingFace": {"revision": "abc"}}})
        assert (found.revision, values(found)["--revision"]) == ("abc", ("abc",))

    def test_a_folder_is_loaded_where_it_is_mounted(self) -> None:
        """A model whose arguments name a folder of the checkpoint is served from there too."""
        source = {"pvc": {"claimName": "weights", "path": "/phi"}}
        found = planned(
            model={"name": "phi-4-multimodal", "source": source},
            engine={"trustRemoteCode": True},
            policy=Policy(allow_trust_remote_code=True),
        )
        assert (found.checkpoint, found.repository) == ("/models", "pvc://weights/phi")
        assert any("/models/" in value for words in values(found).values() for value in words)

    def test_needs_bring_their_arguments(self) -> None:
        """Tools and thinking want parsers of their own; a model that has neither is refused."""
        assert "--tool-call-parser" in values(planned(model={"name": "gemma-4-12b"}, engine={"needs": ["tools"]}))
        found = refused(model={"name": "llava-1.5-7b"}, engine={"needs": ["tools"]})
        assert found.reason is PlanReason.UNSUPPORTED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"model": {"name": "llava-1.5-7b"}, "workload": {"images": [{"size": "8x8", "count": 4}]}},
            "images: at most 1",
        ),
        ({"model": {"name": "idefics2-8b"}}, "cannot be served"),
        ({**QWEN, "quantization": "GPTQ"}, "no gptq checkpoint of it, only bf16, fp8"),
        ({**QWEN, "workload": {"outputTokens": 1_000_000}}, "the context holds"),
    ],
)
def test_what_no_gpu_mends_is_unsupported(fields: dict[str, Any], words: str) -> None:
    """Said before any GPU is looked at."""
    found = refused(**fields)
    assert (found.reason, words in found.message) == (PlanReason.UNSUPPORTED, True), found.message


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
                rows=(msgspec.to_builtins(row), {"id": "not a row"}),
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
        fields = {"model": {"name": "tiny", "source": PVC, "facts": {"config": TINY, "processor": PROCESSOR}}}
        before = planned(**fields)
        after = planned(**fields, benchmarks=(self.benchmark(before, factor=0.9),))
        assert (before.plan.speed.basis, after.plan.speed.basis) == (Basis.ESTIMATED, Basis.MEASURED)
