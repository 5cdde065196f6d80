"""How right an answer is, from 0 to 1: pure functions, each with the published definition it follows or leaves."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from vlmctl.compare.boxes import Box

ANLS_THRESHOLD = (
    0.5  # Biten et al. 2019, arXiv:1905.13648, section 5: further off counts as a wrong text, not as OCR slips
)
RELAXED_TOLERANCE = 0.05  # share of the true value; Masry et al. 2022, arXiv:2203.10244, section 5.1
IOU_RIGHT = 0.5  # PASCAL VOC (Everingham et al. 2010, section 4.4) and RefCOCO call a box right from here on
FLOAT_SLACK = 1e-9  # relative: a difference that is exactly the tolerance is within it, whatever its last bit

_NUMBER = re.compile(
    r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])(?!\.\d)", re.IGNORECASE
)
_EDGES = " \t\n\"'`*_“”‘’.。!"
_CURRENCIES = "$€£¥₹"
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_JSON_START = re.compile(r"[{\[]")
_LETTER_ALONE = re.compile(r"^\(?([A-Za-z])\)?$")
# A and I are words as well: they are letters where no word follows.
_LETTER_NAMED = re.compile(
    r"\b(?i:answer|option|choice)(?: is)?:?\s*\(?(?:([B-HJ-Z])\b|([AI])(?=[.):,;]|\s*(?:$|\n|[-–—]|because\b)))"
)
_LETTER_FIRST = re.compile(r"^\(?([A-Z])(?:\)|[.:])\s")


def final_answer(text: str) -> str:
    """The answer without the thinking that a model wrote before it, between `<think>` and `</think>`."""
    return _THOUGHT.sub("", text).strip()


def normalized(text: str) -> str:
    """Compatibility forms unified (NFKC), case folded, white space single, quotes and stops at the ends dropped."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(_EDGES)


def exact(answer: str, accepted: Sequence[str]) -> float:
    """1 if the normalized answer is one of the accepted ones.

    Exact match as of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1), but articles and inner punctuation
    count: they tell receipts and languages other than English apart.
    """
    return float(normalized(answer) in {normalized(each) for each in accepted})


def contains(answer: str, accepted: Sequence[str]) -> float:
    """1 if an accepted text stands in the answer.

    As OCRBench judges (Liu et al. 2023, arXiv:2305.07895), but only whole words and numbers: 3 is not found in 13.
    """
    held = normalized(answer)
    return float(any(_holds_whole(held, normalized(each)) for each in accepted))


def anls(answer: str, accepted: Sequence[str]) -> float:
    """Normalized Levenshtein similarity to the nearest accepted text, 0 where half or more must be edited.

    Average Normalized Levenshtein Similarity of one question: Biten et al. 2019, arXiv:1905.13648, equation 1, case
    and white space aside as in DocVQA's evaluation. The mean over questions is the ANLS.
    """
    return max((_similarity(_spaced(answer), _spaced(each)) for each in accepted), default=0.0)


def relaxed_accuracy(answer: str, *, number: float | None = None, accepted: Sequence[str] = ()) -> float:
    """1 if a number is within 5% of the true one, or a text is exactly right.

    ChartQA's relaxed accuracy (Masry et al. 2022, arXiv:2203.10244, section 5.1, after Methani et al. 2020). The only
    number of a sentence counts as the answer, and a percent sign is dropped on both sides. A true 0 allows no slack.
    """
    targets = [number] if number is not None else []
    targets += [value for text in accepted if (value := whole_number(text)) is not None]
    said = only_number(answer)
    if said is not None and any(_within(said, target, RELAXED_TOLERANCE * abs(target)) for target in targets):
        return 1.0
    return exact(answer, [text for text in accepted if whole_number(text) is None])


def numeric(answer: str, number: float, *, tolerance: float = 0.0) -> float:
    """1 if the only number of the answer is within `tolerance`, in the number's own unit, of the true one."""
    said = only_number(answer)
    return float(said is not None and _within(said, number, tolerance))


def json_field_f1(answer: str, fields: Any) -> float:
    """F1 over the fields of a JSON object: twice those that are right over all that are there and all that are due.

    Field-level F1 of document extraction as in Donut (Kim et al. 2022, arXiv:2111.15664, section 3.2): a field is its
    path of names and its value, the order of lists aside. Values are compared as numbers where both are, else as
    normalized text. 0 where the answer holds no JSON object.
    """
    said = json_like(answer, fields)
    if said is None:
        return 0.0
    given, due = Counter(_leaves(said)), Counter(_leaves(fields))
    right = sum((given & due).values())
    total = sum(given.values()) + sum(due.values())
    return 2 * right / total if total else 1.0


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (Everingham et al. 2010, section 4.4); 0 where neither has an area."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = one.area + other.area - shared
    return min(shared / union, 1.0) if union > 0 else 0.0


