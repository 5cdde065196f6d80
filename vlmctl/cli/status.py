"""`vlmctl status`: deployments of a cluster, one in full or all in a table."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.cluster_options import AllNamespacesOption, ContextOption, NamespaceOption, cluster_and_namespace
from vlmctl.cli.options import Format, OutputOption
from vlmctl.cli.output import Output
from vlmctl.errors import InvalidValue, UsageError

app = options.command_app()


@app.command()
def status(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Deployments; if not said, all.", show_default=False)
    ] = None,
    namespace: NamespaceOption = None,
    all_namespaces: AllNamespacesOption = False,
    context: ContextOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show how deployments are doing.

    With a name: why it is in the state it is in and what to do, plan beside measurement, money, scaling, the steps of
    its start with their durations, and how to ask it. Without one: all in a table. Needs the `cluster` extra, and the
    verbs get and list of vlmdeployments.

    JSON: an array of objects; docs/json.md names their keys.
    """
    from vlmctl.cli import status_page
    from vlmctl.library.deployments import cluster_deployment, cluster_deployments
    from vlmctl.library.standing import standing

    cluster, where = cluster_and_namespace(namespace, all_namespaces, context)
    if names and where is None:
        raise UsageError("a name is looked for in one namespace.", remedy="Give -n instead of -A.")
    if names:
        found = [standing(cluster_deployment(cluster, str(where), name)) for name in dict.fromkeys(names)]
    else:
        found = [standing(each) for each in cluster_deployments(cluster, where)]
    if not found:
        raise InvalidValue(status_page.none_there(where), remedy=status_page.NONE_REMEDY)
    out = Output(output)
    blocks = status_page.in_full(found) if names else status_page.table(found, with_namespace=where is None)
    out.show(found, blocks, rows=[status_page.row(each) for each in found])
