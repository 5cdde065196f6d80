"""Blank images put through the models' whole image processors, to see what the encoder would be given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import numpy as np
import transformers as hf
from PIL import Image
from vllm.transformers_utils.processors.deepseek_vl2 import DeepseekVLV2Processor
from vllm.transformers_utils.processors.internvl import InternVLImageProcessor
from vllm.transformers_utils.processors.kimi_k25_vision_fused import KimiK25FusedVisionProcessor
from vllm.transformers_utils.processors.minimax_m3 import MiniMaxM3VLImageProcessor
from vllm.transformers_utils.processors.muse_glimmer import MuseGlimmerImageProcessor
from vllm.transformers_utils.processors.ovis2_5 import Ovis2_5Processor
from vllm.transformers_utils.processors.step3_vl import Step3VLImageProcessor

from tests.engine.image_cases import DEEPSEEK, LLAVA_NEXT, ONEVISION
from tests.engine.native_oracles import phi4_reasoning_vision
from tests.engine.stand_ins import EncoderRun, stand_in

Sizes = Sequence[tuple[int, int]]


def white(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, (255, 255, 255))


def _together(processor: Any, sizes: Sizes, *, nested: bool = False) -> Any:
    """What a processor makes of a request's images; `nested` where it groups them by request."""
    images = [white(size) for size in sizes]
    return processor(images=[images] if nested else images, return_tensors="pt")


def grids(processor: Any) -> EncoderRun:
    """A processor that tells each image's grid of patches."""

    def run(sizes: Sizes) -> tuple[int, int]:
        return len(sizes), int(_together(processor, sizes)["image_grid_thw"].prod(-1).sum())

    return run


def views(processor: Any, key: str, patches: int) -> EncoderRun:
    """A processor that tells how many views of so many patches each image has."""

    def run(sizes: Sizes) -> tuple[int, int]:
        told = sum(int(number) for number in _together(processor, sizes)[key])
        return told, told * patches

    return run


def stacked(processor: Any, patches: int, *, key: str = "pixel_values", nested: bool = False) -> EncoderRun:
    """A processor whose views, of so many patches, lie one upon another; those that pad the stack are all zero."""

    def run(sizes: Sizes) -> tuple[int, int]:
        pixels = _together(processor, sizes, nested=nested)[key]
        told = int(pixels.flatten(-3).any(-1).sum())
        return told, told * patches

    return run


def shapes(processor: Any, key: str, *, nested: bool = False) -> EncoderRun:
    """A processor that tells each view's rows and columns of patches."""

    def run(sizes: Sizes) -> tuple[int, int]:
        told = _together(processor, sizes, nested=nested)[key]
        return len(told), int(told.prod(-1).sum())

    return run


