"""Pages of the documentation that are written from data.

One module per page: ``PAGE`` names the file under docs/, ``render()`` returns its text. New modules are found. A file
outside docs/ is data that pages read, and is written before them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]


def pages() -> dict[Path, Callable[[], str]]:
    """Every generated file with the function that writes it: data first, then pages by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    modules.sort(key=lambda module: not module.PAGE.startswith(".."))
    return {(DOCS / module.PAGE).resolve(): module.render for module in modules}
