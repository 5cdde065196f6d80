"""One catalog file to its records, each with the place it stands at. Imported only where files must be parsed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from vlmctl.catalog.folders import Source
from vlmctl.catalog.measurements import described_models, row_fields
from vlmctl.catalog.mistakes import Finding
from vlmctl.catalog.names import CatalogRecord, identity
from vlmctl.catalog.refusals import explain
from vlmctl.catalog.yaml_nodes import Plain, Step, YamlError, at, compose, key_line, line_at, line_of, plain
from vlmctl.errors import InvalidFile
from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, HostedApi, Offer
from vlmctl.specs.measurements import SCHEMA, DescribedModel, Measurement
from vlmctl.specs.model import Misnomer, ModelSpec

KINDS: Mapping[str, type[CatalogRecord]] = {
    "models": ModelSpec,
    "misnomers": Misnomer,
    "gpus": GpuSpec,
    "offers": Offer,
    "apis": HostedApi,
    "benchmarks": Benchmark,
    "measurements": Measurement,
    "error_bands": ErrorBand,
}
MEASUREMENTS = "measurements"
FAMILY = "family"  # stands once at the head of a file of models
# Keys that a file may have beside its list.
BESIDE: Mapping[str, tuple[str, ...]] = {"models": (FAMILY,), MEASUREMENTS: ("schema", "models")}
# Quantities that estimates divide by, or that mean nothing at 0.
POSITIVE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "models": (
        ("parameters", "total_billions"),
        ("parameters", "active_billions"),
        ("context", "tokens"),
        ("language", "layers"),
        ("language", "hidden_size"),
        ("language", "vocabulary"),
        ("vision", "patch_pixels"),
        ("vision", "merge"),
    ),
    "gpus": (("memory_gib_nominal",), ("memory_gib_reported",), ("memory_bandwidth_gb_per_second",)),
    "offers": (("gpu_count",), ("usd_per_hour",)),
    "benchmarks": (("scale_maximum",),),
    "measurements": (
        ("gpu_count",),
        ("parallelism", "tensor"),
        ("parallelism", "pipeline"),
        ("parallelism", "data"),
        ("workload", "output_tokens"),
        ("load", "concurrency"),
        ("measured", "ttft_ms"),
        ("measured", "tpot_ms"),
        ("measured", "e2e_ms"),
        ("measured", "requests_per_second"),
    ),
}
YAML_REMEDY = "Mend it there: its form is shown in docs/catalog.md."
MAY_BE_NEGATIVE = "_marker_tokens"  # counted against markers that the rule adds elsewhere
FREE = "flags"  # arguments of an engine, whatever they are


class Entry(NamedTuple):
    """A record and its place."""

    section: str
    record: CatalogRecord
    file: str
    node: yaml.Node

    def line(self, *path: Step) -> int:
        """The line of the key or item at a path inside the entry, or of the nearest thing above it."""
        return line_at(self.node, path)

    def finding(self, path: Sequence[Step], problem: str, remedy: str = "") -> Finding:
        """A finding about the value at a path inside the entry."""
        return Finding(file=self.file, line=self.line(*path), problem=problem, remedy=remedy)


def parse_folder(folder: Path, sources: Sequence[Source]) -> Catalog:
    """The records of one folder, in the order of the files; raises InvalidFile for the first mistake."""
    entries, findings = parse_sources(folder, sources)
    if findings:
        raise as_error(findings)
    records = {section: tuple(entry.record for entry in entries if entry.section == section) for section in KINDS}
    return msgspec.convert({**records, "described": described_in(sources)}, Catalog)


def described_in(sources: Iterable[Source]) -> dict[str, DescribedModel]:
    """The models that measurement files describe, by repository; a file that is no YAML has none."""
    found: dict[str, DescribedModel] = {}
    for source in sources:
        if source.section == MEASUREMENTS:
            try:
                node = compose(source.content)
                content = plain(node) if node is not None else None
            except YamlError:
                continue
            found.update(described_models(content) if isinstance(content, dict) else {})
    return found


def parse_sources(folder: Path, sources: Sequence[Source]) -> tuple[list[Entry], list[Finding]]:
    """Every well-formed entry of a folder, and a finding for each mistake, entries given twice included."""
    entries: list[Entry] = []
    findings: list[Finding] = []
    first: dict[tuple[str, tuple[str, ...]], Entry] = {}
    for source in sources:
        parsed, mistakes = parse_source(folder, source)
        entries += parsed
        findings += mistakes
        for entry in parsed:
            earlier = first.setdefault((entry.section, identity(entry.record)), entry)
            if earlier is not entry:
                name = " ".join(identity(entry.record))
                problem = f"{name} stands already at {earlier.file}:{earlier.line()}."
                findings.append(entry.finding((), problem, "Keep one of them."))
    return entries, findings


def as_error(findings: Sequence[Finding]) -> InvalidFile:
    """The first of some findings as the error that ends a command."""
    first = findings[0]
    more = f" {len(findings) - 1} more: run `vlmctl catalog check`." if len(findings) > 1 else ""
    return InvalidFile(first.file, first.problem, line=first.line, remedy=first.remedy + more)


def parse_source(folder: Path, source: Source) -> tuple[list[Entry], list[Finding]]:
    """Every entry of a file that is well-formed, and a finding for each one that is not."""
    file = str(folder / source.name)
    try:
        node = compose(source.content)
        if node is None:
            return [], []
        items = list(_items(node, plain(node), source.section))
    except YamlError as mistake:
        return [], [Finding(file=file, line=mistake.line, problem=mistake.problem, remedy=YAML_REMEDY)]
    entries: list[Entry] = []
    findings: list[Finding] = []
    for value, item in items:
        if source.section == MEASUREMENTS and isinstance(value, dict):
            value = row_fields(value)
        try:
            record = msgspec.convert(value, KINDS[source.section])
        except msgspec.ValidationError as error:
            findings.append(explain(error, KINDS[source.section], item, file))
            continue
        entry = Entry(source.section, record, file, item)
        entries.append(entry)
        findings += _absurd_numbers(entry, value)
    return entries, findings


def _items(node: yaml.Node, value: Plain, section: str) -> Iterator[tuple[Plain, yaml.Node]]:
    allowed = (*BESIDE.get(section, ()), section)
    if not isinstance(value, dict):
        raise YamlError(f"must be a mapping with {' and '.join(allowed)}.", line_of(node))
    for key in value:
        if key not in allowed:
            raise YamlError(f"has the key {key!r}; this file holds {' and '.join(allowed)}.", key_line(node, key))
    if section == MEASUREMENTS and value.get("schema") != SCHEMA:
        raise YamlError(f"is not of schema {SCHEMA}: say so in its key 'schema'.", key_line(node, "schema"))
    if section == MEASUREMENTS and not isinstance(value.get("models") or {}, dict):
        raise YamlError("needs a mapping under 'models'.", key_line(node, "models"))
    listed = value.get(section)
    if not isinstance(listed, list):
        raise YamlError(f"needs a list under {section!r}.", key_line(node, section))
    family = value.get(FAMILY)
    nodes = at(node, (section,))
    for index, item in enumerate(listed):
        if family is not None and isinstance(item, dict):
            item = {FAMILY: family, **item}
        yield item, at(nodes, (index,))


def _absurd_numbers(entry: Entry, value: Plain) -> Iterator[Finding]:
    for path, number in _numbers(value, ()):
        below = number < 0 and path[0] != FREE and not str(path[-1]).endswith(MAY_BE_NEGATIVE)
        if below or not math.isfinite(number):
            yield entry.finding(path, f"{path[-1]!r} is {number}, which cannot be.", "Give a number of 0 or more.")
    for path in POSITIVE.get(entry.section, ()):
        found = value
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, int | float) and found == 0:
            yield entry.finding(path, f"{path[-1]!r} is 0, which cannot be.", "Give a number above 0.")


def _numbers(value: Plain, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], float]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, (*path, index))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
