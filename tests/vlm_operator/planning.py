"""Plans asked of the real catalog, for a cluster with L4 and H100 unless another is given."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from vlm_operator.planner import Planner
from vlm_operator.policy import Policy
from vlm_operator.records import Planned
from vlm_operator.refusal import Refused

from tests.support.gpu_nodes import pool
from tests.support.records import SOURCE
from vlmctl import library
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.model import Precision, QuantizedCheckpoint

CATALOG = library.load_catalog()
PLANNER = Planner(CATALOG)
L4_AND_H100 = Inventory(pools=(pool("L4", 4, 0.5), pool("H100-SXM", 8, 3.0)))
ANYTHING = Policy()
QWEN: dict[str, Any] = {"model": {"name": "qwen3-vl-8b"}}


def spec_of(**fields: Any) -> api.VLMDeploymentSpec:
    """A spec of these fields, as a manifest has them."""
    return msgspec.convert(fields, api.VLMDeploymentSpec)


def planned(
    *,
    inventory: Inventory = L4_AND_H100,
    policy: Policy = ANYTHING,
    planner: Planner = PLANNER,
    benchmarks: tuple[api.VLMBenchmark, ...] = (),
    engine_image: str | None = None,
    **fields: Any,
) -> Planned:
    """The plan of a spec of these fields."""
    return planner.plan(spec_of(**fields), inventory, policy, benchmarks, engine_image=engine_image)


def refused(**fields: Any) -> Refused:
    """Why a spec of these fields has no plan."""
    with pytest.raises(Refused) as found:
        planned(**fields)
    return found.value


def values(plan: Planned) -> dict[str, tuple[str, ...]]:
    """Arguments by flag."""
    return {argument.flag: argument.values for argument in plan.arguments}


def checkpoint(precision: Precision, *, quality_published: bool) -> QuantizedCheckpoint:
    """A made-up one."""
    repository = f"toys/{precision.value}"
    return QuantizedCheckpoint(
        precision=precision, repository=repository, quality_published=quality_published, source=SOURCE
    )
