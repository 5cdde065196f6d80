"""Measurements that an operator keeps in its cluster, read from a file of `kubectl` or from the API server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.measured_models import MeasuredModels
from vlmctl.errors import InvalidFile, InvalidValue, NotReachable, VlmctlError
from vlmctl.kubeconfig import connected
from vlmctl.library.cluster_objects import listed
from vlmctl.library.deployments import PLURAL as DEPLOYMENTS
from vlmctl.library.deployments import read_deployment
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import DescribedModel, Measurement
from vlmctl.specs.record import Record

PLURAL = "vlmbenchmarks"
COMMAND = f"kubectl get {PLURAL} -A -o json"
ITEMS = "items"  # of a list of objects


class KeptBenchmark(Record, frozen=True, kw_only=True):
    """A VLMBenchmark, by its name and namespace, and its rows as measurements."""

    namespace: str
    name: str
    spec: api.VLMBenchmarkSpec
    rows: tuple[Measurement, ...]


class Exported(NamedTuple):
    """Measurements, and the models among theirs that VLMDeployments describe, by the name that rows give them."""

    benchmarks: tuple[KeptBenchmark, ...]
    described: Mapping[str, DescribedModel]


def read_benchmarks(content: bytes, path: str) -> Exported:
    """The VLMBenchmarks in the YAML or JSON that `kubectl get` writes, with facts of VLMDeployments in it.

    Raises InvalidFile, naming `path`, for what is neither, or where none is in it.
    """
    import yaml

    try:
        documents = list(yaml.load_all(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise InvalidFile(path, "is neither YAML nor JSON.", line=line, remedy=f"Write it with `{COMMAND}`.") from error
    try:
        found = kept_benchmarks(documents)
    except InvalidValue as error:
        raise InvalidFile(path, error.message, remedy=error.remedy) from error
    if not found:
        raise InvalidFile(path, f"holds no {api.BENCHMARK_KIND}.", remedy=f"Write it with `{COMMAND}`.")
    return Exported(found, _described(documents, found))


def cluster_benchmarks(namespace: str | None) -> Exported:
    """The VLMBenchmarks of the cluster of the kubeconfig's context, in all namespaces where none is named.

    Raises UsageError without the `kubernetes` package or a kubeconfig, NotReachable where the cluster does not answer
    or does not show them.
    """
    cluster = connected(f"Set KUBECONFIG, or give `{COMMAND}`.")
    found = kept_benchmarks([listed(cluster, PLURAL, namespace)])
    try:
        deployments = listed(cluster, DEPLOYMENTS, namespace)
    except NotReachable:  # measurements are worth having without what only some of them need
        return Exported(found, {})
    return Exported(found, _described([deployments], found))


def unplaced(exported: Exported, catalog: Catalog) -> tuple[str, ...]:
    """Models of the measurements that neither the catalog holds nor a VLMDeployment describes."""
    models, missing = MeasuredModels(catalog, exported.described), set()
    for each in exported.benchmarks:
        try:
            models.find(each.spec.key.model)
        except VlmctlError:
            missing.add(each.spec.key.model)
    return tuple(sorted(missing))


def kept_benchmarks(documents: Iterable[Any]) -> tuple[KeptBenchmark, ...]:
    """The VLMBenchmarks among parsed documents and lists of them, by namespace and name; raises InvalidValue."""
    found = [_kept(each) for each in _objects(documents) if each.get("kind") == api.BENCHMARK_KIND]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def _described(documents: Iterable[Any], kept: Iterable[KeptBenchmark]) -> dict[str, DescribedModel]:
    """The facts that specs give of the measured models."""
    measured = {each.spec.key.model for each in kept}
    found = {}
    for each in _objects(documents):
        if each.get("kind") != api.KIND:
            continue
        deployment = read_deployment(each)
        facts = deployment.spec.model.facts if deployment.spec is not None else None
        if facts is not None and deployment.model in measured:
            with suppress(InvalidValue):  # of others, whose operator says so in their status
                found[str(deployment.model)] = reading.described(facts)
    return found


def _objects(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if isinstance(document, dict):
            items = document.get(ITEMS)
            if isinstance(items, list):
                # A list from the API server names the kind of its items only in its own.
                kind = str(document.get("kind", "")).removesuffix("List")
                yield from ({"kind": kind, **each} for each in items if isinstance(each, dict))
            else:
                yield document


def _kept(document: dict[str, Any]) -> KeptBenchmark:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name", ""))
    try:
        spec = msgspec.convert(document.get("spec"), api.VLMBenchmarkSpec)
        rows = tuple(msgspec.convert(row, Measurement) for row in spec.rows)
    except msgspec.ValidationError as error:
        raise InvalidValue(
            f"{api.BENCHMARK_KIND} {name or '?'} cannot be read: {error}.",
            remedy="Was it written by a newer operator? Update vlmctl.",
        ) from error
    return KeptBenchmark(namespace=str(metadata.get("namespace", "")), name=name, spec=spec, rows=rows)
