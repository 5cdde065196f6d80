"""What the operator tells of itself: names by Prometheus' conventions, and numbers that follow what happens."""

from __future__ import annotations

import asyncio
import re
from random import Random

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from vlm_operator import metrics
from vlm_operator.records import Key
from vlm_operator.work_queue import Outcome, WorkQueue


def told() -> dict[str, list[float]]:
    """By metric the values of its samples."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {family.name: [each.value for each in family.samples] for family in families}


def test_names_say_whose_they_are() -> None:
    """All are ours or the process', each with words that say what it is."""
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        assert re.fullmatch(r"(vlmctl|process)_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")


def test_more_is_shown_only_in_its_time() -> None:
    """What one leader showed is gone when it leads no longer."""

    class Collector:
        def collect(self) -> list[GaugeMetricFamily]:
            return [GaugeMetricFamily("vlmctl_extra", "More.", value=1.0)]

    with metrics.shown(Collector()):  # type: ignore[arg-type]
        assert told()["vlmctl_extra"] == [1.0]
    assert "vlmctl_extra" not in told()


def test_the_oldest_wait_is_told() -> None:
    """From when the first was added, until a worker takes it; the queue's length goes with it."""

    async def work(_: Key) -> Outcome:
        return Outcome()

    async def scenario() -> None:
        queue = WorkQueue(work, workers=1, rng=Random(1))
        assert queue.oldest_age_seconds == 0.0
        queue.add(Key("team", "a"))
        await asyncio.sleep(0.02)
        queue.add(Key("team", "b"))
        assert queue.oldest_age_seconds >= 0.02
        assert told()["vlmctl_queue_length"] == [2.0]
        running = asyncio.create_task(queue.run())
        await asyncio.sleep(0.02)
        assert queue.oldest_age_seconds == 0.0
        assert told()["vlmctl_queue_length"] == [0.0]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
