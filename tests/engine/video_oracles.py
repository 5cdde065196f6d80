"""The models' own video processors as functions from frames and their size to tokens, timestamps left out.

Built as those of `native_oracles` are.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import transformers as hf
from transformers.models.kimi_k25.processing_kimi_k25 import Kimi_K25Processor
from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import Qwen3OmniMoeProcessorKwargs
from vllm.model_executor.models.ernie45_vl import Ernie4_5_VLProcessingInfo
from vllm.model_executor.models.minicpmv import MiniCPMVProcessingInfo
from vllm.model_executor.models.minicpmv4_6 import MiniCPMV4_6MultiModalProcessor
from vllm.model_executor.models.molmo2 import Molmo2ProcessingInfo
from vllm.models.minimax_m3.common.mm_preprocess import MiniMaxM3VLProcessingInfo
from vllm.multimodal.parse import ImageSize
from vllm.transformers_utils.processors.kimi_k25_vision_fused import KimiK25FusedVisionProcessor
from vllm.transformers_utils.processors.minimax_m3 import MiniMaxM3VLVideoProcessor
from vllm.transformers_utils.processors.muse_glimmer import MuseGlimmerVideoProcessor
from vllm.transformers_utils.processors.nano_nemotron_vl import get_video_target_size_and_feature_size
from vllm.transformers_utils.processors.ovis2_5 import Ovis2_5Processor

from tests.engine import native_oracles as native
from tests.engine import tiled_oracles as tiled
from tests.engine.image_cases import ERNIE_OF_TRANSFORMERS, ONEVISION
from tests.engine.stand_ins import VideoOracle, stand_in

ERNIE_SIZE = {"shortest_edge": 299 * 28 * 28, "longest_edge": 1196 * 28 * 28}
OMNI_SIZE = Qwen3OmniMoeProcessorKwargs._defaults["videos_kwargs"]["size"]
KIMI_MEDIA = {  # of the checkpoint's preprocessor_config.json
    "patch_size": 14,
    "merge_kernel_size": 2,
    "in_patch_limit": 16384,
    "in_patch_limit_each_frame": 4096,
    "in_patch_limit_video": None,
    "patch_limit_on_one_side": 512,
    "fixed_output_tokens": None,
    "temporal_merge_kernel_size": 4,
}


def patches_of(processor: Any, merged_frames: int = 1) -> VideoOracle:
    """A transformers video processor that counts encoder patches, as many frames' merged after the encoder."""
    merged = processor.merge_size**2 * merged_frames
    return lambda frames, width, height: processor.get_num_of_video_patches(frames, height, width, {}) // merged


def limits(least: int, most: int) -> dict[str, int]:
    return {"shortest_edge": least, "longest_edge": most}


def ernie() -> VideoOracle:
    context = SimpleNamespace(
        get_merged_mm_kwargs=lambda kwargs: kwargs, model_config=SimpleNamespace(trust_remote_code=False)
    )
    config = SimpleNamespace(vision_config=SimpleNamespace(patch_size=14), spatial_conv_size=2, temporal_conv_size=2)
    info = stand_in(Ernie4_5_VLProcessingInfo, {"ctx": context}, get_hf_config=config)
    # the model's processor repeats the last frame of an odd number
    return lambda frames, width, height: info.get_num_video_tokens(
        image_width=width,
        image_height=height,
        num_frames=frames + frames % 2,
        image_processor=SimpleNamespace(size=ERNIE_SIZE),
        mm_kwargs={},
    )


def kimi() -> VideoOracle:
    processor = stand_in(KimiK25FusedVisionProcessor, {"media_proc_cfg": KIMI_MEDIA})

    def count(frames: int, width: int, height: int) -> int:
        chunks = [min(4, frames - start) for start in range(0, frames, 4)]
        made = [[SimpleNamespace(size=(width, height))] * chunk for chunk in chunks]
        return sum(
            processor.get_resize_config({"type": "video_chunk", "video_chunk": chunk})["num_tokens"] for chunk in made
        )

    return count


def kimi_transformers() -> VideoOracle:
    processor = stand_in(Kimi_K25Processor, {"video_processor": hf.Kimi_K25VideoProcessor()})
    return lambda frames, width, height: processor._get_num_multimodal_tokens(video_sizes=[(frames, height, width)])[
        "num_video_tokens"
    ][0]


