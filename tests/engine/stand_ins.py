"""Objects of an engine's classes with no configuration behind them but the values given, so that one method can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Oracle = Callable[[int, int], int]  # width, height -> tokens; ValueError where the processor refuses
RequestOracle = Callable[[int, int, int], int]  # the same, with the number of images in the request
VideoOracle = Callable[[int, int, int], int]  # frames, width, height -> tokens
EncoderRun = Callable[[Sequence[tuple[int, int]]], tuple[int, int]]  # sizes of a request's images -> views, patches
VideoRun = Callable[[int, int, int], tuple[int, int]]  # frames, width, height -> groups of frames, patches


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
