"""What `kubectl auth can-i --list` says of every service account of ours is what docs/rights.md prints."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.clusters import REPOSITORY, Cluster

CHART = str(REPOSITORY / "charts" / "vlm-operator")
PRINTED = REPOSITORY / "docs" / "can-i.txt"
HOME, TEAM = "vlm-system", "team-a"
PARTS = ("serviceaccount", "rbac", "tests/installed")
ASKED = (  # account, namespace asked about, what it is
    ("vlm-operator", TEAM, "The operator of a whole cluster, in any namespace"),
    ("vlm-operator", HOME, "The operator of a whole cluster, in its own namespace"),
    ("vlm-operator-a", TEAM, "An operator with `watchNamespaces: [team-a]`, there"),
    ("vlm-operator-a", "team-b", "An operator with `watchNamespaces: [team-a]`, in another namespace"),
    ("vlm-operator-test", HOME, "`helm test`, in the operator's namespace"),
)


@pytest.fixture
def installed(served: Cluster) -> Iterator[Cluster]:
    """Accounts and roles of two releases: one for the cluster, one for a namespace; without the test's pod."""
    rendered = []
    for release, values in (("vlm-operator", []), ("vlm-operator-a", ["--set", f"watchNamespaces={{{TEAM}}}"])):
        shown = [word for part in PARTS for word in ("--show-only", f"templates/{part}.yaml")]
        told = served.helm("template", release, CHART, "--namespace", HOME, *values, *shown)
        rendered.append("\n---\n".join(each for each in told.split("\n---") if "kind: Pod\n" not in each))
    for namespace in (HOME, TEAM, "team-b"):
        served.kubectl("create", "namespace", namespace)
    served.kubectl("create", "serviceaccount", "invoices", "-n", TEAM)  # as the operator makes one for engine pods
    everything = "\n---\n".join(rendered)
    served.kubectl("apply", "--server-side", "-f", "-", stdin=everything)
    try:
        yield served
    finally:
        served.kubectl("delete", "-f", "-", stdin=everything)
        served.kubectl("delete", "namespace", HOME, TEAM, "team-b")


def test_what_accounts_can_do_is_printed(installed: Cluster) -> None:
    """VLMCTL_WRITE=1 writes the file anew; the page is made from it."""
    told = "\n".join(
        [
            *(_listed(installed, f"{HOME}:{account}", where, what) for account, where, what in ASKED),
            _listed(installed, f"{TEAM}:invoices", TEAM, "Pods of the VLMDeployment `invoices`, which have no token"),
        ]
    )
    if os.environ.get("VLMCTL_WRITE"):
        PRINTED.write_text(told)
    assert PRINTED.read_text() == told, f"VLMCTL_WRITE=1 writes {PRINTED.name}, then `make docs`"


def _listed(cluster: Cluster, account: str, namespace: str, what: str) -> str:
    """What one account can do in a namespace: what it is, the command, and a sorted table without kubectl's padding."""
    asked = ("auth", "can-i", "--list", f"--as=system:serviceaccount:{account}", "-n", namespace)
    head, *lines = cluster.kubectl(*asked).splitlines()
    starts = [head.index(name) for name in ("Resources", "Non-Resource URLs", "Resource Names", "Verbs")]
    rows = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    shown = sorted({" ".join(cell for cell in row if cell not in ("", "[]")) for row in rows})
    return "\n".join([f"# {what}", f"$ kubectl {' '.join(asked)}", *shown, ""])
