"""Labelled cases: images, a question, what is right, and the metric that judges it; their file and its strict reader.

A file is YAML with `schema: vlmctl.dev/cases/v1` and a list `cases`. Images are paths or globs relative to the file, or
URLs.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole
from vlmctl.specs.record import Record

if TYPE_CHECKING:
    import yaml

SCHEMA = "vlmctl.dev/cases/v1"
MAXIMUM_OPTIONS = 26  # options are named by one letter each
URL_STARTS = ("http://", "https://", "data:image/")
_GLOB_MARKS = frozenset("*?[")


class Metric(StrEnum):
    """How an answer is judged; each gives a score from 0 to 1."""

    EXACT = "exact"
    CONTAINS = "contains"
    ANLS = "anls"
    RELAXED_ACCURACY = "relaxed_accuracy"
    NUMERIC = "numeric"
    JSON_FIELDS = "json_fields"
    IOU = "iou"
    POINT_IN_BOX = "point_in_box"
    MULTIPLE_CHOICE = "multiple_choice"


class Expected(Record, frozen=True, kw_only=True):
    """What is right; the metric decides which of these is read.

    `answers`: texts, any of which is right. `number` with the absolute `tolerance` it may be off by. `fields`: names
    and values of a JSON object, whatever JSON can hold. `box`: left, top, right and bottom in pixels of image number
    `image` (from 0) as it is to be seen, turned by its EXIF data; right and bottom being the first pixels outside.
    """

    answers: tuple[str, ...] = ()
    number: float | None = None
    tolerance: float = 0.0
    fields: dict[str, Any] = {}  # noqa: RUF012  # msgspec gives each record its own copy of an empty default
    box: tuple[float, float, float, float] | None = None
    image: int = 0


class Case(Record, frozen=True, kw_only=True):
    """One question about one or several images. `options`: the choices of a multiple-choice question, A first.

    The question does not list its options; who asks puts them below it.
    """

    id: str
    images: tuple[str, ...]
    question: str
    metric: Metric
    expected: Expected
    category: str = "general"
    options: tuple[str, ...] = ()


class Omission(Record, frozen=True, kw_only=True):
    """Something a generated set could have held but does not, and why."""

    what: str
    reason: str


class MadeWith(Record, frozen=True, kw_only=True):
    """What a generated set was made with: the same of all these gives the same bytes.

    `size`: the longest side in pixels, or WIDTHxHEIGHT. `fonts`: file names with the start of their SHA-256.
    """

    program: str
    drawing: str
    seed: int
    size: str
    fonts: tuple[str, ...] = ()
    left_out: tuple[Omission, ...] = ()


class CaseSet(Record, frozen=True, kw_only=True):
    """The cases of a file. `made_with`: None where people wrote them."""

    cases: tuple[Case, ...]
    schema: str = SCHEMA
    made_with: MadeWith | None = None


def read_cases(path: Path) -> CaseSet:
    """A file's cases, with every image's path ready to open, globs expanded in order of name, and URLs as they are.

    Raises InvalidFile, with the line, for the first mistake: form, ids given twice, what a metric lacks, images that
    are not there.
    """
    node, found = _parsed(path)
    return replace(found, cases=tuple(_resolved(path, node, found.cases)))


def listed_cases(path: Path) -> CaseSet:
    """A file's cases with their images as they are written there, be they still there or not; raises InvalidFile."""
    return _parsed(path)[1]


def _parsed(path: Path) -> tuple[yaml.Node, CaseSet]:
    from vlmctl.catalog.refusals import explain
    from vlmctl.catalog.yaml_nodes import YamlError, at, compose, line_at, plain

    try:
        node = compose(read_whole(path))
        value = plain(node) if node is not None else None
    except YamlError as error:
        raise InvalidFile(str(path), error.problem, line=error.line) from error
    if node is None or not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise InvalidFile(str(path), f"is not of schema {SCHEMA}: say so in its key 'schema'.")
    if not value.get("cases"):
        raise InvalidFile(str(path), "holds no cases.", remedy="List them under 'cases', see docs/cases.md.")
    try:
        found = msgspec.convert(_written_out(value), CaseSet)
    except msgspec.ValidationError as error:
        finding = explain(error, CaseSet, node, str(path))
        raise InvalidFile(finding.file, finding.problem, line=finding.line, remedy=finding.remedy) from error
    for field, index, problem, remedy in objections(found.cases):
        line = line_at(at(node, ("cases", index)), (field,))
        raise InvalidFile(str(path), problem, line=line, remedy=remedy)
    return node, found


def case_set_yaml(cases: CaseSet) -> bytes:
    """The file that holds a set: a line for each field, its value as JSON, which every YAML reader takes alike."""
    lines = [f"schema: {cases.schema}"]
    if cases.made_with is not None:
        lines += ["made_with:", *(f"  {line}" for line in _fields(cases.made_with))]
    lines.append("cases:")
    for case in cases.cases:
        first, *rest = _fields(case)
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return ("\n".join(lines) + "\n").encode()


def objections(cases: Sequence[Case]) -> Iterator[tuple[str, int, str, str]]:
    """What is wrong although well-formed: the field, the case's position, the problem and the remedy."""
    seen: set[str] = set()
    for index, case in enumerate(cases):
        if case.id in seen:
            yield "id", index, f"{case.id!r} is the id of an earlier case.", "Give each case an id of its own."
        seen.add(case.id)
        for name in ("id", "category", "question", "images"):
            if not getattr(case, name):
                yield name, index, f"{name!r} is empty.", ""
        problem = _lacks(case)
        if problem:
            yield ("options" if "options" in problem else "expected"), index, problem, _REMEDIES[case.metric]


