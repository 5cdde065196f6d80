"""The integrity of the catalog: every rule that types cannot state, told with file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from vlmctl.catalog import folders
from vlmctl.catalog.entries import Entry, described_in, parse_sources
from vlmctl.catalog.folders import LAYOUT, misplaced, overlay_folders, read_sources
from vlmctl.catalog.measured_models import MeasuredModels
from vlmctl.catalog.mistakes import Finding, nearest
from vlmctl.catalog.names import (
    benchmark_names,
    clashes,
    families,
    gpu_names,
    identity,
    model_names,
    normalized,
    resolve_gpu,
)
from vlmctl.catalog.rules import objections
from vlmctl.errors import UnknownName, UnsupportedModel
from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, HostedApi, Offer
from vlmctl.specs.measurements import DescribedModel, Measurement
from vlmctl.specs.model import Misnomer, ModelSpec, Score

__all__ = ["Finding", "check", "dangling_offers"]

_T = TypeVar("_T", ModelSpec, GpuSpec, Benchmark)


class _Layers(NamedTuple):
    """Entries that a merged catalog keeps, those of later folders in place of earlier ones."""

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    described: Mapping[str, DescribedModel]

    def of(self, kind: type[_T]) -> list[tuple[Entry, _T]]:
        return [(entry, entry.record) for entry in self.entries if isinstance(entry.record, kind)]


def check(overlays: Sequence[Path] = ()) -> list[Finding]:
    """Every mistake in the shipped catalog and the overlays laid over it, by file and line.

    Raises UsageError for an overlay that is not there, and InvalidFile for a file that cannot be read.
    """
    layers = _read(overlays)
    found = list(layers.findings)
    for entry in layers.entries:
        found += [entry.finding(*objection) for objection in objections(entry.record)]
    found += _offers(layers)
    found += _scores(layers)
    found += _names(layers)
    found += _measurements(layers)
    return sorted(set(found), key=lambda finding: (finding.file, finding.line or 0, finding.problem))


def dangling_offers(overlays: Sequence[Path] = ()) -> list[Finding]:
    """Offers whose GPU the catalog does not hold."""
    return list(_offers(_read(overlays)))


def _read(overlays: Sequence[Path]) -> _Layers:
    kept: dict[tuple[str, tuple[str, ...]], Entry] = {}
    findings: list[Finding] = []
    described: dict[str, DescribedModel] = {}
    for folder in (folders.shipped_folder(), *overlay_folders(overlays)):
        for name in misplaced(folder):
            problem = "is not where the catalog looks."
            findings.append(Finding(file=str(folder / name), problem=problem, remedy=f"A catalog folder has {LAYOUT}."))
        sources = read_sources(folder)
        entries, mistakes = parse_sources(folder, sources)
        described.update(described_in(sources))
        findings += mistakes
        kept.update({(entry.section, identity(entry.record)): entry for entry in entries})
    return _Layers(tuple(kept.values()), tuple(findings), described)


def _offers(layers: _Layers) -> Iterator[Finding]:
    gpus = {gpu.id for _, gpu in layers.of(GpuSpec)}
    for entry in layers.entries:
        if isinstance(entry.record, Offer) and entry.record.gpu not in gpus:
            remedy = _suggest(entry.record.gpu, gpus, "Add the GPU under gpus/, or name one that is there.")
            yield entry.finding(("gpu",), f"the GPU {entry.record.gpu!r} is not in the catalog.", remedy)


def _scores(layers: _Layers) -> Iterator[Finding]:
    benchmarks = {benchmark.id: benchmark for _, benchmark in layers.of(Benchmark)}
    for entry in layers.entries:
        scores: tuple[Score, ...] = entry.record.scores if isinstance(entry.record, ModelSpec | HostedApi) else ()
        for index, score in enumerate(scores):
            benchmark = benchmarks.get(score.benchmark)
            if benchmark is None:
                remedy = _suggest(score.benchmark, benchmarks, "Add it to benchmarks.yaml.")
                problem = f"the benchmark {score.benchmark!r} is not in the catalog."
                yield entry.finding(("scores", index, "benchmark"), problem, remedy)
            elif score.value > benchmark.scale_maximum:
                problem = f"{score.value:g} is above {benchmark.scale_maximum:g}, where {score.benchmark} ends."
                yield entry.finding(("scores", index, "value"), problem, "Give the figure on the benchmark's scale.")


def _measurements(layers: _Layers) -> Iterator[Finding]:
    known = Catalog(
        models=tuple(model for _, model in layers.of(ModelSpec)),
        gpus=tuple(gpu for _, gpu in layers.of(GpuSpec)),
        described=dict(layers.described),
    )
    models = MeasuredModels(known)
    for entry in layers.entries:
        if not isinstance(entry.record, Measurement):
            continue
        try:
            models.find(entry.record.model)
        except (UnknownName, UnsupportedModel) as error:
            yield entry.finding(("model",), error.message, error.remedy)
        try:
            resolve_gpu(known, entry.record.gpu)
        except UnknownName as error:
            yield entry.finding(("gpu",), error.message, error.remedy or "Add the GPU in an overlay first.")


def _names(layers: _Layers) -> Iterator[Finding]:
    yield from _clashes(layers.of(ModelSpec), model_names)
    yield from _clashes(layers.of(GpuSpec), gpu_names)
    yield from _clashes(layers.of(Benchmark), benchmark_names)
    models = tuple(model for _, model in layers.of(ModelSpec))
    taken = {normalized(name): model.id for model in models for group in model_names(model) for name in group}
    known = {model.id for model in models} | set(families(Catalog(models=models)))
    ids = {normalized(model.id): model.id for model in models}
    for entry, model in layers.of(ModelSpec):
        other = ids.get(normalized(model.family))
        if other is not None and other != model.id:
            yield entry.finding(("family",), f"the family {model.family!r} is also the id {other!r}.", "Rename one.")
    for entry in layers.entries:
        if isinstance(entry.record, Misnomer):
            yield from _misnomer(entry, entry.record, taken, known)


def _misnomer(entry: Entry, misnomer: Misnomer, taken: dict[str, str], known: set[str]) -> Iterator[Finding]:
    for index, name in enumerate(misnomer.names):
        if other := taken.get(normalized(name)):
            yield entry.finding(("names", index), f"{name!r} is a name of the model {other!r}.", "Drop one of them.")
    for index, name in enumerate(misnomer.instead):
        if name not in known:
            remedy = _suggest(name, known, "Name a model or a family.")
            yield entry.finding(("instead", index), f"{name!r} is not in the catalog.", remedy)


def _clashes(
    pairs: Sequence[tuple[Entry, _T]], names: Callable[[_T], tuple[tuple[str, ...], ...]]
) -> Iterator[Finding]:
    places = {id(record): entry for entry, record in pairs}
    for name, first, second in clashes([record for _, record in pairs], names):
        problem = f"{second.id!r} and {first.id!r} both answer to {name!r} (case, dots and dashes aside)."
        yield places[id(second)].finding((), problem, "Rename one of them, or drop the alias.")


def _suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    close = nearest(name, known, limit=1)
    return f"Did you mean {close[0]!r}?" if close else otherwise
