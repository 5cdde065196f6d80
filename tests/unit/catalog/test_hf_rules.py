"""Token rules from configuration files: each architecture's is the one the catalog holds, which engines checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vlmctl.catalog.hf_architectures import ARCHITECTURES, architecture
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model
from vlmctl.errors import UnsupportedModel
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.tokens import FixedTokens, Tiles

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION = [[height * 384, width * 384] for height in range(1, 7) for width in range(1, 7)]
CANDIDATES = [
    [384, 384], [384, 768], [768, 384], [384, 1152], [1152, 384], [384, 1536], [1536, 384], [768, 768],
    [384, 1920], [1920, 384], [384, 2304], [2304, 384], [768, 1152], [1152, 768], [384, 2688], [2688, 384],
    [384, 3072], [3072, 384], [768, 1536], [1536, 768], [384, 3456], [3456, 384], [1152, 1152],
]  # fmt: skip
INTERNVL = {
    "force_image_size": 448,
    "downsample_ratio": 0.5,
    "dynamic_image_size": True,
    "min_dynamic_patch": 1,
    "max_dynamic_patch": 12,
    "use_thumbnail": True,
    "vision_config": {"model_type": "intern_vit_6b", "image_size": 448, "patch_size": 14},
}


def vit(kind: str, image: int, patch: int, **more: Any) -> dict[str, Any]:
    return {"vision_config": {"model_type": kind, "image_size": image, "patch_size": patch, **more}}


def native(patch: int, merge: int = 2) -> dict[str, Any]:
    return {"vision_config": {"patch_size": patch, "spatial_merge_size": merge, "temporal_patch_size": 2}}


CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "llava-next-mistral-7b",
        "LlavaNext",
        {**vit("clip_vision_model", 336, 14), "image_grid_pinpoints": PINPOINTS},
        {},
    ),
    (
        "llava-onevision-7b",
        "LlavaOnevision",
        {
            **vit("siglip_vision_model", 384, 14),
            "image_grid_pinpoints": ONEVISION,
            "vision_aspect_ratio": "anyres_max_9",
        },
        {},
    ),
    ("gemma-3n-e2b", "Gemma3n", {"vision_soft_tokens_per_image": 256}, {}),
    ("paligemma2-3b", "PaliGemma", vit("siglip_vision_model", 448, 14), {}),
    ("blip2-opt-2.7b", "Blip2", {"model_type": "blip-2", "vision_config": {}, "num_query_tokens": 32}, {}),
    (
        "aya-vision-8b",
        "AyaVision",
        {**vit("siglip_vision_model", 364, 14), "downsample_factor": 2},
        {"max_patches": 12},
    ),
    (
        "command-a-vision",
        "Cohere2Vision",
        {**vit("siglip_vision_model", 512, 16), "downsample_factor": 2},
        {"max_patches": 12},
    ),
    (
        "idefics3-8b",
        "Idefics3",
        {**vit("idefics3", 364, 14), "scale_factor": 2},
        {"max_image_size": {"longest_edge": 364}, "size": {"longest_edge": 1456}, "do_image_splitting": True},
    ),
    (
        "smolvlm2-500m",
        "SmolVLM",
        {**vit("smolvlm_vision", 512, 16), "scale_factor": 4},
        {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}, "do_image_splitting": True},
    ),
    ("pixtral-12b", "Llava", {"vision_config": {"model_type": "pixtral"}}, {"size": {"longest_edge": 1024}}),
    (
        "mistral-small-3.2",
        "Mistral3",
        {**vit("pixtral", 1540, 14), "spatial_merge_size": 2},
        {"size": {"longest_edge": 1540}},
    ),
    (
        "glm-4.5v",
        "Glm4vMoe",
        native(14),
        {
            "size": {"shortest_edge": 12544, "longest_edge": 9633792},
            "temporal_patch_size": 2,
            "video_processor": {"size": {"shortest_edge": 12544, "longest_edge": 47040000}},
        },
    ),
    (
        "lfm2-vl-450m",
        "Lfm2Vl",
        {"downsample_factor": 2, "encoder_patch_size": 16, "min_image_tokens": 64, "max_image_tokens": 256},
        {"max_pixels_tolerance": 2.0, "tile_size": 512, "min_tiles": 2, "max_tiles": 10},
    ),
    ("llama-4-maverick", "Llama4", vit("llama4_vision_model", 336, 14, pixel_shuffle_ratio=0.5), {"max_patches": 16}),
]
NAMED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("internvl2-8b", "InternVLChatModel", INTERNVL, {}),
    (
        "phi-3-vision",
        "Phi3VForCausalLM",
        {"img_processor": {"model_name": "openai/clip-vit-large-patch14-336"}},
        {"num_crops": 16},
    ),
    (
        "deepseek-vl2-tiny",
        "DeepseekVLV2ForCausalLM",
        {"candidate_resolutions": CANDIDATES, "vision_config": {"patch_size": 14, "width": 1152, "layers": 27}},
        {"downsample_ratio": 2},
    ),
    (
        "minicpm-v-2.6",
        "MiniCPMV",
        {"version": 2.6, "query_num": 64, "patch_size": 14},
        {"scale_resolution": 448, "max_slice_nums": 9, "patch_size": 14},
    ),
    (
        "kimi-vl-a3b",
        "KimiVLForConditionalGeneration",
        {"vision_config": {"model_type": "moonvit", "patch_size": 14, "merge_kernel_size": [2, 2]}},
        {"in_token_limit": 4096, "patch_size": 14},
    ),
    (
        "molmo-7b-d",
        "MolmoForCausalLM",
        {"model_type": "molmo"},
        {
            "base_image_input_size": [336, 336],
            "image_patch_size": 14,
            "image_token_length_h": 12,
            "max_crops": 12,
            "overlap_margins": [4, 4],
        },
    ),
    (
        "dots-ocr",
        "DotsOCRForCausalLM",
        native(14),
        {"min_pixels": 3136, "max_pixels": 11289600, "patch_size": 14, "merge_size": 2},
    ),
    (
        "paddleocr-vl",
        "PaddleOCRVLForConditionalGeneration",
        native(14),
        {"min_pixels": 147384, "max_pixels": 2822400, "patch_size": 14, "merge_size": 2},
    ),
    *[(model, f"{name}ForConditionalGeneration", config, processor) for model, name, config, processor in CASES],
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def rule_of(name: str, config: dict[str, Any], processor: dict[str, Any]) -> Any:
    whole = {**config, "architectures": [name]}
    return architecture(whole).rule(whole, processor)


@pytest.mark.parametrize(("model", "name", "config", "processor"), NAMED, ids=[case[0] for case in NAMED])
def test_a_rule_is_the_one_of_the_catalog(
    catalog: Catalog, model: str, name: str, config: dict[str, Any], processor: dict[str, Any]
) -> None:
    """The rule read from a model's files equals the catalog's, which was checked against the model's own processor."""
    known = resolve_model(catalog, model).image_tokens
    assert known is not None
    assert msgspec.to_builtins(rule_of(name, config, processor)) == msgspec.to_builtins(known.rule)


