"""Units: parse what people write and show what they read.

Bytes are integers. GB is 10^9 bytes and GiB is 2^30 bytes; they are never mixed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from vlmctl.errors import InvalidValue

MIB = 1024**2
GIB = 1024**3
GB = 10**9
SECONDS_PER_HOUR = 3600
HOURS_PER_MONTH = 730  # 365 x 24 / 12, the figure cloud price lists use
USUAL_IMAGE = "1280x720"  # where nothing says what is sent: a frame of a video, or a photograph made small
A4_SCAN = "1680x2240"  # an A4 page scanned at about 200 dots per inch
MAX_USD = 1e6  # of any price; beyond it lies a mistake
MAX_SIDE_PIXELS = 65_535  # the largest side that a JPEG can hold

_SIZE = re.compile(r"^\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*$")
_DURATION = re.compile(r"^\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|min|h)?\s*$")
_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_USD = re.compile(r"^\s*\$?(\d{0,9}\.?\d{1,12})\s*$")
_VIDEO = re.compile(
    r"^\s*(\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|min|h)?)@(\d{1,9}(?:\.\d{1,9})?)fps:(\d{1,6}[xX×]\d{1,6})\s*$"
)


def parse_image_size(text: str) -> tuple[int, int]:
    """Width and height in pixels from ``1680x2240``, or a square from ``336``.

    Raises InvalidValue for anything else, or a side of 0 or beyond what a JPEG can hold.
    """
    square = text.strip()
    match = _SIZE.match(f"{square}x{square}" if square.isdigit() and len(square) <= 6 else text)
    if match is None:
        raise InvalidValue(f"{text!r} is not an image size.", remedy="Write WIDTHxHEIGHT in pixels, such as 1680x2240.")
    width, height = int(match[1]), int(match[2])
    if not (1 <= width <= MAX_SIDE_PIXELS and 1 <= height <= MAX_SIDE_PIXELS):
        raise InvalidValue(f"image size {text!r} is out of range.", remedy=f"Sides are 1 to {MAX_SIDE_PIXELS} pixels.")
    return width, height


def parse_video(text: str) -> tuple[float, float, int, int]:
    """Seconds, frames per second, width and height from ``60s@1fps:1280x720``; raises InvalidValue."""
    match = _VIDEO.match(text)
    if match is None:
        raise InvalidValue(
            f"{text!r} is not a video.", remedy="Write LENGTH@RATEfps:WIDTHxHEIGHT, such as 60s@1fps:1280x720."
        )
    seconds, frames_per_second = parse_duration_seconds(match[1]), float(match[2])
    width, height = parse_image_size(match[3])
    if seconds <= 0 or frames_per_second <= 0:
        raise InvalidValue(f"video {text!r} has no frames.", remedy="Length and rate must be above 0.")
    return seconds, frames_per_second, width, height


def parse_duration_seconds(text: str) -> float:
    """Seconds from ``2s``, ``50ms``, ``1.5m``, ``1h`` or a bare number of seconds; raises InvalidValue."""
    match = _DURATION.match(text)
    if match is None:
        raise InvalidValue(
            f"{text!r} is not a duration.", remedy="Write a number with ms, s, m or h, such as 50ms or 2s."
        )
    return float(match[1]) * _DURATION_SECONDS[match[2] or "s"]


def parse_usd(text: str) -> float:
    """Dollars from ``1.20`` or ``$1.20``: 0 or more, below a million; raises InvalidValue."""
    match = _USD.match(text)
    if match is None or not float(match[1]) < MAX_USD:
        raise InvalidValue(f"{text!r} is no amount of dollars.", remedy="Write a number such as 1.20.")
    return float(match[1])


def parse_usd_per_hour(text: str) -> float:
    """Dollars per hour from ``1.20/h``, ``$1.20/h`` or either without ``/h``; raises InvalidValue."""
    return parse_usd(text.strip().removesuffix("/h"))


def split_commas(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """The items of a text with commas, or of several such texts."""
    texts = [value] if isinstance(value, str) else value or ()
    return tuple(item.strip() for text in texts for item in text.split(",") if item.strip())


def show_bytes(count: float) -> str:
    """``16.6 GB``: decimal, as weights and KV caches are usually quoted."""
    sign, size = ("-" if count < 0 else ""), abs(count)
    for unit, scale in (("TB", 10**12), ("GB", GB), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{sign}{size / scale:.{_decimals(size / scale)}f} {unit}"
    return f"{sign}{size:.0f} B"


def show_gib(count: float) -> str:
    """``15.4 GiB``: binary, as GPU memory is reported."""
    return f"{count / GIB:.1f} GiB"


def show_usd(amount: float) -> str:
    """Dollars with enough digits to tell small prices apart; every whole cent above $10."""
    if not math.isfinite(amount):
        return "unknown"
    if abs(amount) >= 10_000:
        return f"${amount:,.0f}"
    if abs(amount) >= 10:
        return f"${amount:,.2f}"
    return f"${amount:.3f}" if abs(amount) >= 0.1 else f"${amount:.4f}"


def show_seconds(seconds: float) -> str:
    """``85 ms``, ``1.42 s``, ``3.5 min`` or ``2.0 h``."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def show_count(count: float) -> str:
    """``8.29B``, ``675M``, ``1,364``: parameters and tokens."""
    if count >= 1e12:
        return f"{count / 1e12:.2f}T"
    if count >= 1e9:
        return f"{count / 1e9:.2f}B"
    if count >= 1e6:
        return f"{count / 1e6:.0f}M"
    return f"{count:,.0f}"


def _decimals(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2
