"""The catalog's token rules against the models' own processors, over random and extreme sizes.

The oracles are built from configuration values written here, so a wrong figure in the catalog fails as a wrong formula
does. `VLMCTL_ORACLE_CASES` sets how many cases all families share; each run ends with the count per family.
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
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine import tally
from tests.engine.sizes import Size, frame_sizes, frames_for, sizes_for, small_sizes
from tests.engine.stand_ins import EncoderRun
from vlmctl.errors import InvalidValue
from vlmctl.planning.image_tokens import image_tokens, video_tokens
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.model import TokenRuleFact
from vlmctl.specs.tokens import TokenRuleKind

for package in ("torch", "transformers", "vllm", "mistral_common"):
    pytest.importorskip(package, reason=f"{package} is not installed: make test-engine installs it")

from tests.engine.encoder_runs import ENCODED  # noqa: E402
from tests.engine.image_cases import CASES  # noqa: E402
from tests.engine.video_oracles import video_cases  # noqa: E402
from tests.engine.video_runs import ENCODED_VIDEOS  # noqa: E402

CATALOG = Path(__file__).parents[2] / "catalog" / "models"
VIDEOS = video_cases()
COUNTED = tally.cases(tally.per_case(len(CASES) + len(VIDEOS)))
ON_PIXELS = tally.cases(tally.per_pixel_run(len(ENCODED) + len(ENCODED_VIDEOS)))


class Entry(NamedTuple):
    """A model's token rule and the family that it is counted under."""

    fact: TokenRuleFact
    family: str


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    """Processors that tell of each odd size drown the test's own words."""
    logging.getLogger("vllm").setLevel(logging.ERROR)


@cache
def catalog() -> dict[str, Entry]:
    found = {}
    for file in sorted(CATALOG.glob("*.yaml")):
        read = yaml.safe_load(file.read_text())
        for model in read["models"]:
            if "image_tokens" in model:
                found[model["id"]] = Entry(msgspec.convert(model["image_tokens"], TokenRuleFact), read["family"])
    return found


def changed(fact: TokenRuleFact, changes: dict[str, Any], video: dict[str, Any]) -> TokenRuleKind:
    """The rule with some of its parameters, and of its frames', replaced."""
    read = msgspec.to_builtins(fact)
    read["rule"] |= changes
    if video:
        read["rule"]["video"] |= video
    return msgspec.convert(read, TokenRuleFact).rule


@cache
def rule_of(name: str) -> TokenRuleKind:
    """The catalog's rule, changed as the cases of that name say."""
    video = VIDEOS[name].changes if name in VIDEOS else {}
    return changed(entry_of(name).fact, CASES[name].changes, video)


def entry_of(name: str) -> Entry:
    return catalog()[CASES[name].model or name]


@cache
def oracle_of(name: str) -> Callable[..., int]:
    return CASES[name].oracle()


def read(count: Callable[[], ImageTokens], counts: str) -> int | None:
    """Our tokens of one kind, None where we refuse."""
    try:
        counted = count()
    except InvalidValue:
        return None
    return counted.total_tokens if counts == "total" else counted.image_tokens


def theirs(count: Callable[[], int]) -> int | None:
    """The oracle's tokens, None where it refuses."""
    try:
        return count()
    except ValueError:
        return None


@pytest.mark.parametrize("name", list(CASES))
def test_tokens_are_those_of_the_models_own_processor(name: str) -> None:
    """Image tokens, and refusals, equal the processor's for every size and number of images in the request."""
    case, rule, family = CASES[name], rule_of(name), entry_of(name).family

    @COUNTED
    @example(size=(1, 1), images=1)
    @example(size=(200, 1), images=1)
    @example(size=(1, 200), images=1)
    @example(size=(201, 1), images=1)
    @example(size=(1280, 720), images=1)
    @example(size=(1280, 720), images=3)
    @example(size=(65535, 65535), images=1)
    @given(size=sizes_for(rule), images=st.integers(1, 8))
    def agrees(size: Size, images: int) -> None:
        told = (*size, images) if case.by_request else size
        ours = read(lambda: image_tokens(rule, *size, images=images), case.counts)
        tally.counted[family] += 1
        assert ours == theirs(lambda: oracle_of(name)(*told)) or (case.refuses_more and ours is None)

    agrees()


