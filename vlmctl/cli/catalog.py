"""`vlmctl catalog`: whether the catalog, or an overlay of your own, is in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import Format, OutputOption, bare_group_shows_help
from vlmctl.cli.output import Output, Table, Text
from vlmctl.errors import UsageError

app = options.command_app(help="Check the catalog.")
app.callback(invoke_without_command=True)(bare_group_shows_help)


@app.command("check")
def check_catalog(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="An overlay folder; without it, all that is read.", show_default=False),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check catalog files.

    Every mistake with file, line and remedy. Exit code 2 where there is one.

    JSON: an array of objects with file, line, problem, remedy; empty where all is well.
    """
    from vlmctl import library

    findings = library.check_catalog(folder)
    rows = [(f"{item.file}:{item.line}" if item.line else item.file, item.problem, item.remedy) for item in findings]
    blocks = [Table(("Where", "Problem", "Remedy"), rows)] if rows else [Text("No mistakes found.")]
    Output(output).show(findings, blocks)
    if findings:
        count = f"{len(findings)} mistakes" if len(findings) > 1 else "a mistake"
        raise UsageError(f"{count} in the catalog.", remedy="Mend the lines named above.")
