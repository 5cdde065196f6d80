"""The options that only `vlmctl simulate` has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlmctl.cli.options import option


class Engine(StrEnum):
    """Who scales, as `spec.scaling.engine` of a VLMDeployment has it."""

    OPERATOR = "Operator"
    KEDA = "KEDA"
    HPA = "HPA"


# Traffic.
TraceOption = Annotated[
    str | None,
    option("Replay this CSV file, or a shipped trace: azure-code-2023, azure-conversation-2023.", metavar="FILE"),
]
RateOption = Annotated[
    str | None,
    option(
        "Draw requests at this rate instead: 2/s, daily:5 or weekly:5 with the busiest rate, or hours and rates, "
        "0h:0.1,8h:2,20h:1.",
        metavar="CURVE",
    ),
]
DaysOption = Annotated[float | None, option("Length of --rate; 7 for weekly, else 1.", metavar="N")]
BurstsOption = Annotated[
    float | None, option("Bursts a day in --rate: three times the rate for some minutes.", metavar="N")
]
WeekendOption = Annotated[float | None, option("Rate of days 6 and 7 over that of others.", metavar="SHARE")]
ScaleOption = Annotated[str | None, option("So many times the requests, such as 3x.", metavar="FACTOR")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of what is drawn at random.")]

# Policies.
TargetOption = Annotated[
    list[float] | None,
    option("Load of a replica, as a share of what it serves in time; repeatable.", metavar="SHARE"),
]
MinReplicasOption = Annotated[list[int] | None, option("Replicas at least, 0 scales to zero; repeatable.", metavar="N")]
MaxReplicasOption = Annotated[int | None, option("Replicas at most.", metavar="N")]
IdleOption = Annotated[
    list[str] | None, option("Without requests until there is no replica; repeatable.", metavar="DURATION")
]
ScaleDownAfterOption = Annotated[
    str | None, option("Window that scaling down waits for, 5m if not said.", metavar="DURATION")
]
EngineOption = Annotated[
    Engine,
    option(
        "Who scales, Operator if not said. KEDA and the HPA know the load of now alone; KEDA alone goes to zero.",
        case_sensitive=False,
    ),
]
LookAheadOption = Annotated[
    str | None,
    option("The operator follows the trend so far; a cold start if not said, 0s for none.", metavar="DURATION"),
]
PlotOption = Annotated[Path | None, option("Draw the cheapest policy to this SVG file.", metavar="FILE")]
