"""The catalog's token rules against the models' own processors, over random and extreme sizes.

The oracles are built from configuration values written here, so a wrong figure in the catalog fails as a wrong formula
does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlmctl.errors import InvalidValue
from vlmctl.planning.image_tokens import image_tokens, video_tokens
from vlmctl.specs.model import TokenRuleFact
from vlmctl.specs.tokens import TokenRuleKind

for package in ("torch", "transformers", "vllm", "mistral_common"):
    pytest.importorskip(package, reason=f"{package} is not installed: make test-engine installs it")

from tests.engine import native_oracles as native  # noqa: E402
from tests.engine import tiled_oracles as tiled  # noqa: E402
from tests.engine.encoder_runs import ENCODED  # noqa: E402
from tests.engine.stand_ins import Oracle, VideoOracle  # noqa: E402

CATALOG = Path(__file__).parents[2] / "catalog" / "models"
EXAMPLES = 300
SLOW_EXAMPLES = 60  # where the oracle itself takes milliseconds
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


class Case(NamedTuple):
    """What decides, and how to read it.

    `counts`: the oracle counts the image's tokens, or its whole placeholder (`total`). `changes`: to the rule.
    `refuses_more`: the model's own processor fails on images that the engine's count does not see.
    """

    oracle: Callable[[], Oracle]
    counts: str = "image"
    examples: int = EXAMPLES
    refuses_more: bool = False
    images: int = 1
    changes: dict[str, Any] = {}  # noqa: RUF012 (read only)
    model: str | None = None  # where the case's name is not the model's id


CASES: dict[str, Case] = {
    "blip2-opt-2.7b": Case(native.blip2),
    "instructblip-vicuna-7b": Case(native.instructblip),
    "llava-1.5-7b": Case(lambda: native.llava(side=336)),
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
        changes={"small_sides": "round", "long_sides": "refuse", "keeps_one_cell": True},
    ),
    "paddleocr-vl": Case(lambda: native.paddleocr(147384, 2822400)),
    "keye-vl-1.5-8b": Case(lambda: native.keye(3136, 1003520)),
    "minimax-m3": Case(lambda: native.minimax(3136, 451584)),
    "ovis2.5-9b": Case(lambda: native.ovis2_5(200704, 3211264)),
    "kimi-vl-a3b": Case(lambda: native.kimi_vl(4096), refuses_more=True),
    "kimi-vl-a3b-thinking-2506": Case(lambda: native.kimi_vl(16384), refuses_more=True),
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
    "minicpm-v-4.6": Case(tiled.minicpm4_6),
    "deepseek-vl2": Case(lambda: tiled.deepseek_vl2(DEEPSEEK), refuses_more=True),
    "deepseek-vl2 with three images": Case(
        lambda: tiled.deepseek_vl2(DEEPSEEK, cropping=False), refuses_more=True, images=3, model="deepseek-vl2"
    ),
    "deepseek-ocr": Case(tiled.deepseek_ocr, refuses_more=True),
    "deepseek-ocr-2": Case(tiled.deepseek_ocr2, refuses_more=True),
    "ovis2-8b": Case(lambda: tiled.ovis2(9), "total", SLOW_EXAMPLES),
    "lfm2-vl-1.6b": Case(tiled.lfm2, "total"),
    "step3-vl-10b": Case(tiled.step3, "total"),
}
VIDEOS: dict[str, Callable[[], VideoOracle]] = {
    "qwen2.5-vl-7b": lambda: native.qwen2_video(3136, 12845056),
    "qwen3-vl-8b": lambda: native.qwen3_video(4096, 25165824),
    "glm-4.5v": lambda: native.glm4v_video(12544, 47040000),
    "llava-onevision-7b": lambda: tiled.llava_onevision_video(ONEVISION),
    "gemma-4-31b": lambda: lambda frames, width, height: frames * native.gemma4(70)(width, height),
}

any_side = st.integers(1, 65535)
usual_side = st.integers(1, 3000)
near_multiple = st.builds(
    lambda unit, times, off: max(1, unit * times + off),
    st.sampled_from([14, 16, 28, 32, 48, 112, 224, 336, 364, 384, 448, 504, 512, 560, 640, 768]),
    st.integers(1, 16),
    st.integers(-1, 1),
)
long_shapes = st.builds(
    lambda short, aspect, wide: (short * aspect, short) if wide else (short, short * aspect),
    st.integers(1, 300),
    st.sampled_from([9, 26, 27, 100, 199, 200, 201]),
    st.booleans(),
)
sizes = st.one_of(
    st.tuples(usual_side, usual_side),
    st.tuples(near_multiple, near_multiple),
    st.tuples(any_side, any_side),
    st.tuples(st.integers(1, 64), any_side),
    st.tuples(any_side, st.integers(1, 64)),
    long_shapes,
    usual_side.map(lambda side: (side, side)),
)


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    """Processors that tell of each odd size drown the test's own words."""
    logging.getLogger("vllm").setLevel(logging.ERROR)


