"""Token counts against published figures, and the laws that hold for every rule and size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.image_tokens import image_tokens, video_tokens
from vlmctl.specs.tokens import (
    AnyRes,
    ClampedPatches,
    FixedTokens,
    FrameBudget,
    FrameImages,
    FrameResize,
    FrameTokens,
    Grid,
    LongSides,
    NativePatches,
    NearestGrid,
    OverlappingCrops,
    PaddedPatches,
    Resampled,
    ResizeOrTile,
    RowBreaks,
    Slices,
    SmallSides,
    SmartResize,
    Tiles,
    TokenBudget,
    TokenRuleKind,
    UnpaddedHd,
    Windows,
)

LLAVA = FixedTokens(tokens=576, width_pixels=336, height_pixels=336, patch_pixels=14, crops=True)
QWEN25 = SmartResize(
    cell_pixels=28,
    patch_pixels=14,
    min_pixels=3136,
    max_pixels=12845056,
    marker_tokens=2,
    video=FrameResize(min_pixels=3136, max_pixels=12845056, clip_marker_tokens=2),
)
QWEN3 = SmartResize(
    cell_pixels=32,
    patch_pixels=16,
    min_pixels=65536,
    max_pixels=16777216,
    marker_tokens=2,
    video=FrameResize(
        min_pixels=4096, max_pixels=25165824, over_clip=True, small_sides=SmallSides.LIFT, frame_marker_tokens=2
    ),
)
GLM = SmartResize(
    cell_pixels=28,
    patch_pixels=14,
    min_pixels=12544,
    max_pixels=9633792,
    area_frames=2,
    small_sides=SmallSides.LIFT,
    marker_tokens=2,
)
OVIS25 = SmartResize(
    cell_pixels=32,
    patch_pixels=16,
    min_pixels=448 * 448,
    max_pixels=1792 * 1792,
    small_sides=SmallSides.LIFT_ROUNDED,
    long_sides=LongSides.CUT,
    keeps_one_cell=False,
)
HUNYUAN = SmartResize(cell_pixels=32, patch_pixels=16, min_pixels=262144, max_pixels=4194304, row_break_tokens=1)
KIMI = PaddedPatches(
    cell_pixels=28, patch_pixels=14, max_patches=4096, max_side_patches=512, refuses_long_sides=True, marker_tokens=4
)
OMNI = NativePatches(
    patch_pixels=16,
    cell_patches=2,
    min_patches=1024,
    max_patches=13312,
    video=FrameBudget(budget_tokens=256, temporal_patch=2, frame_marker_tokens=2),
)
KIMI25 = PaddedPatches(
    cell_pixels=28,
    patch_pixels=14,
    max_patches=16384,
    max_side_patches=512,
    video=FrameBudget(budget_tokens=1024, temporal_patch=4, encodes_every_frame=True, frame_marker_tokens=4),
)
PHI4_REASONING = ClampedPatches(patch_pixels=16, min_patches=256, max_patches=3600)
MUSE = NearestGrid(cell_pixels=28, patch_pixels=14, max_tokens=4096)
GEMMA4 = TokenBudget(
    cell_pixels=48, patch_pixels=16, budget_tokens=280, video=FrameBudget(budget_tokens=70, frame_marker_tokens=2)
)
PIXTRAL = RowBreaks(cell_pixels=16, patch_pixels=16, max_side_pixels=1024)
MISTRAL3 = RowBreaks(cell_pixels=28, patch_pixels=14, max_side_pixels=1540)
LLAVA_NEXT = AnyRes(
    tile_pixels=336, patch_pixels=14, pinpoints=((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
)
ONEVISION = AnyRes(
    tile_pixels=384,
    patch_pixels=14,
    pinpoints=tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7)),
    shrink_above_tiles=9,
    video=FrameTokens(tokens=196, width_pixels=384, height_pixels=384, patch_pixels=14, clip_tokens=1),
)
INTERNVL = Tiles(grid=Grid.CLOSEST_ASPECT, tile_pixels=448, patch_pixels=14, tokens_per_tile=256, marker_tokens=2)
NEMOTRON = Tiles(grid=Grid.WEIGHTED_ASPECT, tile_pixels=512, patch_pixels=16, tokens_per_tile=256)
LLAMA32 = Tiles(
    grid=Grid.LEAST_UPSCALE, tile_pixels=560, patch_pixels=14, tokens_per_tile=1601, max_tiles=4, overview=False
)
LLAMA4 = Tiles(
    grid=Grid.LEAST_UPSCALE,
    tile_pixels=336,
    patch_pixels=14,
    tokens_per_tile=144,
    max_tiles=16,
    pads=True,
    marker_tokens=3,
    tile_marker_tokens=1,
)
DEEPSEEK = Tiles(
    grid=Grid.BEST_FIT,
    tile_pixels=384,
    patch_pixels=14,
    tokens_per_tile=196,
    candidates=((384, 384), (384, 768), (768, 384), (768, 768), (1152, 768), (768, 1152), (1152, 1152)),
    max_tiles=9,
    pads=True,
    overview_always=True,
    overview_tokens=210,
    row_tokens=14,
    separator_tokens=1,
    most_images_tiled=2,
)
DEEPSEEK_OCR = Tiles(
    grid=Grid.CLOSEST_ASPECT,
    tile_pixels=640,
    patch_pixels=16,
    tokens_per_tile=100,
    min_tiles=2,
    max_tiles=6,
    whole_up_to_pixels=640,
    overview_pixels=1024,
    overview_tokens=272,
    row_tokens=10,
    separator_tokens=1,
)
OVIS2 = Tiles(grid=Grid.COVERING, tile_pixels=448, patch_pixels=14, tokens_per_tile=256, max_tiles=9, max_aspect=448)


def phi3v(crops: int) -> Tiles:
    return Tiles(
        grid=Grid.STRIP,
        tile_pixels=336,
        patch_pixels=14,
        tokens_per_tile=144,
        max_tiles=crops,
        pads=True,
        overview_always=True,
        overview_tokens=156,
        row_tokens=12,
        separator_tokens=1,
    )


def idefics3(tile: int, patch: int, tokens: int) -> Tiles:
    return Tiles(
        grid=Grid.LONGEST_SIDE,
        tile_pixels=tile,
        patch_pixels=patch,
        tokens_per_tile=tokens,
        longest_side_tiles=4,
        max_tiles=16,
        marker_tokens=3,
    )


IDEFICS2 = Resampled(
    tokens_per_view=64, patch_pixels=14, shortest_side_pixels=378, longest_side_pixels=980, splits=True
)
LFM2 = ResizeOrTile(
    cell_pixels=32,
    patch_pixels=16,
    min_image_tokens=64,
    max_image_tokens=256,
    tolerance=2.0,
    tile_pixels=512,
    min_tiles=2,
    max_tiles=10,
)
MINICPM = Slices(
    slice_pixels=448, patch_pixels=14, unit_pixels=14, max_slices=9, tokens_per_view=64, slice_marker_tokens=2
)
MINICPM46 = Slices(
    slice_pixels=448,
    patch_pixels=14,
    unit_pixels=56,
    max_slices=9,
    patches_per_token=16,
    marker_tokens=5,
    slice_marker_tokens=2,
    row_gap_tokens=1,
    video=FrameImages(clip_marker_tokens=3),
)
PHI4 = UnpaddedHd(tile_pixels=448, patch_pixels=14, cell_patches=2, max_tiles=36, min_side_pixels=10)
MOLMO = OverlappingCrops(
    crop_pixels=336, patch_pixels=14, pool=2, max_crops=12, margin_patches=(4, 4), pooled_as_one=False
)
STEP3 = Windows(
    overview_pixels=728,
    overview_tokens=169,
    window_pixels=504,
    window_tokens=81,
    patch_pixels=14,
    max_side_pixels=3024,
    window_marker_tokens=2,
    marker_tokens=2,
)

# name -> rule and the most image tokens it can give one image
BOUNDS: dict[str, tuple[TokenRuleKind, int]] = {
    "llava-1.5": (LLAVA, 576),
    "qwen2.5-vl": (QWEN25, 16384),
    "qwen3-vl": (QWEN3, 16384),
    "glm-4v": (GLM, 9633792 // 2 // 784),
    "ovis2.5": (OVIS25, 3136),
    "hunyuan-ocr": (HUNYUAN, 4096 + 200 * 2),
    "kimi-vl": (KIMI, 1024 + 512),
    "kimi-k2.5": (KIMI25, 4096 + 256),
    "nemotron-omni": (OMNI, 13312 // 4),
    "phi-4-reasoning-vision": (PHI4_REASONING, 3600),
    "muse-glimmer": (MUSE, 4096),
    "gemma-4": (GEMMA4, 280),
    "pixtral": (PIXTRAL, 4096),
    "mistral-3": (MISTRAL3, 3025),
    "llava-next": (LLAVA_NEXT, 5 * 576 + 72),
    "llava-onevision": (ONEVISION, 13 * 729),
    "internvl": (INTERNVL, 13 * 256),
    "nemotron": (NEMOTRON, 13 * 256),
    "llama-3.2": (LLAMA32, 6404),
    "llama-4": (LLAMA4, 17 * 144),
    "deepseek-vl2": (DEEPSEEK, 210 + 1 + 42 * 43),
    "deepseek-ocr": (DEEPSEEK_OCR, 273 + 6 * 100 + 60),
    "ovis2": (OVIS2, 10 * 256),
    "phi-3-vision": (phi3v(16), 17 * 144 + 1 + 17 * 12),
    "idefics3": (idefics3(364, 14, 169), 17 * 169),
    "idefics2": (IDEFICS2, 320),
    "lfm2-vl": (LFM2, 6656),  # a line one pixel wide is enlarged past the limits, as in the processor
    "minicpm-v": (MINICPM, 640),
    "minicpm-v-4.6": (MINICPM46, 2048),  # a line one pixel wide is enlarged to a strip, as in the processor
    "phi-4-multimodal": (PHI4, 273 + 36 * 256 + 16 * 36),
    "molmo": (MOLMO, 144 + 12 * 144),
    "step3-vl": (STEP3, 169 + 3024 * 81),  # windows as wide as a line one pixel wide
}
RULES = {name: rule for name, (rule, _) in BOUNDS.items()}

sides = st.one_of(st.integers(1, 64), st.integers(1, 4000), st.integers(1, 65535))
moderate_shapes = st.one_of(
    st.tuples(st.integers(1, 200), st.integers(1, 200)), st.tuples(st.integers(330, 65535), st.integers(330, 65535))
)
named_rules = st.sampled_from(sorted(RULES))


@pytest.mark.parametrize(
    ("rule", "width", "height", "image", "markers"),
    [
        pytest.param(LLAVA, 1280, 720, 576, 0, id="LLaVA-1.5 is 576 whatever the size"),
        pytest.param(QWEN25, 1280, 720, 1196, 2, id="Qwen2.5-VL as served at 720p"),
        pytest.param(QWEN25, 1240, 870, 1364, 2, id="Qwen2.5-VL receipt"),
        pytest.param(QWEN3, 1280, 720, 880, 2, id="Qwen3-VL as served at 720p, 22.5 rows rounded to even"),
        pytest.param(GLM, 1280, 720, 1196, 2, id="GLM-4.6V as served at 720p"),
        pytest.param(LLAVA_NEXT, 672, 672, 2928, 0, id="LLaVA-NeXT with newlines"),
        pytest.param(ONEVISION, 1152, 1152, 7290 + 81, 0, id="LLaVA-OneVision's nine tiles with newlines"),
        pytest.param(PIXTRAL, 672, 672, 1764, 42, id="Pixtral 1806"),
        pytest.param(PIXTRAL, 1344, 1344, 4096, 64, id="Pixtral 4160"),
        pytest.param(PIXTRAL, 1680, 2240, 3072, 64, id="Pixtral 3136"),
        pytest.param(MISTRAL3, 1540, 1540, 3025, 55, id="Mistral 3 3080"),
        pytest.param(INTERNVL, 448, 448, 256, 2, id="InternVL one tile"),
        pytest.param(INTERNVL, 896, 896, 1280, 2, id="InternVL four tiles and a thumbnail"),
        pytest.param(LLAMA32, 2000, 2000, 6404, 0, id="Llama 3.2 four tiles"),
        pytest.param(LLAMA4, 336, 336, 144, 3, id="Llama 4 one tile"),
        pytest.param(DEEPSEEK, 1152, 768, 210 + 1 + 28 * 43, 0, id="DeepSeek-VL2 paper's formula"),
        pytest.param(DEEPSEEK_OCR, 640, 640, 273, 0, id="DeepSeek-OCR base view"),
        pytest.param(phi3v(4), 1300, 876, 757, 0, id="Phi-3.5-vision with 4 crops"),
        pytest.param(phi3v(16), 1300, 876, 1921, 0, id="Phi-3.5-vision with 16 crops"),
        pytest.param(idefics3(384, 14, 81), 6144, 6144, 1377, 3, id="SmolVLM2 square"),
        pytest.param(MINICPM, 448, 448, 64, 0, id="MiniCPM-V one slice"),
        pytest.param(MINICPM, 1344, 1344, 640, 18, id="MiniCPM-V nine slices"),
        pytest.param(STEP3, 1280, 720, 655, 15, id="Step3-VL 670 as served at 720p"),
    ],
)
def test_published_figures(rule: TokenRuleKind, width: int, height: int, image: int, markers: int) -> None:
    """Counts equal those that makers publish or servers were seen to log."""
    counted = image_tokens(rule, width, height)
    assert (counted.image_tokens, counted.marker_tokens) == (image, markers)
    assert counted.total_tokens == image + markers


@given(name=named_rules, width=sides, height=sides)
def test_every_size_is_counted_within_bounds_or_refused(name: str, width: int, height: int) -> None:
    """Counts are positive, whole, bounded by the rule's maximum, and the same twice."""
    rule, most = BOUNDS[name]
    try:
        counted = image_tokens(rule, width, height)
    except InvalidValue:
        return
    assert 1 <= counted.image_tokens <= most
    assert counted.views >= 1
    assert counted.patches >= counted.views
    assert counted.resized_width_pixels >= 1
    assert counted.resized_height_pixels >= 1
    assert counted.marker_tokens >= 0
    assert counted == image_tokens(rule, width, height)


