"""Namespaces with an operator in them, on one control plane for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from vlm_operator.kinds import HTTP_SCALED_OBJECT, MONITOR, SCALED_OBJECT

from tests.cluster.clusters import Cluster, crds
from tests.cluster.control_plane.adapters import established, open_crd
from tests.cluster.control_plane.operators import Space

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def served(control_plane: Cluster, cluster_bin: Path) -> Cluster:
    """The control plane with the chart's resource definitions."""
    definitions = crds(cluster_bin)
    control_plane.apply(*definitions)
    names = [f"crd/{each['metadata']['name']}" for each in definitions]
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return control_plane


@pytest.fixture
def extended(served: Cluster) -> Iterator[Cluster]:
    """The control plane with the kinds of other projects, which hold anything."""
    kinds = (MONITOR, SCALED_OBJECT, HTTP_SCALED_OBJECT)
    names = established(served, [open_crd(*each.api_version.split("/"), each.kind, each.plural) for each in kinds])
    try:
        yield served
    finally:
        served.kubectl("delete", *names)


@pytest.fixture
def new_space(served: Cluster) -> Iterator[Callable[[], Space]]:
    """Makes namespaces, each of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Space(served, f"space-{next(_NUMBERS)}")))


@pytest.fixture
def space(new_space: Callable[[], Space]) -> Space:
    """A namespace."""
    return new_space()
