"""The options that only `vlmctl bench` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmctl.cli.options import option

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="An OpenAI-compatible server, such as http://HOST:8000.")
]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Trust any certificate.")]

# What is sent.
MixedImageOption = Annotated[
    list[str] | None,
    option("Size of an image in each request, or a mixture: 1280x720=70,640x480=30; repeatable.", metavar="WxH"),
]
ContentOption = Annotated[
    list[str] | None, option("What images show: photo, document or chart; repeatable.", metavar="WHAT")
]
ImageFormatOption = Annotated[str | None, option("jpeg, if not said, or png.", metavar="NAME")]
QualityOption = Annotated[int | None, option("Of JPEG, 1 to 100; 85 if not said.", metavar="N")]
FolderOption = Annotated[Path | None, option("Images of your own instead.", metavar="DIR")]
ReuseImagesOption = Annotated[
    int | None, option("So many different images in all, to measure caches; else each is new.", metavar="N")
]
SharedPrefixOption = Annotated[
    int | None, option("Of them the same in all requests, to measure the prefix cache.", metavar="N")
]
OutputTokensOption = Annotated[int | None, option("Tokens of an answer, 256 if not said.", metavar="N")]
WorkloadOption = Annotated[Path | None, option("All of this from a YAML file; options given here win.", metavar="FILE")]
AgainstOption = Annotated[
    Path | None, option("A plan: its requests, objectives and knee, and how far it is off.", metavar="PLAN")
]
SeedOption = Annotated[int | None, option("Send the requests of an earlier run again.", metavar="N")]

# When it is sent, and for how long.
ConcurrencyOption = Annotated[
    list[int] | None,
    option(
        "Requests in flight; repeatable. Else steps around the planned knee or doubling, until throughput is flat or "
        "an objective breaks.",
        metavar="N",
    ),
]
RateOption = Annotated[
    list[float] | None, option("Requests sent per second, answered or not; repeatable.", metavar="N")
]
ArrivalOption = Annotated[str | None, option("Of --rate: poisson, if not said, gamma or constant.", metavar="NAME")]
BurstinessOption = Annotated[float | None, option("Of gamma: 1 is Poisson, below it burstier.", metavar="N")]
TraceOption = Annotated[
    str | None, option("Replay a trace's requests at its times: a CSV file or its name.", metavar="TRACE")
]
ScaleOption = Annotated[str | None, option("Times as many requests of the trace.", metavar="FACTOR")]
RequestsOption = Annotated[int | None, option("Requests of each step, instead of by time and interval.", metavar="N")]
StepOption = Annotated[str | None, option("Time of a step at most, 60s if not said.", metavar="DURATION")]
DeadlineOption = Annotated[str | None, option("Time of all steps together, 10m if not said.", metavar="DURATION")]
IntervalOption = Annotated[
    float | None,
    option("Half the 95% interval of the throughput over it that ends a step; 0.05.", metavar="SHARE"),
]
MaxErrorsOption = Annotated[float | None, option("Share of failed requests that ends the run; 0.1.", metavar="SHARE")]
MaxConcurrencyOption = Annotated[int | None, option("Highest step of the ladder, 256 if not said.", metavar="N")]
WarmUpOption = Annotated[int | None, option("Requests before anything is measured; 2.", metavar="N")]

# What the results say.
PriceOption = Annotated[str | None, option("Dollars per hour of the server; else the plan's.", metavar="USD")]
CatalogModelOption = Annotated[str | None, option("The catalog's name of the model, for the results.", metavar="MODEL")]
ModelRevisionOption = Annotated[str | None, option("Of the checkpoint, for the results.", metavar="NAME")]
WeightsOption = Annotated[str | None, option("Precision, bf16 if not said.", metavar="NAME")]
GpuOption = Annotated[str | None, option("What it runs on, for the results.", metavar="GPU")]
GpuCountOption = Annotated[int | None, option("How many of them.", metavar="N")]
EngineArgumentOption = Annotated[
    list[str] | None, option("An argument of the engine, for the results; repeatable.", metavar="ARG")
]
WriteOption = Annotated[
    Path | None, option("Write the results, for `vlmctl calibrate` and `accuracy`.", metavar="FILE")
]
