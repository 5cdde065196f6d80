"""Objects of a cluster, as its API server tells them: all of a kind, or one by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmctl.api.records import GROUP, VERSION
from vlmctl.errors import InvalidValue, NotReachable
from vlmctl.kubeconfig import Cluster, not_answering

ANSWER_SECONDS = 30.0  # of the API server

KubernetesObject = dict[str, Any]


def listed(cluster: Cluster, plural: str, namespace: str | None) -> KubernetesObject:
    """The list of our objects of that kind, in all namespaces where none is named.

    Raises NotReachable where the cluster does not answer or does not show them.
    """
    custom = cluster.kubernetes.client.CustomObjectsApi()

    def ask() -> Any:
        if namespace is None:
            return custom.list_cluster_custom_object(GROUP, VERSION, plural, _request_timeout=ANSWER_SECONDS)
        return custom.list_namespaced_custom_object(GROUP, VERSION, namespace, plural, _request_timeout=ANSWER_SECONDS)

    forbidden = "Name a namespace of yours: --namespace." if namespace is None else ""
    return _answer(cluster, ask, plural, {403: forbidden, 404: "Is the operator installed?"})


def named(cluster: Cluster, plural: str, namespace: str, name: str, *, kind: str) -> KubernetesObject:
    """One of our objects; raises InvalidValue where it is not there, NotReachable as `listed` does."""
    custom = cluster.kubernetes.client.CustomObjectsApi()
    what = f"{kind} {name} in namespace {namespace}"

    def ask() -> Any:
        return custom.get_namespaced_custom_object(
            GROUP, VERSION, namespace, plural, name, _request_timeout=ANSWER_SECONDS
        )

    missing = InvalidValue(f"there is no {what}.", remedy=f"See `kubectl get {plural} -A`.")
    return _answer(cluster, ask, what, {}, missing=missing)


def nodes(cluster: Cluster) -> list[KubernetesObject] | None:
    """The nodes; None where the account may not list them. Raises NotReachable where the cluster does not answer."""
    import json

    core = cluster.kubernetes.client.CoreV1Api()

    def ask() -> Any:
        # Read as they are: records of every field of a thousand nodes would take seconds to make.
        return json.loads(core.list_node(_request_timeout=ANSWER_SECONDS, _preload_content=False).data)

    try:
        found = _answer(cluster, ask, "nodes", {})
    except _Refused:
        return None
    items: list[KubernetesObject] = found.get("items") or []
    return items


class _Refused(NotReachable):
    """The API server answers, and does not show what was asked for."""


def _answer(
    cluster: Cluster, ask: Callable[[], Any], what: str, remedies: dict[int, str], *, missing: Exception | None = None
) -> KubernetesObject:
    from urllib3.exceptions import HTTPError

    try:
        found: KubernetesObject = ask()
        return found
    except cluster.kubernetes.client.ApiException as error:
        if error.status == 404 and missing is not None:
            raise missing from error
        raise _Refused(
            f"the cluster does not show {what}: {error.status} {error.reason}.", remedy=remedies.get(error.status, "")
        ) from error
    except (HTTPError, OSError) as error:
        raise not_answering(error) from error
