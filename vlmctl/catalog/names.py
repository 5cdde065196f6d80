"""Names that people write, resolved to what the catalog holds. Pure: a catalog in, records out.

An id, an alias, a Hugging Face repository (whole, or what follows the slash; a quantized one as well) and variants of
case, dots, dashes and underscores all resolve. What is written exactly wins over a variant, an id over an alias over a
repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from vlmctl.errors import UnknownName
from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, HostedApi, Offer
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import Misnomer, ModelSpec

CatalogRecord = ModelSpec | Misnomer | GpuSpec | Offer | HostedApi | Benchmark | Measurement | ErrorBand
_T = TypeVar("_T", ModelSpec, GpuSpec, Benchmark)
_SEPARATORS = str.maketrans("", "", "-_. /")
_HUBS = ("https://huggingface.co/", "http://huggingface.co/", "huggingface.co/", "hf.co/")
_CLOSE_MATCHES = 4


def normalized(name: str) -> str:
    """A name without case, dashes, underscores, dots, spaces and slashes."""
    return name.lower().translate(_SEPARATORS)


def identity(record: CatalogRecord) -> tuple[str, ...]:
    """What tells an entry from others of its kind. An offer's GPU belongs to it: clouds attach several to one type."""
    if isinstance(record, Offer):
        instance = (record.provider, record.region, record.instance_type, record.kind.value)
        return (*instance, record.gpu, str(record.gpu_count))
    return record.names if isinstance(record, Misnomer) else (record.id,)


def model_names(model: ModelSpec) -> tuple[tuple[str, ...], ...]:
    """The names a model answers to, the strongest group first: id, aliases, repositories, what follows their slash."""
    quantized = tuple(checkpoint.repository for checkpoint in model.quantizations)
    own, others = _tail(model.repository), tuple(_tail(repository) for repository in quantized)
    return ((model.id,), model.aliases, (model.repository,), (own,), quantized, others)


def gpu_names(gpu: GpuSpec) -> tuple[tuple[str, ...], ...]:
    """The names a GPU answers to, the strongest group first: id, aliases, name, Kubernetes product labels."""
    return ((gpu.id,), gpu.aliases, (gpu.name,), gpu.kubernetes_labels)


def benchmark_names(benchmark: Benchmark) -> tuple[tuple[str, ...], ...]:
    """The names a benchmark answers to: id, then name."""
    return ((benchmark.id,), (benchmark.name,))


def families(catalog: Catalog) -> tuple[str, ...]:
    """Every family, sorted."""
    return tuple(sorted({model.family for model in catalog.models}))


def resolve_model(catalog: Catalog, name: str) -> ModelSpec:
    """The model that a name stands for. Text-only models resolve too: see `modality`.

    Raises UnknownName with close matches, with the members where `name` is a family, or with what is meant where people
    use it for something that does not exist.
    """
    found = _find(catalog.models, name, model_names)
    if len(found) == 1:
        return found[0]
    members = found or _members(catalog, name)
    if not members:
        raise _unknown_model(catalog, name)
    if len(members) == 1:
        return members[0]
    what = "means more than one model" if found else "is a family"
    listed = ", ".join(model.id for model in members)
    raise UnknownName("model", name, [model.id for model in members], remedy=f"It {what}. Name one of: {listed}.")


def resolve_models(catalog: Catalog, name: str) -> tuple[ModelSpec, ...]:
    """One model, or the members of a family by size; raises UnknownName as `resolve_model` does.

    A family's name means all of it, even where it is also an alias of its best-known member; an id means that model.
    """
    is_id = any(normalized(model.id) == normalized(name) for model in catalog.models)
    members = () if is_id else _members(catalog, name)
    return members or (resolve_model(catalog, name),)


def resolve_gpu(catalog: Catalog, name: str) -> GpuSpec:
    """The GPU that an id, alias, name or Kubernetes product label stands for; raises UnknownName."""
    return _only(catalog.gpus, name, gpu_names, "GPU")


def resolve_benchmark(catalog: Catalog, name: str) -> Benchmark:
    """The benchmark that an id or name stands for; raises UnknownName."""
    return _only(catalog.benchmarks, name, benchmark_names, "benchmark")


def clashes(records: Sequence[_T], names: Callable[[_T], tuple[tuple[str, ...], ...]]) -> Iterator[tuple[str, _T, _T]]:
    """Names under which two records answer with equal right, so that a user could be given the wrong one."""
    taken: dict[tuple[int, str], _T] = {}
    for record in records:
        for strength, group in enumerate(names(record)):
            for name in dict.fromkeys(normalized(name) for name in group):
                other = taken.setdefault((strength, name), record)
                if other is not record:
                    yield name, other, record


def _only(records: Sequence[_T], name: str, names: Callable[[_T], tuple[tuple[str, ...], ...]], kind: str) -> _T:
    found = _find(records, name, names)
    if len(found) == 1:
        return found[0]
    if found:
        listed = [record.id for record in found]
        raise UnknownName(kind, name, listed, remedy=f"It means more than one. Name one of: {', '.join(listed)}.")
    raise UnknownName(kind, name, _close(name, {record.id: names(record) for record in records}))


def _find(records: Sequence[_T], name: str, names: Callable[[_T], tuple[tuple[str, ...], ...]]) -> tuple[_T, ...]:
    """Records that answer with the greatest right: as written before by variant, then by the strength of the group."""
    wanted = _without_hub(name)
    for spelling in (str.lower, normalized):
        key = spelling(wanted)
        best: dict[int, list[_T]] = {}
        for record in records if key else ():
            for strength, group in enumerate(names(record)):
                if any(spelling(known) == key for known in group):
                    best.setdefault(strength, []).append(record)
                    break
        if best:
            return tuple(best[min(best)])
    return ()


def _members(catalog: Catalog, family: str) -> tuple[ModelSpec, ...]:
    key = normalized(family)
    members = [model for model in catalog.models if normalized(model.family) == key]
    return tuple(sorted(members, key=lambda model: (model.parameters.total_billions, model.id)))


def _unknown_model(catalog: Catalog, name: str) -> UnknownName:
    key = normalized(_without_hub(name))
    for misnomer in catalog.misnomers:
        if any(normalized(known) == key for known in misnomer.names):
            instead = f" Use {' or '.join(misnomer.instead)}." if misnomer.instead else ""
            return UnknownName("model", name, misnomer.instead, remedy=f"{misnomer.explanation}{instead}")
    known: dict[str, tuple[tuple[str, ...], ...]] = {model.id: model_names(model) for model in catalog.models}
    known.update({family: ((family,),) for family in families(catalog) if family not in known})
    return UnknownName("model", name, _close(_without_hub(name), known))


def _close(name: str, known: dict[str, tuple[tuple[str, ...], ...]]) -> list[str]:
    from difflib import get_close_matches  # only an unknown name needs it

    spelled = {normalized(alias): id_ for id_ in sorted(known, reverse=True) for alias in _flat(known[id_])}
    spelled.update({normalized(id_): id_ for id_ in known})
    close = get_close_matches(normalized(name), spelled, n=3 * _CLOSE_MATCHES, cutoff=0.6)
    return list(dict.fromkeys(spelled[match] for match in close))[:_CLOSE_MATCHES]


def _flat(groups: Iterable[Iterable[str]]) -> Iterator[str]:
    for group in groups:
        yield from group


def _tail(repository: str) -> str:
    return repository.rpartition("/")[2]


def _without_hub(name: str) -> str:
    wanted = name.strip()
    for hub in _HUBS:
        wanted = wanted.removeprefix(hub)
    return wanted.strip("/")