@given(name=named_rules, width=st.integers(64, 4000), height=st.integers(64, 4000))
def test_no_rule_refuses_a_usual_image(name: str, width: int, height: int) -> None:
    """An image of 64 to 4000 pixels a side is never refused."""
    assert image_tokens(RULES[name], width, height).image_tokens >= 1


@given(rule=st.sampled_from([QWEN25, QWEN3, GLM]), size=moderate_shapes)
def test_a_resized_area_stays_within_the_limits(rule: SmartResize, size: tuple[int, int]) -> None:
    """The resized area, times the frames it counts as, lies between the rule's limits."""
    width, height = size
    counted = image_tokens(rule, width, height)
    area = counted.resized_width_pixels * counted.resized_height_pixels * rule.area_frames
    assert rule.min_pixels <= area <= rule.max_pixels
    assert counted.image_tokens * rule.cell_pixels**2 == counted.resized_width_pixels * counted.resized_height_pixels


@given(columns=st.integers(2, 60), rows=st.integers(2, 60))
def test_whole_cells_within_the_limits_are_left_alone(columns: int, rows: int) -> None:
    """An image that is whole cells already is not resized."""
    counted = image_tokens(QWEN25, columns * 28, rows * 28)
    assert (counted.resized_width_pixels, counted.resized_height_pixels) == (columns * 28, rows * 28)
    assert counted.image_tokens == columns * rows


