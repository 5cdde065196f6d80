"""Plans in a cluster: they fit it, are the cheapest, keep to what is allowed, and say what they decided or why not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from vlm_operator.planner import FACTS_KEPT, Planner
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Planned

from tests.support.gpu_nodes import node, pool
from tests.support.records import SOURCE, make_catalog, make_model
from tests.vlm_operator.planning import ANYTHING, CATALOG, L4_AND_H100, PLANNER, QWEN, planned, refused, spec_of, values
from tests.vlm_operator.test_model_source import FACTS, PVC, TINY
from vlmctl import library
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import ENGINE_VERSION, engine_arguments
from vlmctl.serving.host import engine_image
from vlmctl.serving.inventory import inventory
from vlmctl.serving.manifest import vlmdeployment
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.model import Precision, QuantizedCheckpoint

OPTIONS = ("--checkpoint", "--allow-remote-code", "--quantization ", "--gpu ", "--max-usd", "--include-unverified")
IMAGE = [{"size": "800x600"}]


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
        found = planned(
            **QWEN, engine={"arguments": arguments, "image": "me/vllm:next"}, policy=Policy(image_registries=("me",))
        )
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
        image = f"me/phi@sha256:{64 * '0'}"
        found = planned(
            model={"name": "phi-4-multimodal", "source": {"image": {"reference": image, "path": "/phi"}}},
            engine={"trustRemoteCode": True},
            policy=Policy(remote_code=(image,), image_registries=("me",)),
        )
        assert (found.checkpoint, found.repository) == ("/models", f"oci://{image}/phi")
        assert any("/models/" in value for words in values(found).values() for value in words)

    def test_what_a_pod_downloads_is_known(self) -> None:
        """A pod has to hold the checkpoint; one that is mounted costs the node nothing."""
        model = {"name": "qwen2.5-vl-7b"}
        assert 15e9 < planned(model=model, quantization="BF16").download_bytes < 18e9
        assert planned(model={**model, "source": {"pvc": {"claimName": "a"}}}).download_bytes == 0

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


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "no commit is named"),
        ({"huggingFace": {"revision": "main"}}, "main is no commit"),
        ({"huggingFace": {"revision": "a" * 64}}, "is no commit"),
        ({"huggingFace": {"revision": "a" * 40}}, None),
        ({"pvc": {"claimName": "weights"}}, None),
    ],
)
def test_what_no_commit_pins_is_said(source: dict[str, Any] | None, says: str | None) -> None:
    """A repository may hold another checkpoint at a later start; what lies on a volume is the user's own."""
    model = QWEN["model"] | ({} if source is None else {"source": source})
    notes = planned(**QWEN | {"model": model}).notes
    assert [each for each in notes if "another checkpoint" in each and (says or "") in each] == [
        each for each in notes if "another checkpoint" in each
    ]
    assert any("another checkpoint" in each for each in notes) is (says is not None)


def test_few_of_many_edits_are_remembered() -> None:
    """Whoever edits a long spec again and again takes no more memory than some models of the hub do."""
    planner = Planner(CATALOG)
    for edit in range(40):
        facts = {**FACTS, "config": json.dumps({**TINY, "edit": edit, "more": 60_000 * "a"})}
        planned(planner=planner, model={"name": "tiny", "source": PVC, "facts": facts})
    assert 0 < len(planner._sources) <= FACTS_KEPT // 60_000
    assert {len(key) for key in planner._sources} == {32}
    again = spec_of(model={"name": "tiny", "source": PVC, "facts": facts})
    assert planner._source(again) is planner._source(again)
