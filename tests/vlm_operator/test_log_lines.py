"""Logs: a line is one JSON object, whatever is in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from vlm_operator import log_lines


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
        with configured():
            logging.getLogger("a.b").exception("It\nfailed.", extra={"namespace": "team", "deployment": "vision"})
    (line,) = lines(capsys)
    assert (line["level"], line["logger"], line["message"]) == ("error", "a.b", "It\nfailed.")
    assert (line["namespace"], line["deployment"]) == ("team", "vision")
    assert "ValueError: two\nlines" in line["traceback"]
    assert line["time"].endswith("+00:00")


def test_kopf_does_not_tell_of_every_try(capsys: pytest.CaptureFixture[str]) -> None:
    """What our own client tells once, kopf would tell for each watch and each try."""
    with configured():
        logging.getLogger("kopf._cogs.clients").error("Request attempt #3 failed; will retry: GET /api")
        logging.getLogger("kopf._core").info("Something")
        logging.getLogger("kopf._core").warning("Something else")
    assert [line["message"] for line in lines(capsys)] == ["Something else"]
