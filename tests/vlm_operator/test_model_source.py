"""Which model a spec means: the catalog's, a checkpoint of it that lies elsewhere, or one that the spec describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec.structs import replace
from vlm_operator.model_source import Source, model_source
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from tests.support.command_line import command_line
from vlmctl import library
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.checkpoint import Checkpoint
from vlmctl.errors import UnsupportedModel
from vlmctl.serving.described import model_reference
from vlmctl.specs.model import Commercial, Precision

CATALOG = library.load_catalog()
MODEL = library.find_model("qwen3-vl-8b", catalog=CATALOG)
FP8 = next(each for each in MODEL.quantizations if each.precision is Precision.FP8)
TINY: dict[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "hidden_size": 128,
    "intermediate_size": 256,
    "max_position_embeddings": 8192,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 1024,
    "vision_config": {
        "depth": 2,
        "embed_dim": 64,
        "hidden_size": 128,
        "mlp_ratio": 2,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
PROCESSOR = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 3136, "max_pixels": 501760}
FACTS = {"config": json.dumps(TINY), "processor": json.dumps(PROCESSOR)}
PVC = {"pvc": {"claimName": "weights", "path": "/models/own/"}}


def source_of(model: dict[str, Any], **more: Any) -> Source:
    return model_source(msgspec.convert({"model": model, **more}, api.VLMDeploymentSpec), CATALOG)


def refusal_of(model: dict[str, Any], **more: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        source_of(model, **more)
    return refused.value


def test_facts_are_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal names it; what it shows of a checkpoint's files, with the place added, is a model to plan with."""
    refused = refusal_of({"source": {"huggingFace": {"repository": "acme/own"}}})
    assert "`vlmctl models import acme/own --spec`" in refused.message
    assert "`vlmctl models import FOLDER --spec`" in refusal_of({"source": PVC}).message
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    ran = command_line(capsys)("models", "import", str(tmp_path), "--spec")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("# Add spec.model.source")
    assert '      config: |-\n        {\n          "architectures": [' in ran.out
    written = yaml.safe_load(ran.out)["spec"]["model"]
    found = source_of({**written, "source": PVC})
    assert found == source_of({"facts": {**FACTS, "license": "apache-2.0"}, "source": PVC})
    assert command_line(capsys)("models", "import", str(tmp_path), "--spec", "--write", "x").code == 2
    assert command_line(capsys)("models", "import", str(tmp_path), "--spec", "-o", "json").json == written


def test_a_configuration_is_as_long_as_a_spec_takes() -> None:
    """With a line for each value where there is room, else without; what is longer is refused before it is pasted."""
    layers = {"quantization_config": {"ignore": [f"model.layers.{number}.mlp.gate" for number in range(1200)]}}
    for config, lines in ((TINY, True), ({**TINY, **layers}, True), ({**TINY, "lists": 25_000 * [1]}, False)):
        reference = model_reference(Checkpoint("acme/own", "", config, {}, {}, None, None, revision="a" * 40))
        assert reference.facts is not None
        assert reading.described(reference.facts).config == config
        assert ("\n" in reference.facts.config) is lines
    with pytest.raises(
        UnsupportedModel, match=r"the config has .* characters, and spec\.model\.facts\.config takes 65,536"
    ):
        model_reference(Checkpoint("acme/own", "", {**TINY, "lists": 40_000 * [1]}, {}, {}, None, None))


def test_facts_of_a_repository_name_their_commit() -> None:
    """What is measured later is then of exactly these files."""
    checkpoint = Checkpoint("acme/own", "", TINY, PROCESSOR, {}, None, None, revision="a" * 40)
    found = source_of(msgspec.to_builtins(model_reference(checkpoint)))
    assert (found.model.repository, found.revision) == ("acme/own", "a" * 40)


