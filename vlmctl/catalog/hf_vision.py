"""The image encoder of a model and what joins it to the decoder, from its configuration. Pure."""

from __future__ import annotations

from vlmctl.catalog import hf_vision_defaults
from vlmctl.catalog.hf_architectures import architecture_name
from vlmctl.catalog.hf_config import vision_section
from vlmctl.catalog.hf_values import Config, integer, numbers
from vlmctl.specs.model import Connector, Resolution, ResolutionStrategy, VisionTower
from vlmctl.specs.tokens import (
    AnyRes,
    FixedTokens,
    OverlappingCrops,
    PaddedPatches,
    ResizeOrTile,
    RowBreaks,
    Slices,
    SmartResize,
    Tiles,
    TokenBudget,
    TokenRuleKind,
)

# GLM-4V: `intermediate_size` is the merger's, and that of the layers is the size of the outputs (vLLM glm4_1v.py).
_INNER_SIZE_OF_OUTPUT = "glm4v"
# Rules that keep the image's own size: patches are merged into cells, and the encoder has no input size of its own.
_NATIVE = (SmartResize, PaddedPatches, TokenBudget, RowBreaks, ResizeOrTile)


def vision_tower(
    config: Config, rule: TokenRuleKind | None, *, parameters: int | None, source: str
) -> VisionTower | None:
    """The encoder; None where neither the file nor the architecture's code states it. `parameters`: as counted."""
    vision = vision_section(config) or hf_vision_defaults.CODED.get(architecture_name(config))
    if vision is None:
        return None
    layers = integer(vision, "num_hidden_layers", "depth", "layers", "vt_num_hidden_layers")
    hidden = integer(vision, "embed_dim", "vt_hidden_size", "width", "hidden_size")
    windows = integer(vision, "window_size")
    patch = integer(vision, "patch_size", "spatial_patch_size")
    merge = integer(vision, "spatial_merge_size") if rule is None else None
    if isinstance(rule, _NATIVE):
        merge = rule.cell_pixels // rule.patch_pixels
    return VisionTower(
        name=str(vision.get("model_name") or vision.get("model_type") or config.get("model_type") or "unnamed"),
        parameters_billions=round(parameters / 1e9, 4) if parameters else None,
        layers=layers + (integer(vision, "num_global_layers") or 0) if layers is not None else None,
        hidden_size=hidden,
        intermediate_size=_feed_forward(vision, hidden),
        patch_pixels=patch,
        merge=merge or 1,
        image_pixels=None if merge else integer(config, "force_image_size") or integer(vision, "image_size"),
        window_pixels=windows,
        full_attention_layers=len(_full_attention(vision)) if windows else None,
        source=source,
        verified=True,
    )


def connector(kind: str, config: Config, *, source: str) -> Connector:
    """What joins encoder and decoder; `kind` is known with the architecture."""
    queries = integer(config, "num_query_tokens", "query_num") if "former" in kind or "resampler" in kind else None
    return Connector(kind=kind, learned_queries=queries, source=source, verified=True)


def resolution(rule: TokenRuleKind, *, source: str) -> Resolution:
    """How an image of any size meets the encoder, as the token rule implies it."""
    strategy, pixels = _strategy(rule)
    return Resolution(strategy=strategy, effective_pixels=pixels, source=source, verified=True)


def _strategy(rule: TokenRuleKind) -> tuple[ResolutionStrategy, int | None]:
    fixed, tiled, dynamic = ResolutionStrategy.FIXED, ResolutionStrategy.TILED, ResolutionStrategy.DYNAMIC
    match rule:
        case FixedTokens():
            return fixed, rule.width_pixels * rule.height_pixels
        case SmartResize():
            return dynamic, rule.max_pixels // rule.area_frames
        case PaddedPatches():
            return dynamic, rule.max_patches * rule.patch_pixels**2
        case TokenBudget():
            return dynamic, rule.budget_tokens * rule.cell_pixels**2
        case RowBreaks():
            return dynamic, rule.max_side_pixels**2
        case AnyRes():
            return tiled, max(height * width for height, width in rule.pinpoints)
        case Tiles():
            tiles = rule.longest_side_tiles**2 if rule.longest_side_tiles else rule.max_tiles
            return tiled, tiles * rule.tile_pixels**2
        case ResizeOrTile():
            return tiled, rule.max_tiles * rule.tile_pixels**2
        case Slices():
            return tiled, rule.max_slices * rule.slice_pixels**2
        case OverlappingCrops():
            own = rule.crop_pixels - sum(rule.margin_patches) * rule.patch_pixels
            return tiled, rule.max_crops * own**2
        case _:
            return tiled, None


def _feed_forward(vision: Config, hidden: int | None) -> int | None:
    stated = integer(vision, "intermediate_size", "vt_intermediate_size")
    if str(vision.get("model_type")).startswith(_INNER_SIZE_OF_OUTPUT):
        stated = integer(vision, "out_hidden_size") or stated
    ratio = vision.get("mlp_ratio")
    if stated is None and hidden is not None and isinstance(ratio, int | float):
        return int(hidden * ratio)
    return stated


def _full_attention(vision: Config) -> tuple[int, ...]:
    return numbers(vision, "fullatt_block_indexes") or hf_vision_defaults.QWEN2_5_FULL_ATTENTION_LAYERS
