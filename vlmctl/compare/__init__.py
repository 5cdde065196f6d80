"""Several models on the same images and questions: cases, metrics, significance, reports. Never prints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmctl.compare.comparison import Comparison

__all__ = ["Comparison"]


def __getattr__(name: str) -> Any:
    """The class with its client and images when it is first used: cases are read without them."""
    if name in __all__:
        return getattr(import_module("vlmctl.compare.comparison"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
