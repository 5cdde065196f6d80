"""Entries written into an overlay, as the files that the catalog is read from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from vlmctl.catalog.folders import SUFFIX
from vlmctl.files import write_atomically
from vlmctl.specs.model import ModelSpec

_LINE_WIDTH = 120


def model_file(model: ModelSpec) -> str:
    """A catalog file that holds this model alone."""
    entry = msgspec.to_builtins(model)
    family = entry.pop("family")
    text: str = yaml.safe_dump(
        {"family": family, "models": [entry]}, sort_keys=False, allow_unicode=True, width=_LINE_WIDTH
    )
    return text


def add_model(folder: Path, model: ModelSpec) -> Path:
    """Write a model into an overlay, in place of an earlier entry of the same id; raises CannotWrite."""
    path = folder / "models" / f"{model.id}{SUFFIX}"
    write_atomically(path, model_file(model).encode(), make_folders=True)
    return path
