"""The options that only `vlmctl compare` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmctl.cli.options import option

MAXIMUM_REPEATS, MAXIMUM_CONCURRENCY, MAXIMUM_OUTPUT_TOKENS = 100, 1_000, 1_000_000

CasesOption = Annotated[Path, typer.Option("--cases", metavar="FILE", help="Images, questions and what is right.")]

# Who is compared.
EndpointOption = Annotated[
    list[str] | None,
    option(
        "A model: NAME=URL and, after commas, model=, price=1.20/h or price=0.10:0.40 per million tokens in and out, "
        "catalog=, boxes=, key=VARIABLE; repeatable.",
        metavar="NAME=URL",
    ),
]
DeploymentOption = Annotated[
    list[str] | None,
    option(
        "A VLMDeployment of the cluster that kubeconfig names, with its address, key and price; repeatable.",
        metavar="NAME[.NAMESPACE]",
    ),
]
LocalOption = Annotated[
    list[str] | None, option("A model to serve here with vLLM, one after another; repeatable.", metavar="MODEL")
]
EngineArgumentOption = Annotated[
    list[str] | None,
    option("Passed to `vllm serve` of --local, such as --max-model-len=8192; repeatable.", metavar="ARG"),
]
HeaderOption = Annotated[
    list[str] | None,
    option(
        "A header of every request, or of those to one endpoint; its value is never shown; repeatable.",
        metavar="[ENDPOINT:]NAME=VALUE",
    ),
]

# How they are asked.
SweepResolutionOption = Annotated[
    str | None, option("Longer sides in pixels: 336..2048 or 224,336,512.", metavar="SIDES")
]
SweepImagesOption = Annotated[
    str | None, option("Images in a request, filled up from other cases: 1..8 or 1,2,4.", metavar="COUNTS")
]
RepeatsOption = Annotated[int, typer.Option(metavar="N", help="Times each case is asked.", min=1, max=MAXIMUM_REPEATS)]
ConcurrencyOption = Annotated[
    int, typer.Option(metavar="N", help="Requests in flight.", min=1, max=MAXIMUM_CONCURRENCY)
]
MaxTokensOption = Annotated[
    int, typer.Option(metavar="N", help="Tokens of an answer at most.", min=1, max=MAXIMUM_OUTPUT_TOKENS)
]
TemperatureOption = Annotated[float, typer.Option(metavar="N", help="0: the likeliest answer.", min=0.0, max=2.0)]
RetriesOption = Annotated[int, typer.Option(metavar="N", help="Tries after a request broke off.", min=0, max=20)]
AlphaOption = Annotated[
    float, typer.Option(metavar="N", help="Chance of calling equal models different.", min=1e-6, max=0.5)
]
SeedOption = Annotated[int, typer.Option(metavar="N", help="Of what is drawn at random.")]

# Where it is written.
ReportOption = Annotated[Path | None, option("Write one HTML page with everything.", metavar="FILE")]
ReportImageSideOption = Annotated[
    int, typer.Option(metavar="N", help="Longer side of images in the page, in pixels.", min=64, max=4096)
]
ResultsOption = Annotated[Path | None, option("Write every answer as JSON.", metavar="FILE")]
