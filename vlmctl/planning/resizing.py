"""How processors that keep the image's aspect resize it, each within limits of its own.

Every function takes whole pixels and answers with (width, height) in pixels, or raises InvalidValue where the
processor itself fails on the image.
"""

from __future__ import annotations

import math

from vlmctl.errors import InvalidValue
from vlmctl.specs.tokens import ClampedPatches, LongSides, NativePatches, PaddedPatches, SmallSides, SmartResize

MAX_ASPECT = 200  # Qwen2-VL's image processor and those descended from it
# SigLIP 2's processor looks for the scale by bisection between these, to this precision; pixels are by pixels.
LEAST_SCALE = 1e-6
MOST_SCALE = 100.0
SCALE_PRECISION = 1e-5


def smart_resize(rule: SmartResize, width: int, height: int) -> tuple[int, int]:
    """Size of a still image in whole cells.

    Source: transformers models/qwen2_vl/image_processing_qwen2_vl.py; its descendants differ only at extremes
    (models/glm4v, models/paddleocr_vl; vLLM models/keye.py, transformers_utils/processors/ovis2_5.py).
    """
    return fit_area(
        width,
        height,
        cell=rule.cell_pixels,
        min_area=rule.min_pixels,
        max_area=rule.max_pixels,
        frames=rule.area_frames,
        counted_frames=rule.area_frames,
        small_sides=rule.small_sides,
        long_sides=rule.long_sides,
        keeps_one_cell=rule.keeps_one_cell,
    )


def fit_area(
    width: int,
    height: int,
    *,
    cell: int,
    min_area: int,
    max_area: int,
    frames: int = 1,
    counted_frames: int = 1,
    small_sides: SmallSides = SmallSides.ROUND,
    long_sides: LongSides = LongSides.REFUSE,
    keeps_one_cell: bool = True,
) -> tuple[int, int]:
    """Both sides in whole cells with frames x area within the limits; `counted_frames`: rounded to temporal patches."""
    original_width, original_height = width, height
    if width < cell or height < cell:
        width, height = _lifted(width, height, cell, small_sides)
        lifted = small_sides in (SmallSides.LIFT, SmallSides.LIFT_ROUNDED, SmallSides.LIFT_IN_TURN)
    else:
        lifted = False
    if max(width, height) > MAX_ASPECT * min(width, height):
        width, height = _shortened(width, height, cell, long_sides, lifted=lifted)
    least_cells = 1 if small_sides is SmallSides.ONE_CELL else 0
    columns, rows = max(round(width / cell), least_cells), max(round(height / cell), least_cells)
    area = counted_frames * columns * rows * cell * cell
    if area > max_area:
        shrink = math.sqrt(frames * width * height / max_area)
        least = 1 if keeps_one_cell else 0
        columns = max(math.floor(width / shrink / cell), least)
        rows = max(math.floor(height / shrink / cell), least)
    elif area < min_area:
        grow = math.sqrt(min_area / (frames * width * height))
        columns, rows = math.ceil(width * grow / cell), math.ceil(height * grow / cell)
    if columns == 0 or rows == 0:
        raise InvalidValue(
            f"{original_width}x{original_height} is too long for this model: it would shrink to nothing."
        )
    return columns * cell, rows * cell


def _lifted(width: int, height: int, cell: int, small_sides: SmallSides) -> tuple[int, int]:
    match small_sides:
        case SmallSides.LIFT:
            scale = max(cell / width, cell / height)
            return int(width * scale), int(height * scale)
        case SmallSides.LIFT_ROUNDED:
            return (round(cell / height * width), cell) if height < width else (cell, round(cell / width * height))
        case SmallSides.LIFT_IN_TURN:
            if height < cell:
                width, height = round(width * cell / height), cell
            if width < cell:
                width, height = cell, round(height * cell / width)
    return width, height