def point_in_box(x: float, y: float, box: Box) -> float:
    """1 if a point lies in the box, its edges included: how pointing is judged (ScreenSpot, arXiv:2401.10935)."""
    return float(box.left <= x <= box.right and box.top <= y <= box.bottom)


def multiple_choice(answer: str, options: Sequence[str], accepted: Sequence[str]) -> float:
    """1 if the option that the answer chooses, by letter or by text, is an accepted one; 0 where it chooses none."""
    letters = {chr(ord("A") + index): index for index in range(len(options))}
    right = {letters[each] if each in letters and each not in options else options.index(each) for each in accepted}
    return float(chosen_option(answer, options) in right)


def chosen_option(answer: str, options: Sequence[str]) -> int | None:
    """The option an answer chooses: its letter, its text, or the only option that stands in it; None if unclear.

    By rules as in MMBench (Liu et al. 2023, arXiv:2307.06281, section 4.3), without its fallback to another model.
    """
    text = re.sub(r"[*`]", "", answer).strip()
    plain = [normalized(option) for option in options]
    if normalized(text) in plain:
        return plain.index(normalized(text))
    match = _LETTER_ALONE.match(text.strip(" .")) or _LETTER_FIRST.match(f"{text} ") or _LETTER_NAMED.search(text)
    if match and (index := ord(match[match.lastindex or 0].upper()) - ord("A")) < len(options):
        return index
    found = [index for index, option in enumerate(plain) if _holds_whole(normalized(text), option)]
    return found[0] if len(found) == 1 else None


def whole_number(text: str) -> float | None:
    """The number a text is, with or without currency, percent sign and thousands separators; else None."""
    bare = text.strip().strip(_EDGES + _CURRENCIES + "%").strip()
    match = _NUMBER.fullmatch(bare)
    return _float(match[0]) if match else None


def only_number(text: str) -> float | None:
    """The number a text is or, in a sentence, the only one in it; None where there is none or several differ."""
    whole = whole_number(text)
    if whole is not None:
        return whole
    found = {_float(match[0]) for match in _NUMBER.finditer(re.sub(f"[{_CURRENCIES}]", " ", text))}
    return found.pop() if len(found) == 1 else None


def json_like(text: str, expected: Any) -> Any:
    """The first JSON value of a text, fenced or bare, that holds objects where `expected` does and none where not.

    Else the first object or array at all, None where there is none: an answer to objects does not begin with ``[1]``.
    """
    fenced = _FENCE.search(text)
    found = list(_json_values(fenced[1] if fenced else text))
    alike = [value for value in found if _holds_object(value) == _holds_object(expected)]
    return next(iter((*alike, *found)), None)


def _json_values(text: str) -> Iterator[Any]:
    """The JSON objects and arrays of a text, those within others aside."""
    decoder, end = json.JSONDecoder(), 0
    for match in _JSON_START.finditer(text):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield value


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_object, value)))


def levenshtein(one: str, other: str) -> int:
    """Insertions, deletions and substitutions that turn one text into the other (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def _similarity(one: str, other: str) -> float:
    longest = max(len(one), len(other))
    if not longest:
        return 1.0
    if abs(len(one) - len(other)) >= ANLS_THRESHOLD * longest:
        return 0.0  # so many insertions at least: no need to count
    distance = levenshtein(one, other) / longest
    return 1.0 - distance if distance < ANLS_THRESHOLD else 0.0


def _spaced(text: str) -> str:
    return " ".join(text.lower().split())


def _within(said: float, true: float, slack: float) -> bool:
    return abs(said - true) <= slack + FLOAT_SLACK * abs(true)


def _float(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _holds_whole(text: str, part: str) -> bool:
    """Whether `part` stands in `text` without cutting a word or a number in two."""
    start = text.find(part) if part else -1
    while start >= 0:
        end = start + len(part)
        if not _joined(text[:start][-2:], part[0], before=True) and not _joined(text[end : end + 2], part[-1]):
            return True
        start = text.find(part, start + 1)
    return False


def _joined(beside: str, edge: str, *, before: bool = False) -> bool:
    """Whether the characters beside a match belong to the same word or number as the match's edge."""
    if not beside:
        return False
    near, far = (beside[-1], beside[:-1]) if before else (beside[0], beside[1:])
    if edge.isdigit():
        return near.isdigit() or (near in ".," and far.isdigit())
    return _cased_alike(near, edge)


def _cased_alike(near: str, edge: str) -> bool:
    """Letters of scripts that put spaces between words; Chinese and Japanese ones (wide) do not."""
    letters = near.isalpha() and edge.isalpha()
    return letters and unicodedata.east_asian_width(near) != "W" and unicodedata.east_asian_width(edge) != "W"


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str | float]]:
    """Every value of nested objects and lists with its path of names, which a place in a list is no part of."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, normalized(str(name))))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    elif isinstance(value, bool) or value is None:
        yield path, json.dumps(value)
    else:
        number = whole_number(str(value))
        yield path, normalized(str(value)) if number is None or math.isinf(number) else number
