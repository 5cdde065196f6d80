"""Logs: a line is one JSON object, whatever is in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import msgspec
import pytest
from vlm_operator import log_lines
from vlm_operator.records import Key
from vlm_operator.work_queue import Outcome, WorkQueue


@contextmanager
def configured() -> Iterator[None]:
    """Logging as in the operator, and afterwards as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    log_lines.configure("INFO")
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in ("kopf", "aiohttp.access"):
            logging.getLogger(name).setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]


def test_a_traceback_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Line ends are part of a field, and whose pass it was is a field too."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        with configured(), log_lines.about(Key("team", "vision")):
            logging.getLogger("a.b").exception("It\nfailed.")
    (line,) = lines(capsys)
    assert (line["level"], line["logger"], line["message"]) == ("error", "a.b", "It\nfailed.")
    assert (line["namespace"], line["deployment"]) == ("team", "vision")
    assert "ValueError: two\nlines" in line["traceback"]
    assert line["time"].endswith("+00:00")


def test_what_a_pass_logs_names_its_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it ends with a bug; what is logged beside it does not."""

    async def work(key: Key) -> Outcome:
        logging.getLogger("a.b").warning("Something of %s.", key.name)
        raise ValueError("provoked")

    async def scenario() -> None:
        passes = WorkQueue(work, workers=1, rng=Random(7))
        passes.add(Key("team", "vision"))
        running = asyncio.create_task(passes.run())
        await asyncio.sleep(0.05)
        logging.getLogger("a.b").warning("Nothing of any.")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with configured():
        asyncio.run(scenario())
    *of_pass, beside = lines(capsys)
    assert [each["message"] for each in of_pass] == [
        "Something of vision.",
        "A pass over team/vision ended with a bug.",
    ]
    assert {(each["namespace"], each["deployment"]) for each in of_pass} == {("team", "vision")}
    assert "namespace" not in beside


def test_kopf_does_not_tell_of_every_try(capsys: pytest.CaptureFixture[str]) -> None:
    """What our own client tells once, kopf would tell for each watch and each try."""
    with configured():
        logging.getLogger("kopf._cogs.clients").error("Request attempt #3 failed; will retry: GET /api")
        logging.getLogger("kopf._core").info("Something")
        logging.getLogger("kopf._core").warning("Something else")
    assert [line["message"] for line in lines(capsys)] == ["Something else"]
