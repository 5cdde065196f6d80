"""Options of the commands that read a cluster, and the cluster that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.errors import UsageError

if TYPE_CHECKING:
    from vlmctl.kubeconfig import Cluster

NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="This namespace; if not said, the context's.", show_default=False),
]
AllNamespacesOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
ContextOption = Annotated[
    str | None, options.option("Context of the kubeconfig, instead of its current one.", metavar="NAME")
]


def cluster_and_namespace(
    namespace: str | None, all_namespaces: bool, context: str | None
) -> tuple[Cluster, str | None]:
    """The cluster, and the namespace that is meant: None for all of them; raises as `kubeconfig.connected` does."""
    from vlmctl.kubeconfig import connected

    if namespace is not None and all_namespaces:
        raise UsageError("--namespace and --all-namespaces exclude each other.", remedy="Give one of them.")
    cluster = connected(context=context)
    return cluster, None if all_namespaces else namespace or cluster.namespace