_TEXT_REMEDY = "Write expected: [one right answer, another]."
_BOX_REMEDY = "Write expected: {box: [left, top, right, bottom]} in pixels of the image."
_REMEDIES: Mapping[Metric, str] = {
    Metric.EXACT: _TEXT_REMEDY,
    Metric.CONTAINS: _TEXT_REMEDY,
    Metric.ANLS: _TEXT_REMEDY,
    Metric.RELAXED_ACCURACY: "Write expected: {number: 12.5}, or texts.",
    Metric.NUMERIC: "Write expected: {number: 12.5, tolerance: 0.1}.",
    Metric.JSON_FIELDS: "Write expected: {fields: {total: 12.5}}.",
    Metric.IOU: _BOX_REMEDY,
    Metric.POINT_IN_BOX: _BOX_REMEDY,
    Metric.MULTIPLE_CHOICE: "Write options: [red, blue] and expected: blue.",
}


def _lacks(case: Case) -> str:
    """What the case's metric needs and the case does not have; empty where all is there."""
    expected, metric = case.expected, case.metric
    if metric in (Metric.IOU, Metric.POINT_IN_BOX):
        return _box_problem(case)
    if metric is Metric.NUMERIC:
        well = expected.number is not None and math.isfinite(expected.number) and 0 <= expected.tolerance < math.inf
        return "" if well else "the metric numeric needs a number, and a tolerance of 0 or more."
    if metric is Metric.JSON_FIELDS:
        return "" if expected.fields else "the metric json_fields needs fields."
    if metric is Metric.RELAXED_ACCURACY and expected.number is not None and math.isfinite(expected.number):
        return ""
    if not expected.answers:
        return f"the metric {metric} needs answers."
    if metric is Metric.MULTIPLE_CHOICE:
        return _options_problem(case)
    return ""


def _box_problem(case: Case) -> str:
    box = case.expected.box
    if box is None:
        return f"the metric {case.metric} needs a box."
    left, top, right, bottom = box
    if not (0 <= left < right < math.inf and 0 <= top < bottom < math.inf):
        return f"the box {list(box)} has no area, or starts outside the image."
    return "" if case.expected.image >= 0 else "'image' is a number from 0."


def _options_problem(case: Case) -> str:
    if not 2 <= len(case.options) <= MAXIMUM_OPTIONS or len(set(case.options)) < len(case.options):
        return f"the metric multiple_choice needs 2 to {MAXIMUM_OPTIONS} options, each only once."
    letters = [chr(ord("A") + index) for index in range(len(case.options))]
    wrong = [answer for answer in case.expected.answers if answer not in case.options and answer not in letters]
    return f"{wrong[0]!r} is neither an option nor the letter of one." if wrong else ""


def _written_out(value: Mapping[str, Any]) -> dict[str, Any]:
    """The file's value with the short forms of `images` and `expected` written in full."""
    cases = value["cases"]
    if not isinstance(cases, list):
        return dict(value)
    return {**value, "cases": [_case_written_out(case) if isinstance(case, dict) else case for case in cases]}


def _case_written_out(case: Mapping[str, Any]) -> dict[str, Any]:
    full = dict(case)
    expected, metric = full.get("expected"), full.get("metric")
    if isinstance(full.get("images"), str):
        full["images"] = [full["images"]]
    if isinstance(expected, str):
        full["expected"] = {"answers": [expected]}
    elif isinstance(expected, list):
        full["expected"] = {"box" if metric in (Metric.IOU, Metric.POINT_IN_BOX) else "answers": expected}
    elif isinstance(expected, int | float) and metric in (Metric.NUMERIC, Metric.RELAXED_ACCURACY):
        full["expected"] = {"number": expected}
    return full


def _resolved(path: Path, node: yaml.Node, cases: Sequence[Case]) -> Iterator[Case]:
    from vlmctl.catalog.yaml_nodes import at, line_at

    for index, case in enumerate(cases):
        images = tuple(found for name in case.images for found in _images(path.parent, name))
        problem = ""
        if missing := next((each for each in images if not _is_there(each)), None):
            problem = f"there is no image {missing}."
        elif not images:
            problem = f"no file matches {', '.join(case.images)}."
        elif case.expected.image >= len(images):
            problem = f"the box lies in image {case.expected.image}, counted from 0, but there are {len(images)}."
        if problem:
            raise InvalidFile(str(path), problem, line=line_at(at(node, ("cases", index)), ("images",)))
        yield replace(case, images=images)


def _images(folder: Path, name: str) -> list[str]:
    if name.startswith(URL_STARTS):
        return [name]
    if not _GLOB_MARKS & set(name) or (folder / name).is_file():
        return [str(folder / name)]
    found = (folder / match for match in sorted(glob.glob(name, root_dir=folder, recursive=True)))
    return [str(each) for each in found if each.is_file()]


def _is_there(image: str) -> bool:
    return image.startswith(URL_STARTS) or Path(image).is_file()


def _fields(record: Record) -> list[str]:
    built: dict[str, Any] = msgspec.to_builtins(record)
    return [f"{name}: {msgspec.json.encode(value).decode()}" for name, value in built.items()]
