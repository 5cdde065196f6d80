"""`vlmctl`: the commands put together, and the way in and out of the process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from vlmctl.cli import (
    advise,
    benchmarks,
    catalog,
    cost,
    errors,
    explain,
    fit,
    hardware,
    models,
    plan,
    recommend,
    tokens,
)
from vlmctl.cli.output import write
from vlmctl.version import __version__

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in errors.EXIT_CODES.items()) + "."

app = typer.Typer(
    name="vlmctl",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)


def _show_version(asked: bool) -> None:
    if asked:
        write(f"vlmctl {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def vlmctl(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Choose, price and run open vision-language models on your own GPUs.

    Start with `vlmctl recommend`, or let `vlmctl advise` ask the questions.
    """
    if context.invoked_subcommand is None:
        write(context.get_help() + "\n")


app.command("recommend")(recommend.recommend)
app.command("cost")(cost.cost)
app.command("fit")(fit.fit)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("advise")(advise.advise)
app.command("tokens")(tokens.tokens)
app.add_typer(models.app, name="models")
app.command("gpus")(hardware.gpus)
app.add_typer(hardware.prices_app, name="prices")
app.command("benchmarks")(benchmarks.benchmarks)
app.add_typer(catalog.app, name="catalog")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `arguments` default to the process's own."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character still gets the rest
    return errors.run(lambda: get_command(app).main(args=arguments, prog_name="vlmctl", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
