"""Measurements that an operator keeps in its cluster, read from a file of `kubectl` or from the API server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile, InvalidValue, NotReachable
from vlmctl.kubeconfig import connected, not_answering
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.record import Record

PLURAL = "vlmbenchmarks"
COMMAND = f"kubectl get {PLURAL} -A -o json"
ANSWER_SECONDS = 30.0  # of the API server
ITEMS = "items"  # of a list of objects


class KeptBenchmark(Record, frozen=True, kw_only=True):
    """A VLMBenchmark, by its name and namespace, and its rows as measurements."""

    namespace: str
    name: str
    spec: api.VLMBenchmarkSpec
    rows: tuple[Measurement, ...]


def read_benchmarks(content: bytes, path: str) -> tuple[KeptBenchmark, ...]:
    """The VLMBenchmarks in the YAML or JSON that `kubectl get` writes; other kinds are passed over.

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
    return found


def cluster_benchmarks(namespace: str | None) -> tuple[KeptBenchmark, ...]:
    """The VLMBenchmarks of the cluster of the kubeconfig's context, in all namespaces where none is named.

    Raises UsageError without the `kubernetes` package or a kubeconfig, NotReachable where the cluster does not answer
    or does not show them.
    """
    kubernetes = connected(f"Set KUBECONFIG, or give `{COMMAND}`.").kubernetes
    from urllib3.exceptions import HTTPError

    try:
        custom = kubernetes.client.CustomObjectsApi()
        found = (
            custom.list_cluster_custom_object(api.GROUP, api.VERSION, PLURAL, _request_timeout=ANSWER_SECONDS)
            if namespace is None
            else custom.list_namespaced_custom_object(
                api.GROUP, api.VERSION, namespace, PLURAL, _request_timeout=ANSWER_SECONDS
            )
        )
        return kept_benchmarks([found])
    except kubernetes.client.ApiException as error:
        remedy = "Name a namespace of yours: --namespace." if error.status == 403 and namespace is None else ""
        if error.status == 404:
            remedy = "Is the operator installed?"
        raise NotReachable(
            f"the cluster does not show {PLURAL}: {error.status} {error.reason}.", remedy=remedy
        ) from error
    except (HTTPError, OSError) as error:
        raise not_answering(error) from error


def kept_benchmarks(documents: Iterable[Any]) -> tuple[KeptBenchmark, ...]:
    """The VLMBenchmarks among parsed documents and lists of them, by namespace and name; raises InvalidValue."""
    found = [_kept(each) for each in _objects(documents) if each.get("kind") == api.BENCHMARK_KIND]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


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