def _shortened(width: int, height: int, cell: int, long_sides: LongSides, *, lifted: bool) -> tuple[int, int]:
    match long_sides:
        case LongSides.REFUSE:
            raise InvalidValue(
                f"{width}x{height} has one side more than {MAX_ASPECT} times the other, which this model refuses.",
                remedy="Crop or pad it.",
            )
        case LongSides.CUT if not lifted:
            return min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
        case LongSides.CUT_TO_CELLS:
            shorter = max(cell, round(min(width, height) / cell) * cell)
            longer = math.floor(shorter * MAX_ASPECT / cell) * cell
            return (longer, shorter) if width > height else (shorter, longer)
    return width, height


def pad_to_cells(rule: PaddedPatches, width: int, height: int) -> tuple[int, int]:
    """Size in whole cells after shrinking to the patch limits.

    Source: vLLM models/kimi_vl.py and transformers models/kimi_k25/image_processing_kimi_k25.py.
    """
    patch, side_limit = rule.patch_pixels, rule.max_side_patches * rule.patch_pixels
    if rule.refuses_long_sides:
        patches = (width // patch) * (height // patch)
        if patches > rule.max_patches:
            scale = math.sqrt(rule.max_patches / patches)
            width, height = int(width * scale), int(height * scale)
    else:
        patches = max(1, width // patch) * max(1, height // patch)
        scale = min(1.0, math.sqrt(rule.max_patches / patches), side_limit / height, side_limit / width)
        width, height = min(max(1, int(width * scale)), side_limit), min(max(1, int(height * scale)), side_limit)
    cell = rule.cell_pixels
    width, height = math.ceil(width / cell) * cell, math.ceil(height / cell) * cell
    if rule.refuses_long_sides and max(width, height) >= side_limit:
        raise InvalidValue(
            f"this model refuses sides of {side_limit} pixels and more, and this image keeps {width}x{height}.",
            remedy="Crop or scale it.",
        )
    return width, height


def fit_patches(rule: NativePatches, width: int, height: int) -> tuple[int, int]:
    """Size in whole patches within the limits, each side then moved to a multiple of `cell_patches`.

    Source: vLLM transformers_utils/processors/nano_nemotron_vl.py, DynamicResolutionImageTiler.process_media.
    """
    patch, cell = rule.patch_pixels, rule.cell_patches
    columns, rows = round(width / patch + 0.5), round(height / patch + 0.5)
    shrink = min(math.sqrt(rule.max_patches / (columns * rows)), 1.0) if columns and rows else 0.0
    columns, rows = math.floor(shrink * columns), math.floor(shrink * rows)
    if columns == 0 or rows == 0:
        raise InvalidValue(f"{width}x{height} is too long for this model: it would shrink to nothing.")
    if columns * rows < rule.min_patches:
        grow = math.sqrt(rule.min_patches / (columns * rows))
        columns, rows = math.ceil(grow * columns), math.ceil(grow * rows)
    rows = _to_cell(rows, columns, cell, rule.max_patches)
    columns = _to_cell(columns, rows, cell, rule.max_patches)
    return columns * patch, rows * patch


def _to_cell(side: int, other: int, cell: int, most: int) -> int:
    """`side` raised to a multiple of `cell` where the area allows, else lowered to one."""
    missing = -side % cell
    if (side + missing) * other <= most or not missing:
        return side + missing
    return max(cell, side - side % cell)


def fill_patches(width: int, height: int, *, patch: int, cell_patches: int, budget: int) -> tuple[int, int]:
    """Size of about `budget` patches in the frame's aspect, each side in whole cells.

    Source: vLLM transformers_utils/processors/nano_nemotron_vl.py, _compute_aspect_preserving_size.
    """
    aspect = width / height
    rows, columns = max(round(math.sqrt(budget / aspect)), 1), max(round(math.sqrt(budget * aspect)), 1)
    upper = [side + -side % cell_patches for side in (columns, rows)]
    lower = [max(cell_patches, side - side % cell_patches) for side in (columns, rows)]
    columns, rows = upper if math.prod(upper) <= budget else lower
    return columns * patch, rows * patch


def clamp_patches(rule: ClampedPatches, width: int, height: int) -> tuple[int, int]:
    """Size in whole patches, their number brought within limits.

    Source: vLLM models/phi4siglip.py for the number, transformers models/siglip2/image_processing_siglip2.py
    (get_image_size_for_max_num_patches) for the size.
    """
    patch = rule.patch_pixels
    native = max((width // patch) * (height // patch), 1)
    most = min(max(native, rule.min_patches), rule.max_patches)
    low, high = LEAST_SCALE, MOST_SCALE
    while high - low >= SCALE_PRECISION:
        scale = (low + high) / 2
        if _patches(width, scale, patch) * _patches(height, scale, patch) <= most:
            low = scale
        else:
            high = scale
    return _patches(width, low, patch) * patch, _patches(height, low, patch) * patch


def _patches(side: int, scale: float, patch: int) -> int:
    return max(1, math.ceil(side * scale / patch))


def nearest_cells(width: int, height: int, *, cell: int, budget: int) -> tuple[int, int]:
    """Of the whole numbers of cells about the native size, or the largest within budget, those nearest in aspect.

    Source: transformers models/muse_glimmer/image_processing_muse_glimmer.py, smart_resize.
    """
    rows, columns = height / cell, width / cell
    aspect = columns / rows
    if rows * columns > budget:
        rows = (budget / aspect) ** 0.5
        columns = rows * aspect
    # The processor walks through a set, and on a tie in aspect takes what comes first there.
    around = {(r, c) for r in (math.floor(rows), math.ceil(rows)) for c in (math.floor(columns), math.ceil(columns))}
    near = [(r, c) for r, c in around if r >= 1 and c >= 1 and r * c <= budget]
    if not near:
        near = [(max(1, round(rows)), max(1, round(columns)))]
    best = min(near, key=lambda grid: abs(grid[0] / grid[1] - height / width))
    return best[1] * cell, best[0] * cell


def fit_budget(width: int, height: int, *, cell: int, patch: int, budget: int) -> tuple[int, int]:
    """Largest size in whole cells of no more than `budget` cells.

    Source: vLLM models/gemma4_mm.py, whose placeholders decide; transformers differs where a side falls below a cell.
    """
    merge = cell // patch
    scale = math.sqrt(budget * merge * merge / ((height / patch) * (width / patch)))
    columns = min(max(1, math.floor(width * scale / cell)), budget)
    rows = min(max(1, math.floor(height * scale / cell)), budget)
    return columns * cell, rows * cell


def cap_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """Size whose longest side is at most `longest`, each rounded to a pixel.

    Source: mistral-common tokens/tokenizers/image.py, ImageEncoder.
    """
    ratio = max(height / longest, width / longest)
    if ratio <= 1:
        return width, height
    return max(round(width / ratio), 1), max(round(height / ratio), 1)


def bound_sides(width: int, height: int, *, shortest: int, longest: int) -> tuple[int, int]:
    """Size with the longest side capped in aspect, then each side at least `shortest` (Idefics2's image processor)."""
    aspect = width / height
    if width >= height and width > longest:
        width, height = longest, int(longest / aspect)
    elif height > width and height > longest:
        width, height = int(longest * aspect), longest
    return max(width, shortest), max(height, shortest)


def fit_slice(width: float, height: float, *, side: int, unit: int, enlarges: bool) -> tuple[int, int]:
    """Size of about `side` squared pixels in the image's aspect, each side rounded to `unit` (MiniCPM-V).

    Source: transformers models/minicpmv4_6/image_processing_minicpmv4_6.py, find_best_resize.
    """
    if enlarges or width * height > side * side:
        aspect = width / height
        height = int(side / math.sqrt(aspect))
        width = int(height * aspect)
    return round_to(width, unit), round_to(height, unit)


def round_to(length: float, unit: int) -> int:
    """The nearest multiple of `unit`, at least one."""
    return max(round(length / unit) * unit, unit)
