"""Logs for machines: one JSON object a line, without secrets, and without kopf's talk of each lost connection."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

from vlm_operator.records import Key

KEYS = {
    "time": "when, in UTC, to the millisecond (RFC 3339)",
    "level": "debug, info, warning or error",
    "logger": "the part of the operator that says it",
    "message": "a sentence",
    "namespace": "of the VLMDeployment that it is about, where it is about one",
    "deployment": "its name",
    "traceback": "of an error that nobody foresaw: a bug",
}
REPEATED = "Request attempt"  # how kopf begins to tell of every request that failed; cluster.py tells it once


_subject: ContextVar[Key | None] = ContextVar("subject", default=None)


@contextmanager
def about(key: Key | None) -> Iterator[None]:
    """Whatever is logged meanwhile, in this task and those that it starts, names the VLMDeployment, or none."""
    before = _subject.set(key)
    try:
        yield
    finally:
        _subject.reset(before)


class JsonLines(logging.Formatter):
    """A record as one line; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        told: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        subject = _subject.get()
        if subject is not None:
            told |= {"namespace": subject.namespace, "deployment": subject.name}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told).decode()


def configure(level: str) -> None:
    """Everything that is logged goes to stderr in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not record.getMessage().startswith(REPEATED))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
