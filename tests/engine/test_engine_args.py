"""The arguments against vLLM itself: its parser must know every flag, its processors must obey the image cap."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.plans import L4, MODEL, PLAN, T4
from vlmctl.catalog.load import load_catalog
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.serving.engine_args import ENGINE_VERSION, ServeOptions, command, engine_arguments
from vlmctl.specs.estimates import Plan
from vlmctl.specs.model import EngineArgument, ModelSpec, Precision
from vlmctl.specs.tokens import SmartResize
from vlmctl.specs.workload import VideoInput, Workload

vllm = pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")

CATALOG = Path(__file__).parents[2] / "catalog" / "models"
ALL_OPTIONS = ServeOptions(
    needs=("thinking", "tools"),
    allow_remote_code=True,
    checkpoint="/models/tiny",
    media_domains=("a.example", "b.example"),
)
# (module, class, rule as the processor's defaults state it)
PROCESSORS = {
    "qwen2-vl": (
        "transformers.models.qwen2_vl.image_processing_qwen2_vl",
        "Qwen2VLImageProcessor",
        SmartResize(cell_pixels=28, patch_pixels=14, min_pixels=3136, max_pixels=1_003_520),
    ),
    "glm-4v": (
        "transformers.models.glm4v.image_processing_glm4v",
        "Glm4vImageProcessor",
        SmartResize(cell_pixels=28, patch_pixels=14, min_pixels=12544, max_pixels=11_760_000, area_frames=2),
    ),
    "paddleocr-vl": (
        "transformers.models.paddleocr_vl.image_processing_paddleocr_vl",
        "PaddleOCRVLImageProcessor",
        SmartResize(cell_pixels=28, patch_pixels=14, min_pixels=147_456, max_pixels=2_359_296),
    ),
    "ernie-4.5-vl": (
        "transformers.models.ernie4_5_vl_moe.image_processing_ernie4_5_vl_moe",
        "Ernie4_5_VLMoeImageProcessor",
        SmartResize(cell_pixels=28, patch_pixels=14, min_pixels=3136, max_pixels=4_842_768),
    ),
}


@pytest.fixture(scope="module")
def parse() -> Callable[[list[str]], Any]:
    """vLLM's own reading of a `vllm serve` command line."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())

    def read(words: list[str]) -> Any:
        assert words[:2] == ["vllm", "serve"]
        return parser.parse_args(["--model", *words[2:]])

    return read


def replaced(plan: Plan, **settings: Any) -> Plan:
    changed = msgspec.structs.replace(plan.placement.settings, **settings)
    return msgspec.structs.replace(plan, placement=msgspec.structs.replace(plan.placement, settings=changed))


def test_the_installed_engine_is_the_planned_one() -> None:
    """The flags below are those of the version that plans are written for."""
    assert vllm.__version__.startswith(ENGINE_VERSION)


def test_vllm_reads_the_plan_as_it_was_meant(parse: Callable[[list[str]], Any]) -> None:
    """Every value arrives in vLLM's own namespace with the type it has there."""
    plan = replaced(PLAN, encoder_data_parallel=True, max_image_pixels=1_003_520)
    plan = msgspec.structs.replace(plan, placement=msgspec.structs.replace(plan.placement, gpu_count=4))
    read = parse(command("Tiny/TinyVL", engine_arguments(plan, MODEL, L4, ALL_OPTIONS)))
    assert read.model == "Tiny/TinyVL"
    assert read.served_model_name == [MODEL.id]
    assert read.tensor_parallel_size == 4
    assert read.max_model_len == 4096
    assert read.gpu_memory_utilization == 0.9
    assert (read.max_num_batched_tokens, read.max_num_seqs) == (8192, 128)
    assert read.limit_mm_per_prompt == {"image": {"count": 2, "width": 1680, "height": 2240}, "video": 0}
    assert read.mm_processor_kwargs == {"size": {"shortest_edge": 3136, "longest_edge": 1_003_520}}
    assert read.mm_encoder_tp_mode == "data"
    assert read.renderer_num_workers == PLAN.placement.settings.renderer_workers
    assert read.shutdown_timeout == 30
    assert read.enable_prompt_tokens_details
    assert read.enable_server_load_tracking
    assert read.allowed_media_domains == ["a.example", "b.example"]