class TestOfTheCatalog:
    def test_a_name_is_enough(self) -> None:
        """In any usual spelling; the planner may choose among checkpoints of published quality."""
        found = source_of({"name": "Qwen3-VL-8B"})
        assert found == Source(model=MODEL, gated=MODEL.license.gated)

    def test_a_precision_narrows_the_checkpoints(self) -> None:
        """As `vlmctl plan --quantization` does."""
        assert source_of({"name": MODEL.id}, quantization="FP8").quantizations == ("fp8",)

    def test_a_repository_that_is_known_needs_no_name(self) -> None:
        """The model's own one or that of a quantized checkpoint, whose precision is not chosen again."""
        own = source_of({"source": {"huggingFace": {"repository": MODEL.repository.upper()}}})
        assert (own.model.id, own.model.quantizations, own.quantizations) == (MODEL.id, (), ("bf16",))
        quantized = source_of({"source": {"huggingFace": {"repository": FP8.repository, "revision": "abc"}}})
        assert (quantized.model.quantizations, quantized.quantizations) == ((FP8,), ("fp8",))
        assert (quantized.revision, quantized.folder) == ("abc", None)

    def test_a_revision_pins_the_repository(self) -> None:
        """It is a revision of the model's own repository, so that no other checkpoint is chosen."""
        pinned = source_of({"name": "pixtral-12b", "source": {"huggingFace": {"revision": "abc"}}})
        assert (pinned.revision, pinned.model.quantizations) == ("abc", ())
        assert source_of({"name": "pixtral-12b"}).model.quantizations != ()


class TestElsewhere:
    def test_a_checkpoint_of_ones_own(self) -> None:
        """A tuning, a copy on a volume or in an image is the named model at another place, and that is said."""
        for place, source, folder in (
            ("me/mine", {"huggingFace": {"repository": "me/mine"}}, None),
            ("pvc://weights/models/own", PVC, "/models"),
            ("oci://ghcr.io/me/mine:1", {"image": {"reference": "ghcr.io/me/mine:1"}}, "/models"),
        ):
            found = source_of({"name": MODEL.id, "source": source})
            assert found.model == replace(MODEL, repository=place, quantizations=())
            assert (found.folder, found.quantizations) == (folder, ("bf16",))
            assert any(place in note for note in found.notes)
            assert found.gated is (None if folder is None else False)

    @pytest.mark.parametrize("precision", ["FP8", "NVFP4"])
    def test_its_precision_is_what_the_spec_says(self, precision: str) -> None:
        """A quantized checkpoint is told by `quantization`, whether the catalog knows one of that precision or not."""
        found = source_of({"name": MODEL.id, "source": PVC}, quantization=precision)
        (checkpoint,) = found.model.quantizations
        assert (checkpoint.repository, checkpoint.precision.value) == ("pvc://weights/models/own", precision.lower())
        assert found.quantizations == (precision.lower(),)


