"""The plan that the tests of this room start from, and ways to change one thing in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.support.plans import L4, MI300X, MODEL, PLAN, SETTINGS, T4
from vlmctl.specs.estimates import EngineSettings, Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec


@pytest.fixture
def plan() -> Plan:
    return PLAN


@pytest.fixture
def model() -> ModelSpec:
    return MODEL


@pytest.fixture
def gpu() -> GpuSpec:
    return L4


@pytest.fixture
def t4() -> GpuSpec:
    return T4


@pytest.fixture
def mi300x() -> GpuSpec:
    return MI300X


@pytest.fixture
def placed() -> Callable[..., Plan]:
    """The plan with other fields in its placement, or in the settings inside it."""

    def change(**changes: Any) -> Plan:
        own = {name: value for name, value in changes.items() if name in EngineSettings.__struct_fields__}
        rest = {name: value for name, value in changes.items() if name not in own}
        settings = msgspec.structs.replace(SETTINGS, **own)
        placement = msgspec.structs.replace(PLAN.placement, settings=settings, **rest)
        return msgspec.structs.replace(PLAN, placement=placement)

    return change


@pytest.fixture
def served() -> Callable[..., ModelSpec]:
    """The model with other fields in how it is served."""

    def change(**changes: Any) -> ModelSpec:
        return msgspec.structs.replace(MODEL, serving=msgspec.structs.replace(MODEL.serving, **changes))

    return change
