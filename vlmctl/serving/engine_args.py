"""Plan -> the arguments of `vllm serve`, each with its reason. Figures come from the plan, needs from the model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from vlmctl.errors import UnsupportedModel
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import EngineArgument, Modality, ModelSpec, Precision
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import SmartResize

ENGINE_VERSION = "0.32.0"  # the vLLM release whose flags and defaults these are
BF16_COMPUTE_CAPABILITY = 8.0  # vLLM stops at start below it (vllm/platforms/cuda.py, check_if_supports_dtype)
SHORTEST_SHUTDOWN_SECONDS = 30  # vLLM's own default, 0, cuts off running answers
SHUTDOWN_MARGIN = 2  # times the planned end-to-end latency: long answers are longer than the planned one
EXAMPLES_IN_IMAGE = "/vllm-workspace/"  # where the vllm/vllm-openai image keeps `examples/` with its chat templates
CHECKPOINT = "{checkpoint}"  # in a model's argument: the folder that holds the downloaded checkpoint

# Their AWQ configuration is nested where vLLM does not look (vllm-project/vllm issue 11122).
NESTED_QUANTIZATION = frozenset({"InternVLChatModel"})
# Their processors, in their repositories, know `max_pixels` and no `size` (vllm/model_executor/models/keye.py).
READS_MAX_PIXELS = frozenset({"KeyeForConditionalGeneration", "KeyeVL1_5ForConditionalGeneration"})


class ServeArgument(Record, frozen=True, kw_only=True):
    """One flag of `vllm serve`; no values: a switch."""

    flag: str
    reason: str
    values: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """As a shell's argument list holds it: one value joined with `=`, several after the flag."""
        if len(self.values) == 1:
            return (f"{self.flag}={self.values[0]}",)
        return (self.flag, *self.values)


class ServeOptions(Record, frozen=True, kw_only=True):
    """What the user decides beside the plan.

    `needs`: thinking, tools. `allow_remote_code`: may code from the model's repository run in the engine.
    `checkpoint`: folder of the downloaded checkpoint, instead of the repository. `media_domains`: hosts that image and
    video URLs may name; none given means any.
    """

    needs: tuple[str, ...] = ()
    allow_remote_code: bool = False
    checkpoint: str | None = None
    media_domains: tuple[str, ...] = ()


def checkpoint(plan: Plan, options: ServeOptions) -> str:
    """What the engine loads: the given folder, else the plan's repository."""
    return options.checkpoint or plan.placement.repository


def engine_arguments(
    plan: Plan, model: ModelSpec, gpu: GpuSpec, options: ServeOptions | None = None
) -> tuple[ServeArgument, ...]:
    """Everything `vllm serve CHECKPOINT` needs for the plan, each flag once, the plan's before the model's own.

    Raises UnsupportedModel where this vLLM does not serve the model, or only under a condition that is not met.
    """
    chosen = options or ServeOptions()
    _refuse_unserved(model)
    arguments = [
        *_identity(model, chosen),
        *_precision(plan, model, gpu),
        *_capacity(plan),
        *_media(plan, model, chosen),
        *_operation(plan),
    ]
    planned = {argument.flag for argument in arguments}
    arguments.extend(argument for argument in _own(plan, model, chosen) if argument.flag not in planned)
    return tuple(arguments)


def command(loaded: str, arguments: Sequence[ServeArgument]) -> list[str]:
    """The whole command as a list of words; `loaded` is what `checkpoint` gives."""
    return ["vllm", "serve", loaded, *(word for argument in arguments for word in argument.words)]


def shutdown_seconds(plan: Plan) -> int:
    """How long running requests may finish once the engine is told to stop."""
    return max(SHORTEST_SHUTDOWN_SECONDS, math.ceil(SHUTDOWN_MARGIN * plan.speed.e2e_seconds))


def lacks_bfloat16(gpu: GpuSpec) -> bool:
    """Whether vLLM refuses bfloat16 on this GPU."""
    if gpu.vendor == "nvidia" and gpu.compute_capability is not None:
        return float(gpu.compute_capability) < BF16_COMPUTE_CAPABILITY
    return gpu.bf16_tflops is None


