"""Patterns of module names that quantisation files hold, tried for a bounded time.

They come from others. A pattern like ``(a+)+b`` has more ways to fit than anybody can wait for.
"""

from __future__ import annotations

import time

from vlmctl.catalog.hf_values import BY_HAND, shown
from vlmctl.errors import BeyondAnyModel, UnsupportedModel

MOST_SECONDS = 0.5  # for all patterns of a file together; those of real files take some thousandths
MOST_PATTERN_CHARACTERS = 4_096  # of one, which is put together before it is tried; real ones have some dozen
LEAST_SECONDS = 0.001  # 0 would be no limit


class Patterns:
    """The regular expressions of one file."""

    def __init__(self) -> None:
        self._left_seconds = MOST_SECONDS

    def fits(self, expression: str, name: str) -> bool:
        """Whether it fits the whole name, as `re.fullmatch` has it. Raises UnsupportedModel for what is no expression,
        and BeyondAnyModel where it takes longer than any file's.
        """
        import regex  # it takes 15 ms, and few files hold an expression

        too_long = BeyondAnyModel(
            f"its quantization names modules by {shown(expression)}, which takes too long to try.", remedy=BY_HAND
        )
        if len(expression) > MOST_PATTERN_CHARACTERS:
            raise too_long
        began = time.monotonic()
        try:
            found = regex.fullmatch(expression, name, timeout=max(LEAST_SECONDS, self._left_seconds))
        except TimeoutError:
            raise too_long from None
        except (regex.error, RecursionError, OverflowError) as error:
            raise UnsupportedModel(
                f"its quantization names modules by {shown(expression)}, which is no expression: {error}.",
                remedy=BY_HAND,
            ) from None
        finally:
            self._left_seconds -= time.monotonic() - began
        return found is not None
