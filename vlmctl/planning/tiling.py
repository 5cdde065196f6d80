"""Which grid of tiles a processor cuts an image into, for each way that processors choose.

Every function takes whole pixels and answers with (columns, rows). Ties are broken as the processors break them.
"""

from __future__ import annotations

import math
from functools import lru_cache

from vlmctl.errors import InvalidValue
from vlmctl.specs.tokens import Grid, Tiles

LARGER_GRID_FILL = 0.5  # share of a grid's pixels that an image must have to prefer it on a tie; InternVL's processor
AREA_FACTOR_CAP = 0.6  # Nemotron Nano VL's processor: area beyond this factor counts no more
COVERING_THRESHOLD = 0.9  # Ovis' processor: share of the image's area that tiles must keep
GRIDS_KEPT = 32  # lists of grids remembered: of each pair of limits that the processors of a catalog have
SIZES_KEPT = 1024  # grids remembered: a family's models are asked about the same few images again and again
IDEFICS3_MAX_SIDE_PIXELS = 4096  # transformers' Idefics3 image processor, MAX_IMAGE_SIZE


def choose_grid(rule: Tiles, width: int, height: int) -> tuple[int, int]:
    """The grid that `rule` gives an image; raises InvalidValue where the processor itself fails on it."""
    match rule.grid:
        case Grid.CLOSEST_ASPECT:
            return closest_aspect(width, height, rule.tile_pixels, rule.min_tiles, rule.max_tiles)
        case Grid.WEIGHTED_ASPECT:
            return weighted_aspect(width, height, rule.tile_pixels, rule.min_tiles, rule.max_tiles)
        case Grid.LEAST_UPSCALE:
            return least_upscale(width, height, rule.tile_pixels, rule.max_tiles)
        case Grid.BEST_FIT:
            best_width, best_height = best_fit(width, height, rule.candidates)
            return best_width // rule.tile_pixels, best_height // rule.tile_pixels
        case Grid.COVERING:
            return covering(width, height, rule.tile_pixels, rule.max_tiles)
        case Grid.STRIP:
            return strip(width, height, rule.tile_pixels, rule.max_tiles)
        case Grid.LONGEST_SIDE:
            return longest_side(width, height, rule.tile_pixels, rule.longest_side_tiles or 1)


