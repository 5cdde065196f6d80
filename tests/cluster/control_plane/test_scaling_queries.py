"""What KEDA asks a Prometheus, answered by Prometheus' own engine (promtool), with and without replicas."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from vlm_operator import names
from vlm_operator.scaling_queries import answered_query, in_flight_query

from docs.generate._chart import CHART

OF = f'namespace="team",{names.SERIES_LABEL}="vision"'
SESSIONS = f'haproxy_backend_current_sessions{{proxy="inference",{OF},pod="%s"}}'
ANSWERS = f'haproxy_backend_http_responses_total{{proxy="inference",{OF},pod="a",code="2xx"}}'
UP = f'up{{{OF},metrics_path="/proxy/metrics",pod="%s"}}'
READY = f'up{{{OF},ready="true",pod="%s"}}'
OWN = f'up{{{OF},metrics_path="/proxy/metrics",ready="%s",pod="%s"}}'  # of a Prometheus that scrapes the page once
REPLICAS = 'vlmctl_deployment_replicas{namespace="team",deployment="vision",state="%s"}'
SERVING = {UP % "a": "1x20", READY % "a": "1x20", SESSIONS % "a": "3x20"}
OTHER = {UP % "b": "1x20", READY % "b": "1x20", SESSIONS % "b": "2x20"}
LEAVES = {UP % "b": "1x2 0x17", READY % "b": "1x5 stale", SESSIONS % "b": "2x2 stale"}
ASLEEP = {REPLICAS % state: "0x20" for state in ("wanted", "present", "ready")}
WAKING = {REPLICAS % "wanted": "1x20", REPLICAS % "present": "0x20", REPLICAS % "ready": "0x20"}
FAILED = {'vlmctl_deployment_phase{namespace="team",deployment="vision",phase="Failed"}': "1x16 stale"}
LOAD, TO_ZERO = in_flight_query("team", "vision"), in_flight_query("team", "vision", to_zero=True)
ANSWERED = answered_query("team", "vision")


def started(looks: int) -> dict[str, str]:
    """Of a replica that takes traffic after so many looks, and has answered nothing yet."""
    replicas = {REPLICAS % "wanted": "1x20", REPLICAS % "present": "1x20", REPLICAS % "ready": f"0x{looks} 1x20"}
    return {**replicas, ANSWERS: "0x20"}


@pytest.mark.parametrize(
    ("query", "series", "value"),
    [
        pytest.param(LOAD, SERVING, 3, id="serving"),
        pytest.param(LOAD, {**SERVING, **OTHER}, 5, id="two replicas"),
        pytest.param(LOAD, {**SERVING, **OTHER, UP % "b": "0x20"}, None, id="one silent"),
        pytest.param(LOAD, {**SERVING, READY % "b": "0x20"}, None, id="one never scraped"),
        pytest.param(LOAD, {**SERVING, **LEAVES}, 3, id="one leaves"),
        pytest.param(LOAD, {UP % "a": "1x20", SESSIONS % "a": "0x20"}, None, id="one starts"),
        pytest.param(LOAD, {**SERVING, UP % "b": "1x20", SESSIONS % "b": "0x20"}, 3, id="a second one starts"),
        pytest.param(LOAD, {SESSIONS % "a": "3x20"}, None, id="without up"),
        pytest.param(LOAD, {SESSIONS % "a": "3x20", f'up{{{OF},pod="a"}}': "1x20"}, None, id="up without its labels"),
        pytest.param(LOAD, {SESSIONS % "a": "3x20", UP % "a": "1x20"}, None, id="not said who is ready"),
        pytest.param(
            LOAD,
            {OWN % ("true", "a"): "1x20", OWN % ("false", "b"): "0x20", SESSIONS % "a": "3x20"},
            3,
            id="own labels",
        ),
        pytest.param(
            LOAD,
            {OWN % ("true", "a"): "1x20", OWN % ("true", "b"): "0x20", SESSIONS % "a": "3x20"},
            None,
            id="own, silent",
        ),
        pytest.param(LOAD, ASLEEP, None, id="no way to sleep"),
        pytest.param(TO_ZERO, SERVING, 3, id="to zero, serving"),
        pytest.param(TO_ZERO, {**SERVING, REPLICAS % "wanted": "1x20"}, 3, id="to zero, one of one"),
        pytest.param(TO_ZERO, ASLEEP, 0, id="asleep"),
        pytest.param(TO_ZERO, WAKING, None, id="waking"),
        pytest.param(TO_ZERO, {**WAKING, UP % "a": "0x20"}, None, id="to zero, silent"),
        pytest.param(TO_ZERO, {**WAKING, **FAILED}, 0, id="fails to wake"),
        pytest.param(TO_ZERO, {**SERVING, **FAILED}, 3, id="to zero, had failed"),
        pytest.param(TO_ZERO, {}, None, id="a Prometheus that finds nothing"),
        pytest.param(ANSWERED, {ANSWERS: "5x20"}, 0, id="quiet"),
        pytest.param(ANSWERED, {ANSWERS: "5x17 6x2"}, 1, id="a short request between two looks"),
        pytest.param(ANSWERED, ASLEEP, 0, id="asleep, no answers"),
        pytest.param(ANSWERED, WAKING, 1, id="waking, no answers"),
        pytest.param(ANSWERED, {**WAKING, **FAILED}, 0, id="fails to wake, no answers"),
        pytest.param(ANSWERED, {REPLICAS % "wanted": "1x20"}, None, id="nothing said of who is ready"),
        pytest.param(ANSWERED, started(10), 0, id="started, and nobody asked"),
        pytest.param(ANSWERED, started(16), 1, id="just started, and nobody asked"),
    ],
)
def test_a_query_has_a_value_only_where_all_is_known(
    cluster_bin: Path, tmp_path: Path, query: str, series: dict[str, str], value: float | None
) -> None:
    """Silence is no value, which KEDA takes as an error; only the operator's word that none is there is 0."""
    answer(cluster_bin, tmp_path, query, series, value)


@pytest.mark.parametrize("at", ["10m", "10m30s", "11m", "11m30s", "11m59s"])
def test_answers_are_counted_at_the_longest_interval(cluster_bin: Path, tmp_path: Path, at: str) -> None:
    """That the chart lets in as podMonitor.interval: looks a minute apart, or a little more, see one short request."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    allowed = re.compile(schema["properties"]["podMonitor"]["properties"]["interval"]["pattern"])
    longest = max(seconds for seconds in range(1, 1000) if allowed.search(f"{seconds}s"))
    assert not any(allowed.search(text) for text in ("0s", "2m", "10m", "1h"))
    answer(cluster_bin, tmp_path, ANSWERED, {ANSWERS: "5x9 6x10"}, 1, interval=f"{longest}s", at=at)


def answer(
    cluster_bin: Path,
    tmp_path: Path,
    query: str,
    series: dict[str, str],
    value: float | None,
    *,
    interval: str = "30s",
    at: str = "9m30s",
) -> None:
    """Assert the value of a query over series that are scraped every `interval`; None: it has none."""
    samples: list[dict[str, Any]] = [] if value is None else [{"labels": "{}", "value": value}]
    case = {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": samples}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"tests": [case]}))
    done = subprocess.run((cluster_bin / "promtool", "test", "rules", file), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
