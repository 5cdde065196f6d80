"""Where catalog files lie, and which of them are read: the shipped folder, then overlays in the order they win."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vlmctl.errors import InvalidFile, UsageError
from vlmctl.files import read_whole, user_data_folder

CATALOG_VARIABLE = "VLMCTL_CATALOG"
SUFFIX = ".yaml"
# A folder of the catalog, or a single file, and the key that its entries stand under.
LIST_FOLDERS = {
    "models": "models",
    "gpus": "gpus",
    "prices": "offers",
    "apis": "apis",
    "calibration": "measurements",
}
LIST_FILES = {"misnomers.yaml": "misnomers", "benchmarks.yaml": "benchmarks", "error_bands.yaml": "error_bands"}
# Beside the catalog, read by `vlmctl accuracy` and by the generator of the docs.
OTHER = frozenset({"measurements", "claims.yaml", "cost_matrix.yaml"})
LAYOUT = "models/, gpus/, prices/, apis/, calibration/ with *.yaml files, misnomers.yaml, benchmarks.yaml"


class Source(NamedTuple):
    """One catalog file. `name` is its path inside the folder, with forward slashes."""

    name: str
    section: str
    content: bytes


def shipped_folder() -> Path:
    """The catalog that came with this installation: inside the package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "data"
    return packaged if packaged.is_dir() else here.parents[1] / "catalog"


def overlay_folders(explicit: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Folders laid over the shipped one, the weakest first: the user's data folder, VLMCTL_CATALOG, then `explicit`.

    Raises UsageError for a folder that was named but is not there.
    """
    found: list[Path] = []
    home = user_data_folder()
    if home is not None and (home / "catalog").is_dir():
        found.append(home / "catalog")
    named = [Path(part) for part in os.environ.get(CATALOG_VARIABLE, "").split(os.pathsep) if part]
    for folder, where in [(folder, CATALOG_VARIABLE) for folder in named] + [(folder, "") for folder in explicit]:
        if not os.path.isdir(folder):  # unlike Path.is_dir, also False for a name that is too long
            blame = f" (from {where})" if where else ""
            raise UsageError(
                f"{folder}{blame} is not a folder.", remedy=f"A catalog overlay is a folder with {LAYOUT}."
            )
        found.append(folder)
    return tuple(found)


def read_sources(folder: Path) -> tuple[Source, ...]:
    """Every catalog file of a folder, sorted by name; raises InvalidFile for one that cannot be read."""
    places = [(name, section) for name, section in LIST_FILES.items() if (folder / name).is_file()]
    for subfolder, section in LIST_FOLDERS.items():
        places += [(f"{subfolder}/{name}", section) for name in _names(folder / subfolder) if name.endswith(SUFFIX)]
    return tuple(Source(name, section, read_whole(folder / name)) for name, section in sorted(places))


def misplaced(folder: Path) -> tuple[str, ...]:
    """YAML files of a folder that `read_sources` would pass over, such as ``gpus.yaml`` or ``models/ours.yml``."""
    stray = [name for name in _names(folder) if _is_yaml(name) and name not in LIST_FILES and name not in OTHER]
    for name in _names(folder):
        if (folder / name).is_dir() and name not in OTHER:
            known = name in LIST_FOLDERS
            stray += [
                f"{name}/{inner}"
                for inner in _names(folder / name)
                if _is_yaml(inner) and not (known and inner.endswith(SUFFIX))
            ]
    return tuple(sorted(stray))


def _is_yaml(name: str) -> bool:
    return name.endswith((SUFFIX, ".yml"))


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise InvalidFile(str(folder), f"cannot be listed: {error.strerror}.") from error
