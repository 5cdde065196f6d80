"""Each rule of the chart's roles is needed: without any one of them the operator is denied something, and says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import MANIFEST, OperatorProcess, Space, eventually, running, some
from tests.cluster.control_plane.test_least_rights import NAME, SETTINGS, Right, crash, rights, used
from tests.cluster.control_plane.test_rights import RELEASE, logged_in, permissions

AT_ONCE = 4  # operators
# What is not asked for when the operator starts, but for a VLMDeployment.
FOR_ONE = {"vlmdeployments/status", "vlmdeployments/scale", "deployments/scale", "secrets", "pods/log", "events"}
SPEC = {**MANIFEST, "replicas": 2, "scaling": {"min": 3, "max": 4, "engine": "Operator"}}
Body = dict[str, Any]


class Case(NamedTuple):
    """Rule `rule` of role `role` is taken away; `needs_one`: a VLMDeployment must be there for it to be missed."""

    role: int
    rule: int
    missing: set[Right]

    @property
    def needs_one(self) -> bool:
        return bool({right.resource for right in self.missing} & FOR_ONE)

    def without(self, roles: list[Body]) -> list[Body]:
        """The roles that are left."""
        left = deepcopy(roles)
        del left[self.role]["rules"][self.rule]
        return left


def test_without_any_rule_something_is_denied_and_told(
    extended: Cluster, new_space: Callable[[], Space], tmp_path: Path
) -> None:
    """In the audit log it is that rule alone that is missed, and each refusal stands in the operator's own log."""
    roles = list(yaml.safe_load_all(permissions(extended, "default")))
    cases = [
        Case(number, place, rights(rule))
        for number, role in enumerate(roles)
        for place, rule in enumerate(role.get("rules", ()))
    ]
    assert len(cases) > len(FOR_ONE)

    def missed(case: Case, space: Space) -> None:
        folder = tmp_path / space.name
        folder.mkdir()
        install(space, case.without(roles))
        kubeconfig = logged_in(extended, space, folder)
        # One of the whole cluster would work for the VLMDeployments of the others.
        places = [space.name] if case.needs_one else []
        with running(space, folder, kubeconfig=kubeconfig, namespaces=places, settings=SETTINGS) as operator:
            if case.needs_one:
                space.make(NAME, SPEC)
            if Right("", "pods/log", "get") in case.missing:
                crash(space, next(iter(eventually(lambda: some(space.all("Pod"))))))
            eventually(lambda: check_told(case, space, operator))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for needs_one in (False, True):
            chosen = [case for case in cases if case.needs_one is needs_one]
            for _ in pool.map(missed, chosen, [new_space() for _ in chosen]):
                continue


def install(space: Space, objects: list[Body]) -> None:
    """Service account and roles for this namespace; what is the cluster's has a name that tells whose it is."""
    text = yaml.safe_dump_all(objects).replace("namespace: default\n", f"namespace: {space.name}\n")
    placed = list(yaml.safe_load_all(text))
    for each in placed:
        if each["kind"].startswith("Cluster"):
            each["metadata"]["name"] = f"{RELEASE}.{space.name}"
        if each["kind"] == "ClusterRoleBinding":
            each["roleRef"]["name"] = f"{RELEASE}.{space.name}"
    space.cluster.apply(*placed)


def check_told(case: Case, space: Space, operator: OperatorProcess) -> None:
    """Something was denied, it is of what is missing, and a warning or an error says of each what it was."""
    told = [line["message"] for line in operator.lines() if line["level"] in ("warning", "error")]
    assert any("forbidden" in message for message in told), f"without {case.missing}: {told}"
    _, denied = used(space.cluster, space)
    assert denied, f"without {case.missing} nothing is denied"
    assert set(denied) <= case.missing
    for right, words in denied.items():
        assert any(words in message for message in told), f"{right} is not told in {told}"
