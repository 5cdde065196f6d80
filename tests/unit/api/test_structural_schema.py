"""Records as structural schemas: the few shapes that a CustomResourceDefinition knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from msgspec import Meta

from vlmctl.api.records import ApiRecord, Rule
from vlmctl.api.structural_schema import structural_schema


class Colour(StrEnum):
    """A closed set."""

    RED = "Red"
    BLUE = "Blue"


class Inner(ApiRecord, frozen=True, kw_only=True):
    """Something inside."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.size > 0", "size must be above 0"),)

    size: Annotated[int, Meta(ge=0, le=9, description="How large.")] = 3


class Outer(ApiRecord, frozen=True, kw_only=True):
    """Something
    outside.
    """

    needed: str
    inner: Inner = Inner()
    maybe: Annotated[Annotated[str, Meta(pattern="^a", max_length=4)] | None, Meta(description="Or not.")] = None
    colour: Colour = Colour.RED
    many: Annotated[tuple[Inner, ...], Meta(max_length=2, description="Several.")] = ()
    named: dict[Annotated[str, Meta(pattern="^k")], str] | None = None
    anything: dict[str, Any] | None = None
    count: Annotated[int, Meta(ge=1)] | Literal["Auto"] = "Auto"
    checked: Annotated[
        Inner,
        Meta(description="Its own words.", extra_json_schema={"x-kubernetes-validations": [{"rule": "true"}]}),
    ] = Inner()


class Unknowable(ApiRecord, frozen=True, kw_only=True):
    """What Kubernetes has no type for."""

    share: float


FIELDS: dict[str, dict[str, Any]] = {
    "needed": {"type": "string"},
    "inner": {
        "description": "Something inside.",
        "type": "object",
        "properties": {
            "size": {"description": "How large.", "type": "integer", "minimum": 0, "maximum": 9, "default": 3}
        },
        "x-kubernetes-validations": [{"rule": "self.size > 0", "message": "size must be above 0"}],
        "default": {"size": 3},
    },
    "maybe": {"description": "Or not.", "type": "string", "maxLength": 4, "pattern": "^a"},
    "colour": {"type": "string", "enum": ["Red", "Blue"], "default": "Red"},
    "named": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "x-kubernetes-validations": [
            {"rule": "self.all(key, key.matches('^k'))", "message": "keys must match ^k"},
        ],
    },
    "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "count": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "pattern": "^(Auto)$",
        "default": "Auto",
    },
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_keeps_its_bounds_default_and_meaning(name: str) -> None:
    """What may be None may be left out, a record's default is written out, and its docstring describes it."""
    assert structural_schema(Outer)["properties"][name] == FIELDS[name]


def test_a_record_is_an_object_with_its_docstring_on_a_line() -> None:
    """Fields without a default are required."""
    schema = structural_schema(Outer)
    assert (schema["type"], schema["description"]) == ("object", "Something outside.")
    assert schema["required"] == ["needed"]


def test_a_list_is_bounded_and_says_what_its_items_are() -> None:
    """The description of a field stands on the list, that of the record on its items."""
    many = structural_schema(Outer)["properties"]["many"]
    assert (many["type"], many["maxItems"], many["description"]) == ("array", 2, "Several.")
    assert many["items"]["description"] == "Something inside."


def test_rules_of_a_field_and_of_its_record_both_hold() -> None:
    """A description at the field is shown instead of the record's; rules are added to the record's."""
    checked = structural_schema(Outer)["properties"]["checked"]
    assert checked["description"] == "Its own words."
    assert [rule["rule"] for rule in checked["x-kubernetes-validations"]] == ["self.size > 0", "true"]


def test_a_status_has_no_defaults() -> None:
    """What the operator does not write is not there."""
    assert "default" not in str(structural_schema(Outer, defaults=False))


def test_a_float_is_refused() -> None:
    """Kubernetes' API has none."""
    with pytest.raises(TypeError, match="no place in a structural schema"):
        structural_schema(Unknowable)