def muse() -> VideoOracle:
    processor = MuseGlimmerVideoProcessor()
    return lambda frames, width, height: -(-frames // 2) * processor.compute_video_frame_size(width, height)[2]


def nemotron_omni() -> VideoOracle:
    def count(frames: int, width: int, height: int) -> int:
        size = get_video_target_size_and_feature_size(
            width, height, target_patches=1024, maintain_aspect_ratio=True, patch_size=16, downsample_ratio=0.5
        )
        return -(-frames // 2) * size[2]

    return count


def ovis2_5() -> VideoOracle:
    frame = native.cells_of(stand_in(Ovis2_5Processor).smart_resize, 32, min_pixels=448 * 448, max_pixels=1792 * 1792)
    return lambda frames, width, height: frames * frame(width, height)


def minimax() -> VideoOracle:
    info, processor = stand_in(MiniMaxM3VLProcessingInfo), MiniMaxM3VLVideoProcessor()

    def count(frames: int, width: int, height: int) -> int:
        tokens = info.get_num_video_tokens(
            image_width=width, image_height=height, num_frames=frames, image_processor=processor, mm_kwargs={}
        )
        if not tokens:
            raise ValueError("shrunk to nothing")
        return int(tokens)

    return count


def llava_onevision() -> VideoOracle:
    info = tiled.onevision_info(ONEVISION)
    return lambda frames, width, height: info.get_num_video_tokens(
        image_width=width, image_height=height, num_frames=frames
    )


def gemma4() -> VideoOracle:
    frame = native.gemma4(70)
    return lambda frames, width, height: frames * frame(width, height)


def minicpm() -> VideoOracle:
    frame = tiled.minicpm(64, max_slices=stand_in(MiniCPMVProcessingInfo).get_video_max_slice_num())
    return lambda frames, width, height: frames * frame(width, height)


def minicpm4_6() -> VideoOracle:
    processor = stand_in(MiniCPMV4_6MultiModalProcessor, {"info": tiled.minicpm4_6_info()})

    def count(frames: int, width: int, height: int) -> int:
        # every frame is written alike, after the clip's number
        one = processor.get_video_prompt_texts(ImageSize(width=width, height=height), 1)
        clip = processor.get_video_prompt_texts(ImageSize(width=width, height=height), 0)
        return tiled.tags_in(clip) + frames * (tiled.tags_in(one) - tiled.tags_in(clip))

    return count


def molmo2() -> VideoOracle:
    video_processor = SimpleNamespace(size={"height": 378, "width": 378}, patch_size=14, pooling_size=[3, 3])
    processor = SimpleNamespace(video_processor=video_processor, video_use_col_tokens=False)
    info = stand_in(Molmo2ProcessingInfo)
    return lambda frames, *_: info.get_num_video_tokens(num_frames=frames, processor=processor)


class VideoCase(NamedTuple):
    """What decides, and what it counts: the tokens of the frames, or the whole placeholder (`total`)."""

    oracle: VideoOracle
    counts: str = "image"
    changes: dict[str, Any] = {}  # noqa: RUF012 (read only) to the rule for video


def video_cases() -> dict[str, VideoCase]:
    """Every rule for video that an engine or a processor counts, under the names of `image_cases.CASES`."""
    return {
        "qwen2.5-vl-7b": VideoCase(patches_of(hf.Qwen2VLVideoProcessor(size=limits(3136, 12845056)))),
        "qwen3-vl-8b": VideoCase(
            patches_of(hf.Qwen3VLVideoProcessor(size=limits(4096, 25165824), patch_size=16, merge_size=2))
        ),
        "qwen3-omni-30b-a3b": VideoCase(patches_of(hf.Qwen2VLVideoProcessor(size=OMNI_SIZE, patch_size=16))),
        "glm-4.5v": VideoCase(patches_of(hf.Glm4vVideoProcessor(size=limits(12544, 47040000)))),
        "ernie-4.5-vl-28b-a3b": VideoCase(ernie()),
        "ernie-4.5-vl of transformers": VideoCase(
            patches_of(hf.Ernie4_5_VLMoeVideoProcessor(size=ERNIE_SIZE), merged_frames=2),
            changes=ERNIE_OF_TRANSFORMERS,
        ),
        "kimi-k2.5": VideoCase(kimi()),
        "kimi-k2.5 of transformers": VideoCase(kimi_transformers()),
        "muse-glimmer-30b": VideoCase(muse()),
        "nemotron-3-nano-omni": VideoCase(nemotron_omni()),
        "ovis2.5-9b": VideoCase(ovis2_5()),
        "minimax-m3": VideoCase(minimax()),
        "llava-onevision-7b": VideoCase(llava_onevision()),
        "gemma-4-31b": VideoCase(gemma4()),
        "minicpm-v-2.6": VideoCase(minicpm()),
        "minicpm-v-4.6": VideoCase(minicpm4_6(), "total"),
        "molmo2-8b": VideoCase(molmo2(), "total"),
    }
