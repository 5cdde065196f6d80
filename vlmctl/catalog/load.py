"""The only reader of the catalog: the shipped folder, with overlays laid over it, as one record in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from vlmctl.catalog import folders, snapshot
from vlmctl.catalog.folders import LAYOUT, misplaced, overlay_folders, read_sources
from vlmctl.catalog.names import identity
from vlmctl.errors import InvalidFile
from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, HostedApi, Offer
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import Misnomer, ModelSpec

_T = TypeVar("_T", ModelSpec, Misnomer, GpuSpec, Offer, HostedApi, Benchmark, Measurement, ErrorBand)


def load_catalog(overlays: Sequence[Path] = ()) -> Catalog:
    """Everything that is known: the shipped catalog, the user's data folder, VLMCTL_CATALOG, then `overlays`.

    A later folder wins: an entry replaces the earlier one of the same id (an offer: the same instance in the same
    region, paid for in the same way), others are added.
    Raises InvalidFile with file, line and remedy, or UsageError for an overlay that is not there.
    """
    shipped = folders.shipped_folder()
    layers = [load_folder(shipped, built_in=snapshot.BUILT_IN)]
    for folder in overlay_folders(overlays):
        if stray := misplaced(folder):
            raise InvalidFile(
                str(folder / stray[0]), "is not where the catalog looks.", remedy=f"A catalog folder has {LAYOUT}."
            )
        layers.append(load_folder(folder))
    catalog = merged(layers)
    known = {gpu.id for gpu in catalog.gpus}
    if any(offer.gpu not in known for offer in catalog.offers):
        from vlmctl.catalog.check import dangling_offers  # finds file and line, which takes parsing
        from vlmctl.catalog.entries import as_error

        raise as_error(dangling_offers(overlays))
    return catalog


def load_folder(folder: Path, *, built_in: Path | None = None) -> Catalog:
    """The records of one folder, from a snapshot where one matches the files, else parsed and kept as one."""
    sources = read_sources(folder)
    key = snapshot.digest(sources)
    cached = snapshot.cache_path(folder)
    for path in (built_in, cached):
        found = snapshot.read(path, key) if path is not None else None
        if found is not None:
            return found
    from vlmctl.catalog.entries import parse_folder  # YAML is imported only where it must be parsed

    catalog = parse_folder(folder, sources)
    if cached is not None:
        snapshot.keep(cached, snapshot.encode(key, catalog))
    return catalog


def merged(layers: Sequence[Catalog]) -> Catalog:
    """Several catalogs as one, later entries in place of earlier ones, sorted."""
    return Catalog(
        models=_latest(layer.models for layer in layers),
        misnomers=_latest(layer.misnomers for layer in layers),
        gpus=_latest(layer.gpus for layer in layers),
        offers=tuple(sorted(_latest(layer.offers for layer in layers), key=_by_price)),
        apis=_latest(layer.apis for layer in layers),
        benchmarks=_latest(layer.benchmarks for layer in layers),
        measurements=_latest(layer.measurements for layer in layers),
        described={name: entry for layer in layers for name, entry in layer.described.items()},
        error_bands=_latest(layer.error_bands for layer in layers),
    )


def _latest(layers: Iterable[Iterable[_T]]) -> tuple[_T, ...]:
    kept = {identity(item): item for layer in layers for item in layer}
    return tuple(kept[name] for name in sorted(kept))


def _by_price(offer: Offer) -> tuple[float, tuple[str, ...]]:
    return (offer.usd_per_gpu_hour, identity(offer))