def test_vllm_reads_every_other_argument_that_a_plan_can_have(parse: Callable[[list[str]], Any]) -> None:
    """Half precision, conversion while loading, eager mode, videos and remote code."""
    video = VideoInput(seconds=60, frames_per_second=1, width_pixels=1280, height_pixels=720)
    plan = replaced(PLAN, enforce_eager=True, max_videos=1, max_image_pixels=1_003_520)
    plan = msgspec.structs.replace(
        plan,
        workload=Workload(videos=(video,)),
        placement=msgspec.structs.replace(plan.placement, precision=Precision.FP8),
    )
    model = msgspec.structs.replace(MODEL, serving=msgspec.structs.replace(MODEL.serving, requires_remote_code=True))
    read = parse(command("M", engine_arguments(plan, model, T4, ALL_OPTIONS)))
    assert (read.dtype, read.quantization, read.enforce_eager, read.trust_remote_code) == ("half", "fp8", True, True)
    assert read.media_io_kwargs == {"video": {"num_frames": 60}}
    assert read.limit_mm_per_prompt["video"] == {"count": 1, "num_frames": 60, "width": 1280, "height": 720}
    assert set(read.mm_processor_kwargs) == {"images_kwargs"}


def test_vllm_knows_every_argument_and_parser_of_the_catalog(parse: Callable[[list[str]], Any]) -> None:
    """No model in the catalog asks for a flag or a parser that this vLLM lacks."""
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    checked = 0
    for name, arguments in catalog_arguments():
        model = model_with(arguments)
        read = parse(command("M", engine_arguments(PLAN, model, L4, ALL_OPTIONS)))
        checked += 1
        if read.reasoning_parser:
            assert ReasoningParserManager.get_reasoning_parser(read.reasoning_parser), name
        if read.tool_call_parser:
            assert ToolParserManager.get_tool_parser(read.tool_call_parser), name
    if not checked:
        pytest.skip("no model in the catalog has arguments of its own")


def catalog_arguments() -> list[tuple[str, tuple[EngineArgument, ...]]]:
    """Model ids with their own arguments, as the catalog files hold them."""
    found = []
    for file in sorted(CATALOG.glob("*.yaml")):
        for entry in (yaml.safe_load(file.read_text()) or {}).get("models", []):
            arguments = entry.get("serving", {}).get("arguments", [])
            if arguments:
                found.append((entry["id"], msgspec.convert(arguments, tuple[EngineArgument, ...])))
    return found


def model_with(arguments: tuple[EngineArgument, ...]) -> ModelSpec:
    return msgspec.structs.replace(MODEL, serving=msgspec.structs.replace(MODEL.serving, arguments=arguments))


@pytest.mark.parametrize("name", sorted(PROCESSORS))
@pytest.mark.parametrize("cap", [401_408, 1_500_000])
@pytest.mark.parametrize(("width", "height"), [(1680, 2240), (640, 480), (3000, 300)])
def test_a_processor_obeys_the_cap_as_the_plan_counts_it(name: str, cap: int, width: int, height: int) -> None:
    """The image cap that the engine is given leads to the tokens that the plan was made with."""
    module, cls, rule = PROCESSORS[name]
    assert MODEL.image_tokens is not None
    model = msgspec.structs.replace(MODEL, image_tokens=msgspec.structs.replace(MODEL.image_tokens, rule=rule))
    arguments = {each.flag: each for each in engine_arguments(replaced(PLAN, max_image_pixels=cap), model, L4)}
    given = msgspec.json.decode(arguments["--mm-processor-kwargs"].values[0])
    processor = getattr(importlib.import_module(module), cls)(**given)
    patches = processor.get_number_of_image_patches(height, width, {})
    planned = image_tokens(rule, width, height, max_pixels=cap)
    assert patches == planned.patches


def test_what_vllm_refuses_in_float16_needs_bf16() -> None:
    """Every model of the catalog whose architecture vLLM refuses in float16 says that it needs bfloat16."""
    from vllm.config.model import _FLOAT16_NOT_SUPPORTED_MODELS

    refused = {
        model.id: model.serving.needs_bf16
        for model in load_catalog().models
        if re.sub(r"For.*", "", model.serving.architecture or "").lower() in _FLOAT16_NOT_SUPPORTED_MODELS
    }
    assert refused
    assert all(refused.values()), refused
