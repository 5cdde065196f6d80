"""Which processor decides on each of the catalog's token rules, and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.engine import native_oracles as native
from tests.engine import tiled_oracles as tiled
from tests.engine.stand_ins import Oracle, RequestOracle

LLAVA_NEXT = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
GRANITE = [  # every grid of up to ten tiles that is no longer than ten, in the order of the configuration
    [384 * rows, 384 * columns]
    for rows, most in ((1, 10), (2, 5), (3, 3), (4, 2), (5, 2), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1))
    for columns in range(1, most + 1)
]
DEEPSEEK = [
    (384 * columns, 384 * rows)
    for columns, rows in (
        *((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2), (1, 5), (5, 1), (1, 6), (6, 1)),
        *((2, 3), (3, 2), (1, 7), (7, 1), (1, 8), (8, 1), (2, 4), (4, 2), (1, 9), (9, 1), (3, 3)),
    )
]


# transformers' own resizing of ERNIE's images and frames, where vLLM follows the model's repository
ERNIE_OF_TRANSFORMERS = {"small_sides": "round", "long_sides": "refuse", "keeps_one_cell": True}


class Case(NamedTuple):
    """What decides, and how to read it.

    `counts`: the oracle counts the image's tokens, or its whole placeholder (`total`). `by_request`: it is told how
    many images the request holds. `changes`: to the rule. `refuses_more`: the model's own processor fails on images
    that the engine's count does not see.
    """

    oracle: Callable[[], Oracle | RequestOracle]
    counts: str = "image"
    by_request: bool = False
    refuses_more: bool = False
    changes: dict[str, Any] = {}  # noqa: RUF012 (read only)
    model: str | None = None  # where the case's name is not the model's id


CASES: dict[str, Case] = {
    "blip2-opt-2.7b": Case(native.blip2),
    "instructblip-vicuna-7b": Case(native.instructblip),
    "llava-7b": Case(lambda: native.llava(side=224)),
    "llava-1.5-7b": Case(lambda: native.llava(side=336)),
    "florence-2-large": Case(native.florence2),
    "gemma-3-4b": Case(native.gemma3),
    "gemma-3n-e4b": Case(native.gemma3n),
    "paligemma2-3b": Case(lambda: native.paligemma(side=448)),
    "moondream3-preview": Case(native.moondream),
    "qwen2-vl-7b": Case(lambda: native.qwen(28, 3136, 12845056)),
    "qwen2.5-vl-7b": Case(lambda: native.qwen(28, 3136, 12845056)),
    "qwen2.5-vl capped": Case(
        lambda: native.qwen(28, 3136, 1003520), model="qwen2.5-vl-7b", changes={"max_pixels": 1003520}
    ),
    "qwen3-vl-8b": Case(lambda: native.qwen(32, 65536, 16777216)),
    "qwen3.5-9b": Case(lambda: native.qwen(32, 65536, 16777216)),
    "qwen3-omni-30b-a3b": Case(lambda: native.qwen(32, 3136, 12845056)),
    "olmocr-2-7b": Case(lambda: native.qwen(28, 3136, 12845056)),
    "dots-ocr": Case(lambda: native.qwen(28, 3136, 11289600)),
    "glm-4.5v": Case(lambda: native.glm4v(12544, 9633792)),
    "glm-ocr": Case(lambda: native.glm4v(12544, 9633792)),
    "hunyuan-ocr": Case(native.hunyuan),
    "ernie-4.5-vl-28b-a3b": Case(lambda: native.ernie(3136, 4842768)),
    "ernie-4.5-vl of transformers": Case(
        lambda: native.ernie_transformers(3136, 4842768),
        model="ernie-4.5-vl-28b-a3b",
        changes=ERNIE_OF_TRANSFORMERS,
    ),
    "paddleocr-vl": Case(lambda: native.paddleocr(147384, 2822400)),
    "keye-vl-1.5-8b": Case(lambda: native.keye(3136, 1003520)),
    "minimax-m3": Case(lambda: native.minimax(3136, 451584)),
    "ovis2.5-9b": Case(lambda: native.ovis2_5(200704, 3211264)),
    "kimi-vl-a3b": Case(lambda: native.kimi_vl(4096), refuses_more=True),
    "kimi-vl-a3b-thinking-2506": Case(lambda: native.kimi_vl(16384), refuses_more=True),
    "phi-4-reasoning-vision-15b": Case(lambda: native.phi4_reasoning_vision(256, 3600)),
    "kimi-k2.5": Case(lambda: native.kimi_k25(16384, 512)),
    "kimi-k2.5 of transformers": Case(native.kimi_k25_transformers, model="kimi-k2.5"),
    "nemotron-3-nano-omni": Case(lambda: native.nemotron_omni(1024, 13312)),
    "muse-glimmer-30b": Case(lambda: native.muse(4096)),
    "gemma-4-31b": Case(lambda: native.gemma4(280)),
    "gemma-4 at 1120": Case(lambda: native.gemma4(1120), model="gemma-4-31b", changes={"budget_tokens": 1120}),
    "pixtral-12b": Case(lambda: native.mistral(16, 1024), "total"),
    "mistral-small-3.1": Case(lambda: native.mistral(28, 1540), "total"),
    "llava-next-vicuna-7b": Case(lambda: tiled.llava_next(LLAVA_NEXT, clip=True)),
    "granite-vision-3.3-2b": Case(lambda: tiled.llava_next(GRANITE, clip=False)),
    "llava-onevision-7b": Case(lambda: tiled.llava_onevision(ONEVISION)),
    "internvl2-8b": Case(lambda: tiled.internvl(448, 256, 12)),
    "internvl3.5-8b": Case(lambda: tiled.internvl(448, 256, 12)),
    "internvl at 40 tiles": Case(lambda: tiled.internvl(448, 256, 40), model="internvl2-8b", changes={"max_tiles": 40}),
    "nvlm-d-72b": Case(lambda: tiled.internvl(448, 256, 6)),
    "nemotron-nano-12b-v2-vl": Case(lambda: tiled.nano_nemotron(12)),
    "nemotron-nano-vl-8b": Case(lambda: tiled.llama_nemotron(512, 256, 12)),
    "aya-vision-8b": Case(lambda: tiled.aya(364, 169, 12), "total"),
    "command-a-vision": Case(lambda: tiled.command_a(512, 256, 12), "total"),
    "llama-4-scout": Case(lambda: tiled.llama4_scout(336, 144, 16), "total"),
    "llama-3.2-11b-vision": Case(lambda: tiled.mllama(560, 1601, 4)),
    "phi-4-multimodal": Case(lambda: tiled.phi4mm(36)),
    "idefics2-8b": Case(native.idefics2),
    "idefics3-8b": Case(lambda: tiled.idefics3(364, 1456, 169), "total"),
    "smolvlm-256m": Case(lambda: tiled.idefics3(512, 2048, 64), "total"),
    "smolvlm2-2.2b": Case(lambda: tiled.idefics3(384, 1536, 81), "total"),
    "granite-docling-258m": Case(lambda: tiled.idefics3(512, 2048, 64), "total"),
    "molmo-7b-d": Case(lambda: tiled.molmo(12), "total"),
    "molmo2-8b": Case(lambda: tiled.molmo2(8), "total"),
    "minicpm-v-2.6": Case(lambda: tiled.minicpm(64)),
    "minicpm-v-4.6": Case(tiled.minicpm4_6, "total"),
    "deepseek-vl2": Case(lambda: tiled.deepseek_vl2(DEEPSEEK), by_request=True),
    "deepseek-ocr": Case(tiled.deepseek_ocr),
    "deepseek-ocr-2": Case(tiled.deepseek_ocr2),
    "ovis2-8b": Case(lambda: tiled.ovis2(9), "total"),
    "lfm2-vl-1.6b": Case(tiled.lfm2, "total"),
    "step3-vl-10b": Case(tiled.step3, "total"),
}