def _refuse_unserved(model: ModelSpec) -> None:
    serving = model.serving
    if "vllm" not in serving.served_by:
        raise UnsupportedModel(f"{model.id}: vLLM does not serve it{': ' if serving.note else '.'}{serving.note}")
    if serving.last_version is not None and _release(serving.last_version) < _release(ENGINE_VERSION):
        raise UnsupportedModel(
            f"{model.id}: vLLM served {serving.architecture} up to {serving.last_version} only; plans are for "
            f"{ENGINE_VERSION}.",
            remedy="Choose a newer model, or run that vLLM version by hand.",
        )
    if serving.first_version is not None and _release(serving.first_version) > _release(ENGINE_VERSION):
        raise UnsupportedModel(
            f"{model.id}: vLLM serves {serving.architecture} from {serving.first_version} on; plans are for "
            f"{ENGINE_VERSION}."
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _identity(model: ModelSpec, options: ServeOptions) -> Iterator[ServeArgument]:
    yield _argument("--served-model-name", model.id, "the name that requests ask for")
    if not model.serving.requires_remote_code:
        return
    if not options.allow_remote_code:
        raise UnsupportedModel(
            f"{model.id}: vLLM needs to run Python code from {model.repository} to serve it.",
            remedy="Read that code, then allow it with --allow-remote-code.",
        )
    yield _argument("--trust-remote-code", None, "the model's code is in its repository; you allowed it to run")


def _precision(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> Iterator[ServeArgument]:
    placement, precision = plan.placement, plan.placement.precision
    yield _argument("--tensor-parallel-size", placement.gpu_count, f"one replica spans {placement.gpu_count}x {gpu.id}")
    if precision is Precision.FP32:
        yield _argument("--dtype", "float32", "planned in 32 bit")
    elif lacks_bfloat16(gpu):
        if model.serving.needs_bf16:
            raise UnsupportedModel(
                f"{model.id} needs bfloat16, which {gpu.id} lacks.",
                remedy="Choose a GPU of compute capability 8.0 or newer.",
            )
        yield _argument("--dtype", "half", f"{gpu.id} has no bfloat16")
    if precision in (Precision.BF16, Precision.FP32, model.precision):
        return
    if placement.repository == model.repository:
        if precision is not Precision.FP8:
            raise UnsupportedModel(
                f"{model.id}: {model.repository} is not a {precision.value} checkpoint.",
                remedy="Name a checkpoint of that precision, or choose bf16 or fp8.",
            )
        yield _argument("--quantization", "fp8", "weights are converted to 8 bit while they load")
    elif precision is Precision.AWQ and model.serving.architecture in NESTED_QUANTIZATION:
        yield _argument("--quantization", "awq", "vLLM does not find it in this checkpoint's nested configuration")


def _capacity(plan: Plan) -> Iterator[ServeArgument]:
    settings = plan.placement.settings
    yield _argument("--max-model-len", settings.max_model_len, "longest sequence: room for the planned request")
    yield _argument(
        "--gpu-memory-utilization",
        f"{settings.gpu_memory_utilization:g}",
        "share of GPU memory that weights, activations and KV cache may fill",
    )
    yield _argument(
        "--max-num-batched-tokens", settings.max_num_batched_tokens, "tokens per step; also sizes the encoder cache"
    )
    yield _argument("--max-num-seqs", settings.max_num_seqs, "most requests that run at once")
    if settings.enforce_eager:
        yield _argument("--enforce-eager", None, "planned without CUDA graphs")


def _media(plan: Plan, model: ModelSpec, options: ServeOptions) -> Iterator[ServeArgument]:
    if model.modality is not Modality.VISION:
        return
    settings = plan.placement.settings
    yield _argument("--limit-mm-per-prompt", _json(_limits(plan, model)), _limits_reason(plan))
    if plan.workload.videos:
        frames = max(video.frames for video in plan.workload.videos)
        yield _argument("--media-io-kwargs", _json({"video": {"num_frames": frames}}), "frames sampled from a video")
    if settings.max_image_pixels is not None:
        yield _argument(
            "--mm-processor-kwargs",
            _json(_image_cap(plan, model, settings.max_image_pixels)),
            "larger images are shrunk to the planned area before they are encoded",
        )
    if settings.encoder_data_parallel and plan.placement.gpu_count > 1:
        yield _argument("--mm-encoder-tp-mode", "data", "each GPU encodes whole images instead of a slice of each")
    yield _argument(
        "--renderer-num-workers", settings.renderer_workers, "threads that prepare images; the default of 1 lags behind"
    )
    if options.media_domains:
        flag = "--allowed-media-domains"
        yield ServeArgument(flag=flag, values=options.media_domains, reason="URLs of other hosts are not fetched")


def _limits(plan: Plan, model: ModelSpec) -> dict[str, object]:
    """The JSON of --limit-mm-per-prompt; a count of 0 keeps that modality's encoder out of memory."""
    settings = plan.placement.settings
    limits: dict[str, object] = {"image": settings.max_images}
    if settings.max_images and settings.max_image_width and settings.max_image_height:
        size = {"width": settings.max_image_width, "height": settings.max_image_height}
        limits["image"] = {"count": settings.max_images, **size}
    limits["video"] = settings.max_videos
    if settings.max_videos and plan.workload.videos:
        largest = max(plan.workload.videos, key=lambda video: video.width_pixels * video.height_pixels)
        frames = max(video.frames for video in plan.workload.videos)
        size = {"width": largest.width_pixels, "height": largest.height_pixels}
        limits["video"] = {"count": settings.max_videos, "num_frames": frames, **size}
    if "audio" in model.capabilities:
        limits["audio"] = 0
    return limits


def _limits_reason(plan: Plan) -> str:
    settings = plan.placement.settings
    if not settings.max_images and not settings.max_videos:
        return "text only: the encoder is not loaded"
    return "media per request; the sizes set how much memory is kept for encoding"


def _image_cap(plan: Plan, model: ModelSpec, max_pixels: int) -> dict[str, object]:
    """The processor's own words for an area limit, in the units of the model's token rule.

    `size` is what they all read: GLM-4V's and Ernie's ignore `max_pixels` without a word (transformers 5.19).
    """
    rule = model.image_tokens.rule if model.image_tokens is not None else None
    if not isinstance(rule, SmartResize):
        raise UnsupportedModel(
            f"{model.id}: its image processor has no area limit.", remedy="Plan without a limit on image pixels."
        )
    if model.serving.architecture in READS_MAX_PIXELS:
        cap: dict[str, object] = {"max_pixels": max_pixels}
    else:
        cap = {"size": {"shortest_edge": rule.min_pixels, "longest_edge": max_pixels}}
    return {"images_kwargs": cap} if plan.workload.videos else cap


def _operation(plan: Plan) -> Iterator[ServeArgument]:
    yield _argument("--shutdown-timeout", shutdown_seconds(plan), "seconds for running answers to finish on a stop")
    yield _argument("--enable-prompt-tokens-details", None, "usage counts image tokens apart")
    yield _argument("--enable-server-load-tracking", None, "/load tells requests in flight, image decoding included")


def _own(plan: Plan, model: ModelSpec, options: ServeOptions) -> Iterator[ServeArgument]:
    """The model's own arguments: those it always needs, and those for what the user asked for.

    A checkpoint in another format than the model's own repository goes without some of them.
    """
    left_out = {
        flag
        for checkpoint in model.quantizations
        if checkpoint.repository == plan.placement.repository
        for flag in checkpoint.without_arguments
    }
    for argument in model.serving.arguments:
        if argument.flag in left_out or (argument.optional and argument.needed_for not in options.needs):
            continue
        yield _argument(argument.flag, _own_value(model, argument, options), argument.reason)


def _own_value(model: ModelSpec, argument: EngineArgument, options: ServeOptions) -> str | None:
    value = argument.value
    if value is None:
        return None
    if CHECKPOINT in value:
        if options.checkpoint is None:
            raise UnsupportedModel(
                f"{model.id}: {argument.flag} names a folder inside the checkpoint.",
                remedy=f"Download {model.repository} and name its folder with --checkpoint.",
            )
        value = value.replace(CHECKPOINT, options.checkpoint)
    return EXAMPLES_IN_IMAGE + value if value.startswith("examples/") else value


def _argument(flag: str, value: str | int | None, reason: str) -> ServeArgument:
    return ServeArgument(flag=flag, values=() if value is None else (str(value),), reason=reason)


def _json(value: object) -> str:
    return json.dumps(value, separators=(", ", ": "))
