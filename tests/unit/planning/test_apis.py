"""Image tokens and costs of hosted APIs, against the examples that the providers publish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.apis import api_image_tokens, api_usd_per_1k_requests, break_even_requests_per_month
from vlmctl.specs.hardware import ApiImageRule, ApiImageRuleKind, HostedApi
from vlmctl.specs.workload import ImageInput, VideoInput, Workload

OPENAI_TILE = ApiImageRule(kind=ApiImageRuleKind.OPENAI_TILE, base_tokens=85, tile_tokens=170, source="guide")
OPENAI_PATCH = ApiImageRule(
    kind=ApiImageRuleKind.OPENAI_PATCH, maximum_patches=1536, maximum_side_pixels=2048, source="guide"
)
OPENAI_WIDE = ApiImageRule(
    kind=ApiImageRuleKind.OPENAI_PATCH, maximum_patches=2500, maximum_side_pixels=2048, multiplier=1.2, source="guide"
)
CLAUDE = ApiImageRule(
    kind=ApiImageRuleKind.ANTHROPIC_PATCH, maximum_side_pixels=1568, maximum_patches=1568, source="guide"
)
CLAUDE_HIGH = ApiImageRule(
    kind=ApiImageRuleKind.ANTHROPIC_PATCH, maximum_side_pixels=2576, maximum_patches=4784, source="guide"
)
GEMINI = ApiImageRule(kind=ApiImageRuleKind.GEMINI_TILE, tile_tokens=258, source="guide")
GEMINI_3 = ApiImageRule(kind=ApiImageRuleKind.GEMINI_FIXED, tokens=1120, source="guide")
UNKNOWN = ApiImageRule(kind=ApiImageRuleKind.UNKNOWN, source="none")
RULES = (OPENAI_TILE, OPENAI_PATCH, OPENAI_WIDE, CLAUDE, CLAUDE_HIGH, GEMINI, GEMINI_3)


def _api(rule: ApiImageRule = OPENAI_TILE) -> HostedApi:
    return HostedApi(
        id="hosted",
        provider="someone",
        input_usd_per_million=2.5,
        output_usd_per_million=10,
        image_rule=rule,
        as_of="2026-08-05",
        source="list",
    )


@pytest.mark.parametrize(
    ("rule", "width", "height", "tokens"),
    [
        pytest.param(OPENAI_TILE, 1024, 1024, 765, id="openai-square"),
        pytest.param(OPENAI_TILE, 2048, 4096, 1105, id="openai-tall"),
        pytest.param(OPENAI_TILE, 512, 512, 255, id="openai-small-is-not-enlarged"),
        pytest.param(OPENAI_PATCH, 1024, 1024, 1024, id="openai-patches-within-budget"),
        pytest.param(OPENAI_PATCH, 1800, 2400, 1452, id="openai-patches-shrunk"),
        pytest.param(OPENAI_WIDE, 1600, 1600, 3000, id="openai-patches-at-the-budget"),
        pytest.param(CLAUDE, 200, 200, 64, id="claude-small"),
        pytest.param(CLAUDE, 1000, 1000, 1296, id="claude-megapixel"),
        pytest.param(CLAUDE, 1092, 1092, 1521, id="claude-square"),
        pytest.param(CLAUDE, 1075, 1520, 1551, id="claude-a4-becomes-924x1307"),
        pytest.param(CLAUDE, 3840, 2160, 1560, id="claude-4k-becomes-1456x819"),
        pytest.param(CLAUDE_HIGH, 1920, 1080, 2691, id="claude-high-full-hd"),
        pytest.param(CLAUDE_HIGH, 3840, 2160, 4784, id="claude-high-4k-becomes-2576x1449"),
        pytest.param(GEMINI, 384, 384, 258, id="gemini-one-tile"),
        pytest.param(GEMINI, 960, 540, 6 * 258, id="gemini-six-tiles"),
        pytest.param(GEMINI_3, 4000, 3000, 1120, id="gemini-3"),
    ],
)
def test_published_examples(rule: ApiImageRule, width: int, height: int, tokens: int) -> None:
    """The examples in the providers' own guides come out to the token."""
    assert api_image_tokens(rule, width, height) == tokens


