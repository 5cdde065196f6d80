"""Requests over time as people give them: trace files, read strictly, and rates such as `2/s` or `0h:0.1,9h:5`."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO

from vlmctl.errors import InvalidFile, InvalidValue
from vlmctl.planning.arrivals import (
    BURSTS_PER_DAY,
    DAYS_PER_WEEK,
    MAXIMUM_REQUESTS,
    SECONDS_PER_DAY,
    WEEKEND_SHARE,
    WORKING_DAY,
    Arrivals,
    RateCurve,
)
from vlmctl.units import SECONDS_PER_HOUR

TIME, PROMPT, OUTPUT, IMAGES = "TIMESTAMP", "ContextTokens", "GeneratedTokens", "NumImages"
COLUMNS = f"{TIME}, {PROMPT} and {OUTPUT}"
MAXIMUM_LINE = 10_000  # characters: far above any row
MAXIMUM_TOKENS = 100_000_000  # in one request
MAXIMUM_DAYS = 366
FARTHEST_SECONDS = 1e12  # from 1970: beyond any calendar
TRACES = "traces"
PACKED = ".gz"
GZIP_MAGIC = b"\x1f\x8b"

_PER_SECOND = {"s": 1.0, "m": 60.0, "min": 60.0, "h": float(SECONDS_PER_HOUR), "d": float(SECONDS_PER_DAY)}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_RATE = re.compile(rf"\s*({_NUMBER})\s*(?:/\s*(s|m|min|h|d))?\s*")
_SHAPED = re.compile(rf"\s*(daily|weekly)\s*:\s*({_NUMBER}\s*(?:/\s*(?:s|m|min|h|d))?)\s*")
_POINT = re.compile(rf"\s*({_NUMBER})\s*h\s*:\s*({_NUMBER}\s*(?:/\s*(?:s|m|min|h|d))?)\s*")
_FACTOR = re.compile(rf"\s*({_NUMBER})\s*[xX×]?\s*")


def parse_rate(text: str) -> tuple[RateCurve, int]:
    """A curve of requests per second, and the days it is usually watched for; raises InvalidValue.

    ``2``, ``2/s``, ``120/min`` and ``100000/d`` are constant. ``0h:0.1,8h:2,20h:1`` gives points of a day, joined by
    straight lines. ``daily:5`` is a working day that is busiest at 5 a second, ``weekly:5`` a week of them with quiet
    weekends and bursts.
    """
    constant, shaped = _RATE.fullmatch(text), _SHAPED.fullmatch(text)
    if constant is not None:
        return RateCurve(points=((0.0, _per_second(text)),)), 1
    if shaped is not None:
        day = RateCurve(points=WORKING_DAY).scaled(_per_second(shaped[2]))
        if shaped[1] == "daily":
            return RateCurve(points=day), 1
        return RateCurve(points=day, weekend_share=WEEKEND_SHARE, bursts_per_day=BURSTS_PER_DAY), DAYS_PER_WEEK
    points = [_POINT.fullmatch(item) for item in text.split(",")]
    found = tuple((float(point[1]), _per_second(point[2])) for point in points if point is not None)
    hours = [hour for hour, _ in found]
    if len(found) < len(points) or hours != sorted(set(hours)) or hours[-1] >= 24:
        raise InvalidValue(
            f"{text!r} is not a rate.",
            remedy="Write 2/s, daily:5, weekly:5, or hours in order with rates: 0h:0.1,8h:2,20h:1.",
        )
    return RateCurve(points=found), 1


def parse_factor(text: str) -> float:
    """3.0 from ``3x`` or ``3``; raises InvalidValue for what is not above 0."""
    match = _FACTOR.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise InvalidValue(f"{text!r} is not a factor.", remedy="Write 3x or 0.5x.")
    return float(match[1])


def shipped_traces() -> dict[str, Path]:
    """The traces that came with this installation, by name."""
    from vlmctl.catalog.folders import shipped_folder

    suffix = f".csv{PACKED}"
    found = sorted((shipped_folder() / TRACES).glob(f"*{suffix}"))
    return {path.name.removesuffix(suffix): path for path in found}


def read_trace(name: str | Path) -> Arrivals:
    """The requests of a CSV file, which may be gzipped, or of a shipped trace by its name; raises InvalidFile.

    A header names the columns TIMESTAMP (ISO 8601, or seconds), ContextTokens, GeneratedTokens and, where there is one,
    NumImages; others are passed over. The first request is at 0 seconds, and watching ends with the last.
    """
    traces = shipped_traces()
    path = Path(name) if str(name) not in traces or Path(name).is_file() else traces[str(name)]
    try:
        with path.open("rb") as binary, _text(binary) as file:
            return _arrivals(file, str(path))
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a null byte in the name, no UTF-8
        reason = getattr(error, "strerror", None) or error
        raise InvalidFile(
            str(path), f"cannot be read: {reason}.", remedy=f"Give a CSV file, or {' or '.join(traces)}."
        ) from error


def _text(binary: BufferedReader) -> IO[str]:
    """The file as text, unpacked where it is gzipped; read once, so that it may be a pipe."""
    packed = binary.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
    return TextIOWrapper(gzip.GzipFile(fileobj=binary) if packed else binary, encoding="utf-8-sig")


def _arrivals(file: IO[str], path: str) -> Arrivals:
    lines = _lines(file, path)
    header = [title.strip().strip('"').lower() for title in next(lines, (1, ""))[1].split(",")]
    places = {title: header.index(title.lower()) for title in (TIME, PROMPT, OUTPUT, IMAGES) if title.lower() in header}
    missing = [title for title in (TIME, PROMPT, OUTPUT) if title not in places]
    if missing:
        raise InvalidFile(path, f"lacks {' and '.join(missing)}.", line=1, remedy=f"Its header names {COLUMNS}.")
    rows: list[tuple[float, int, int, int]] = []
    for number, line in lines:
        if not line:
            continue
        cells = line.split(",")
        if len(cells) < len(header):
            raise InvalidFile(path, f"has {len(cells)} of {len(header)} cells.", line=number)
        if len(rows) == MAXIMUM_REQUESTS:
            raise InvalidFile(path, f"holds more than {MAXIMUM_REQUESTS:,} requests.", line=number)
        rows.append(
            (
                _seconds(cells[places[TIME]], path, number),
                _tokens(cells[places[PROMPT]], PROMPT, path, number),
                max(_tokens(cells[places[OUTPUT]], OUTPUT, path, number), 1),
                _tokens(cells[places[IMAGES]], IMAGES, path, number) if IMAGES in places else 0,
            )
        )
    if not rows:
        raise InvalidFile(path, "holds no requests.", remedy="It needs a line for each.")
    rows.sort()
    start = rows[0][0]
    return Arrivals(
        seconds=array("d", (row[0] - start for row in rows)),
        duration_seconds=max(rows[-1][0] - start, 1.0),
        prompt_tokens=array("q", (row[1] for row in rows)),
        output_tokens=array("q", (row[2] for row in rows)),
        images=array("q", (row[3] for row in rows)) if IMAGES in places else None,
    )


def _lines(file: IO[str], path: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; raises InvalidFile for one that is longer than any row could be."""
    number = 0
    while line := file.readline(MAXIMUM_LINE):
        number += 1
        if len(line) == MAXIMUM_LINE:
            raise InvalidFile(path, "is no trace: the line does not end.", line=number)
        yield number, line.strip()


def _seconds(cell: str, path: str, line: int) -> float:
    text = cell.strip().strip('"')
    try:
        if ":" not in text:
            seconds = float(text)
        else:
            at = datetime.fromisoformat(text)
            seconds = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        seconds = math.nan
    if not abs(seconds) < FARTHEST_SECONDS:
        raise InvalidFile(
            path, f"{text[:40]!r} is no time.", line=line, remedy="Write 2023-11-16 18:15:46.68, or seconds."
        )
    return seconds


def _tokens(cell: str, column: str, path: str, line: int) -> int:
    text = cell.strip().strip('"')
    if not (text.isdecimal() and len(text) < 10 and int(text) <= MAXIMUM_TOKENS):
        raise InvalidFile(path, f"{column} {text[:40]!r} is no number of 0 to {MAXIMUM_TOKENS:,}.", line=line)
    return int(text)


def _per_second(text: str) -> float:
    match = _RATE.fullmatch(text)
    assert match is not None  # the callers' patterns hold this one
    return float(match[1]) / _PER_SECOND[match[2] or "s"]
