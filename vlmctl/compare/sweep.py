"""Sweeps over the size and the number of images: what is asked at each point, and where more stops paying."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vlmctl.compare.clusters import clusters_of
from vlmctl.compare.results import AS_THEY_ARE, AskedCase, ComparisonResult, Reply, Variant
from vlmctl.compare.significance import Interval, Paired, compare_pairs, mean_interval, smallest_possible_p
from vlmctl.compare.standings import EVERYTHING, Speed, case_scores, speed_of
from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record
from vlmctl.units import split_commas

RANGE = ".."
SIZES_IN_RANGE = 9  # sides between the two ends, each as many times larger than the one before
MINIMUM_SIDE_PIXELS, MAXIMUM_SIDE_PIXELS = 16, 65_535
MAXIMUM_IMAGES = 64


class SweepPoint(Record, frozen=True, kw_only=True):
    """One contender at one size or count. `value`: longer side in pixels, or images; `quality`: by category."""

    contender: str
    value: int
    quality: dict[str, Interval]
    speed: Speed


class Plateau(Record, frozen=True, kw_only=True):
    """Where more stops paying for one contender in one category.

    `best`: the value with the highest mean. `enough`: for sizes the smallest from which on none is significantly worse
    than the best, for counts of images the most up to which none is. `loss_at_most`: how much lower the quality there
    may still be, by the upper end of a 95% interval. None where so few cases could not show any difference.
    """

    contender: str
    category: str
    best: int
    enough: int | None
    loss_at_most: float | None
    cases: int
    clusters: int


def parse_sides(text: str | None) -> tuple[int, ...]:
    """Longer sides in pixels from ``336..2048`` (nine, evenly spaced as ratios) or ``224,336,512``, none from None.

    Raises InvalidValue.
    """
    if text is None:
        return ()
    if RANGE not in text:
        return _whole_numbers(text, "--sweep-resolution", MINIMUM_SIDE_PIXELS, MAXIMUM_SIDE_PIXELS)
    low, high = _ends(text, "--sweep-resolution", MINIMUM_SIDE_PIXELS, MAXIMUM_SIDE_PIXELS)
    steps = SIZES_IN_RANGE - 1
    return tuple(dict.fromkeys(round(low * math.exp(math.log(high / low) * step / steps)) for step in range(steps + 1)))


def parse_counts(text: str | None) -> tuple[int, ...]:
    """Numbers of images from ``1..8`` or ``1,2,4``, none from None; or InvalidValue."""
    if text is None:
        return ()
    if RANGE not in text:
        return _whole_numbers(text, "--sweep-images", 1, MAXIMUM_IMAGES)
    low, high = _ends(text, "--sweep-images", 1, MAXIMUM_IMAGES)
    return tuple(range(low, high + 1))


def variants_of(case: AskedCase, sides: Sequence[int], counts: Sequence[int]) -> tuple[Variant, ...]:
    """What to ask a case beside as it is: the sizes that shrink its images, the counts above its own."""
    longest = max(max(image.width_pixels, image.height_pixels) for image in case.images)
    shrinking = [Variant(side_pixels=side) for side in sides if side < longest]
    return (*shrinking, *(Variant(images=count) for count in counts if count > len(case.images)))


def companions(case: AskedCase, cases: Sequence[AskedCase], images: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Images of other cases that fill a request up to `images`, as (case, image) positions: the same for everyone.

    A higher count keeps those of a lower one. Raises InvalidValue where the set does not hold so many images.
    """
    own = {image.sha256 for image in case.images}
    others = [
        (at, index)
        for at, other in enumerate(cases)
        for index, image in enumerate(other.images)
        if image.sha256 not in own
    ]
    missing = images - len(case.images)
    if len(others) < missing:
        raise InvalidValue(
            f"the cases hold too few other images to show case {case.id!r} among {images}.",
            remedy="Sweep over fewer images, or add cases.",
        )
    random.Random(f"{seed}:{case.id}").shuffle(others)
    return tuple(others[:missing])


def companion_note(own: int) -> str:
    """What a prompt says before the question where images of other cases stand behind its own."""
    which = "image" if own == 1 else f"{own} images"
    return f"The question is about the first {which} only; the others do not matter."


def resolution_points(result: ComparisonResult) -> tuple[SweepPoint, ...]:
    """Quality, tokens, latency and dollars against the longer side; cases no larger count as they are."""
    return _points(result, [Variant(side_pixels=side) for side in result.sides_pixels], result.sides_pixels)


def count_points(result: ComparisonResult) -> tuple[SweepPoint, ...]:
    """The same against the number of images, over the cases that can be asked at every count."""
    return _points(result, [Variant(images=count) for count in result.image_counts], result.image_counts)


def resolution_plateaus(result: ComparisonResult) -> tuple[Plateau, ...]:
    """Per contender and category the smallest size from which on none is significantly worse than the best."""
    return _plateaus(result, [Variant(side_pixels=side) for side in sorted(result.sides_pixels, reverse=True)])


def count_plateaus(result: ComparisonResult) -> tuple[Plateau, ...]:
    """Per contender and category the most images up to which none is significantly worse than the best."""
    return _plateaus(result, [Variant(images=count) for count in sorted(result.image_counts)])


