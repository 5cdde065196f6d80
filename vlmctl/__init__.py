"""vlmctl: choose, price and run open vision-language models on your own GPUs.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmctl.version import __version__

if TYPE_CHECKING:
    from vlmctl.library import find_gpu, find_model, image_tokens, load_catalog

__all__ = [
    "__version__",
    "find_gpu",
    "find_model",
    "image_tokens",
    "load_catalog",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from vlmctl import library

        return getattr(library, name)
    raise AttributeError(f"module 'vlmctl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