@given(name=st.sampled_from(["qwen2.5-vl", "glm-4v", "gemma-4", "pixtral", "kimi-vl"]), width=sides, height=sides)
def test_turning_an_image_turns_its_grid(name: str, width: int, height: int) -> None:
    """Rules that know no direction count a turned image alike."""
    try:
        upright = image_tokens(RULES[name], width, height)
    except InvalidValue:
        with pytest.raises(InvalidValue):
            image_tokens(RULES[name], height, width)
        return
    turned = image_tokens(RULES[name], height, width)
    assert (turned.columns, turned.rows, turned.image_tokens) == (upright.rows, upright.columns, upright.image_tokens)


@given(
    width=st.integers(80, 8000),
    height=st.integers(80, 8000),
    caps=st.tuples(st.integers(3136, 12845056), st.integers(3136, 12845056)),
)
def test_a_lower_cap_never_gives_more_tokens(width: int, height: int, caps: tuple[int, int]) -> None:
    """Tokens fall or stay as max_pixels falls."""
    fewer, more = (image_tokens(QWEN25, width, height, max_pixels=cap) for cap in sorted(caps))
    assert fewer.image_tokens <= more.image_tokens


@given(width=st.integers(80, 8000), height=st.integers(80, 8000), cap=st.integers(200 * 28 * 28, 12845056))
def test_a_cap_holds(width: int, height: int, cap: int) -> None:
    """No more than max_pixels reach the encoder, where a long image has room for one row of cells."""
    counted = image_tokens(QWEN25, width, height, max_pixels=cap)
    assert counted.resized_width_pixels * counted.resized_height_pixels <= cap


