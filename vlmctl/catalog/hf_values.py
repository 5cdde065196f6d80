"""Reading a configuration file: values by name with their type checked, and a refusal in place of a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmctl.errors import UnsupportedModel

Config = Mapping[str, Any]
BY_HAND = "Write its entry by hand: see catalog/README.md."


def refuse(problem: str) -> UnsupportedModel:
    """The error for a configuration that vlmctl cannot turn into a record."""
    return UnsupportedModel(problem, remedy=BY_HAND)


def integer(config: Config, *names: str) -> int | None:
    """The first of some names that holds a whole number, None where none does; raises UnsupportedModel for text."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str) and len(set(value)) == 1:
            value = value[0]  # (14, 14) for a square, or one value for every layer
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(f"{name!r} is {value!r} in the configuration, not a whole number.")
        return value
    return None


def required(config: Config, *names: str) -> int:
    """As `integer`, but raises UnsupportedModel where none is there, or where it is not above 0."""
    value = integer(config, *names)
    if value is None or value <= 0:
        raise refuse(f"the configuration does not state {names[0]!r}.")
    return value


def section(config: Config, *names: str) -> Config | None:
    """The first of some names that holds a mapping with anything in it."""
    for name in names:
        value = config.get(name)
        if isinstance(value, Mapping) and value:
            return value
    return None


def numbers(config: Config, name: str) -> tuple[int, ...] | None:
    """A list of whole numbers, None where it is not there."""
    value = config.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(int(item) for item in value)


def names_of(config: Config, name: str) -> tuple[str, ...] | None:
    """A list of names, None where it is not there."""
    value = config.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(str(item) for item in value)