def replies_at(result: ComparisonResult, contender: str, variant: Variant) -> list[Reply]:
    """A contender's replies at a point of a sweep; a case that the point leaves as it is stands with its own reply."""
    swept = list(result.of(contender, variant))
    changed = {case.id for case in result.cases if variant in variants_of(case, *_swept(variant))}
    eligible = (
        {case.id for case in result.cases if len(case.images) <= min(result.image_counts)} if variant.images else None
    )
    unchanged = [each for each in result.of(contender, AS_THEY_ARE) if each.case not in changed]
    return [each for each in (*swept, *unchanged) if eligible is None or each.case in eligible]


def _swept(variant: Variant) -> tuple[Sequence[int], Sequence[int]]:
    sides = [variant.side_pixels] if variant.side_pixels is not None else []
    return sides, [variant.images] if variant.images is not None else []


def _points(result: ComparisonResult, variants: Sequence[Variant], values: Sequence[int]) -> tuple[SweepPoint, ...]:
    points, clusters = [], clusters_of(result.cases)
    for contender in result.contenders:
        for variant, value in zip(variants, values, strict=True):
            replies = replies_at(result, contender.name, variant)
            quality = {
                category: interval
                for category in _categories(result)
                if (interval := mean_interval(_scores(result, replies, category), clusters, seed=result.settings.seed))
            }
            points.append(SweepPoint(contender=contender.name, value=value, quality=quality, speed=speed_of(replies)))
    return tuple(points)


def _plateaus(result: ComparisonResult, variants: Sequence[Variant]) -> tuple[Plateau, ...]:
    """`variants` from the one that gives a model the most to see, or the least to be distracted by, downwards."""
    found = []
    for contender in result.contenders:
        replies = {_value(variant): replies_at(result, contender.name, variant) for variant in variants}
        for category in _categories(result):
            scores = {value: _scores(result, each, category) for value, each in replies.items()}
            plateau = _plateau(contender.name, category, scores, result)
            if plateau is not None:
                found.append(plateau)
    return tuple(found)


def _plateau(
    contender: str, category: str, scores: dict[int, dict[str, float]], result: ComparisonResult
) -> Plateau | None:
    """Go down from the first value as long as none is significantly worse than the best.

    All pairs of values are corrected for, since the best one is picked by looking at the data.
    """
    shared = set.intersection(*(set(each) for each in scores.values())) if scores else set()
    if len(scores) < 2 or not shared:
        return None
    order = list(scores)
    by_name = {str(value): {case: scores[value][case] for case in sorted(shared)} for value in order}
    best = max(order, key=lambda value: (math.fsum(by_name[str(value)].values()), -order.index(value)))
    cluster_of = clusters_of(result.cases)
    pairs = compare_pairs(by_name, cluster_of, seed=result.settings.seed)
    enough = best
    for value in order[order.index(best) :]:
        if value != best and _between(pairs, value, best).better(result.settings.alpha) == str(best):
            break
        enough = value
    loss = 0.0 if enough == best else _loss(_between(pairs, enough, best), best)
    clusters = len({cluster_of[case] for case in shared})
    decidable = smallest_possible_p(clusters) * len(pairs) < result.settings.alpha
    return Plateau(
        contender=contender,
        category=category,
        best=best,
        enough=enough if decidable else None,
        loss_at_most=loss if decidable else None,
        cases=len(shared),
        clusters=clusters,
    )


def _between(pairs: Sequence[Paired], one: int, other: int) -> Paired:
    return next(pair for pair in pairs if {pair.first, pair.second} == {str(one), str(other)})


def _loss(pair: Paired, best: int) -> float:
    """How much worse than the best it may be at most: the far end of the interval of their difference."""
    return max(pair.high if pair.first == str(best) else -pair.low, 0.0)


def _value(variant: Variant) -> int:
    value = variant.side_pixels if variant.side_pixels is not None else variant.images
    assert value is not None  # only what a sweep changed is asked for
    return value


def _categories(result: ComparisonResult) -> tuple[str, ...]:
    return (EVERYTHING, *sorted({case.category for case in result.cases}))


def _scores(result: ComparisonResult, replies: Sequence[Reply], category: str) -> dict[str, float]:
    within = {case.id for case in result.cases if category in (EVERYTHING, case.category)}
    return case_scores(each for each in replies if each.case in within)


def _whole_numbers(text: str, option: str, low: int, high: int) -> tuple[int, ...]:
    parts = split_commas(text)
    if not parts or not all(part.isdecimal() and len(part) < 7 and low <= int(part) <= high for part in parts):
        raise InvalidValue(
            f"{option} {text!r} is neither a list nor a range.", remedy=f"Write LOW..HIGH or A,B,C, {low} to {high:,}."
        )
    return tuple(sorted({int(part) for part in parts}))


def _ends(text: str, option: str, minimum: int, maximum: int) -> tuple[int, int]:
    first, _, last = text.partition(RANGE)
    numbers = [*_whole_numbers(first, option, minimum, maximum), *_whole_numbers(last, option, minimum, maximum)]
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        raise InvalidValue(f"{option} {text!r} is no range.", remedy="Write the lower end first: LOW..HIGH.")
    return numbers[0], numbers[1]
