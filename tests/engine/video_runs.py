"""Blank frames put through the models' whole video processors, to see what the encoder would be given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from vllm.transformers_utils.processors.internvl import InternVLVideoProcessor
from vllm.transformers_utils.processors.minimax_m3 import MiniMaxM3VLVideoProcessor
from vllm.transformers_utils.processors.nano_nemotron_vl import video_to_pixel_values
from vllm.transformers_utils.processors.ovis2_5 import Ovis2_5Processor

from tests.engine.stand_ins import VideoRun, stand_in
from tests.engine.video_oracles import ERNIE_SIZE, OMNI_SIZE, limits


def _blank(frames: int, width: int, height: int) -> Any:
    return np.full((frames, height, width, 3), 255, dtype=np.uint8)


def grids(processor: Any, *, sets_per_grid_frame: float = 1, **told: Any) -> VideoRun:
    """A transformers video processor that tells the grid of each clip or part of one."""

    def run(frames: int, width: int, height: int) -> tuple[int, int]:
        video = torch.from_numpy(_blank(frames, width, height)).permute(0, 3, 1, 2)
        made = processor(videos=[video], do_sample_frames=False, return_tensors="pt", **told)["video_grid_thw"]
        return int(made[:, 0].sum() * sets_per_grid_frame), int(made.prod(-1).sum())

    return run


def _kimi(frames: int, width: int, height: int) -> tuple[int, int]:
    video = torch.from_numpy(_blank(frames, width, height)).permute(0, 3, 1, 2)
    made = hf.Kimi_K25VideoProcessor()(videos=[video], do_sample_frames=False, return_tensors="pt")["video_grid_thw"]
    return len(made), int(made.prod(-1).sum())


def _minicpm4_6(frames: int, width: int, height: int) -> tuple[int, int]:
    video = torch.from_numpy(_blank(frames, width, height)).permute(0, 3, 1, 2)
    made = hf.MiniCPMV4_6VideoProcessor()(videos=[video], do_sample_frames=False, return_tensors="pt")
    sizes = made["target_sizes_videos"]
    return len(sizes), int(sizes.prod(-1).sum())


def _nemotron(target_patches: int | None, temporal_patch: int) -> VideoRun:
    def run(frames: int, width: int, height: int) -> tuple[int, int]:
        pixels = video_to_pixel_values(
            _blank(frames, width, height),
            input_size=512,
            video_target_num_patches=target_patches,
            video_maintain_aspect_ratio=True,
            norm_mean=torch.zeros(1, 3, 1, 1),
            norm_std=torch.ones(1, 3, 1, 1),
        )
        # NanoNemotronVLProcessor: `temporal_patch` frames to a set of tokens
        groups = -(-len(pixels) // temporal_patch)
        return groups, groups * (pixels.shape[-2] // 16) * (pixels.shape[-1] // 16)

    return run


def _ovis2_5(frames: int, width: int, height: int) -> tuple[int, int]:
    processor = stand_in(
        Ovis2_5Processor,
        {"patch_size": 16, "hidden_stride": 2, "temporal_patch_size": 1, "image_processor": hf.SiglipImageProcessor()},
        construct_visual_placeholders=[],
    )
    patches, _, grid = processor.preprocess_multidata(video=[Image.fromarray(f) for f in _blank(frames, width, height)])
    return int(grid[0, 0]), len(patches)


def _internvl(frames: int, width: int, height: int) -> tuple[int, int]:
    views = int(InternVLVideoProcessor(448)(_blank(frames, width, height))["video_num_patches"][0])
    return views, views * 32**2


def _llava_onevision(frames: int, width: int, height: int) -> tuple[int, int]:
    video = torch.from_numpy(_blank(frames, width, height)).permute(0, 3, 1, 2)
    pixels = hf.LlavaOnevisionVideoProcessor()(videos=[video], return_tensors="pt")["pixel_values_videos"]
    return pixels.shape[1], pixels.shape[1] * (pixels.shape[-2] // 14) * (pixels.shape[-1] // 14)


ENCODED_VIDEOS: dict[str, VideoRun] = {
    "qwen2.5-vl-7b": grids(hf.Qwen2VLVideoProcessor(size=limits(3136, 12845056))),
    "qwen3-vl-8b": grids(hf.Qwen3VLVideoProcessor(size=limits(4096, 25165824), patch_size=16, merge_size=2)),
    "qwen3-omni-30b-a3b": grids(hf.Qwen2VLVideoProcessor(size=OMNI_SIZE, patch_size=16)),
    "glm-4.5v": grids(hf.Glm4vVideoProcessor(size=limits(12544, 47040000))),
    # ERNIE tells frames, two of which share a set of tokens
    "ernie-4.5-vl of transformers": grids(
        hf.Ernie4_5_VLMoeVideoProcessor(size=ERNIE_SIZE, draw_on_frames=False), sets_per_grid_frame=0.5
    ),
    "muse-glimmer-30b": grids(hf.MuseGlimmerVideoProcessor()),
    "minimax-m3": grids(MiniMaxM3VLVideoProcessor()),
    "kimi-k2.5": _kimi,
    "minicpm-v-4.6": _minicpm4_6,
    "nemotron-3-nano-omni": _nemotron(1024, 2),
    "nemotron-nano-12b-v2-vl": _nemotron(None, 1),
    "ovis2.5-9b": _ovis2_5,
    "internvl3.5-8b": _internvl,
    "llava-onevision-7b": _llava_onevision,
}
