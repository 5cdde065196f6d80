"""Parsing what people write, and showing what they read."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl import units
from vlmctl.errors import InvalidValue
from vlmctl.units import MAX_SIDE_PIXELS

SIDES = st.integers(1, MAX_SIDE_PIXELS)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-3, max_value=1e15)


@given(SIDES, SIDES, st.sampled_from("xX×"), st.sampled_from(["", " "]))
def test_image_sizes_round_trip(width: int, height: int, sign: str, space: str) -> None:
    """Any size that a JPEG can hold is read back as written, whatever the multiplication sign."""
    assert units.parse_image_size(f"{space}{width}{space}{sign}{space}{height}{space}") == (width, height)


@given(SIDES)
def test_one_number_is_a_square(side: int) -> None:
    """``336`` means 336x336, as vision towers are described."""
    assert units.parse_image_size(str(side)) == (side, side)


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "0x5", "5x0", "65536x1", "1x65536", "-5x5", "1.5x2", "5x5x5", "²x²", "1e3x2", "999999999x1"],
)
def test_bad_image_sizes_are_refused(text: str) -> None:
    """Nothing is guessed: what is no size, or beyond a JPEG, is refused with an example of the right form."""
    with pytest.raises(InvalidValue) as refusal:
        units.parse_image_size(text)
    assert refusal.value.remedy


@given(st.text(max_size=20))
def test_parsers_return_or_refuse(text: str) -> None:
    """No text makes a parser fail in any way but InvalidValue, and what is accepted is finite and not negative."""
    for parse in (units.parse_image_size, units.parse_duration_seconds, units.parse_video):
        try:
            parsed = parse(text)
        except InvalidValue:
            continue
        numbers = parsed if isinstance(parsed, tuple) else (parsed,)
        assert all(math.isfinite(number) and number >= 0 for number in numbers)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2.0), ("50ms", 0.05), ("1.5m", 90.0), ("1.5min", 90.0), ("1h", 3600.0), ("0.25", 0.25), (" 3 s ", 3.0)],
)
def test_durations(text: str, seconds: float) -> None:
    """Each unit means what it says, and a bare number is seconds."""
    assert units.parse_duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "2 days", "1e3s", "nan", "inf", "2,5s", "9" * 400], ids=lambda text: text[:8] or "empty"
)
def test_bad_durations_are_refused(text: str) -> None:
    """A duration that is negative, infinite, in another unit or in another notation is refused."""
    with pytest.raises(InvalidValue):
        units.parse_duration_seconds(text)


def test_a_video_is_length_rate_and_size() -> None:
    """``60s@1fps:1280x720`` is a minute at one frame a second."""
    assert units.parse_video("60s@1fps:1280x720") == (60.0, 1.0, 1280, 720)
    assert units.parse_video("1m@0.5fps:640×480") == (60.0, 0.5, 640, 480)


@pytest.mark.parametrize("text", ["60s", "60s@1fps", "0s@1fps:10x10", "60s@0fps:10x10", "60s@1fps:0x10", "60s@1:10x10"])
def test_bad_videos_are_refused(text: str) -> None:
    """A video without frames, size or rate is refused."""
    with pytest.raises(InvalidValue):
        units.parse_video(text)


@pytest.mark.parametrize(
    ("text", "usd"), [("1.20", 1.2), ("$1.20", 1.2), (" $2 ", 2.0), ("1.20/h", 1.2), ("$1.20/h", 1.2), (".5", 0.5)]
)
def test_dollars_per_hour(text: str, usd: float) -> None:
    """With or without the sign and the unit."""
    assert units.parse_usd_per_hour(text) == usd


@pytest.mark.parametrize("text", ["", "$", "-1", "nan", "inf", "1e9", "1000000", "1.2.3", "€1", "1/d"])
def test_bad_dollars_are_refused(text: str) -> None:
    """What is negative, endless or no number."""
    with pytest.raises(InvalidValue):
        units.parse_usd_per_hour(text)


@given(POSITIVE, POSITIVE)
def test_showing_keeps_the_order(small: float, large: float) -> None:
    """Of two amounts the larger never reads as the smaller one, whichever units the two are shown in."""
    small, large = sorted((small, large))
    scales = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

    def read(shown: str) -> float:
        number, unit = shown.split()
        return float(number) * scales[unit]

    assert read(units.show_bytes(small)) <= read(units.show_bytes(large))


@given(POSITIVE)
def test_shown_bytes_are_within_rounding(count: float) -> None:
    """What is shown is the amount to three digits, or to the byte."""
    number, unit = units.show_bytes(count).split()
    scale = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert abs(float(number) * scale - count) <= max(0.5, 0.0051 * count)


@given(FINITE)
def test_shown_bytes_keep_the_sign(count: float) -> None:
    """A shortfall reads as its surplus with a minus before it."""
    if abs(count) >= 1:
        assert units.show_bytes(-abs(count)) == "-" + units.show_bytes(abs(count))


@given(st.floats(min_value=1e-3, max_value=1e7))
def test_shown_seconds_read_back(seconds: float) -> None:
    """A shown duration up to two hours can be typed back as an option and means the same within rounding."""
    shown = units.show_seconds(seconds)
    assert units.parse_duration_seconds(shown) == pytest.approx(seconds, rel=0.06)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0.0421, "$0.0421"), (0.5, "$0.500"), (12.345, "$12.35"), (1234.5, "$1,234.50"), (23456.7, "$23,457")],
)
def test_dollars_have_digits_enough(amount: float, shown: str) -> None:
    """Small prices keep the digits that tell them apart; large ones lose the cents."""
    assert units.show_usd(amount) == shown


@pytest.mark.parametrize("show", [units.show_usd, units.show_seconds], ids=["dollars", "seconds"])
def test_what_is_not_finite_is_unknown(show: Callable[[float], str]) -> None:
    """An infinite or undefined figure is never printed as a number."""
    assert show(math.inf) == show(math.nan) == "unknown"


@pytest.mark.parametrize(
    ("count", "shown"), [(1364, "1,364"), (675e6, "675M"), (8.29e9, "8.29B"), (1.2e12, "1.20T"), (0, "0")]
)
def test_counts_are_as_models_are_named(count: float, shown: str) -> None:
    """Parameters read as in a model's name, tokens in full."""
    assert units.show_count(count) == shown


def test_gib_is_binary_and_gb_is_decimal() -> None:
    """An "80 GB" card of 79.2 GiB shows as both, never mixed."""
    capacity_bytes = int(79.2 * units.GIB)
    assert units.show_gib(capacity_bytes) == "79.2 GiB"
    assert units.show_bytes(capacity_bytes) == "85.0 GB"
