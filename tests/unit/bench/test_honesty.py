"""Latencies as they were: against servers whose delays are known, under closed and open loads, frozen ones included.

On a clock of the tests' own; `benchmarks/bench_load.py --honesty` is the same on a real one.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.support import virtual_time
from tests.support.servers import ScriptedServer, serving
from vlmctl.bench.endpoint import Endpoint
from vlmctl.bench.figures import StepFigures
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.run import Settings, run
from vlmctl.bench.workload import BenchWorkload

REQUESTS = 400
RELATIVE, ABSOLUTE_SECONDS = 0.02, 0.001  # that a percentile may be off
PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
CLOSED = LoadShape(arrival=Arrival.CLOSED, concurrency=40)
POISSON = LoadShape(arrival=Arrival.POISSON, requests_per_second=100.0)


def measured(server: ScriptedServer, shape: LoadShape, *, requests: int) -> StepFigures:
    settings = Settings(
        workload=BenchWorkload(output_tokens=server.tokens),
        shapes=(shape,),
        requests=requests,
        warm_up_requests=0,
        deadline_seconds=600.0,
        seed=3,
    )

    async def load() -> StepFigures:
        async with serving(server) as url:
            return (await run(Endpoint(url=url), settings)).steps[0]

    figures = virtual_time.run(load())
    assert (figures.completed, figures.failed) == (requests, 0)
    return figures


@pytest.mark.parametrize("shape", [CLOSED, POISSON], ids=["closed", "open"])
@pytest.mark.parametrize("middle_seconds", [0.02, 0.4])
def test_percentiles_are_those_of_the_known_delays(shape: LoadShape, middle_seconds: float) -> None:
    """p50 to p99 of TTFT, TPOT and E2E within 2% or 1 ms of what the server was told to take."""
    probes, tokens = 2, 4  # each run begins with two requests for one token each
    delays = [middle_seconds * Random(number).lognormvariate(0.0, 0.6) for number in range(REQUESTS + probes)]
    gaps = [Random(-number - 1).uniform(0.01, 0.03) for number in range(REQUESTS + probes)]
    server = ScriptedServer(tokens=tokens, delay=delays.__getitem__, gap=gaps.__getitem__)
    figures = measured(server, shape, requests=REQUESTS)
    ttft, tpot = np.array(delays[probes:]), np.array(gaps[probes:])
    for found, truth in ((figures.ttft, ttft), (figures.tpot, tpot), (figures.e2e, ttft + (tokens - 1) * tpot)):
        assert found is not None
        for name, share in PERCENTILES.items():
            seen, true = getattr(found, name).value, float(np.percentile(truth, share))
            assert abs(seen - true) <= max(RELATIVE * true, ABSOLUTE_SECONDS)


def test_a_server_that_freezes_shows_in_the_tail_of_an_open_load() -> None:
    """Requests that were to be sent while it stood still count their wait: a freeze of 2 s in 3 s at an even rate makes
    two thirds of them wait up to 2 s. A closed load of one sees a single slow request.
    """
    shape = LoadShape(arrival=Arrival.CONSTANT, requests_per_second=50.0)
    figures = measured(ScriptedServer(tokens=1, freeze=(0.5, 2.5)), shape, requests=150)
    assert figures.ttft is not None
    assert figures.ttft.p99.value == pytest.approx(1.96, abs=0.02)
    assert figures.ttft.p90.value == pytest.approx(1.70, abs=0.05)
    assert figures.ttft.p50.value == pytest.approx(0.50, abs=0.05)
    server = ScriptedServer(tokens=1, delay=lambda _: 0.02, freeze=(0.5, 2.5))
    closed = measured(server, LoadShape(arrival=Arrival.CLOSED, concurrency=1), requests=60)
    assert closed.ttft is not None
    assert closed.ttft.p95.value < 0.2
