"""`vlmctl`: the commands put together, and the way in and out of the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from vlmctl.cli import errors
from vlmctl.cli.output import write
from vlmctl.version import __version__

# In the order of the help. Each module holds an `app`, imported only when its command is called or listed. Of two words
# the second is no argument of the first.
MODULES = {
    "recommend": "recommend",
    "advise": "advise",
    "cost": "cost",
    "fit": "fit",
    "plan": "plan",
    "explain": "explain",
    "simulate": "simulate",
    "tokens": "tokens",
    "models": "models",
    "gpus": "gpus",
    "prices": "prices",
    "benchmarks": "benchmarks",
    "accuracy": "accuracy",
    "calibrate": "calibrate",
    "ask": "ask",
    "bench": "bench",
    "bench export": "bench_export",
    "status": "status",
    "top": "top",
    "compare": "compare",
    "cases": "cases",
    "catalog": "catalog",
}
EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in errors.EXIT_CODES.items()) + "."


class Commands(Mapping[str, Any]):
    """The commands by name, each made when it is asked for: making all of them would cost every command its time."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            command = get_command(import_module(f"vlmctl.cli.{MODULES[name]}").app)
            command.name = name
            self._made[name] = command
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class Group(TyperGroup):
    """The top of the command tree."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = Commands()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that a line names, one of two words before one of the first alone."""
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if two in MODULES else args)


app = typer.Typer(
    name="vlmctl",
    cls=Group,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `arguments` default to the process's own."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character still gets the rest
    return errors.run(lambda: get_command(app).main(args=arguments, prog_name="vlmctl", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