@given(width=sides, height=sides, images=st.integers(1, 8))
def test_many_images_are_not_tiled_by_deepseek(width: int, height: int, images: int) -> None:
    """With more than two images in a request each is one tile and one overview, whatever its size."""
    counted = image_tokens(DEEPSEEK, width, height, images=images)
    if images > 2:
        assert (counted.image_tokens, counted.views) == (421, 2)
    else:
        assert counted == image_tokens(DEEPSEEK, width, height)


@pytest.mark.parametrize(
    ("rule", "width", "height"),
    [
        pytest.param(QWEN25, 0, 100, id="no width"),
        pytest.param(QWEN25, 100, -1, id="negative height"),
        pytest.param(LLAVA, 65536, 100, id="wider than any JPEG"),
        pytest.param(QWEN25, 201, 1, id="Qwen refuses 201:1"),
        pytest.param(KIMI, 7168, 100, id="Kimi-VL refuses 512 patches a side"),
        pytest.param(PHI4, 1000, 2, id="Phi-4 refuses what shrinks below 10 pixels"),
        pytest.param(phi3v(16), 65535, 1, id="Phi-3 cannot shrink to no height"),
        pytest.param(OVIS25, 65535, 1, id="Ovis2.5 cannot shrink to no height"),
        pytest.param(OVIS2, 449, 1, id="Ovis2 cannot shrink to no height"),
        pytest.param(IDEFICS2, 1, 100, id="Idefics2 cannot quarter one column"),
    ],
)
def test_what_a_processor_refuses_is_refused(rule: TokenRuleKind, width: int, height: int) -> None:
    """Impossible sizes and images that the model's own processor fails on raise InvalidValue."""
    with pytest.raises(InvalidValue):
        image_tokens(rule, width, height)


