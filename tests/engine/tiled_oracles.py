"""The models' own image processors, those that cut an image into views, as functions from a size to tokens.

Built as those of `native_oracles` are.
"""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers as hf
from transformers.image_utils import SizeDict
from transformers.models.llama4 import image_processing_llama4 as llama4
from transformers.models.llama4.processing_llama4 import Llama4Processor
from transformers.models.mllama.image_processing_mllama import get_optimal_tiled_canvas
from vllm.model_executor.models.clip import CLIPEncoderInfo
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRProcessingInfo
from vllm.model_executor.models.deepseek_ocr2 import DeepseekOCR2ProcessingInfo
from vllm.model_executor.models.deepseek_vl2 import DeepseekVL2ProcessingInfo
from vllm.model_executor.models.lfm2_vl import Lfm2VLProcessingInfo
from vllm.model_executor.models.llava_next import LlavaNextProcessingInfo
from vllm.model_executor.models.llava_onevision import LlavaOnevisionProcessingInfo
from vllm.model_executor.models.minicpmv4_6 import MiniCPMV4_6ProcessingInfo
from vllm.model_executor.models.molmo import MolmoProcessingInfo
from vllm.model_executor.models.molmo2 import Molmo2ProcessingInfo
from vllm.model_executor.models.phi4mm import Phi4MMProcessingInfo
from vllm.model_executor.models.siglip import SiglipEncoderInfo
from vllm.multimodal.parse import ImageSize
from vllm.transformers_utils.processors.deepseek_vl2 import DeepseekVLV2Processor
from vllm.transformers_utils.processors.internvl import InternVLImageProcessor, InternVLProcessor
from vllm.transformers_utils.processors.nano_nemotron_vl import (
    BaseNanoNemotronVLProcessor,
)
from vllm.transformers_utils.processors.nemotron_vl import LlamaNemotronNanoVLProcessor
from vllm.transformers_utils.processors.ovis import OvisProcessor
from vllm.transformers_utils.processors.step3_vl import Step3VLImageProcessor

from tests.engine.stand_ins import Oracle, RequestOracle, stand_in


def llava_next(pinpoints: list[list[int]], *, clip: bool) -> Oracle:
    side = 336 if clip else 384
    config = SimpleNamespace(
        vision_config=SimpleNamespace(image_size=side, patch_size=14),
        vision_feature_select_strategy="default" if clip else "full",
        image_grid_pinpoints=pinpoints,
    )
    encoder = (CLIPEncoderInfo if clip else SiglipEncoderInfo)(config)
    info = stand_in(LlavaNextProcessingInfo, get_hf_config=config, get_vision_encoder_info=encoder)
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def onevision_info(pinpoints: list[list[int]]) -> Any:
    config = SimpleNamespace(
        vision_config=SimpleNamespace(image_size=384, patch_size=14),
        vision_feature_select_strategy="full",
        image_grid_pinpoints=pinpoints,
        spatial_pool_stride=2,
    )
    return stand_in(
        LlavaOnevisionProcessingInfo, get_hf_config=config, get_vision_encoder_info=SiglipEncoderInfo(config)
    )


def llava_onevision(pinpoints: list[list[int]]) -> Oracle:
    info = onevision_info(pinpoints)
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def internvl(tile: int, tokens: int, max_tiles: int, *, processor: type = InternVLProcessor) -> Oracle:
    image_processor = InternVLImageProcessor(tile, 1, max_tiles, dynamic_image_size=True, use_thumbnail=True)
    made = stand_in(processor, {"image_processor": image_processor, "image_seq_length": tokens})
    return lambda width, height: made.get_num_image_tokens(image_width=width, image_height=height)


def llama_nemotron(tile: int, tokens: int, max_tiles: int) -> Oracle:
    return internvl(tile, tokens, max_tiles, processor=LlamaNemotronNanoVLProcessor)


def nano_nemotron(max_tiles: int) -> Oracle:
    made = stand_in(BaseNanoNemotronVLProcessor, {"image_size": 512, "use_thumbnail": True, "num_image_token": 256})
    return lambda width, height: made.get_num_image_tokens(
        image_width=width, image_height=height, max_num_tiles=max_tiles
    )


