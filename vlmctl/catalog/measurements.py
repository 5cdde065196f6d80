"""Reads measurement files (`vlmctl.dev/measurements/v1`), and the configurations of models that they bring along.

A row that is no measurement is set aside with its name and the reason, so that one mistake does not hide a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from vlmctl.catalog.folders import shipped_folder
from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole
from vlmctl.specs.measurements import SCHEMA, DescribedModel, Measured, Measurement

FOLDER = "measurements"  # of the catalog; an installed one has none
BESIDE = "engine_memory_models.yaml"  # in a file's folder or the catalog's: models that the file does not describe
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXTS = (
    "id",
    "source",
    "model",
    "weights",
    "gpu",
    "engine",
    "engine_version",
)  # unquoted, a version reads as a number
_OPTIONAL_TEXTS = ("source", "engine_version")
_SETTINGS = ("hf_config", "processor")
# Other words that publishers use for the precision of weights.
_PRECISIONS = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp8_w8a8": "fp8",
    "fp8_dynamic": "fp8",
    "fp4": "nvfp4",
    "awq": "w4a16",
    "gptq": "w4a16",
    "awq_marlin": "w4a16",
    "gptq_marlin": "w4a16",
    "int4_wo": "w4a16",
    "int4_awq": "w4a16",
    "fp8_block": "fp8",
    "fp8_e4m3": "fp8",
    "mxfp8": "fp8",
    "w4a16_mxfp4": "mxfp4",
    "": "bf16",  # not said: as the model is published
    "auto": "bf16",
}
_SECTIONS = ("parallelism", "workload", "load", "measured")  # in which an empty field is one that is not there


class SetAside(NamedTuple):
    """A row that could not be read, or a prediction that could not be made."""

    id: str
    reason: str


class MeasurementFile(NamedTuple):
    """What one file holds. `models`: by repository, those described beside it as well."""

    rows: tuple[Measurement, ...]
    models: Mapping[str, DescribedModel]
    set_aside: tuple[SetAside, ...] = ()


def read_measurements(path: Path) -> MeasurementFile:
    """The rows of a file and its own models; raises InvalidFile for another schema, or a file that cannot be read."""
    return measurements_of(read_document(path), path)


def read_document(path: Path) -> dict[str, Any]:
    """A YAML or JSON file that holds a mapping; raises InvalidFile."""
    text = read_whole(path)
    try:
        content = yaml.load(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise InvalidFile(str(path), f"is not YAML: {error.problem}.", line=line) from error
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidFile(str(path), "is not YAML.") from error
    if not isinstance(content, dict):
        raise InvalidFile(str(path), "is not a mapping.", remedy=f"Start it with `schema: {SCHEMA}`.")
    return content


def measurements_of(content: Mapping[str, Any], path: Path) -> MeasurementFile:
    """The same from a parsed document; `path` is for messages, and for the models beside it."""
    if content.get("schema") != SCHEMA:
        raise InvalidFile(str(path), f"is not of schema {SCHEMA}.", remedy="Say so in its key `schema`.")
    listed = content.get("measurements") or []
    described = content.get("models") or {}
    if not isinstance(listed, list) or not isinstance(described, dict):
        raise InvalidFile(str(path), "`measurements` must be a list, and `models` a mapping.")
    rows: list[Measurement] = []
    set_aside: list[SetAside] = []
    for number, raw in enumerate(listed, start=1):
        try:
            rows.append(_row(raw))
        except msgspec.ValidationError as error:
            named = raw.get("id") if isinstance(raw, dict) else None
            set_aside.append(SetAside(str(named or f"row {number} of {path.name}"), f"is no measurement: {error}."))
    return MeasurementFile(rows=tuple(rows), models=models_of(content, path), set_aside=tuple(set_aside))


def models_of(content: Mapping[str, Any], path: Path) -> dict[str, DescribedModel]:
    """The models of a parsed document, and those beside it."""
    return {**described_beside(path), **described_models(content)}


def described_beside(path: Path) -> dict[str, DescribedModel]:
    """The models that stand in `BESIDE`, of the folder of a file or the catalog's; raises InvalidFile."""
    found: dict[str, DescribedModel] = {}
    for folder in dict.fromkeys((shipped_folder() / FOLDER, path.absolute().parent)):
        if (folder / BESIDE).is_file():
            found.update(described_models(read_document(folder / BESIDE)))
    return found


def described_models(content: Mapping[str, Any]) -> dict[str, DescribedModel]:
    """The models of a parsed document alone, by repository."""
    described = content.get("models")
    return {str(name): _described(entry) for name, entry in described.items()} if isinstance(described, dict) else {}


def model_lines(models: Mapping[str, DescribedModel]) -> str:
    """Models as they are written into a measurement file; empty without any."""
    held = {name: {"hf_config": models[name].config, "processor": models[name].processor} for name in sorted(models)}
    lines = "".join(f"  {_json(name)}: {_json(entry)}\n" for name, entry in held.items())
    return f"models:\n{lines}" if lines else ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def row_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that vlmctl uses, as it spells them; what is left empty is what is usual."""
    kept = {name: raw[name] for name in Measurement.__struct_fields__ if name in raw}
    weights = kept.get("weights") or ""
    if isinstance(weights, str):
        weights = weights.lower().replace("-", "_")
        kept["weights"] = _PRECISIONS.get(weights, weights)
    kept["parallelism"] = kept.get("parallelism") or {"tensor": kept.get("gpu_count", 1)}
    for section in _SECTIONS:
        if isinstance(fields := kept.get(section), dict):
            kept[section] = {name: value for name, value in fields.items() if value is not None}
    return kept


def _row(raw: object) -> Measurement:
    """Fields that vlmctl does not use are passed over, but for those of the workload and the load: they decide."""
    if not isinstance(raw, dict):
        raise msgspec.ValidationError("Expected `object`")
    kept = row_fields(raw)
    kept.update({name: str(kept.get(name) or "") for name in _TEXTS if name in kept or name in _OPTIONAL_TEXTS})
    if isinstance(read := kept.get("measured"), dict):
        kept["measured"] = {name: read[name] for name in Measured.__struct_fields__ if name in read}
    row = msgspec.convert(kept, Measurement, strict=False)
    _check_numbers(row)
    return row


def _check_numbers(row: Measurement) -> None:
    """Raise ValidationError for numbers that no run can have."""
    asked, split = row.workload, row.parallelism
    counts = (row.gpu_count, split.tensor, split.pipeline, split.data, asked.output_tokens, row.load.concurrency)
    if not all(count is None or count >= 1 for count in counts):
        raise msgspec.ValidationError("a number of GPUs, output tokens or requests in flight is below 1")
    read = (getattr(row.measured, name) for name in Measured.__struct_fields__)
    if not all(value is None or 0 <= value < math.inf for value in (asked.prompt_tokens, asked.images, *read)):
        raise msgspec.ValidationError("a measured figure, or a number of tokens or images, is below 0 or no number")


def _described(entry: object) -> DescribedModel:
    held = entry if isinstance(entry, dict) else {}
    config, processor = (value if isinstance(value := held.get(name), dict) else {} for name in _SETTINGS)
    return DescribedModel(config=config, processor=processor)
