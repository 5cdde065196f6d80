"""Every causal and image-text class of transformers, in its default sizes, answered from its configuration alone."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")
auto = pytest.importorskip("transformers.models.auto.modeling_auto")

from vlmctl.catalog.described import described_model  # noqa: E402  # after the package that it is compared with
from vlmctl.catalog.folders import shipped_folder  # noqa: E402
from vlmctl.catalog.hf_architectures import ARCHITECTURES, architecture  # noqa: E402
from vlmctl.catalog.hf_class_rules import ASSUMED  # noqa: E402
from vlmctl.catalog.load import load_folder  # noqa: E402
from vlmctl.catalog.names import resolve_gpu  # noqa: E402
from vlmctl.errors import UnsupportedModel  # noqa: E402
from vlmctl.planning.accuracy import predict  # noqa: E402
from vlmctl.planning.image_tokens import image_tokens  # noqa: E402
from vlmctl.specs.hardware import Catalog  # noqa: E402
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism  # noqa: E402
from vlmctl.specs.model import ModelSpec  # noqa: E402

# Classes that are refused, and why.
REFUSED: Mapping[str, str] = {
    "blt": "bytes in patches through three decoders, each in a section of its own",
    "evolla": "reads proteins, not images",
    "florence2": "an encoder-decoder",
    "gemma4_assistant": "drafts for another model, and its defaults hold no decoder",
    "gemma4_unified_assistant": "drafts for another model, and its defaults hold no decoder",
    "mistral4": "the decoder alone, which transformers lists among image models",
    "pi0": "moves robots; its defaults hold no decoder",
    "pix2struct": "an encoder-decoder",
    "pp_formulanet": "an encoder-decoder",
    "t5gemma2": "an encoder-decoder",
    "udop": "an encoder-decoder",
}
# Types whose own configuration class cannot be built without other configurations.
UNBUILT = frozenset({"musicgen", "musicgen_melody", "vision-encoder-decoder"})
TEXT: Mapping[str, str] = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
IMAGE: Mapping[str, str] = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
# Image rules that rest on an assumption alone.
ASSUMPTIONS = frozenset({"blip", "fuyu", "git", "glm5_next", "idefics", "inkling_mm_model", "perception_lm"})
# Sizes as (width, height): wide, tall, small, and above every limit.
SIZES = ((1280, 720), (700, 1900), (90, 60), (333, 334), (5000, 4000))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(shipped_folder())


@cache
def stated(model_type: str, name: str) -> Mapping[str, Any]:
    """The configuration file that a class with its default sizes would be saved with."""
    written = transformers.CONFIG_MAPPING[model_type]().to_json_string(use_diff=False)
    return {**json.loads(written), "architectures": [name]}


def described(model_type: str, classes: Mapping[str, str], catalog: Catalog) -> ModelSpec:
    name = classes[model_type]
    config = stated(model_type, name if isinstance(name, str) else name[0])
    return described_model("maker/model", config, known=catalog.models)


def row(*, images: int) -> Measurement:
    workload = MeasuredWorkload(
        prompt_tokens=256, output_tokens=64, images=images, image_width=1280 if images else None, image_height=720
    )
    return Measurement(
        id="row",
        source="test",
        model="maker/model",
        weights="bf16",
        gpu="H100",
        gpu_count=8,
        parallelism=Parallelism(tensor=8),
        engine="vllm",
        engine_version="0.19.0",
        workload=workload,
        load=Load(kind="closed", concurrency=4),
        measured=Measured(),
    )


@pytest.mark.parametrize("model_type", sorted(set(TEXT) - set(REFUSED) - UNBUILT))
def test_text_rows_are_answered(model_type: str, catalog: Catalog) -> None:
    """A causal class is predicted on a row of text."""
    gpu = resolve_gpu(catalog, "H100")
    assert predict(row(images=0), described(model_type, TEXT, catalog), gpu).tpot_seconds > 0


@pytest.mark.parametrize("model_type", sorted(set(IMAGE) - set(REFUSED) - UNBUILT))
def test_image_rows_are_answered(model_type: str, catalog: Catalog) -> None:
    """An image-text class is predicted with images and without; what only an assumption stands for says so."""
    model, gpu = described(model_type, IMAGE, catalog), resolve_gpu(catalog, "H100")
    without, with_images = (predict(row(images=images), model, gpu) for images in (0, 1))
    assert 0 < without.ttft_seconds < with_images.ttft_seconds
    assert model.image_tokens is not None
    assert not model.image_tokens.verified
    assert (model.image_tokens.checked_by == ASSUMED) is (model_type in ASSUMPTIONS)


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_the_others_are_refused(model_type: str, catalog: Catalog) -> None:
    """A class of the list is refused for good reason, in one of the two ways: none is there that could be answered."""
    gpu = resolve_gpu(catalog, "H100")
    classes, images = (IMAGE, 1) if model_type in IMAGE else (TEXT, 0)
    with pytest.raises(UnsupportedModel):
        predict(row(images=images), described(model_type, classes, catalog), gpu)


@pytest.mark.parametrize("model_type", sorted(set(IMAGE) - UNBUILT))
def test_imports_stay_strict(model_type: str) -> None:
    """What a measurement file may bring, an import takes only where the class is one that vlmctl reads exactly."""
    name = IMAGE[model_type]
    if name not in ARCHITECTURES:
        with pytest.raises(UnsupportedModel):
            architecture(stated(model_type, name))


@pytest.mark.parametrize(
    ("model_type", "module", "argument"),
    [
        ("chameleon", "chameleon.processing_chameleon.ChameleonProcessor", "image_seq_length"),
        ("deepseek_vl", "deepseek_vl.processing_deepseek_vl.DeepseekVLProcessor", "num_image_tokens"),
        (
            "deepseek_vl_hybrid",
            "deepseek_vl_hybrid.processing_deepseek_vl_hybrid.DeepseekVLHybridProcessor",
            "num_image_tokens",
        ),
        ("idefics2", "idefics2.processing_idefics2.Idefics2Processor", "image_seq_len"),
        ("janus", "janus.processing_janus.JanusProcessor", "num_image_tokens"),
        ("kosmos-2.5", "kosmos2_5.processing_kosmos2_5.Kosmos2_5Processor", "num_image_tokens"),
    ],
)
def test_fixed_counts_are_the_processors(model_type: str, module: str, argument: str, catalog: Catalog) -> None:
    """A class with one count for every image has the count that its processor fills in."""
    path, _, name = module.rpartition(".")
    parameters = inspect.signature(getattr(import_module(f"transformers.models.{path}"), name).__init__).parameters
    model = described(model_type, IMAGE, catalog)
    assert model.image_tokens is not None
    counts = {image_tokens(model.image_tokens.rule, *size).image_tokens for size in SIZES}
    assert counts == {parameters[argument].default}


@pytest.mark.parametrize(("model_type", "patch"), [("cohere_compass", 16), ("cosmos3_edge", 16), ("video_llama_3", 16)])
def test_resized_counts_are_the_processors(model_type: str, patch: int, catalog: Catalog) -> None:
    """A class that keeps the image's own size has as many tokens as its processor counts patches over merges."""
    module = import_module(f"transformers.models.{model_type}.image_processing_{model_type}")
    (kind,) = (value for name, value in vars(module).items() if name.endswith("ImageProcessor") and "Base" not in name)
    processor = kind(patch_size=patch)
    rule = described(model_type, IMAGE, catalog).image_tokens
    assert rule is not None
    for width, height in SIZES:
        patches = processor.get_number_of_image_patches(height, width, {})
        assert image_tokens(rule.rule, width, height).image_tokens == patches // processor.merge_size**2
