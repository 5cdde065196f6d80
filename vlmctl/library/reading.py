"""Files that a user writes for a question: options and answers in YAML, read strictly, mistakes with their line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole
from vlmctl.library.wishes import Wishes
from vlmctl.specs.record import Record

_T = TypeVar("_T", bound=Record)
MAXIMUM_BYTES = 1_000_000  # far above any file a person writes


class Answers(Record, frozen=True, kw_only=True):
    """The answers of `vlmctl advise` by question; None where one takes its default."""

    vision: str | bool | None = None
    task: str | None = None
    image: str | int | None = None
    images: str | int | None = None
    language: str | list[str] | None = None
    license: str | None = None
    size: str | bool | None = None
    grounding: str | bool | None = None


def read_wishes(path: str | Path) -> Wishes:
    """The options in a YAML file; raises InvalidFile."""
    return _read(Path(path), Wishes)


def read_answers(path: str | Path) -> dict[str, str]:
    """The answers in a YAML file as text, as they would be typed; raises InvalidFile."""
    answers = _read(Path(path), Answers)
    said = {name: getattr(answers, name) for name in answers.__struct_fields__}
    return {name: _typed(value) for name, value in said.items() if value is not None}


def _typed(value: str | bool | int | list[str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, list) else str(value)


def _read(path: Path, kind: type[_T]) -> _T:
    from vlmctl.catalog.refusals import explain
    from vlmctl.catalog.yaml_nodes import YamlError, compose, plain

    try:
        node = compose(read_whole(path, maximum_bytes=MAXIMUM_BYTES))
        if node is None:
            return kind()
        value = plain(node)
    except YamlError as error:
        raise InvalidFile(str(path), error.problem, line=error.line) from error
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        finding = explain(error, kind, node, str(path))
        raise InvalidFile(finding.file, finding.problem, line=finding.line, remedy=finding.remedy) from error