@pytest.mark.parametrize("name", list(VIDEOS))
def test_video_tokens_are_those_of_the_models_own_processor(name: str) -> None:
    """Tokens of a video equal the processor's for any number of frames of any size."""
    case, rule, family = VIDEOS[name], rule_of(name), entry_of(name).family

    @COUNTED
    @example(frames=3, size=(1280, 720))
    @given(frames=frames_for(rule.video), size=sizes_for(rule))
    def agrees(frames: int, size: Size) -> None:
        ours = read(lambda: video_tokens(rule, frames=frames, width_pixels=size[0], height_pixels=size[1]), case.counts)
        tally.counted[family] += 1
        assert ours == theirs(lambda: case.oracle(frames, *size))

    agrees()


@pytest.mark.parametrize("name", list(ENCODED))
def test_the_encoder_sees_as_many_patches_as_told(name: str) -> None:
    """Blank images, put through the processor in one request, come out as the rule's views and patches."""
    rule, family = rule_of(name), entry_of(name).family

    @ON_PIXELS
    @example(sizes=[(1280, 720)])
    @example(sizes=[(1, 1)])
    @example(sizes=[(1, 201)])
    @example(sizes=[(6000, 1)])
    @example(sizes=[(801, 600), (37, 640), (448, 448)])
    @given(sizes=st.lists(small_sizes, min_size=1, max_size=3))
    def agrees(sizes: list[Size]) -> None:
        try:
            counted = [image_tokens(rule, *size, images=len(sizes)) for size in sizes]
        except InvalidValue:
            told = None
        else:
            told = sum(count.views for count in counted), sum(count.patches for count in counted)
        tally.ran[family] += 1
        assert encoded(ENCODED[name], sizes) == told

    agrees()


def encoded(run: EncoderRun, sizes: list[Size]) -> tuple[int, int] | None:
    """What the encoder sees, None where the processor fails on an image, in whatever way."""
    try:
        return run(sizes)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return None


@pytest.mark.parametrize("name", list(ENCODED_VIDEOS))
def test_the_encoder_sees_as_many_frames_and_patches_as_told(name: str) -> None:
    """Blank frames, put through the processor, come out as the rule's groups of frames and patches."""
    rule, family = rule_of(name), entry_of(name).family

    @ON_PIXELS
    @example(frames=3, size=(320, 180))
    @given(frames=st.integers(2, 6), size=frame_sizes)
    def agrees(frames: int, size: Size) -> None:
        counted = video_tokens(rule, frames=frames, width_pixels=size[0], height_pixels=size[1])
        tally.ran[family] += 1
        assert ENCODED_VIDEOS[name](frames, *size) == (counted.views, counted.patches)

    agrees()


def test_every_rule_that_the_catalog_calls_checked_here_is() -> None:
    """A catalog entry may name this test only if its rule is one of those compared."""
    compared = [msgspec.structs.replace(rule_of(name), video=None) for name in CASES]
    unchecked = [
        model
        for model, entry in catalog().items()
        if "tests/engine" in entry.fact.checked_by
        and msgspec.structs.replace(entry.fact.rule, video=None) not in compared
    ]
    assert unchecked == []


def test_every_rule_for_video_is_compared() -> None:
    """A rule for video stands in the catalog only if a processor counts or encodes frames by it here."""
    compared = [entry_of(name).fact.rule.video for name in {*VIDEOS, *ENCODED_VIDEOS}]
    unchecked = [
        model for model, entry in catalog().items() if entry.fact.rule.video and entry.fact.rule.video not in compared
    ]
    assert unchecked == []