def test_the_multiplier_rounds_up() -> None:
    """A fraction of a token is billed as one: 1,452 patches times 1.62 are 2,353."""
    rule = ApiImageRule(kind=ApiImageRuleKind.OPENAI_PATCH, maximum_patches=1536, multiplier=1.62, source="guide")
    assert api_image_tokens(rule, 1800, 2400) == 2353


@given(
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
    rule=st.sampled_from((OPENAI_PATCH, OPENAI_WIDE, CLAUDE, CLAUDE_HIGH)),
)
def test_patch_budgets_hold(width: int, height: int, rule: ApiImageRule) -> None:
    """No image costs more than the budget, and none is free."""
    budget = (rule.maximum_patches or 0) * (rule.multiplier or 1)
    assert 1 <= api_image_tokens(rule, width, height) <= budget


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), rule=st.sampled_from(RULES))
def test_turning_an_image_changes_nothing(width: int, height: int, rule: ApiImageRule) -> None:
    """Every provider bills a portrait like the same landscape."""
    assert api_image_tokens(rule, width, height) == api_image_tokens(rule, height, width)


def test_unknown_rules_are_refused() -> None:
    """An API whose rule is not published gets no number."""
    with pytest.raises(UnsupportedModel, match="not known"):
        api_image_tokens(UNKNOWN, 640, 480)


def test_a_missing_parameter_is_named() -> None:
    """A catalog entry that lacks a parameter says which one."""
    with pytest.raises(UnsupportedModel, match="tile_tokens"):
        api_image_tokens(ApiImageRule(kind=ApiImageRuleKind.GEMINI_TILE, source="guide"), 640, 480)


def test_an_image_needs_pixels() -> None:
    """A side of 0 is refused."""
    with pytest.raises(InvalidValue):
        api_image_tokens(OPENAI_TILE, 0, 480)


def test_requests_cost_input_images_and_output() -> None:
    """Two 765-token images, 470 prompt and 100 output tokens: 2,000 x 2.5 + 100 x 10 USD per million requests."""
    workload = Workload(
        images=(ImageInput(width_pixels=1024, height_pixels=1024, count=2),), prompt_tokens=470, output_tokens=100
    )
    assert api_usd_per_1k_requests(_api(), workload) == pytest.approx(6.0)


def test_text_needs_no_rule() -> None:
    """A request without images can be priced although the image rule is unknown."""
    assert api_usd_per_1k_requests(_api(UNKNOWN), Workload(prompt_tokens=400, output_tokens=0)) == pytest.approx(1.0)


def test_video_is_refused() -> None:
    """Video has no price in the catalog."""
    video = VideoInput(seconds=10, frames_per_second=1, width_pixels=640, height_pixels=480)
    with pytest.raises(UnsupportedModel, match="video"):
        api_usd_per_1k_requests(_api(), Workload(videos=(video,)))


@pytest.mark.parametrize(
    ("fixed", "api", "own", "requests"),
    [(1460.0, 5.0, 0.0, 292_000.0), (1000.0, 5.0, 3.0, 500_000.0), (0.0, 5.0, 1.0, 0.0), (10.0, 2.0, 2.0, None)],
)
def test_break_even(fixed: float, api: float, own: float, requests: float | None) -> None:
    """Owning pays from fixed cost over what each request saves; never where it saves nothing."""
    assert break_even_requests_per_month(fixed, api, own) == (None if requests is None else pytest.approx(requests))


def test_break_even_refuses_negative_costs() -> None:
    """A cost below 0 is a mistake."""
    with pytest.raises(InvalidValue):
        break_even_requests_per_month(-1, 5)