class TestDescribed:
    def test_facts_are_enough(self) -> None:
        """Shape from config.json, image tokens by the processor's file, the licence as stated, all of it doubted."""
        found = source_of(
            {
                "source": {"huggingFace": {"repository": "me/tiny", "revision": "v1"}},
                "facts": {**FACTS, "license": "apache-2.0"},
            }
        )
        assert (found.model.id, found.model.repository, found.revision) == ("me/tiny", "me/tiny", "v1")
        assert found.model.language is not None
        assert found.model.language.layers == 2
        assert found.model.image_tokens is not None
        assert found.model.image_tokens.rule.max_pixels == PROCESSOR["max_pixels"]  # type: ignore[union-attr]
        assert found.model.license.permissive
        assert not found.model.verified
        assert any("nobody verified" in note for note in found.notes)

    def test_values_of_the_image_processor_may_be_nested(self) -> None:
        """As processor_config.json of newer repositories holds them."""
        told = [
            source_of({"name": "tiny", "source": PVC, "facts": {**FACTS, "processor": json.dumps(processor)}}).model
            for processor in (PROCESSOR, {"image_processor": PROCESSOR, "processor_class": "X"})
        ]
        assert told[0] == told[1]

    def test_on_a_volume_it_is_named_by_the_user_or_by_its_folder(self) -> None:
        """What requests ask for is a name, not a path."""
        assert source_of({"name": "tiny", "source": PVC, "facts": FACTS}).model.id == "tiny"
        assert source_of({"source": PVC, "facts": FACTS}).model.id == "own"

    def test_without_a_licence_it_is_unknown(self) -> None:
        """Only a policy that accepts any licence accepts it."""
        found = source_of({"name": "tiny", "source": PVC, "facts": {"config": json.dumps(TINY)}})
        assert found.model.license.commercial is Commercial.UNKNOWN

    def test_a_class_that_the_engine_may_know_needs_an_engine_of_ones_own(self) -> None:
        """vLLM 0.32 is not known to serve it; the user's own image is taken at the user's word."""
        config = json.dumps({**TINY, "architectures": ["NovelForConditionalGeneration"]})
        model = {"name": "novel", "source": PVC, "facts": {**FACTS, "config": config}}
        refused = refusal_of(model)
        assert refused.reason is PlanReason.UNSUPPORTED
        assert "NovelForConditionalGeneration" in refused.message
        assert source_of(model, engine={"image": "me/vllm:next"}).model.serving.served_by == ("vllm",)


@pytest.mark.parametrize(
    ("model", "more", "reason", "words"),
    [
        ({"name": "qwen3-vl-8c"}, {}, PlanReason.UNKNOWN_MODEL, "Did you mean"),
        ({"source": {"huggingFace": {"repository": "me/x"}}}, {}, PlanReason.FACTS_MISSING, "spec.model.facts"),
        (
            {"name": "pixtral-12b", "source": {"huggingFace": {"repository": MODEL.repository}}},
            {},
            PlanReason.INVALID_SPEC,
            "leave one of them out",
        ),
        (
            {"source": {"huggingFace": {"repository": FP8.repository}}},
            {"quantization": "BF16"},
            PlanReason.INVALID_SPEC,
            "is fp8",
        ),
        (
            {"name": MODEL.id, "source": PVC, "facts": {"config": json.dumps(TINY)}},
            {},
            PlanReason.INVALID_SPEC,
            "Leave them out",
        ),
        (
            {"name": "tiny", "source": PVC, "facts": {"config": json.dumps(TINY)}},
            {"quantization": "FP8"},
            PlanReason.INVALID_SPEC,
            "is bf16",
        ),
        (
            {"name": "tiny", "source": PVC, "facts": {"config": '{"architectures": ["X"]}'}},
            {},
            PlanReason.FACTS_MISSING,
            "decoder",
        ),
        ({"name": "tiny", "source": PVC, "facts": {"config": "{}"}}, {}, PlanReason.FACTS_MISSING, "spec.model.facts"),
        *(
            ({"name": "tiny", "source": PVC, "facts": {**FACTS, **facts}}, {}, PlanReason.INVALID_SPEC, words)
            for facts, words in (
                ({"config": "architectures: [X]"}, "spec.model.facts.config is not the text of a JSON object"),
                ({"config": "[]"}, "the whole of config.json"),
                ({"config": 9000 * "[" + 9000 * "]"}, "the text of a JSON object"),
                ({"config": '{"a": ' + 16 * "[" + 16 * "]" + "}"}, "more than 16 objects and lists"),
                ({"config": '{"a": 1' + 5000 * "0" + "}"}, "the text of a JSON object"),
                ({"processor": ""}, "the whole of preprocessor_config.json"),
            )
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(
    model: dict[str, Any], more: dict[str, Any], reason: PlanReason, words: str
) -> None:
    """Unknown names, missing facts, and parts of a spec that contradict each other."""
    refused = refusal_of(model, **more)
    assert (refused.reason, words in refused.message) == (reason, True), refused.message
