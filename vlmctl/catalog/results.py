"""A user's own measurement files: read strictly, each mistake with its line, and kept in an overlay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from vlmctl.catalog.entries import described_in, parse_sources
from vlmctl.catalog.folders import Source
from vlmctl.catalog.measurements import MeasurementFile, described_beside, model_lines
from vlmctl.errors import CannotWrite, InvalidFile
from vlmctl.files import read_whole, user_data_folder, write_atomically
from vlmctl.specs.measurements import SCHEMA, DescribedModel, Measurement

FILE = Path("calibration", "measured.yaml")  # inside an overlay
SECTION = "measurements"
_HEADER = (
    "# Written by `vlmctl calibrate`, which adds to it. Rows may be removed; a folder like this one is an overlay.\n"
)


def read_results(path: Path) -> MeasurementFile:
    """The rows of a file, and the models that it describes; raises InvalidFile for the first mistake of form."""
    found = _parsed(path)
    if not found.rows:
        raise InvalidFile(str(path), "holds no measurements.", remedy=f"Its form is {SCHEMA}, see docs/calibrate.md.")
    return found._replace(models={**described_beside(path), **found.models})


def user_overlay() -> Path:
    """The catalog in the user's data folder, which is always read; raises CannotWrite without a home."""
    home = user_data_folder()
    if home is None:
        raise CannotWrite("there is no home folder to keep measurements in.", remedy="Name one: --catalog-overlay DIR.")
    return home / "catalog"


def keep_results(overlay: Path, rows: Iterable[Measurement], models: Mapping[str, DescribedModel]) -> Path:
    """Add rows and models to an overlay's own file, in place of those of the same id or name; whole or not at all.

    Raises CannotWrite, and InvalidFile where what stands there is damaged.
    """
    path = overlay / FILE
    earlier = _parsed(path) if path.is_file() else MeasurementFile(rows=(), models={})
    kept = {row.id: row for row in (*earlier.rows, *rows)}
    lines = "".join(f"- {msgspec.json.encode(kept[name]).decode()}\n" for name in sorted(kept))
    described = model_lines({**earlier.models, **models})
    content = f"{_HEADER}schema: {SCHEMA}\n{described}{SECTION}:\n{lines}"
    write_atomically(path, content.encode(), make_folders=True)
    return path


def _parsed(path: Path) -> MeasurementFile:
    source = Source(path.name, SECTION, read_whole(path))
    entries, findings = parse_sources(path.parent, [source])
    if findings:
        first = min(findings, key=lambda finding: finding.line or 0)
        more = f" ({len(findings) - 1} more in this file)" if len(findings) > 1 else ""
        raise InvalidFile(first.file, first.problem + more, line=first.line, remedy=first.remedy)
    rows = tuple(entry.record for entry in entries if isinstance(entry.record, Measurement))
    return MeasurementFile(rows=rows, models=described_in([source]))
