"""What a single catalog entry must satisfy beyond its types. Pure: a record in, objections out."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from vlmctl.catalog.names import CatalogRecord
from vlmctl.specs.hardware import Benchmark, GpuSpec, HostedApi, Offer
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import (
    AttentionKind,
    AttentionLayers,
    Commercial,
    LanguageModel,
    Languages,
    License,
    Misnomer,
    ModelSpec,
    Parameters,
    Serving,
)
from vlmctl.specs.workload import Task

Path = tuple[str | int, ...]

# Parts are published in rounded billions, so their sum may miss the total by this share.
PARTS_TOLERANCE = 0.05
# BCP-47 as catalogs need it: language, script, region.
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_UNKNOWN_DATE = "unknown"
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?((rc|\.post)\d+)?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
UNKNOWN_DAY = "unknown"  # of a price whose source does not say when it was read
_UNREAD = re.compile(r"\bunverified\b|\bfrom memory\b", re.IGNORECASE)
_TASKS = frozenset(task.value for task in Task)


class Objection(NamedTuple):
    """What is wrong with the value at a path inside an entry."""

    path: Path
    problem: str
    remedy: str = ""


def objections(record: CatalogRecord) -> Iterator[Objection]:
    """Everything wrong with one entry, seen alone."""
    yield from _sources(record, ())
    if isinstance(record, ModelSpec):
        yield from _model(record)
    elif isinstance(record, Benchmark):
        yield from _benchmark(record)
    elif isinstance(record, GpuSpec):
        if record.memory_gib_reported and record.memory_gib_reported > record.memory_gib_nominal * 1.05:
            yield Objection(("memory_gib_reported",), "the driver reports more memory than the nominal size.")
    elif isinstance(record, Measurement):
        yield from _measurement(record)
    elif isinstance(record, Offer | HostedApi):
        if record.as_of != UNKNOWN_DAY:
            yield from _date(("as_of",), record.as_of)
    elif isinstance(record, Misnomer) and not record.names:
        yield Objection(("names",), "a misnomer needs at least one name.")


def _measurement(row: Measurement) -> Iterator[Objection]:
    if row.requests_per_second is None:
        yield Objection(
            ("measured",),
            "no throughput was measured, and none follows from what was.",
            "Give requests_per_second, or a concurrency with e2e_ms, or with ttft_ms and tpot_ms.",
        )
    asked = row.workload
    if asked.images and (asked.image_width is None or asked.image_height is None):
        yield Objection(("workload",), "the size of its images is not stated.", "Give image_width and image_height.")


def _sources(value: object, path: Path) -> Iterator[Objection]:
    """Every `source` says something, and nothing is called verified whose source says that it was not read."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _sources(item, (*path, index))
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _sources(getattr(value, field), (*path, field))
        source = getattr(value, "source", None)
        if isinstance(source, str) and not source.strip():
            yield Objection((*path, "source"), "the source is empty.", "Name where a reader can check the fact.")
        elif isinstance(source, str) and getattr(value, "verified", False) and _UNREAD.search(source):
            yield Objection(
                (*path, "verified"), "a fact whose source says it was not read is marked verified.", "Mark it false."
            )


def _model(model: ModelSpec) -> Iterator[Objection]:
    for path, repository in [
        (("repository",), model.repository),
        *((("quantizations", index, "repository"), item.repository) for index, item in enumerate(model.quantizations)),
    ]:
        if not _REPOSITORY.fullmatch(repository):
            yield Objection(
                path, f"{repository!r} is not a repository.", "Write OWNER/NAME, as on the Hugging Face hub."
            )
    yield from _parameters(model.parameters, complete="audio" not in model.capabilities)
    yield from _license(model.license)
    yield from _serving(model.serving)
    if model.language is not None:
        yield from _language_model(model.language)
    if model.languages is not None:
        yield from _languages(model.languages)
    if model.released is not None:
        yield from _date(("released",), model.released)
    for index, output in enumerate(model.typical_output):
        yield from _task(("typical_output", index, "task"), output.task)
    for index, score in enumerate(model.scores):
        if score.as_of is not None:
            yield from _date(("scores", index, "as_of"), score.as_of)


