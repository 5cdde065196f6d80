"""Hosted APIs: how many tokens they count for an image, what a workload costs there, and when owning pays."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from types import MappingProxyType

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.specs.hardware import ApiImageRule, ApiImageRuleKind, HostedApi
from vlmctl.specs.workload import Workload

# OpenAI, images and vision guide (developers.openai.com/api/docs/guides/images-vision), detail "high".
OPENAI_TILE_BOX_PIXELS = 2048
OPENAI_TILE_SHORT_SIDE_PIXELS = 768
OPENAI_TILE_PIXELS = 512
OPENAI_PATCH_PIXELS = 32
# Anthropic, vision guide (platform.claude.com/docs/en/build-with-claude/vision).
ANTHROPIC_PATCH_PIXELS = 28
# Google, image understanding guide (ai.google.dev/gemini-api/docs/image-understanding).
GEMINI_SMALL_SIDE_PIXELS = 384
GEMINI_CROP_SHARE = 1.5

TOKENS_PER_MILLION = 1_000_000


def api_image_tokens(rule: ApiImageRule, width_pixels: int, height_pixels: int) -> int:
    """Tokens that a hosted API bills for one image, markers around it not counted.

    Raises UnsupportedModel where the provider's rule is not known, or lacks a parameter its kind needs.
    """
    if width_pixels < 1 or height_pixels < 1:
        raise InvalidValue(f"an image of {width_pixels}x{height_pixels} has no pixels.", remedy="Give sides above 0.")
    count = _RULES.get(rule.kind)
    if count is None:
        raise UnsupportedModel(
            "how this API counts image tokens is not known.", remedy="Compare with an API whose rule is published."
        )
    return count(rule, width_pixels, height_pixels)


def api_usd_per_1k_requests(api: HostedApi, workload: Workload) -> float:
    """USD for 1,000 requests at list price, without caching or batch discounts: input, image and output tokens.

    Raises UnsupportedModel where the image rule is unknown or the workload has videos, which no record describes.
    """
    if workload.videos:
        raise UnsupportedModel(f"how {api.id} bills video is not in the catalog.", remedy="Compare without --video.")
    image_tokens = sum(
        image.count * api_image_tokens(api.image_rule, image.width_pixels, image.height_pixels)
        for image in workload.images
    )
    input_usd = (workload.prompt_tokens + image_tokens) * api.input_usd_per_million
    output_usd = workload.output_tokens * api.output_usd_per_million
    return (input_usd + output_usd) * 1000 / TOKENS_PER_MILLION


def break_even_requests_per_month(
    usd_per_month_fixed: float, api_usd_per_1k: float, own_marginal_usd_per_1k: float = 0.0
) -> float | None:
    """Requests per month above which owning costs less than the API; None where it never does.

    `usd_per_month_fixed`: paid whatever the load; `own_marginal_usd_per_1k`: paid on top for every 1,000 requests.
    """
    if min(usd_per_month_fixed, api_usd_per_1k, own_marginal_usd_per_1k) < 0:
        raise InvalidValue("costs below 0 have no break-even.", remedy="Give costs of 0 or more.")
    saved_usd_per_request = (api_usd_per_1k - own_marginal_usd_per_1k) / 1000
    return usd_per_month_fixed / saved_usd_per_request if saved_usd_per_request > 0 else None


def _openai_tiles(rule: ApiImageRule, width: int, height: int) -> int:
    """Fit into the box, shorten the short side, count 512-pixel tiles; small images are not enlarged."""
    shrink = min(1.0, OPENAI_TILE_BOX_PIXELS / max(width, height))
    shrink *= min(1.0, OPENAI_TILE_SHORT_SIDE_PIXELS / (min(width, height) * shrink))
    tiles = _cells(width * shrink, OPENAI_TILE_PIXELS) * _cells(height * shrink, OPENAI_TILE_PIXELS)
    return _needed(rule, "base_tokens") + _needed(rule, "tile_tokens") * tiles


def _openai_patches(rule: ApiImageRule, width: int, height: int) -> int:
    """Patches of 32 pixels within the budget, then the model's multiplier.

    An image over budget shrinks by the square root of the excess, and a little more so that whole patches fit.
    """
    budget = _needed(rule, "maximum_patches")
    fit = min(1.0, (rule.maximum_side_pixels or math.inf) / max(width, height))
    width_pixels, height_pixels = width * fit, height * fit
    if _cells(width_pixels, OPENAI_PATCH_PIXELS) * _cells(height_pixels, OPENAI_PATCH_PIXELS) > budget:
        shrink = math.sqrt(OPENAI_PATCH_PIXELS**2 * budget / (width_pixels * height_pixels))
        columns, rows = (side * shrink / OPENAI_PATCH_PIXELS for side in (width_pixels, height_pixels))
        shrink *= min(math.floor(columns) / columns, math.floor(rows) / rows) if min(columns, rows) >= 1 else 1.0
        width_pixels, height_pixels = (max(1, math.floor(side * shrink)) for side in (width_pixels, height_pixels))
    patches = _cells(width_pixels, OPENAI_PATCH_PIXELS) * _cells(height_pixels, OPENAI_PATCH_PIXELS)
    return math.ceil(min(patches, budget) * (rule.multiplier or 1.0))


def _anthropic_patches(rule: ApiImageRule, width: int, height: int) -> int:
    """Patches of 28 pixels of the largest size, aspect kept, that both the side and the patch limit allow."""
    longest, budget = _needed(rule, "maximum_side_pixels"), _needed(rule, "maximum_patches")
    long, short = max(width, height), min(width, height)

    def patches(long_side: int) -> tuple[int, int]:
        # round() halves to even, as the provider's own reference code does
        short_side = max(1, round(long_side * short / long))
        return _cells(long_side, ANTHROPIC_PATCH_PIXELS), _cells(short_side, ANTHROPIC_PATCH_PIXELS)

    def too_large(long_side: int) -> bool:
        columns, rows = patches(long_side)
        return columns * ANTHROPIC_PATCH_PIXELS > longest or columns * rows > budget

    largest = bisect.bisect_left(range(1, long + 1), True, key=too_large)
    columns, rows = patches(max(1, largest))
    return columns * rows


def _gemini_tiles(rule: ApiImageRule, width: int, height: int) -> int:
    """One tile for a small image, else tiles of two thirds of its short side; Google calls the rule approximate."""
    tile_tokens = _needed(rule, "tile_tokens")
    if max(width, height) <= GEMINI_SMALL_SIDE_PIXELS:
        return tile_tokens
    crop = max(1, math.floor(min(width, height) / GEMINI_CROP_SHARE))
    return tile_tokens * _cells(width, crop) * _cells(height, crop)


def _fixed(rule: ApiImageRule, _width: int, _height: int) -> int:
    """The same number for every image."""
    return _needed(rule, "tokens")


_RULES = MappingProxyType[ApiImageRuleKind, Callable[[ApiImageRule, int, int], int]](
    {
        ApiImageRuleKind.OPENAI_TILE: _openai_tiles,
        ApiImageRuleKind.OPENAI_PATCH: _openai_patches,
        ApiImageRuleKind.ANTHROPIC_PATCH: _anthropic_patches,
        ApiImageRuleKind.GEMINI_TILE: _gemini_tiles,
        ApiImageRuleKind.GEMINI_FIXED: _fixed,
    }
)


def _cells(pixels: float, cell_pixels: int) -> int:
    # The tolerance keeps a side that was scaled to a whole number of cells from spilling into one more.
    return max(1, math.ceil(pixels / cell_pixels - 1e-9))


def _needed(rule: ApiImageRule, field: str) -> int:
    value: int | None = getattr(rule, field)
    if value is None:
        raise UnsupportedModel(
            f"the image rule {rule.kind.value!r} needs {field}.", remedy="Add it to the API's catalog entry."
        )
    return value
