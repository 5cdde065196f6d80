"""The licences that the chart's admission policy has by name are those that the operator knows the terms of."""

from __future__ import annotations

import re
from pathlib import Path

from vlmctl.catalog import hub

TEMPLATE = Path(__file__).parents[2] / "charts" / "vlm-operator" / "templates" / "admission.yaml"


def test_permissive_licences_are_the_same() -> None:
    """CEL cannot read the list of `vlmctl.catalog.hub`, so it has a copy."""
    listed = re.search(r"variables\.license in \[(.*)\]", TEMPLATE.read_text(encoding="utf-8"))
    assert listed is not None
    assert re.findall(r"'([^']*)'", listed[1]) == list(hub._PERMISSIVE)