def test_a_cap_is_refused_where_the_processor_has_none() -> None:
    """max_pixels belongs to resizing rules alone, and not below their minimum."""
    with pytest.raises(InvalidValue, match="no max_pixels"):
        image_tokens(INTERNVL, 640, 480, max_pixels=100_000)
    with pytest.raises(InvalidValue, match="minimum"):
        image_tokens(QWEN25, 640, 480, max_pixels=784)
    with pytest.raises(InvalidValue, match="at least one image"):
        image_tokens(QWEN25, 640, 480, images=0)


def test_kept_pixels_leave_padding_out() -> None:
    """A padded image's resized size is its own, not the canvas it lies on."""
    counted = image_tokens(LLAMA4, 1000, 500)
    assert counted.resized_width_pixels == 2 * counted.resized_height_pixels
    assert (counted.columns * 336, counted.rows * 336) == (1008, 672)


@given(frames=st.integers(1, 400), width=st.integers(28, 2000), height=st.integers(28, 2000))
def test_pairs_of_frames_share_tokens(frames: int, width: int, height: int) -> None:
    """An odd frame costs as much as a pair, and a pair as much as a still image."""
    clip = video_tokens(QWEN25, frames=frames, width_pixels=width, height_pixels=height)
    still = image_tokens(QWEN25, width, height)
    assert clip.image_tokens == still.image_tokens * -(-frames // 2)
    assert clip.marker_tokens == 2


@given(frames=st.integers(2, 768), width=st.integers(64, 3840), height=st.integers(64, 3840))
def test_a_long_clip_shrinks_its_frames(frames: int, width: int, height: int) -> None:
    """Where the limit holds for the clip, more frames leave fewer pixels to each, within the whole."""
    clip = video_tokens(QWEN3, frames=frames, width_pixels=width, height_pixels=height)
    shorter = video_tokens(QWEN3, frames=2, width_pixels=width, height_pixels=height)
    assert clip.resized_width_pixels * clip.resized_height_pixels <= (
        shorter.resized_width_pixels * shorter.resized_height_pixels
    )
    assert clip.marker_tokens == 2 * -(-frames // 2)


def test_other_videos_count_frame_by_frame() -> None:
    """LLaVA-OneVision's frames are 196 tokens and one more a clip; Gemma 4's follow the image rule at 70."""
    clip = video_tokens(ONEVISION, frames=8, width_pixels=1280, height_pixels=720)
    assert (clip.image_tokens, clip.views) == (8 * 196 + 1, 8)
    clip = video_tokens(GEMMA4, frames=8, width_pixels=1280, height_pixels=720)
    assert (clip.image_tokens, clip.marker_tokens) == (8 * 66, 16)


@pytest.mark.parametrize(("width", "height", "tokens"), [(512, 512, 256), (640, 360, 252), (3760, 1120, 232)])
def test_frames_of_a_budget_fill_it_in_their_own_aspect(width: int, height: int, tokens: int) -> None:
    """Nemotron Omni's pairs of frames come near 256 tokens in any aspect, by the figures of vLLM 0.28."""
    clip = video_tokens(OMNI, frames=3, width_pixels=width, height_pixels=height)
    assert (clip.image_tokens, clip.views, clip.marker_tokens) == (2 * tokens, 2, 4)


@given(frames=st.integers(1, 300), width=sides, height=sides)
def test_frames_that_share_tokens_are_each_encoded(frames: int, width: int, height: int) -> None:
    """Four of Kimi-K2.5's frames cost the language model one, and the encoder four."""
    clip = video_tokens(KIMI25, frames=frames, width_pixels=width, height_pixels=height)
    one = video_tokens(KIMI25, frames=1, width_pixels=width, height_pixels=height)
    assert clip.image_tokens == -(-frames // 4) * one.image_tokens
    assert clip.patches == frames * one.patches


def test_a_frame_may_cost_what_an_image_costs() -> None:
    """MiniCPM-V 4.6 slices every frame, and numbers the clip once."""
    image = image_tokens(MINICPM46, 1280, 720)
    clip = video_tokens(MINICPM46, frames=8, width_pixels=1280, height_pixels=720)
    assert (clip.image_tokens, clip.views) == (8 * image.image_tokens, 8 * image.views)
    assert clip.marker_tokens == 3 + 8 * (image.marker_tokens - 3)


@given(width=sides, height=sides)
def test_patches_are_brought_within_their_limits(width: int, height: int) -> None:
    """Phi-4-reasoning-vision keeps the native number of whole patches, and never has more than its limit."""
    counted = image_tokens(PHI4_REASONING, width, height)
    native = max((width // 16) * (height // 16), 1)
    assert counted.image_tokens <= min(max(native, 256), 3600)
    assert counted.patches == counted.image_tokens


def test_unknown_video_is_refused() -> None:
    """A model without a video rule, no frames, and fewer frames than one set of tokens are refused."""
    with pytest.raises(UnsupportedModel):
        video_tokens(INTERNVL, frames=8, width_pixels=640, height_pixels=480)
    with pytest.raises(InvalidValue):
        video_tokens(QWEN25, frames=0, width_pixels=640, height_pixels=480)
    with pytest.raises(InvalidValue):
        video_tokens(QWEN3, frames=1, width_pixels=640, height_pixels=480)