def aya(tile: int, tokens: int, max_tiles: int) -> Oracle:
    processor = hf.GotOcr2ImageProcessor(
        size={"height": tile, "width": tile}, crop_to_patches=True, min_patches=1, max_patches=max_tiles
    )
    # AyaVisionProcessor._get_num_multimodal_tokens: start, global and end tokens, and one per tile
    return lambda width, height: (
        tokens + 3 + (tokens + 1) * (processor.get_number_of_image_patches(height, width, {}) - 1)
    )


def command_a(tile: int, tokens: int, max_tiles: int) -> Oracle:
    processor = hf.Cohere2VisionImageProcessor(
        size={"height": tile, "width": tile}, crop_to_patches=True, min_patches=1, max_patches=max_tiles
    )
    # Cohere2VisionMultiModalProcessor._get_prompt_updates: start and end, a line break after each view
    return lambda width, height: 2 + (tokens + 1) * processor.get_number_of_image_patches(height, width, {})


def llama4_scout(tile: int, tokens: int, max_tiles: int) -> Oracle:
    canvases = torch.tensor(llama4.find_supported_resolutions(max_tiles, SizeDict(height=tile, width=tile)))
    prompt = stand_in(Llama4Processor)._prompt_split_image

    def count(width: int, height: int) -> int:
        canvas = llama4.get_best_fit((height, width), canvases)
        text = prompt((canvas // tile).tolist(), tokens)
        return int(text.count("<|"))

    return count


def mllama(tile: int, tokens: int, max_tiles: int) -> Oracle:
    def count(width: int, height: int) -> int:
        canvas_height, canvas_width = get_optimal_tiled_canvas(height, width, max_tiles, tile)
        return int(tokens * (canvas_height // tile) * (canvas_width // tile))

    return count


def phi4mm(max_tiles: int) -> Oracle:
    image_processor = hf.Phi4MultimodalImageProcessor()
    info = stand_in(Phi4MMProcessingInfo, get_hf_processor=SimpleNamespace(image_processor=image_processor))

    def count(width: int, height: int) -> int:
        # on a device without storage: only shapes are computed, and an image that is too long raises ValueError
        image_processor.dynamic_preprocess(torch.empty(3, height, width, device="meta"), 448, 14, 32, max_tiles)
        return int(
            info._compute_num_image_tokens(
                width, height, dynamic_hd_size=max_tiles, vit_image_size=448, vit_patch_size=14
            )
        )

    return count


def idefics3(tile: int, longest: int, tokens: int) -> Oracle:
    processor = hf.Idefics3ImageProcessor(size={"longest_edge": longest}, max_image_size={"longest_edge": tile})

    def count(width: int, height: int) -> int:
        tiles, rows, _ = processor.get_number_of_image_patches(height, width, {})
        # Idefics3ProcessingInfo.get_image_repl: two tags a tile, a line break a row and one more, three at the whole
        return tokens * max(tiles, 1) + 3 + (2 * (tiles - 1) + rows + 1 if tiles else 0)

    return count


def molmo(max_crops: int) -> Oracle:
    image_processor = SimpleNamespace(
        max_crops=max_crops,
        overlap_margins=(4, 4),
        base_image_input_size=(336, 336),
        image_patch_size=14,
        image_token_length_w=12,
        image_token_length_h=12,
    )
    info = stand_in(MolmoProcessingInfo)

    def count(width: int, height: int) -> int:
        with np.errstate(divide="ignore"):
            return int(
                info.get_num_image_tokens(image_width=width, image_height=height, image_processor=image_processor)
            )

    return count


def molmo2(max_crops: int) -> Oracle:
    image_processor = SimpleNamespace(
        max_crops=max_crops,
        overlap_margins=(4, 4),
        size={"height": 378, "width": 378},
        patch_size=14,
        pooling_size=(2, 2),
    )
    processor = SimpleNamespace(
        image_processor=image_processor, image_use_col_tokens=True, use_single_crop_col_tokens=False
    )
    info = stand_in(Molmo2ProcessingInfo)

    def count(width: int, height: int) -> int:
        with np.errstate(divide="ignore"):
            return int(info.get_num_image_tokens(image_width=width, image_height=height, processor=processor))

    return count


def minicpm(tokens_per_view: int, *, max_slices: int = 9) -> Oracle:
    processor = hf.MiniCPMV4_6ImageProcessor()

    def count(width: int, height: int) -> int:
        grid = processor.get_sliced_grid((height, width), max_slices, 448)
        return tokens_per_view * (1 + (math.prod(grid) if grid else 0))

    return count


def minicpm4_6_info() -> Any:
    return stand_in(
        MiniCPMV4_6ProcessingInfo,
        get_image_processor=hf.MiniCPMV4_6ImageProcessor(),
        get_hf_processor=SimpleNamespace(video_processor=hf.MiniCPMV4_6VideoProcessor()),
        get_tokenizer=SimpleNamespace(),
    )


def tags_in(placeholder: str) -> int:
    """Tokens of a placeholder written out: tags, line breaks and the digits of a number."""
    return len(re.findall(r"<[^>]*>|\n|\d", placeholder))


def minicpm4_6() -> Oracle:
    info = minicpm4_6_info()
    return lambda width, height: tags_in(info.get_slice_image_placeholder(ImageSize(width=width, height=height)))


def deepseek_vl2(candidates: list[tuple[int, int]]) -> RequestOracle:
    processor = stand_in(
        DeepseekVLV2Processor,
        {"candidate_resolutions": candidates, "image_size": 384, "patch_size": 14, "downsample_ratio": 2},
    )
    info = stand_in(DeepseekVL2ProcessingInfo, get_hf_processor=processor)
    # DeepseekVL2MultiModalProcessor: with more than two images in a request none is cropped
    return lambda width, height, images: info.get_num_image_tokens(
        image_width=width, image_height=height, cropping=images <= 2
    )


def deepseek_ocr() -> Oracle:
    info = stand_in(DeepseekOCRProcessingInfo)
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def deepseek_ocr2() -> Oracle:
    info = stand_in(DeepseekOCR2ProcessingInfo)
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def lfm2() -> Oracle:
    processor = hf.Lfm2VlImageProcessor()
    context = SimpleNamespace(get_merged_mm_kwargs=dict)
    info = stand_in(Lfm2VLProcessingInfo, {"ctx": context})
    holder = SimpleNamespace(image_processor=processor)

    def count(width: int, height: int) -> int:
        resized_width, resized_height = processor.smart_resize(height, width, 2, 64, 256, 16)
        columns, rows, _ = info._get_image_feature_grid_size(width, height, holder, {})
        shapes = torch.tensor([[resized_height // 16, resized_width // 16]])
        view, tile = info.get_num_image_tokens(spatial_shapes=shapes, processor=holder, mm_kwargs={})
        # Lfm2VLProcessingInfo.get_image_repl: start and end, a tag per tile, one for the thumbnail
        return view + 2 + (columns * rows * (tile + 1) + 1 if columns * rows > 1 else 0)

    return count


def step3() -> Oracle:
    return Step3VLImageProcessor().get_num_image_tokens


class _Sheet:
    """What Ovis' processor needs of an image: its size, and parts of it."""

    mode = "RGB"

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)

    def crop(self, box: tuple[int, int, int, int]) -> _Sheet:
        return _Sheet(box[2] - box[0], box[3] - box[1])


def ovis2(max_tiles: int) -> Oracle:
    def preprocess(image: _Sheet, *, size: dict[str, int], return_tensors: str) -> dict[str, torch.Tensor]:
        if not all(image.size) or not all(size.values()):
            raise ValueError("shrunk to nothing")
        return {"pixel_values": torch.empty(1, 3, size["height"], size["width"], device="meta")}

    image_processor = SimpleNamespace(size={"height": 448, "width": 448}, preprocess=preprocess)
    made = stand_in(OvisProcessor, {"image_processor": image_processor}, construct_image_placeholders=[])

    def count(width: int, height: int) -> int:
        _, _, grid = made.preprocess_image(_Sheet(width, height), max_tiles, 0.9, False, "pt")
        rows, columns = grid.tolist()
        # OvisProcessor.construct_image_indicators: start, prefix and end; separators between tiles
        views, gaps = (rows * columns + 1, rows * columns - 1) if rows * columns > 1 else (1, 0)
        return 256 * views + 3 + gaps

    return count