def _idefics2(sizes: Sizes) -> tuple[int, int]:
    processor = hf.Idefics2ImageProcessor(
        do_image_splitting=True, size={"shortest_edge": 378, "longest_edge": 980}, do_pad=True
    )
    masks = _together(processor, sizes, nested=True)["pixel_attention_mask"][0]
    sides = [(int(mask[0].sum()), int(mask[:, 0].sum())) for mask in masks]
    return len(sides), sum((across // 14) * (down // 14) for across, down in sides)


def _gemma4(sizes: Sizes) -> tuple[int, int]:
    made = _together(hf.Gemma4ImageProcessor(), sizes)
    return len(sizes), sum(int(tokens) for tokens in made["num_soft_tokens_per_image"]) * 9


def _kimi_k25(sizes: Sizes) -> tuple[int, int]:
    processor = KimiK25FusedVisionProcessor(
        {
            "patch_size": 14,
            "merge_kernel_size": 2,
            "in_patch_limit": 16384,
            "patch_limit_on_one_side": 512,
            "fixed_output_tokens": None,
            "temporal_merge_kernel_size": 4,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        }
    )
    made = processor.preprocess([{"type": "image", "image": white(size)} for size in sizes], return_tensors="np")
    return len(sizes), int(np.asarray(made["grid_thws"]).prod(-1).sum())


def _muse(sizes: Sizes) -> tuple[int, int]:
    tokens = [MuseGlimmerImageProcessor().preprocess_image(white(size))[1] for size in sizes]
    return len(sizes), sum(tokens) * 4


def _ovis2_5(sizes: Sizes) -> tuple[int, int]:
    processor = stand_in(
        Ovis2_5Processor,
        {"patch_size": 16, "hidden_stride": 2, "temporal_patch_size": 1, "image_processor": hf.SiglipImageProcessor()},
        construct_visual_placeholders=[],
    )
    made = [processor.preprocess_multidata(images=white(size)) for size in sizes]
    return len(sizes), sum(len(patches) for patches, _, _ in made)


def _phi4_reasoning_vision(sizes: Sizes) -> tuple[int, int]:
    """The checkpoint's processor is transformers' own, told for each image how many patches it may have."""
    within = phi4_reasoning_vision(256, 3600)
    made = [
        hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=within(*size))(images=[white(size)])["spatial_shapes"]
        for size in sizes
    ]
    return len(sizes), sum(int(np.prod(shape[0])) for shape in made)


def _deepseek_vl2(sizes: Sizes) -> tuple[int, int]:
    transform = Mock(return_value=0, mean=(0.5, 0.5, 0.5))
    processor = stand_in(
        DeepseekVLV2Processor,
        {
            "candidate_resolutions": DEEPSEEK,
            "image_size": 384,
            "patch_size": 14,
            "downsample_ratio": 2,
            "image_token": "<image>",
            "image_token_id": 1,
            "image_transform": transform,
        },
        encode=[],
    )
    _, made, *_ = processor.tokenize_with_images(
        "<image>" * len(sizes), [white(size) for size in sizes], bos=False, eos=False, cropping=len(sizes) <= 2
    )
    return len(made), len(made) * 27**2


def _step3(sizes: Sizes) -> tuple[int, int]:
    windows = [Step3VLImageProcessor()(white(size))["num_patches"][0] for size in sizes]
    return sum(windows) + len(sizes), sum(52**2 + number * 36**2 for number in windows)


def _limits(least: int, most: int) -> dict[str, int]:
    return {"shortest_edge": least, "longest_edge": most}


SQUARE = {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}
_ANYRES = {"image_grid_pinpoints": LLAVA_NEXT, "size": {"shortest_edge": 336}}
ENCODED: dict[str, EncoderRun] = {
    "qwen2.5-vl-7b": grids(hf.Qwen2VLImageProcessor(size=_limits(3136, 12845056))),
    "qwen3-vl-8b": grids(hf.Qwen2VLImageProcessor(size=_limits(65536, 16777216), patch_size=16)),
    "glm-4.5v": grids(hf.Glm4vImageProcessor(size=_limits(12544, 9633792))),
    "hunyuan-ocr": grids(hf.HunYuanVLImageProcessor()),
    "ernie-4.5-vl of transformers": grids(hf.Ernie4_5_VLMoeImageProcessor(size=_limits(3136, 4842768))),
    "minimax-m3": grids(MiniMaxM3VLImageProcessor()),
    "muse-glimmer-30b": _muse,
    "kimi-k2.5": _kimi_k25,
    "ovis2.5-9b": _ovis2_5,
    "gemma-4-31b": _gemma4,
    "phi-4-reasoning-vision-15b": _phi4_reasoning_vision,
    "idefics2-8b": _idefics2,
    "llava-1.5-7b": stacked(hf.CLIPImageProcessor(crop_size=336, size={"shortest_edge": 336}), 24**2),
    "llava-next-vicuna-7b": stacked(
        hf.LlavaNextImageProcessor(**_ANYRES, crop_size={"height": 336, "width": 336}), 24**2
    ),
    "llava-onevision-7b": stacked(hf.LlavaOnevisionImageProcessor(image_grid_pinpoints=ONEVISION), 27**2),
    "internvl2-8b": views(
        InternVLImageProcessor(448, 1, 12, dynamic_image_size=True, use_thumbnail=True), "image_num_patches", 32**2
    ),
    "aya-vision-8b": views(
        hf.GotOcr2ImageProcessor(size={"height": 364, "width": 364}, **SQUARE), "num_patches", 26**2
    ),
    "command-a-vision": views(
        hf.Cohere2VisionImageProcessor(size={"height": 512, "width": 512}, **SQUARE), "num_patches", 32**2
    ),
    "llama-3.2-11b-vision": stacked(
        hf.MllamaImageProcessor(size={"height": 560, "width": 560}, max_image_tiles=4), 40**2, nested=True
    ),
    "llama-4-scout": stacked(hf.Llama4ImageProcessor(), 24**2),
    "phi-4-multimodal": stacked(hf.Phi4MultimodalImageProcessor(), 32**2, key="image_pixel_values"),
    "deepseek-vl2": _deepseek_vl2,
    "idefics3-8b": stacked(hf.Idefics3ImageProcessor(), 26**2, nested=True),
    "smolvlm-256m": stacked(
        hf.SmolVLMImageProcessor(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}),
        32**2,
        nested=True,
    ),
    "lfm2-vl-1.6b": shapes(hf.Lfm2VlImageProcessor(), "spatial_shapes", nested=True),
    "minicpm-v-4.6": shapes(hf.MiniCPMV4_6ImageProcessor(), "target_sizes"),
    "step3-vl-10b": _step3,
}
