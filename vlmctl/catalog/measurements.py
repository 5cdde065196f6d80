"""Reads measurement files (`vlmctl.dev/measurements/v1`), and the text models whose configuration they bring along."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from vlmctl.catalog.hf_config import context_tokens, language_model_from_config
from vlmctl.errors import InvalidFile
from vlmctl.specs.measurements import SCHEMA, Measurement
from vlmctl.specs.model import LanguageModel

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TextModel(NamedTuple):
    """A decoder that a measurement file describes by its Hugging Face configuration."""

    repository: str
    language: LanguageModel
    context_tokens: int


class MeasurementFile(NamedTuple):
    """What one file holds."""

    rows: tuple[Measurement, ...]
    models: dict[str, TextModel]


def read_measurements(path: Path) -> MeasurementFile:
    """All rows of a file and its own models; raises InvalidFile for another schema or a malformed row."""
    try:
        content: dict[str, Any] = yaml.load(path.read_bytes(), Loader=_LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise InvalidFile(str(path), f"cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InvalidFile(str(path), f"is not of schema {SCHEMA}.", remedy="Say so in its key `schema`.")
    try:
        rows = msgspec.convert(content.get("measurements", []), tuple[Measurement, ...], strict=False)
    except msgspec.ValidationError as error:
        raise InvalidFile(str(path), str(error)) from error
    models = {name: _text_model(name, entry["hf_config"]) for name, entry in (content.get("models") or {}).items()}
    return MeasurementFile(rows=rows, models=models)


def _text_model(repository: str, config: dict[str, Any]) -> TextModel:
    return TextModel(
        repository=repository,
        language=language_model_from_config(config, name=repository, source=f"{repository} config.json"),
        context_tokens=context_tokens(config),
    )