@lru_cache(maxsize=GRIDS_KEPT)
def grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    """All (columns, rows) with min_tiles to max_tiles tiles, fewest first."""
    every = ((c, r) for c in range(1, max_tiles + 1) for r in range(max(1, -(-min_tiles // c)), max_tiles // c + 1))
    return tuple(sorted(every, key=lambda grid: grid[0] * grid[1]))


@lru_cache(maxsize=GRIDS_KEPT)
def _aspects(min_tiles: int, max_tiles: int) -> tuple[tuple[float, int, int], ...]:
    return tuple((c / r, c, r) for c, r in grids(min_tiles, max_tiles))


def closest_aspect(width: int, height: int, tile: int, min_tiles: int, max_tiles: int) -> tuple[int, int]:
    """The grid whose ratio is nearest; a larger one on a tie if the image fills more than half of it (InternVL)."""
    aspect, area = width / height, width * height
    least, best = math.inf, (1, 1)
    for ratio, columns, rows in _aspects(min_tiles, max_tiles):
        difference = abs(aspect - ratio)
        if difference < least:
            least, best = difference, (columns, rows)
        elif difference == least and area > LARGER_GRID_FILL * tile * tile * columns * rows:
            best = (columns, rows)
    return best


def weighted_aspect(width: int, height: int, tile: int, min_tiles: int, max_tiles: int) -> tuple[int, int]:
    """The grid with the best product of nearness in ratio and area, the latter capped (Llama Nemotron Nano VL)."""
    aspect, area = width / height, width * height
    most, best = -math.inf, (1, 1)
    for ratio, columns, rows in _aspects(min_tiles, max_tiles):
        nearness = min(ratio / aspect, aspect / ratio)
        value = min(columns * rows * tile * tile / area, AREA_FACTOR_CAP) * nearness
        if value > most:
            most, best = value, (columns, rows)
    return best


@lru_cache(maxsize=SIZES_KEPT)
def least_upscale(width: int, height: int, tile: int, max_tiles: int) -> tuple[int, int]:
    """The smallest scale that enlarges or keeps the image, else the one that shrinks it least; then fewest tiles.

    Used by Llama 3.2 and 4, Command A Vision and Molmo. A side of zero or less (Molmo takes a margin off) scales
    without limit or below zero, as in the processors' arithmetic.
    """
    shrinks, best_scale, best = True, -math.inf, (1, 1)
    for columns, rows in grids(1, max_tiles):
        scale = min(columns * tile / width if width else math.inf, rows * tile / height if height else math.inf)
        if scale >= 1 and (shrinks or scale < best_scale):
            shrinks, best_scale, best = False, scale, (columns, rows)
        elif shrinks and scale > best_scale:
            best_scale, best = scale, (columns, rows)
    return best


def best_fit(width: int, height: int, candidates: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The candidate (width, height) that keeps most of the image's pixels, then pads least (LLaVA-NeXT)."""
    area, most, least_waste, best = width * height, 0, math.inf, candidates[0]
    for candidate in candidates:
        candidate_width, candidate_height = candidate
        scale = min(candidate_width / width, candidate_height / height)
        kept = min(int(width * scale) * int(height * scale), area)
        if kept >= most:
            waste = candidate_width * candidate_height - kept
            if kept > most or waste < least_waste:
                most, least_waste, best = kept, waste, candidate
    return best


@lru_cache(maxsize=SIZES_KEPT)
def covering(width: int, height: int, tile: int, max_tiles: int) -> tuple[int, int]:
    """Fewest tiles that keep over 90% of the area, else the most area (Ovis); sums run as in the processor."""
    area, best, best_kept, tiles = width * height, (1, 1), -1.0, 0
    good: tuple[int, int] | None = None
    good_kept = 0.0
    for rows, columns in grids(1, max_tiles):
        if good is not None and rows * columns > tiles:
            break
        kept = _covered(width, height, columns, rows, tile) / area
        if kept > COVERING_THRESHOLD and kept > good_kept:
            good, good_kept, tiles = (columns, rows), kept, rows * columns
        if kept > best_kept:
            best, best_kept = (columns, rows), kept
    return good or best


def _covered(width: int, height: int, columns: int, rows: int, tile: int) -> float:
    """Pixels left when every part of the grid is shrunk to fit a tile; the last row and column are larger."""
    part_width, part_height = width // columns, height // rows
    last_width, last_height = width - part_width * (columns - 1), height - part_height * (rows - 1)
    inner_row = [_fitted(part_width, part_height, tile)] * (columns - 1) + [_fitted(last_width, part_height, tile)]
    last_row = [_fitted(part_width, last_height, tile)] * (columns - 1) + [_fitted(last_width, last_height, tile)]
    return sum(inner_row * (rows - 1) + last_row)


def _fitted(width: int, height: int, tile: int) -> float:
    if width < height:
        width, height = height, width
    return height / width * tile * tile if width > tile else width * height


def sliced(width: int, height: int, side: int, max_slices: int) -> tuple[int, int]:
    """About as many slices as the image has slice areas, in the grid nearest in log ratio; (1, 1): none (MiniCPM-V)."""
    wanted = min(math.ceil(width * height / (side * side)), max_slices)
    if wanted <= 1:
        return 1, 1
    aspect, least, best = math.log(width / height), math.inf, (1, 1)
    for count in (wanted - 1, wanted, wanted + 1):
        if count == 1 or count > max_slices:
            continue
        for columns in range(1, count + 1):
            if count % columns == 0:
                error = abs(aspect - math.log(columns / (count // columns)))
                if error < least:
                    least, best = error, (columns, count // columns)
    return best


def strip(width: int, height: int, tile: int, max_tiles: int) -> tuple[int, int]:
    """As many tiles along the longer side as the limit allows, with rows to match (Phi-3-Vision)."""
    longer, shorter = max(width, height), min(width, height)
    aspect = longer / shorter
    along = 1
    while along * math.ceil(along / aspect) <= max_tiles:
        along += 1
    along -= 1
    across = math.ceil(int(along * tile / aspect) / tile)
    if across == 0:
        raise InvalidValue(f"{width}x{height} is too long for this model: its shorter side shrinks to nothing.")
    return (along, across) if width >= height else (across, along)


def longest_side(width: int, height: int, tile: int, side_tiles: int) -> tuple[int, int]:
    """The longest side scaled to `side_tiles` tiles, at most 4096 pixels, the other to match (Idefics3)."""
    scaled_width, scaled_height = _scaled_to_longest(width, height, side_tiles * tile)
    if max(scaled_width, scaled_height) > IDEFICS3_MAX_SIDE_PIXELS:
        scaled_width, scaled_height = _capped(scaled_width, scaled_height, IDEFICS3_MAX_SIDE_PIXELS)
    return math.ceil(scaled_width / tile), math.ceil(scaled_height / tile)


def _scaled_to_longest(width: int, height: int, longest: int) -> tuple[int, int]:
    aspect = width / height
    if width >= height:
        shorter = int(longest / aspect)
        return longest, max(shorter + shorter % 2, 1)
    shorter = int(longest * aspect)
    return max(shorter + shorter % 2, 1), longest


def _capped(width: int, height: int, longest: int) -> tuple[int, int]:
    aspect = width / height
    if width >= height:
        return longest, max(int(longest / aspect), 1)
    return max(int(longest * aspect), 1), longest
