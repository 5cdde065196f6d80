"""Blank images put through the models' whole image processors, to see what the encoder would be given."""

from __future__ import annotations

from typing import Any

import transformers as hf
from PIL import Image
from vllm.transformers_utils.processors.internvl import InternVLImageProcessor
from vllm.transformers_utils.processors.step3_vl import Step3VLImageProcessor

from tests.engine.stand_ins import EncoderRun


def _grid(processor: Any) -> EncoderRun:
    def run(width: int, height: int) -> tuple[int, int]:
        made = processor(images=[Image.new("RGB", (width, height))], return_tensors="pt")
        return 1, int(made["image_grid_thw"][0].prod())

    return run


def _idefics2(width: int, height: int) -> tuple[int, int]:
    processor = hf.Idefics2ImageProcessor(
        do_image_splitting=True, size={"shortest_edge": 378, "longest_edge": 980}, do_pad=True
    )
    masks = processor(images=[Image.new("RGB", (width, height))], return_tensors="pt")["pixel_attention_mask"][0]
    sides = [(int(mask[0].sum()), int(mask[:, 0].sum())) for mask in masks]
    return len(sides), sum((across // 14) * (down // 14) for across, down in sides)


def _gemma4(width: int, height: int) -> tuple[int, int]:
    made = hf.Gemma4ImageProcessor()(images=[Image.new("RGB", (width, height))], return_tensors="pt")
    return 1, int(made["num_soft_tokens_per_image"][0]) * 9


def _views(processor: Any, key: str, patches: int, *, axis: int | None = None) -> EncoderRun:
    """A processor whose answer's `key` tells the views, by value or by the length of an axis."""

    def run(width: int, height: int) -> tuple[int, int]:
        made = processor(images=[Image.new("RGB", (width, height))], return_tensors="pt")[key]
        views = int(made[0]) if axis is None else made.shape[axis]
        return views, views * patches

    return run


def _lfm2(width: int, height: int) -> tuple[int, int]:
    made = hf.Lfm2VlImageProcessor()(images=[Image.new("RGB", (width, height))], return_tensors="pt")
    return len(made["spatial_shapes"]), int(made["spatial_shapes"].prod(-1).sum())


def _minicpm4_6(width: int, height: int) -> tuple[int, int]:
    made = hf.MiniCPMV4_6ImageProcessor()(images=[Image.new("RGB", (width, height))], return_tensors="pt")
    return len(made["target_sizes"]), int(made["target_sizes"].prod(-1).sum())


def _step3(width: int, height: int) -> tuple[int, int]:
    windows = Step3VLImageProcessor()(Image.new("RGB", (width, height)))["num_patches"][0]
    return 1 + windows, 52**2 + windows * 36**2


QWEN25_SIZE = {"shortest_edge": 3136, "longest_edge": 12845056}
QWEN3_SIZE = {"shortest_edge": 65536, "longest_edge": 16777216}
GLM_SIZE = {"shortest_edge": 12544, "longest_edge": 9633792}
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
SQUARE = {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}
# model -> (views, patches)
ENCODED: dict[str, EncoderRun] = {
    "qwen2.5-vl-7b": _grid(hf.Qwen2VLImageProcessor(size=QWEN25_SIZE)),
    "qwen3-vl-8b": _grid(hf.Qwen2VLImageProcessor(size=QWEN3_SIZE, patch_size=16)),
    "glm-4.5v": _grid(hf.Glm4vImageProcessor(size=GLM_SIZE)),
    "hunyuan-ocr": _grid(hf.HunYuanVLImageProcessor()),
    "muse-glimmer-30b": _grid(hf.MuseGlimmerImageProcessor()),
    "gemma-4-31b": _gemma4,
    "idefics2-8b": _idefics2,
    "llava-next-vicuna-7b": _views(
        hf.LlavaNextImageProcessor(
            image_grid_pinpoints=PINPOINTS, size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
        ),
        "pixel_values",
        24**2,
        axis=1,
    ),
    "internvl2-8b": _views(
        InternVLImageProcessor(448, 1, 12, dynamic_image_size=True, use_thumbnail=True), "image_num_patches", 32**2
    ),
    "aya-vision-8b": _views(
        hf.GotOcr2ImageProcessor(size={"height": 364, "width": 364}, **SQUARE), "num_patches", 26**2
    ),
    "command-a-vision": _views(
        hf.Cohere2VisionImageProcessor(size={"height": 512, "width": 512}, **SQUARE), "num_patches", 32**2
    ),
    "llama-4-scout": _views(hf.Llama4ImageProcessor(), "pixel_values", 24**2, axis=0),
    "idefics3-8b": _views(hf.Idefics3ImageProcessor(), "pixel_values", 26**2, axis=1),
    "smolvlm-256m": _views(
        hf.SmolVLMImageProcessor(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}),
        "pixel_values",
        32**2,
        axis=1,
    ),
    "lfm2-vl-1.6b": _lfm2,
    "minicpm-v-4.6": _minicpm4_6,
    "step3-vl-10b": _step3,
}
