"""The CRDs as the chart installs them, and as the reference page tells them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from docs.generate import crd_reference
from docs.generate._crd_template import crd_template
from vlmctl.api.crds import vlmbenchmark_crd, vlmdeployment_crd

DEFINITIONS = [vlmdeployment_crd(), vlmbenchmark_crd()]
ACTION = re.compile(r"^ *\{\{-? (if \.Values\.crds\.\w+|end) \}\}\n", re.MULTILINE)
ROW = re.compile(r"^\| (?:\*\*)?`(?P<path>[^`]+)`", re.MULTILINE)


def fields(schema: dict[str, Any], above: str = "") -> list[str]:
    """Paths of all fields of an object, as a reader writes them."""
    found = []
    for name, field in schema.get("properties", {}).items():
        found.append(f"{above}{name}")
        found += fields(field.get("items", field), f"{above}{name}{'[]' if 'items' in field else ''}.")
    return found


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["spec"]["names"]["kind"])
def test_the_template_is_the_definition(definition: dict[str, Any]) -> None:
    """Without the conditions on values and the note to Helm, it is what the records say."""
    installed = yaml.safe_load(ACTION.sub("", crd_template(definition)))
    assert installed["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert installed == definition


def test_braces_of_a_description_are_no_action() -> None:
    """Helm writes them out as they are."""
    told = crd_template({"apiVersion": "v1", "kind": "A", "metadata": {}, "spec": {"description": "Such as {{name}}."}})
    assert 'Such as {{ "{{" }}name}}.' in told


def test_every_field_has_its_row() -> None:
    """The page leaves nothing out, and keeps the order of the CRDs."""
    told = ROW.findall(crd_reference.render())
    versions = [definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for definition in DEFINITIONS]
    expected = [
        path
        for schema in versions
        for part in ("spec", "status")
        if part in schema["properties"]
        for path in fields(schema["properties"][part])
    ]
    assert told == expected
