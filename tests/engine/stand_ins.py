"""Objects of an engine's classes with no configuration behind them but the values given, so that one method can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Oracle = Callable[[int, int], int]  # width, height -> tokens; ValueError where the processor refuses
EncoderRun = Callable[[int, int], tuple[int, int]]  # width, height -> views, patches
VideoOracle = Callable[[int, int, int], int]  # frames, width, height -> tokens


def stand_in(cls: type, attributes: Mapping[str, Any] | None = None, **answers: Any) -> Any:
    """An object of `cls` that was never initialised: some attributes set, some methods answering a fixed value."""
    made_class: Any = type(cls.__name__, (cls,), {name: _answering(answer) for name, answer in answers.items()})
    made_class.__abstractmethods__ = frozenset()
    made = object.__new__(made_class)
    for name, value in (attributes or {}).items():
        object.__setattr__(made, name, value)
    return made


def _answering(answer: Any) -> Any:
    return lambda *_, **__: answer
