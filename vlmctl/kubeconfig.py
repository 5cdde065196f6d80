"""The cluster that kubeconfig names, else the one that this pod runs in, by way of the package kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from vlmctl.errors import NotReachable, UnknownName, UsageError

EXTRA = "pip install 'vlmctl[cluster]'"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Cluster(NamedTuple):
    """The package, configured; `namespace`: that of the context or of the pod, which is meant where none is said."""

    kubernetes: Any
    namespace: str


def connected(remedy: str = "Set KUBECONFIG.", *, context: str | None = None) -> Cluster:
    """The cluster, not yet asked anything; that of `context`, else of the kubeconfig's current one.

    Raises UsageError without the package (the remedy is its extra), for a context that is not there, or where neither a
    kubeconfig nor a pod's account is (the remedy is `remedy`).
    """
    try:
        import kubernetes
    except ImportError as error:
        raise UsageError("to read a cluster, the package kubernetes is needed.", remedy=f"Run: {EXTRA}") from error
    return Cluster(kubernetes, _configured(kubernetes.config, remedy, context))


def not_answering(error: Exception) -> NotReachable:
    """What to raise for an API server to which no connection was made, or which broke off."""
    return NotReachable(f"the cluster does not answer: {type(error).__name__}.", remedy="Is it up?")


def _configured(config: Any, remedy: str, context: str | None) -> str:
    """Take the kubeconfig, else the pod's own account; returns the namespace."""
    try:
        contexts, current = config.list_kube_config_contexts()
        named = {each["name"]: each for each in contexts}
        if context is not None and context not in named:
            raise UnknownName("context", context, remedy=f"The kubeconfig has {', '.join(sorted(named))}.")
        config.load_kube_config(context=context)
        return str((named[context] if context else current)["context"].get("namespace") or "default")
    except config.ConfigException as missing:
        reason = str(missing).rstrip(".")
        nothing = UsageError(f"there is no cluster to read: {reason}.", remedy=remedy)
        if context is not None:
            raise nothing from missing
        try:
            config.load_incluster_config()
            return POD_NAMESPACE.read_text().strip()
        except (config.ConfigException, OSError):
            raise nothing from missing
