"""docs/rights.md: what the operator may do in a cluster, from the chart's roles."""

from __future__ import annotations

import re

from docs.generate import DOCS
from docs.generate._chart import CHART

PAGE = "rights.md"
INTRODUCTION = """\
# Rights of the operator

<!-- Written by `make docs` from charts/vlm-operator/templates/rbac.yaml: edit that. -->

One ClusterRole, or with `watchNamespaces` a Role in each of them, without nodes; and a Role in the operator's own
namespace for its Lease. Nothing else is allowed.

| on | may | what for |
|---|---|---|
"""
LISTED = """
No verb of it could be left out: `tests/cluster/control_plane/test_least_rights.py` lets an operator with these rights
do all that it ever does, and compares them with what the API server's audit log has of it. Nor is there a rule that
nobody would miss: `tests/cluster/control_plane/test_each_rule.py` takes each away, and the operator is then denied
something, as the audit log shows, and says so in its own log.

## As kubectl lists them

Of every service account that there is, as an API server answered; `tests/cluster/control_plane/test_can_i.py` asks
again. Every account may look at itself and at what kinds there are, whatever else it may do.

"""
COMMENT = re.compile(r"^ *# (?P<text>.*)$", re.MULTILINE)
RULE = re.compile(
    r"- apiGroups: \[(?P<group>.*)\]\n +resources: \[(?P<resources>.*)\]\n"
    r"(?P<named> +resourceNames: .*\n)? +verbs: \[(?P<verbs>.*)\]"
)


def render() -> str:
    """The page in Markdown. Raises ValueError where a rule of the template is not of the form that is read here."""
    text = (CHART / "templates" / "rbac.yaml").read_text(encoding="utf-8")
    rules = list(RULE.finditer(text))
    if len(rules) != text.count("apiGroups:"):
        raise ValueError("a rule of rbac.yaml is not in the order apiGroups, resources, resourceNames, verbs.")
    return INTRODUCTION + "".join(_row(rule, text[: rule.start()]) for rule in rules) + LISTED + _listed()


def _listed() -> str:
    """Each account as a heading and what kubectl said."""
    sections = (DOCS / "can-i.txt").read_text(encoding="utf-8").removeprefix("# ").split("\n# ")
    parts = (section.partition("\n") for section in sections)
    return "\n".join(f"### {what}\n\n```console\n{told.strip()}\n```\n" for what, _, told in parts)


def _row(rule: re.Match[str], above: str) -> str:
    """A line of the table; the last comment above a rule says what it is for."""
    *_, why = COMMENT.findall(above)
    group = rule["group"].strip('"')
    resources = ", ".join(f"`{each}`" for each in rule["resources"].split(", "))
    on = resources + (f" of {group}" if group else "") + (", its own alone" if rule["named"] else "")
    return f"| {on} | {rule['verbs']} | {why} |\n"
