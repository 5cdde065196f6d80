"""The models' own image processors, those that keep an image whole, as functions from a size to tokens.

Built from configuration values alone, without weights, tokenizers or a network. Where an engine's method needs an
object that holds a configuration, a bare stand-in with those values is given, so only the method's own code runs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import transformers as hf
from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder, SpecialImageIDs
from PIL import Image
from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches
from vllm.model_executor.models.clip import CLIPEncoderInfo
from vllm.model_executor.models.ernie45_vl import smart_resize as ernie_resize
from vllm.model_executor.models.gemma3n_mm import TOKENS_PER_IMAGE as GEMMA3N_TOKENS
from vllm.model_executor.models.gemma4_mm import Gemma4ProcessingInfo
from vllm.model_executor.models.keye import smart_resize as keye_resize
from vllm.model_executor.models.kimi_vl import KimiVLProcessingInfo
from vllm.model_executor.models.llava import LlavaProcessingInfo
from vllm.model_executor.models.moondream3 import Moondream3ProcessingInfo
from vllm.model_executor.models.paddleocr_vl import smart_resize as paddle_resize
from vllm.model_executor.models.phi4siglip import Phi4SiglipProcessingInfo
from vllm.model_executor.models.siglip import SiglipEncoderInfo
from vllm.transformers_utils.processors.kimi_k25_vision_fused import navit_resize_image
from vllm.transformers_utils.processors.minimax_m3 import smart_resize as minimax_resize
from vllm.transformers_utils.processors.muse_glimmer import _grid_size
from vllm.transformers_utils.processors.nano_nemotron_vl import (
    DynamicResolutionImageTiler,
)
from vllm.transformers_utils.processors.ovis2_5 import Ovis2_5Processor

from tests.engine.stand_ins import Oracle, stand_in

IDEFICS2_TOKENS = 64  # transformers' Idefics2Processor, image_seq_len


def patches_of(processor: Any, merge: int) -> Oracle:
    """A transformers image processor that counts encoder patches, `merge` of them per side to a token."""
    return lambda width, height: processor.get_number_of_image_patches(height, width, {}) // merge**2


def cells_of(resize: Callable[..., tuple[int, int]], cell: int, **limits: int) -> Oracle:
    """A resize function that answers (height, width) in whole cells."""

    def count(width: int, height: int) -> int:
        resized = resize(height=height, width=width, factor=cell, **limits)
        if not all(resized):
            raise ValueError("shrunk to nothing")
        return (resized[0] // cell) * (resized[1] // cell)

    return count


def qwen(cell: int, min_pixels: int, max_pixels: int) -> Oracle:
    size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
    return patches_of(hf.Qwen2VLImageProcessor(size=size, patch_size=cell // 2, merge_size=2), 2)


def glm4v(min_pixels: int, max_pixels: int) -> Oracle:
    return patches_of(hf.Glm4vImageProcessor(size={"shortest_edge": min_pixels, "longest_edge": max_pixels}), 2)


def hunyuan() -> Oracle:
    processor = hf.HunYuanVLImageProcessor()

    def count(width: int, height: int) -> int:
        rows, columns = (side // 2 for side in processor.get_number_of_image_patches(height, width, {}))
        return rows * (columns + 1)

    return count


def ernie_transformers(min_pixels: int, max_pixels: int) -> Oracle:
    return patches_of(
        hf.Ernie4_5_VLMoeImageProcessor(size={"shortest_edge": min_pixels, "longest_edge": max_pixels}), 2
    )


def ernie(min_pixels: int, max_pixels: int) -> Oracle:
    return cells_of(ernie_resize, 28, min_pixels=min_pixels, max_pixels=max_pixels)


def keye(min_pixels: int, max_pixels: int) -> Oracle:
    return cells_of(keye_resize, 28, min_pixels=min_pixels, max_pixels=max_pixels)


def paddleocr(min_pixels: int, max_pixels: int) -> Oracle:
    return cells_of(paddle_resize, 28, min_pixels=min_pixels, max_pixels=max_pixels)


def ovis2_5(min_pixels: int, max_pixels: int) -> Oracle:
    resize = stand_in(Ovis2_5Processor).smart_resize
    return cells_of(resize, 32, min_pixels=min_pixels, max_pixels=max_pixels)


def kimi_vl(max_patches: int) -> Oracle:
    image_processor = SimpleNamespace(patch_size=14, merge_kernel_size=(2, 2), in_token_limit=max_patches)
    info = stand_in(KimiVLProcessingInfo, get_hf_processor=SimpleNamespace(image_processor=image_processor))
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def kimi_k25(max_patches: int, max_side_patches: int) -> Oracle:
    return lambda width, height: navit_resize_image(width, height, 14, 2, max_patches, max_side_patches, None)[
        "num_tokens"
    ]


def kimi_k25_transformers() -> Oracle:
    return patches_of(hf.Kimi_K25ImageProcessor(), 2)


def nemotron_omni(min_patches: int, max_patches: int) -> Oracle:
    tiler = DynamicResolutionImageTiler(
        max_model_len=1,
        patch_size=16,
        min_num_patches=min_patches,
        max_num_patches=max_patches,
        downsample_ratio=0.5,  # type: ignore[arg-type]
        norm_mean=(0.0,) * 3,
        norm_std=(1.0,) * 3,
    )

    def count(width: int, height: int) -> int:
        try:
            image = stand_in(Image.Image, {"_size": (width, height)})
            return int(tiler.process_media(image, max_patches)[0].num_embeddings)
        except ZeroDivisionError as error:
            raise ValueError("shrunk to nothing") from error

    return count


def phi4_reasoning_vision(min_patches: int, max_patches: int) -> Oracle:
    config = SimpleNamespace(vision_config={"patch_size": 16}, min_num_patches=min_patches, max_num_patches=max_patches)
    info = stand_in(Phi4SiglipProcessingInfo, get_hf_config=config)

    def count(width: int, height: int) -> int:
        most = info.get_num_image_tokens(image_width=width, image_height=height)
        resized = get_image_size_for_max_num_patches(height, width, 16, most)
        return (resized[0] // 16) * (resized[1] // 16)

    return count


def muse(max_tokens: int) -> Oracle:
    return lambda width, height: _grid_size(width, height, 28, max_tokens)[2]


def muse_transformers() -> Oracle:
    return patches_of(hf.MuseGlimmerImageProcessor(), 2)


def minimax(min_pixels: int, max_pixels: int) -> Oracle:
    return cells_of(minimax_resize, 28, min_pixels=min_pixels, max_pixels=max_pixels)


def gemma4(budget: int) -> Oracle:
    vision = SimpleNamespace(patch_size=16, pooling_kernel_size=3, default_output_length=budget)
    info = stand_in(Gemma4ProcessingInfo, get_hf_config=SimpleNamespace(vision_config=vision))
    return lambda width, height: info._compute_num_soft_tokens(width, height)


def mistral(cell: int, max_side: int) -> Oracle:
    config = ImageConfig(image_patch_size=cell, max_image_size=max_side)
    encoder = ImageEncoder(config, SpecialImageIDs(img=0, img_break=1, img_end=2))

    def count(width: int, height: int) -> int:
        columns, rows = encoder._image_to_num_tokens(SimpleNamespace(size=(width, height)))  # type: ignore[arg-type]
        return rows * (columns + 1)

    return count


def fixed(tokens: int) -> Oracle:
    return lambda *_: tokens


def blip2() -> Oracle:
    return fixed(hf.Blip2Config().num_query_tokens)


def instructblip() -> Oracle:
    return fixed(hf.InstructBlipConfig().num_query_tokens)


def florence2() -> Oracle:
    with torch.device("meta"):  # only shapes are computed
        features = hf.Florence2Model(hf.Florence2Config()).get_image_features(torch.empty(1, 3, 768, 768))
    return fixed(features["pooler_output"].shape[1])


def gemma3() -> Oracle:
    return fixed(hf.Gemma3Config().mm_tokens_per_image)


def gemma3n() -> Oracle:
    return fixed(GEMMA3N_TOKENS)


def llava(side: int) -> Oracle:
    config = SimpleNamespace(
        vision_config=SimpleNamespace(image_size=side, patch_size=14), vision_feature_select_strategy="default"
    )
    info = stand_in(LlavaProcessingInfo, get_hf_config=config, get_vision_encoder_info=CLIPEncoderInfo(config))
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def paligemma(side: int) -> Oracle:
    config = SimpleNamespace(vision_config=SimpleNamespace(image_size=side, patch_size=14))
    encoder = SiglipEncoderInfo(config)  # type: ignore[arg-type]
    return lambda width, height: encoder.get_num_image_tokens(image_width=width, image_height=height)


def moondream() -> Oracle:
    # the placeholder begins with the BOS token
    return lambda width, height: (
        stand_in(Moondream3ProcessingInfo).get_num_image_tokens(image_width=width, image_height=height) - 1
    )


def idefics2() -> Oracle:
    def count(width: int, height: int) -> int:
        if min(width, height) < 2:
            raise ValueError("no quarters")
        return 5 * IDEFICS2_TOKENS

    return count
