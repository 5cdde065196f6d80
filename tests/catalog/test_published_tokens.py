"""Token rules of models that no public processor counts, against the figures that were published about them."""

from __future__ import annotations

import pytest

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.model import TokenRuleFact

UNCOUNTED = "published figures alone"
COUNTED = "tests/engine"

# model -> (size, fewest and most tokens, markers left out) and where they are published
FIGURES = {
    "phi-3-vision": ((1300, 876), (1921, 1921), "vllm-project/vllm tests/models/multimodal/processing/test_phi3v.py"),
    "phi-3.5-vision": ((1300, 876), (757, 757), "vllm-project/vllm tests/models/multimodal/processing/test_phi3v.py"),
    "qwen-vl": ((1920, 1080), (256, 256), "arXiv:2308.12966: 256 queries"),
    "qwen-vl-chat": ((640, 480), (256, 256), "arXiv:2308.12966: 256 queries"),
    "cambrian-1-8b": ((1024, 1024), (576, 576), "cambrian-mllm/cambrian README: # Vis Tok."),
    "cambrian-1-13b": ((1920, 1080), (576, 576), "cambrian-mllm/cambrian README: # Vis Tok."),
    "cambrian-1-34b": ((336, 336), (576, 576), "cambrian-mllm/cambrian README: # Vis Tok."),
    "moondream2": ((1280, 720), (729, 729), "vllm-project/vllm vllm/model_executor/models/moondream3.py: 730 with BOS"),
    # 128 tokens a view, no more than four views beside the whole image
    "xgen-mm-phi3-mini": ((4000, 3000), (2 * 128, 5 * 128), "arXiv:2408.08872"),
    "xgen-mm-phi3-mini-instruct-r-v1": ((100, 100), (2 * 128, 5 * 128), "arXiv:2408.08872"),
}


def facts() -> dict[str, TokenRuleFact]:
    return {model.id: model.image_tokens for model in load_catalog().models if model.image_tokens is not None}


@pytest.mark.parametrize("name", list(FIGURES))
def test_tokens_are_those_published(name: str) -> None:
    """The rule gives the published number of tokens, or one between the published bounds."""
    (width, height), (fewest, most), source = FIGURES[name]
    fact = resolve_model(load_catalog(), name).image_tokens
    assert fact is not None
    assert fewest <= image_tokens(fact.rule, width, height).image_tokens <= most, source


def test_every_rule_says_what_it_was_checked_by() -> None:
    """A rule is compared with a processor, or it says that it is not and has published figures here."""
    uncounted = {name for name, fact in facts().items() if UNCOUNTED in fact.checked_by}
    assert uncounted == set(FIGURES)
    assert {name for name, fact in facts().items() if COUNTED not in fact.checked_by} == uncounted