def test_switches_change_the_rule() -> None:
    """A file that switches tiling off, or sets another number of tiles, gives the rule that follows from it."""
    off = rule_of("InternVLChatModel", {**INTERNVL, "dynamic_image_size": False}, {})
    assert isinstance(off, FixedTokens)
    six = rule_of("InternVLChatModel", {**INTERNVL, "max_dynamic_patch": 6, "use_thumbnail": False}, {})
    assert isinstance(six, Tiles)
    assert (six.max_tiles, six.overview) == (6, False)
    native_format = {**vit("internvl_vision", 448, 14), "downsample_ratio": 0.5}
    same = rule_of("InternVLForConditionalGeneration", native_format, {"min_patches": 1, "max_patches": 12})
    assert same == rule_of("InternVLChatModel", INTERNVL, {})
    whole = rule_of("LlavaForConditionalGeneration", vit("clip_vision_model", 336, 14), {"do_center_crop": False})
    assert isinstance(whole, FixedTokens)
    assert (whole.tokens, whole.crops) == (576, False)


@pytest.mark.parametrize(
    ("name", "config", "processor", "problem"),
    [
        ("LlavaForConditionalGeneration", {}, {}, "does not describe its image encoder"),
        ("LlavaNextForConditionalGeneration", vit("clip_vision_model", 336, 14), {}, "image_grid_pinpoints"),
        (
            "Gemma3ForConditionalGeneration",
            vit("siglip_vision_model", 896, 14),
            {"do_pan_and_scan": True},
            "pan-and-scan",
        ),
        ("InternVLChatModel", {"vision_config": {"patch_size": 14, "image_size": 448}}, {}, "min_dynamic_patch"),
        ("MiniCPMV", {"version": 2.0}, {}, "MiniCPM-V of the version 2.0"),
        ("Phi3VForCausalLM", {"img_processor": {"model_name": "other"}}, {"num_crops": 4}, "not the CLIP"),
        ("DeepseekVLV2ForCausalLM", {"vision_config": {"patch_size": 14}}, {}, "candidate_resolutions"),
        ("MolmoForCausalLM", {}, {}, "base_image_input_size"),
    ],
)
def test_what_no_file_states_is_refused(
    name: str, config: dict[str, Any], processor: dict[str, Any], problem: str
) -> None:
    """Where a file lacks what the rule needs, the import says what is missing."""
    with pytest.raises(UnsupportedModel, match=problem):
        rule_of(name, config, processor)


def test_every_reader_is_tested() -> None:
    """Each architecture stands in the cases above or among the imported checkpoints."""
    elsewhere = {
        "Gemma3ForConditionalGeneration",
        "Gemma4ForConditionalGeneration",
        "Glm4vForConditionalGeneration",
        "InternVLForConditionalGeneration",
        "MllamaForConditionalGeneration",
        *(f"Qwen{kind}ForConditionalGeneration" for kind in ("2VL", "2_5_VL", "3VL", "3VLMoe", "3_5", "3_5Moe")),
    }
    assert {case[1] for case in NAMED} | elsewhere == set(ARCHITECTURES)