@cache
def catalog() -> dict[str, TokenRuleFact]:
    found = {}
    for file in sorted(CATALOG.glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text())["models"]:
            if "image_tokens" in entry:
                found[entry["id"]] = msgspec.convert(entry["image_tokens"], TokenRuleFact)
    return found


@cache
def rule_of(name: str) -> TokenRuleKind:
    case = CASES[name]
    rule = msgspec.to_builtins(catalog()[case.model or name].rule)
    return msgspec.convert({**rule, **case.changes}, TokenRuleKind)


@cache
def oracle_of(name: str) -> Oracle:
    return CASES[name].oracle()


@pytest.mark.parametrize("name", list(CASES))
def test_tokens_are_those_of_the_models_own_processor(name: str) -> None:
    """Image tokens, and refusals, equal the processor's for every size."""
    case = CASES[name]

    @settings(max_examples=case.examples, deadline=None, derandomize=True, database=None)
    @example(size=(1, 1))
    @example(size=(199, 1))
    @example(size=(1, 199))
    @example(size=(1280, 720))
    @example(size=(65535, 65535))
    @given(size=sizes)
    def agrees(size: tuple[int, int]) -> None:
        width, height = size
        ours: int | None
        try:
            counted = image_tokens(rule_of(name), width, height, images=case.images)
        except InvalidValue:
            ours = None
        else:
            ours = counted.total_tokens if case.counts == "total" else counted.image_tokens
        try:
            theirs: int | None = oracle_of(name)(width, height)
        except ValueError:
            theirs = None
        assert ours == theirs or (case.refuses_more and ours is None)

    agrees()


@pytest.mark.parametrize("name", list(VIDEOS))
def test_video_tokens_are_those_of_the_models_own_processor(name: str) -> None:
    """Tokens of a video equal the processor's for any number of frames."""
    oracle, rule = VIDEOS[name](), catalog()[name].rule

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(frames=st.integers(2, 768), size=sizes)
    def agrees(frames: int, size: tuple[int, int]) -> None:
        try:
            ours: int | None = video_tokens(
                rule, frames=frames, width_pixels=size[0], height_pixels=size[1]
            ).image_tokens
        except InvalidValue:
            ours = None
        try:
            theirs: int | None = oracle(frames, *size)
        except ValueError:
            theirs = None
        assert ours == theirs

    agrees()


@pytest.mark.parametrize("name", list(ENCODED))
@pytest.mark.parametrize("size", [(2, 2), (37, 640), (448, 448), (801, 600), (500, 1250), (1280, 720)])
def test_the_encoder_sees_as_many_patches_as_told(name: str, size: tuple[int, int]) -> None:
    """A blank image, put through the processor, comes out as the rule's views and patches."""
    counted = image_tokens(catalog()[name].rule, *size)
    assert ENCODED[name](*size) == (counted.views, counted.patches)


def test_every_rule_that_the_catalog_calls_checked_here_is() -> None:
    """A catalog entry may name this test only if its rule is one of those compared."""
    compared = [msgspec.structs.replace(rule_of(name), video=None) for name in CASES]
    unchecked = [
        model
        for model, fact in catalog().items()
        if "tests/engine" in fact.checked_by and msgspec.structs.replace(fact.rule, video=None) not in compared
    ]
    assert unchecked == []
