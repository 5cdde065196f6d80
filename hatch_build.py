"""Build hook: compiles the catalog into the snapshot that an installed vlmctl reads instead of YAML.

It runs for wheels and for editable installs. A snapshot that no longer matches the files beside it is passed over at
run time, so an editable install may go on editing them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogSnapshotHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Writes ``vlmctl/catalog/snapshot.msgpack``, which pyproject.toml lists as an artifact of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Parse the catalog and keep the snapshot; a mistake in the catalog fails the build."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        from vlmctl.catalog import snapshot
        from vlmctl.catalog.entries import parse_folder
        from vlmctl.catalog.folders import read_sources
        from vlmctl.files import write_atomically

        sources = read_sources(root / "catalog")
        content = snapshot.encode(snapshot.digest(sources), parse_folder(root / "catalog", sources))
        write_atomically(snapshot.BUILT_IN, content)
