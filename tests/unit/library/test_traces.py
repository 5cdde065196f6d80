"""Trace files and rates as people write them: what is understood, and one clear line for what is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from vlmctl.errors import InvalidFile, InvalidValue
from vlmctl.library.arrivals import parse_factor, parse_rate, read_trace, shipped_traces

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "requests"), [("azure-code-2023", 8819), ("azure-conversation-2023", 19366)])
def test_the_shipped_traces_are_whole(name: str, requests: int) -> None:
    """Both hours are read by name, in order, with every request's sizes."""
    trace = read_trace(name)
    assert trace.prompt_tokens is not None
    assert trace.output_tokens is not None
    assert len(trace.seconds) == len(trace.prompt_tokens) == len(trace.output_tokens) == requests
    assert trace.seconds[0] == 0.0
    assert list(trace.seconds) == sorted(trace.seconds)
    assert 3400 < trace.duration_seconds < 3600
    assert min(trace.output_tokens) >= 1


def test_the_shipped_traces_are_described() -> None:
    """Each has its line, its licence and whom to cite in the README beside it."""
    folder = next(iter(shipped_traces().values())).parent
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in shipped_traces())
    assert "CC BY 4.0" in text
    assert "Splitwise" in text


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Their order does not matter, others are passed over, rows need no order, and times may be seconds."""
    text = "Region,GeneratedTokens,NumImages,ContextTokens,TIMESTAMP\neu,7,0,30,12.5\nus,0,2,40,2\n\n"
    trace = read_trace(written(tmp_path, text))
    assert list(trace.seconds) == [0.0, 10.5]
    assert list(trace.prompt_tokens or ()) == [40, 30]
    assert list(trace.output_tokens or ()) == [1, 7]
    assert list(trace.images or ()) == [2, 0]


def test_times_with_and_without_a_zone_and_gzip(tmp_path: Path) -> None:
    """Fractions of any length and zones are read, plain or packed, with a byte order mark."""
    text = f"\ufeff{HEADER}\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16T19:15:47.6805900+01:00,396,109\n"
    path = written(tmp_path, text)
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, packed):
        assert list(read_trace(each).seconds) == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1", "lacks TIMESTAMP"),
        ("a,b\n", ":1", "lacks"),
        (f"{HEADER}\n", "", "holds no requests"),
        (f"{HEADER}\n1,2,3\nsoon,2,3\n", ":3", "'soon' is no time"),
        (f"{HEADER}\n2023-11-31 00:00:00,2,3\n", ":2", "is no time"),
        (f"{HEADER}\nnan,2,3\n", ":2", "is no time"),
        (f"{HEADER}\n1,-2,3\n", ":2", "ContextTokens '-2'"),
        (f"{HEADER}\n1,2,3.5\n", ":2", "GeneratedTokens '3.5'"),
        (f"{HEADER}\n1,2,999999999\n", ":2", "GeneratedTokens"),
        (f"{HEADER}\n1,2\n", ":2", "2 of 3 cells"),
        (f"{HEADER}\n" + "9" * 20_000, ":2", "does not end"),
    ],
)
def test_mistakes_are_one_line_with_file_and_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    """A bad trace says which file, which line, and what is wrong there."""
    path = written(tmp_path, text)
    with pytest.raises(InvalidFile) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}{where}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"\x1f\x8bnot gzip", gzip.compress(b"x" * 99, mtime=0)[:-9], b"\x00" * 99],
    ids=["bytes", "magic", "cut", "zeros"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    """Binary files and broken archives are errors of the file, not of the program."""
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidFile):
        read_trace(path)
    with pytest.raises(InvalidFile, match="azure-code-2023"):
        read_trace(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("text", "hours", "rates", "days"),
    [
        ("2", [0.0], [2.0], 1),
        (" 2/s ", [0.0], [2.0], 1),
        ("120/min", [0.0], [2.0], 1),
        ("43200/d", [0.0], [0.5], 1),
        ("0h:0.1, 8h:120/m, 20.5h:1", [0.0, 8.0, 20.5], [0.1, 2.0, 1.0], 1),
    ],
)
def test_rates(text: str, hours: list[float], rates: list[float], days: int) -> None:
    """Constants and points of a day, per second, minute, hour or day."""
    curve, length = parse_rate(text)
    assert [hour for hour, _ in curve.points] == hours
    assert [rate for _, rate in curve.points] == pytest.approx(rates)
    assert length == days


def test_shapes() -> None:
    """A day and a week are busiest at the rate that is named; the week has quiet weekends and bursts."""
    day, week = parse_rate("daily:5"), parse_rate("weekly:300/min")
    assert (day[0].highest, day[1]) == (5.0, 1)
    assert (week[0].highest, week[1]) == (5.0, 7)
    assert week[0].weekend_share < 1.0 < week[0].bursts_per_day
    assert day[0].weekend_share == 1.0


@pytest.mark.parametrize(
    "text", ["", "fast", "-1", "1e5", "2/year", "24h:1", "3h:1,2h:1", "1h:1,1h:2", "daily:", "1h:"]
)
def test_rates_that_are_none(text: str) -> None:
    """Anything else is refused with what to write instead."""
    with pytest.raises(InvalidValue, match=r"Write 2/s, daily:5"):
        parse_rate(text)


def test_factors() -> None:
    """A factor may carry its x and must be above 0."""
    assert (parse_factor("3x"), parse_factor("0.5")) == (3.0, 0.5)
    for text in ("0", "x", "-2x", "nan", ""):
        with pytest.raises(InvalidValue):
            parse_factor(text)