def _parameters(parameters: Parameters, *, complete: bool) -> Iterator[Objection]:
    """`complete`: language, vision and projector are all there is (an audio encoder has no field of its own)."""
    total = parameters.total_billions
    if parameters.active_billions > total:
        yield Objection(("parameters", "active_billions"), f"more are active than there are ({total} billion).")
    parts = (parameters.language_billions, parameters.vision_billions, parameters.projector_billions)
    known = sum(part for part in parts if part is not None)
    if known > total * (1 + PARTS_TOLERANCE):
        yield Objection(("parameters",), f"the parts hold {known:.3f} billion, the total is {total}.")
    elif complete and None not in parts and known < total * (1 - PARTS_TOLERANCE):
        yield Objection(("parameters",), f"the parts hold only {known:.3f} billion of {total}.")


def _language_model(language: LanguageModel) -> Iterator[Objection]:
    layers = sum(group.layers for group in language.attention)
    if layers != language.layers:
        yield Objection(("language", "attention"), f"the groups hold {layers} layers, the model {language.layers}.")
    for index, group in enumerate(language.attention):
        for problem in _attention(group):
            yield Objection(("language", "attention", index), problem)
    experts = language.experts
    if experts is None:
        if language.intermediate_size is None:
            yield Objection(("language",), "a model without experts needs an intermediate_size.")
        return
    if not 0 < experts.active <= experts.count:
        yield Objection(
            ("language", "experts", "active"), f"{experts.active} of {experts.count} experts cannot be active."
        )
    if experts.layers is not None and not 0 < experts.layers <= language.layers:
        yield Objection(
            ("language", "experts", "layers"), f"{experts.layers} of {language.layers} layers cannot have experts."
        )
    if experts.layers not in (None, language.layers) and language.intermediate_size is None:
        yield Objection(("language",), "the layers without experts need an intermediate_size.")


def _attention(group: AttentionLayers) -> Iterator[str]:
    if group.kind in (AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.CHUNKED):
        if not (group.query_heads and group.kv_heads and group.head_dim):
            yield f"{group.kind.value} attention needs query_heads, kv_heads and head_dim."
        elif group.query_heads % group.kv_heads:
            yield f"{group.query_heads} query heads cannot share {group.kv_heads} KV heads evenly."
    if group.kind in (AttentionKind.SLIDING, AttentionKind.CHUNKED) and not group.window_tokens:
        yield f"{group.kind.value} attention needs window_tokens."
    if group.kind is AttentionKind.LATENT and not group.latent_dim:
        yield "latent attention needs latent_dim."


def _license(license_: License) -> Iterator[Objection]:
    bound = license_.maximum_monthly_users or license_.maximum_annual_revenue_usd or license_.excluded_regions
    if license_.permissive and (license_.commercial is not Commercial.YES or license_.use_restrictions or bound):
        yield Objection(("license", "permissive"), "a licence with conditions is marked permissive.", "Mark it false.")


def _serving(serving: Serving) -> Iterator[Objection]:
    for field, version in (("first_version", serving.first_version), ("last_version", serving.last_version)):
        if version is not None and not _VERSION.fullmatch(version):
            yield Objection(("serving", field), f"{version!r} is not a version.", "Write it as in 0.11.0.")


def _languages(languages: Languages) -> Iterator[Objection]:
    for field, tags in (("ocr", languages.ocr), ("text", languages.text)):
        yield from _tags(("languages", field), tags)


def _benchmark(benchmark: Benchmark) -> Iterator[Objection]:
    yield from _tags(("languages",), benchmark.languages)
    for task, weight in benchmark.tasks.items():
        yield from _task(("tasks", task), task)
        if weight > 1:
            yield Objection(("tasks", task), f"the weight {weight} is above 1.")


def _tags(path: Path, tags: tuple[str, ...]) -> Iterator[Objection]:
    for index, tag in enumerate(tags):
        if not _LANGUAGE_TAG.fullmatch(tag):
            yield Objection((*path, index), f"{tag!r} is not a BCP-47 tag.", "Write it as in ja, zh-Hant or pt-BR.")
        elif tag in tags[:index]:
            yield Objection((*path, index), f"{tag!r} is listed twice.")


def _task(path: Path, task: str) -> Iterator[Objection]:
    if task not in _TASKS:
        yield Objection(path, f"{task!r} is not a task.", f"Known: {', '.join(sorted(_TASKS))}.")


def _date(path: Path, text: str) -> Iterator[Objection]:
    if text == _UNKNOWN_DATE:
        return
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        datetime.date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        yield Objection(path, f"{text!r} is not a date.", "Write YYYY, YYYY-MM, YYYY-MM-DD or unknown.")
