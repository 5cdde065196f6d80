"""The chart's rules and dashboard on a real Prometheus, which scrapes a real operator."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from msgspec.structs import replace
from vlm_operator.kinds import NODE, VLMDEPLOYMENT

from tests.cluster.clusters import REPOSITORY
from tests.cluster.control_plane.operators import Space, eventually, running, settled, some
from tests.cluster.control_plane.prometheus import RULES, Prometheus, engine_pod, fixed_scrapes, free_port, prometheus
from tests.cluster.control_plane.test_results import MEASURED, agents, node, ready, started

DASHBOARD = REPOSITORY / "charts" / "vlm-operator" / "dashboards" / "vlmctl.json"
RULES_TEST = Path(__file__).with_name("rules_test.yaml")
NAME = "vision"
SPEC = {"model": {"name": "qwen2.5-vl-3b-instruct"}, "objectives": {"ttft": "4s", "tpot": "100ms"}}


def test_rules_hold(cluster_bin: Path) -> None:
    """promtool runs every unit test of the rules, and finds each alert once fired and once not."""
    done = subprocess.run(
        (cluster_bin / "promtool", "test", "rules", RULES_TEST), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = yaml.safe_load(RULES_TEST.read_text())["tests"]
    fired = {
        (each["alertname"], bool(each["exp_alerts"])) for case in cases for each in case.get("alert_rule_test", ())
    }
    tried = " ".join(each["expr"] for case in cases for each in case.get("promql_expr_test", ()))
    for rule in (rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]):
        if "alert" in rule:
            assert {(rule["alert"], True), (rule["alert"], False)} <= fired, rule["alert"]
        else:
            assert rule["record"] in tried


@pytest.fixture
def watched(space: Space, cluster_bin: Path, tmp_path: Path) -> Iterator[tuple[Space, Prometheus, str]]:
    """A VLMDeployment that has measured itself, its operator and its pod scraped; the operator's address."""
    address = f"127.0.0.1:{free_port()}"
    with running(space, tmp_path, settings={"port": int(address.partition(":")[2])}):
        space.make(NAME, SPEC)
        settled(space, NAME)
        (pod,) = eventually(lambda: some(space.all("Pod")))
        where = node(space)
        started(space, pod, where, "127.0.0.21")
        try:
            with agents("127.0.0.21") as (agent,), engine_pod() as engine:
                agent.result = replace(MEASURED, engine_ready="2026-11-21T11:59:00Z")
                ready(space, pod)
                eventually(lambda: some(space.find(VLMDEPLOYMENT, NAME)["status"].get("benchmark")))
                labels = {"namespace": space.name, "deployment": NAME, "pod": pod}
                program, scrapes = cluster_bin / "prometheus", fixed_scrapes(address, {engine: labels})
                with prometheus(program, tmp_path / "prometheus", scrapes=scrapes) as found:
                    yield space, found, address
        finally:
            space.ask("DELETE", NODE.path(None, where))


def queries() -> dict[str, list[str]]:
    """What each panel of the dashboard asks."""
    panels = [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]
    return {each["title"]: [target["expr"] for target in each["targets"]] for each in panels}


def test_every_panel_shows_something(watched: tuple[Space, Prometheus, str]) -> None:
    """Each query of the dashboard gives numbers, what is wrong none until it is, and what can be chosen is there."""
    space, found, _ = watched

    def values(expr: str) -> list[float]:
        return found.values(expr.replace("$namespace", space.name).replace("$deployment", ".*"))

    def check(expr: str) -> None:
        assert any(math.isfinite(value) for value in values(expr)), expr

    def check_all_well(expr: str) -> None:
        assert found.values(f'vlmctl_deployment_condition{{namespace="{space.name}"}}')
        assert values(expr) == []

    (wrong,) = queries()["Not as it should be"]
    eventually(lambda: check_all_well(wrong))
    space.make("refused", {**SPEC, "objectives": {"ttft": "1ms"}})
    eventually(lambda: check(wrong))
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"replicas": 2}}, "scale")  # so that there are passes to count
    for exprs in queries().values():
        for expr in exprs:
            eventually(lambda expr=expr: check(expr))  # type: ignore[misc]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((?P<series>.*), (?P<label>\w+)\)", variable["query"]["query"])
            assert asked is not None
            series = asked["series"].replace("$namespace", space.name)
            assert found.ask(f"label/{asked['label']}/values", **{"match[]": series})
    groups = found.ask("rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []


def test_metrics_are_what_the_status_says(watched: tuple[Space, Prometheus, str]) -> None:
    """Prometheus has the figures of the VLMDeployment's status under its own namespace and name, and no second ones."""
    space, found, address = watched
    status: dict[str, Any] = space.find(VLMDEPLOYMENT, NAME)["status"]
    of = f'{{namespace="{space.name}", deployment="{NAME}"}}'

    def check() -> None:
        assert found.values(f"vlmctl_deployment_cost_usd_per_hour{of}") == [float(status["cost"]["hourlyUSD"])]
        assert found.values(f"vlmctl_deployment_drift_ratio{of}") == [float(status["drift"]["throughput"])]
        assert found.values("vlmctl_leader") == [1]
        assert found.values('vlmctl_watch_up{kind="Pod"}') == [1]

    eventually(check)
    told = httpx.get(f"http://{address}/metrics", trust_env=False).text
    wrote = re.findall(r'vlmctl_api_writes_total\{kind="Deployment",verb="(\w+)"\} (\d)', told)
    assert dict(wrote) == {"patch": "1"}
