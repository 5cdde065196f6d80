from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.plans import L4, MODEL, PLAN
from vlmctl.errors import UnsupportedModel
from vlmctl.serving.engine_args import (
    ServeArgument,
    ServeOptions,
    command,
    engine_arguments,
    lacks_bfloat16,
    shutdown_seconds,
)
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import EngineArgument, Modality, ModelSpec, Precision, QuantizedCheckpoint
from vlmctl.specs.tokens import FixedTokens
from vlmctl.specs.workload import VideoInput, Workload

Placed = Callable[..., Plan]
Served = Callable[..., ModelSpec]
TOOLS = (
    EngineArgument(flag="--enable-auto-tool-choice", reason="", source="card", optional=True, needed_for="tools"),
    EngineArgument(
        flag="--tool-call-parser", value="hermes", reason="", source="card", optional=True, needed_for="tools"
    ),
    EngineArgument(flag="--tokenizer-mode", value="mistral", reason="own tokeniser", source="card"),
)


def by_flag(arguments: Sequence[ServeArgument]) -> dict[str, str | None]:
    return {each.flag: each.values[0] if each.values else None for each in arguments}


def test_settings_of_the_plan_arrive_unchanged(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """What the estimate was made with is what the engine is started with."""
    flags = by_flag(engine_arguments(plan, model, gpu))
    assert flags["--max-model-len"] == "4096"
    assert flags["--gpu-memory-utilization"] == "0.9"
    assert flags["--max-num-batched-tokens"] == "8192"
    assert flags["--max-num-seqs"] == "128"
    assert flags["--tensor-parallel-size"] == "1"
    assert flags["--renderer-num-workers"] == str(plan.placement.settings.renderer_workers)
    assert flags["--served-model-name"] == model.id
    assert json.loads(flags["--limit-mm-per-prompt"] or "") == {
        "image": {"count": 2, "width": 1680, "height": 2240},
        "video": 0,
    }
    assert flags["--enable-prompt-tokens-details"] is None
    assert flags["--enable-server-load-tracking"] is None


def test_nothing_is_said_that_the_engine_knows_itself(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """Without a cause there is no dtype, quantization, remote code, processor argument or encoder mode."""
    flags = by_flag(engine_arguments(plan, model, gpu))
    for flag in ("--dtype", "--quantization", "--trust-remote-code", "--mm-processor-kwargs", "--mm-encoder-tp-mode"):
        assert flag not in flags


def test_half_precision_only_where_the_gpu_has_no_bfloat16(plan: Plan, model: ModelSpec, t4: GpuSpec) -> None:
    """A T4 gets float16, which vLLM would otherwise refuse to start without."""
    assert by_flag(engine_arguments(plan, model, t4))["--dtype"] == "half"


def test_bfloat16_of_other_vendors_is_read_from_their_figures(mi300x: GpuSpec) -> None:
    """A compute capability that is no CUDA number does not hide bfloat16."""
    assert not lacks_bfloat16(mi300x)
    assert lacks_bfloat16(msgspec.structs.replace(mi300x, bf16_tflops=None))


def test_a_model_that_float16_breaks_is_refused_on_such_a_gpu(plan: Plan, served: Served, t4: GpuSpec) -> None:
    """Gemma 3 on a T4 is a refusal that names the GPU, not a pod that dies at start."""
    with pytest.raises(UnsupportedModel, match="needs bfloat16, which T4 lacks"):
        engine_arguments(plan, served(needs_bf16=True), t4)


@pytest.mark.parametrize(
    ("precision", "repository", "architecture", "expected"),
    [
        (Precision.FP8, MODEL.repository, "X", "fp8"),
        (Precision.FP8, "Tiny/TinyVL-FP8", "X", None),
        (Precision.AWQ, "Tiny/TinyVL-AWQ", "X", None),
        (Precision.AWQ, "Tiny/TinyVL-AWQ", "InternVLChatModel", "awq"),
    ],
    ids=["fp8-while-loading", "fp8-checkpoint", "awq-checkpoint", "awq-nested"],
)
def test_quantization_is_told_only_where_the_checkpoint_does_not_tell(
    placed: Placed,
    served: Served,
    gpu: GpuSpec,
    precision: Precision,
    repository: str,
    architecture: str,
    expected: str,
) -> None:
    """vLLM reads a checkpoint's own quantization; it must be told to convert, or where it looks in the wrong place."""
    plan = placed(precision=precision, repository=repository)
    assert by_flag(engine_arguments(plan, served(architecture=architecture), gpu)).get("--quantization") == expected


def test_a_checkpoint_that_is_not_in_the_planned_precision_is_refused(
    placed: Placed, model: ModelSpec, gpu: GpuSpec
) -> None:
    """The original repository cannot be served as AWQ."""
    with pytest.raises(UnsupportedModel, match="not a awq checkpoint"):
        engine_arguments(placed(precision=Precision.AWQ), model, gpu)


def test_a_checkpoint_published_in_low_precision_needs_no_flag(placed: Placed, model: ModelSpec, gpu: GpuSpec) -> None:
    """A model whose own repository is FP8 is loaded as it is."""
    native = msgspec.structs.replace(model, precision=Precision.FP8)
    assert "--quantization" not in by_flag(engine_arguments(placed(precision=Precision.FP8), native, gpu))


def test_an_image_cap_reaches_the_processor_in_its_own_words(placed: Placed, model: ModelSpec, gpu: GpuSpec) -> None:
    """The cap keeps the processor's lower bound, which transformers wants beside the upper one."""
    flags = by_flag(engine_arguments(placed(max_image_pixels=1_003_520), model, gpu))
    assert json.loads(flags["--mm-processor-kwargs"] or "") == {
        "size": {"shortest_edge": 3136, "longest_edge": 1_003_520}
    }


def test_an_image_cap_does_not_shrink_videos(placed: Placed, model: ModelSpec, gpu: GpuSpec) -> None:
    """With videos in the workload the cap is said of images alone, and the planned frames are sampled."""
    video = VideoInput(seconds=60, frames_per_second=0.5, width_pixels=1280, height_pixels=720)
    plan = msgspec.structs.replace(placed(max_image_pixels=1_003_520, max_videos=1), workload=Workload(videos=(video,)))
    flags = by_flag(engine_arguments(plan, model, gpu))
    assert set(json.loads(flags["--mm-processor-kwargs"] or "")) == {"images_kwargs"}
    assert json.loads(flags["--media-io-kwargs"] or "") == {"video": {"num_frames": 30}}
    assert json.loads(flags["--limit-mm-per-prompt"] or "")["video"] == {
        "count": 1,
        "num_frames": 30,
        "width": 1280,
        "height": 720,
    }


def test_an_image_cap_that_the_processor_does_not_know_is_refused(
    placed: Placed, model: ModelSpec, gpu: GpuSpec
) -> None:
    """A cap that would be ignored in silence is no cap."""
    rule = FixedTokens(tokens=576, width_pixels=336, height_pixels=336)
    assert model.image_tokens is not None
    fixed = msgspec.structs.replace(model, image_tokens=msgspec.structs.replace(model.image_tokens, rule=rule))
    with pytest.raises(UnsupportedModel, match="no area limit"):
        engine_arguments(placed(max_image_pixels=1_003_520), fixed, gpu)


def test_text_requests_keep_the_encoder_out_of_memory(placed: Placed, model: ModelSpec, gpu: GpuSpec) -> None:
    """No images and no videos planned: every limit is zero."""
    flags = by_flag(engine_arguments(placed(max_images=0), model, gpu))
    assert json.loads(flags["--limit-mm-per-prompt"] or "") == {"image": 0, "video": 0}


def test_an_audio_encoder_is_left_out(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """No workload has audio, so an omni model's audio encoder takes no memory."""
    omni = msgspec.structs.replace(model, capabilities=("audio",))
    assert json.loads(by_flag(engine_arguments(plan, omni, gpu))["--limit-mm-per-prompt"] or "")["audio"] == 0


def test_a_text_model_gets_no_media_arguments(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """A text-only model is served without a word on images."""
    text = msgspec.structs.replace(model, modality=Modality.TEXT)
    flags = by_flag(engine_arguments(plan, text, gpu))
    assert not [flag for flag in flags if "-mm-" in flag or "renderer" in flag]


@pytest.mark.parametrize(("gpus", "expected"), [(1, None), (4, "data")])
def test_the_encoder_is_spread_only_over_several_gpus(
    placed: Placed, model: ModelSpec, gpu: GpuSpec, gpus: int, expected: str | None
) -> None:
    """A single GPU has nobody to share images with."""
    plan = placed(encoder_data_parallel=True, gpu_count=gpus)
    assert by_flag(engine_arguments(plan, model, gpu)).get("--mm-encoder-tp-mode") == expected


def test_code_from_a_repository_runs_only_when_allowed(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """A model that needs its own code is refused with the switch to allow it; then the flag is there."""
    model = served(requires_remote_code=True)
    with pytest.raises(UnsupportedModel, match="--allow-remote-code"):
        engine_arguments(plan, model, gpu)
    assert "--trust-remote-code" in by_flag(engine_arguments(plan, model, gpu, ServeOptions(allow_remote_code=True)))


def test_code_is_not_trusted_where_none_is_needed(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """Allowing it for a model that needs none changes nothing."""
    assert "--trust-remote-code" not in by_flag(
        engine_arguments(plan, model, gpu, ServeOptions(allow_remote_code=True))
    )


def test_parsers_come_with_the_need_for_them(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """What a model always needs is there; tool parsers only when tools are asked for."""
    model = served(arguments=TOOLS)
    plain = by_flag(engine_arguments(plan, model, gpu))
    assert plain["--tokenizer-mode"] == "mistral"
    assert "--tool-call-parser" not in plain
    with_tools = by_flag(engine_arguments(plan, model, gpu, ServeOptions(needs=("tools",))))
    assert with_tools["--tool-call-parser"] == "hermes"
    assert "--enable-auto-tool-choice" in with_tools


def test_the_plan_wins_over_the_models_own_argument(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """A flag is given once, with the value that the estimate was made with."""
    own = EngineArgument(flag="--max-num-batched-tokens", value="16384", reason="", source="card")
    arguments = engine_arguments(plan, served(arguments=(own,)), gpu)
    assert [each.values for each in arguments if each.flag == "--max-num-batched-tokens"] == [("8192",)]


def test_a_folder_inside_the_checkpoint_needs_the_checkpoint_here(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """An adapter beside the weights is named by its path, and refused while that path is unknown."""
    adapter = EngineArgument(
        flag="--default-mm-loras", value='{"image": "{checkpoint}/vision-lora"}', reason="", source="card"
    )
    model = served(arguments=(adapter,))
    with pytest.raises(UnsupportedModel, match="--checkpoint"):
        engine_arguments(plan, model, gpu)
    flags = by_flag(engine_arguments(plan, model, gpu, ServeOptions(checkpoint="/models/tiny")))
    assert flags["--default-mm-loras"] == '{"image": "/models/tiny/vision-lora"}'


def test_example_templates_are_named_where_the_image_has_them(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """Recipes name templates relative to vLLM's repository; the image keeps them elsewhere."""
    template = EngineArgument(flag="--chat-template", value="examples/tool.jinja", reason="", source="recipe")
    flags = by_flag(engine_arguments(plan, served(arguments=(template,)), gpu))
    assert flags["--chat-template"] == "/vllm-workspace/examples/tool.jinja"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"served_by": ()}, "vLLM does not serve it"),
        ({"last_version": "0.10.2"}, "up to 0.10.2 only"),
        ({"first_version": "0.33.0"}, "from 0.33.0 on"),
    ],
    ids=["never", "no-longer", "not-yet"],
)
def test_a_model_that_this_vllm_does_not_serve_is_refused_with_its_bound(
    plan: Plan, served: Served, gpu: GpuSpec, changes: dict[str, object], message: str
) -> None:
    """The refusal says which vLLM would serve it."""
    with pytest.raises(UnsupportedModel, match=message):
        engine_arguments(plan, served(**changes), gpu)


def test_bounds_are_compared_as_versions(plan: Plan, served: Served, gpu: GpuSpec) -> None:
    """0.9.2 is older than 0.32.0, and a post-release of the planned version is not newer."""
    assert engine_arguments(plan, served(first_version="0.9.2", last_version="0.32.0.post1"), gpu)


def test_only_named_hosts_are_fetched_from(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """Each host is a word of its own after the flag."""
    options = ServeOptions(media_domains=("a.example", "b.example"))
    words = command("M", engine_arguments(plan, model, gpu, options))
    at = words.index("--allowed-media-domains")
    assert words[at : at + 3] == ["--allowed-media-domains", "a.example", "b.example"]


@given(latency=st.floats(min_value=0, max_value=3600))
def test_a_stop_leaves_time_for_the_planned_answer(latency: float) -> None:
    """Whatever the latency, a running answer of the planned length can finish."""
    plan = msgspec.structs.replace(PLAN, speed=msgspec.structs.replace(PLAN.speed, e2e_seconds=latency))
    assert shutdown_seconds(plan) >= max(30, latency)


@given(gpus=st.sampled_from([1, 2, 4, 8]), images=st.integers(0, 9), eager=st.booleans(), parallel=st.booleans())
def test_every_flag_is_given_once_with_a_reason(gpus: int, images: int, eager: bool, parallel: bool) -> None:
    """Repeated flags would leave it to the parser which value holds."""
    settings = msgspec.structs.replace(
        PLAN.placement.settings, max_images=images, enforce_eager=eager, encoder_data_parallel=parallel
    )
    placement = msgspec.structs.replace(PLAN.placement, gpu_count=gpus, settings=settings)
    arguments = engine_arguments(msgspec.structs.replace(PLAN, placement=placement), MODEL, L4)
    flags = [each.flag for each in arguments]
    assert len(flags) == len(set(flags))
    assert all(each.reason for each in arguments)


def test_a_checkpoint_of_another_format_goes_without_the_models_arguments(plan: Plan, gpu: GpuSpec) -> None:
    """Flags for the maker's own format are left out for a checkpoint in another one."""
    own = EngineArgument(flag="--load-format", value="mistral", reason="its own format", source="s")
    other = QuantizedCheckpoint(
        precision=Precision.FP8, repository="others/fp8", without_arguments=("--load-format",), source="s"
    )
    model = msgspec.structs.replace(
        MODEL, serving=msgspec.structs.replace(MODEL.serving, arguments=(own,)), quantizations=(other,)
    )
    placement = msgspec.structs.replace(plan.placement, repository="others/fp8", precision=Precision.FP8)
    quantized = msgspec.structs.replace(plan, placement=placement)
    flags = [{each.flag for each in engine_arguments(which, model, gpu)} for which in (plan, quantized)]
    assert ["--load-format" in each for each in flags] == [True, False]
