"""Options that several commands share, declared once so that they read and behave alike everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vlmctl.library import Wishes


class Format(StrEnum):
    """How an answer is written to stdout."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    MARKDOWN = "markdown"


def complete_models(incomplete: str) -> list[str]:
    """Model ids that start with what was typed, for the shell."""
    from vlmctl import library

    return [model.id for model in library.load_catalog().models if model.id.startswith(incomplete.lower())]


def complete_gpus(incomplete: str) -> list[str]:
    """GPU ids that start with what was typed, for the shell."""
    from vlmctl import library

    return [gpu.id for gpu in library.load_catalog().gpus if gpu.id.lower().startswith(incomplete.lower())]


def command_app(**settings: Any) -> typer.Typer:
    """A Typer for one command or a group of them, without decoration that costs time."""
    return typer.Typer(rich_markup_mode=None, add_completion=False, **settings)


def bare_group_shows_help(context: typer.Context) -> None:
    """Print the help of a group of commands that was called without one."""
    if context.invoked_subcommand is None:
        from vlmctl.cli.output import write

        write(context.get_help() + "\n")


def said(context: typer.Context, names: Iterable[str]) -> dict[str, Any]:
    """The options among `names` that were really given, by name: what a file or a default is not to override."""
    given = {name: context.params.get(name) for name in names}
    return {name: value for name, value in given.items() if value is not None and value is not False and value != ()}


def wishes(context: typer.Context, names: Iterable[str], require: Path | None = None) -> Wishes:
    """What was asked: the options that were given, over those of the file where there is one."""
    from vlmctl import library

    below = library.read_wishes(require) if require is not None else library.Wishes()
    return library.laid_over(below, library.wishes_from(said(context, names)))


def option(help: str, **settings: Any) -> Any:
    """An option whose default is that nothing was said."""
    return typer.Option(help=help, show_default=False, **settings)


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to write the answer.")]
CatalogOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog",
        metavar="DIR",
        help="Overlay folder with your own models, GPUs or prices; repeatable, later ones win.",
        show_default=False,
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Catalog id, alias or repository.", autocompletion=complete_models)
]
ModelsArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="Catalog ids, aliases or repositories.", autocompletion=complete_models),
]

RequireOption = Annotated[
    Path | None, option("Options from a YAML file, by name: `task: chart`; those given here win.", metavar="FILE")
]

# How a server is reached.
ServedModelOption = Annotated[str | None, option("The model, where several are served.", metavar="NAME")]
KeyOption = Annotated[str | None, option("Environment variable with the API key.", metavar="VARIABLE")]
HeaderOption = Annotated[
    list[str] | None, option("A header of every request; its value is never shown; repeatable.", metavar="NAME=VALUE")
]

# What a request is like.
TaskOption = Annotated[
    list[str] | None,
    option("What it is for, such as document-ocr or chart=2 with a weight; repeatable.", metavar="TASK"),
]
ImageOption = Annotated[list[str] | None, option("Size of an image in each request; repeatable.", metavar="WxH")]
ImagesOption = Annotated[int | None, option("Images of each size in one request, 1 if not said.", metavar="N")]
VideoOption = Annotated[
    list[str] | None, option("A video in each request, such as 60s@1fps:1280x720.", metavar="LENGTH@RATE:WxH")
]
PromptTokensOption = Annotated[int | None, option("Text tokens in each request, 64 if not said.", metavar="N")]
OutputTokensOption = Annotated[
    int | None, option("Tokens of an answer; if not said, what the task usually takes.", metavar="N")
]
NeedsOption = Annotated[
    list[str] | None, option("Abilities: thinking, tools, video, grounding; repeatable.", metavar="NAME")
]
LanguageOption = Annotated[list[str] | None, option("Languages as codes such as ja; repeatable.", metavar="CODE")]
LicenseOption = Annotated[
    str | None, option("What the licence must allow: permissive, commercial, research or any.", metavar="POLICY")
]
MaxParamsOption = Annotated[float | None, option("Billion parameters at most, all counted.", metavar="N")]
MinContextOption = Annotated[int | None, option("Room for sequences of at least so many tokens.", metavar="N")]
MultiImageOption = Annotated[bool, typer.Option("--multi-image", help="Several images in one request.")]
MinScoreOption = Annotated[
    list[str] | None, option("A published score, such as docvqa=90; repeatable.", metavar="NAME=N")
]
FamilyOption = Annotated[list[str] | None, option("Only this family; repeatable.", metavar="NAME")]
UnverifiedOption = Annotated[
    bool, typer.Option("--include-unverified", help="Also models with facts that nobody verified.")
]
PreferOption = Annotated[
    str | None, option("What ranks higher: quality, balanced (if not said) or cost.", metavar="WHAT")
]
RpsOption = Annotated[float | None, option("Requests per second to serve.", metavar="N")]
ConcurrencyOption = Annotated[int | None, option("Requests in flight on one replica, instead of --rps.", metavar="N")]
TtftOption = Annotated[str | None, option("Time to first token, 95th percentile, such as 2s.", metavar="DURATION")]
TpotOption = Annotated[str | None, option("Time per output token, 95th percentile, such as 50ms.", metavar="DURATION")]

# How it starts.
ColdStartOption = Annotated[
    str | None, option("Until a new replica is ready, instead of the estimate.", metavar="DURATION")
]

# Where it may run.
GpuOption = Annotated[
    list[str] | None, option("Only this GPU; repeatable.", metavar="GPU", autocompletion=complete_gpus)
]
MaxGpusOption = Annotated[int | None, option("GPUs per replica at most.", metavar="N")]
ProviderOption = Annotated[list[str] | None, option("Only this provider; repeatable.", metavar="NAME")]
RegionOption = Annotated[list[str] | None, option("Only this region; repeatable.", metavar="NAME")]
SpotOption = Annotated[bool, typer.Option("--spot", help="Allow spot prices too.")]
QuantizationOption = Annotated[
    list[str] | None,
    option(
        "Only checkpoints of this precision, such as fp8 or awq; any allows all. If not said: the model's own, and "
        "those whose quality was published.",
        metavar="NAME",
    ),
]
OwnedOption = Annotated[
    list[str] | None, option("GPUs that are yours, such as 4xL40S, instead of rented ones.", metavar="NxGPU")
]
PurchaseOption = Annotated[float | None, option("Owned: price of one GPU with its share of the server.", metavar="USD")]
YearsOption = Annotated[float | None, option("Owned: years of use, 3 if not said.", metavar="N")]
PueOption = Annotated[
    float | None, option("Owned: power of the facility over that of its machines, 1.56 if not said.", metavar="N")
]
PowerShareOption = Annotated[
    float | None, option("Owned: mean power over the GPU's maximum, 0.7 if not said.", metavar="SHARE")
]
KwhOption = Annotated[float | None, option("Owned: price of a kWh, 0.15 if not said.", metavar="USD")]
OpsOption = Annotated[float | None, option("Owned: operations per GPU and month, 30 if not said.", metavar="USD")]

# What it may cost.
MaxUsdPer1kOption = Annotated[float | None, option("Dollars per 1,000 requests at most.", metavar="USD")]
MaxUsdPerMonthOption = Annotated[float | None, option("Dollars per month at most.", metavar="USD")]
