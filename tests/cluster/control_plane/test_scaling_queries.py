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
REPLICAS = 'vlmctl_deployment_replicas{namespace="team",deployment="vision",state="%s"}'
SERVING = {UP % "a": "1x20", SESSIONS % "a": "3x20"}
ASLEEP = {REPLICAS % state: "0x20" for state in ("wanted", "present", "ready")}
WAKING = {REPLICAS % "wanted": "1x20", REPLICAS % "present": "0x20"}
LOAD, TO_ZERO = in_flight_query("team", "vision"), in_flight_query("team", "vision", to_zero=True)
ANSWERED = answered_query("team", "vision")


@pytest.mark.parametrize(
    ("query", "series", "value"),
    [
        pytest.param(LOAD, SERVING, 3, id="serving"),
        pytest.param(LOAD, {**SERVING, UP % "b": "1x20", SESSIONS % "b": "2x20"}, 5, id="two replicas"),
        pytest.param(LOAD, {**SERVING, UP % "b": "0x20"}, None, id="one silent"),
        pytest.param(LOAD, ASLEEP, None, id="no way to sleep"),
        pytest.param(TO_ZERO, SERVING, 3, id="to zero, serving"),
        pytest.param(TO_ZERO, {**SERVING, REPLICAS % "wanted": "1x20"}, 3, id="to zero, one of one"),
        pytest.param(TO_ZERO, ASLEEP, 0, id="asleep"),
        pytest.param(TO_ZERO, WAKING, None, id="waking"),
        pytest.param(TO_ZERO, {**WAKING, UP % "a": "0x20"}, None, id="to zero, silent"),
        pytest.param(TO_ZERO, {}, None, id="a Prometheus that finds nothing"),
        pytest.param(ANSWERED, {ANSWERS: "5x20"}, 0, id="quiet"),
        pytest.param(ANSWERED, {ANSWERS: "5x17 6x2"}, 1, id="a short request between two looks"),
        pytest.param(ANSWERED, ASLEEP, 0, id="asleep, no answers"),
        pytest.param(ANSWERED, WAKING, None, id="waking, no answers"),
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
