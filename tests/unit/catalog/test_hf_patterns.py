"""Patterns of module names: what Python's regular expressions find, and nobody waits for those that take for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.catalog.described import described_model
from vlmctl.catalog.hf_patterns import MOST_PATTERN_CHARACTERS, MOST_SECONDS, Patterns
from vlmctl.errors import BeyondAnyModel, UnsupportedModel

NAMES = ("ab.c", "abc.1", "x_y", "a", "model.layers.0.mlp.gate_proj")
ENDLESS = r"(.|.)*[^\w.]"
SIZES = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64, "vocab_size": 9}
LLAMA = {"model_type": "llama", "max_position_embeddings": 64, **SIZES}

_ONE = st.sampled_from(["a", "b", "c", "m", "x", ".", r"\.", "[.]", "1", r"\d", r"\w", "_", "[a-c]", "[^.]"])
_REPEATED = st.builds(str.__add__, _ONE, st.sampled_from(["", "", "*", "+", "?", "*?", "{1,2}"]))


def _joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequence = st.lists(parts, max_size=4).map("".join)
    choices = st.lists(sequence, min_size=1, max_size=3).map("|".join)
    return st.builds("{}{}){}".format, st.sampled_from(["(", "(?:", "(?!", "(?="]), choices, st.just("")) | parts


EXPRESSIONS = st.lists(st.recursive(_REPEATED, _joined, max_leaves=6), max_size=6).map("".join)


@given(expression=EXPRESSIONS, begins_anywhere=st.booleans(), name=st.sampled_from(NAMES))
def test_expressions_are_pythons(*, expression: str, begins_anywhere: bool, name: str) -> None:
    """An expression fits what `re.fullmatch` says."""
    whole = f".*{expression}" if begins_anywhere else expression
    assert Patterns().fits(whole, name) == (re.fullmatch(whole, name) is not None)


@pytest.mark.parametrize("expression", ["(", "a)", "[z", "a**", "(?P<a"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    """With what was read, and what is wrong with it."""
    with pytest.raises(UnsupportedModel, match="no expression") as caught:
        Patterns().fits(expression, NAMES[0])
    assert repr(expression) in str(caught.value)


@pytest.mark.parametrize("expression", [ENDLESS, "a" * (MOST_PATTERN_CHARACTERS + 1)])
def test_what_takes_for_ever_is_refused(expression: str) -> None:
    """The patterns of a file share their time."""
    patterns, began = Patterns(), time.thread_time()
    for _ in range(10):
        with pytest.raises(BeyondAnyModel, match="takes too long"):
            patterns.fits(expression, NAMES[-1] * 4)
    assert time.thread_time() - began < 10 * MOST_SECONDS


def test_a_model_with_such_a_pattern_is_refused() -> None:
    """And not taken for one without it."""
    config = {**LLAMA, "quantization_config": {"quant_method": "fp8", "ignore": [f"re:{ENDLESS}"]}}
    with pytest.raises(BeyondAnyModel):
        described_model("maker/model", config)
