"""Who scales, and what other engines are told: one at a time, and nobody where what is asked for is not there."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.actions import difference
from vlm_operator.proxy import configuration
from vlm_operator.reasons import ScalingReason
from vlm_operator.records import KubernetesObject
from vlm_operator.scalers import (
    ANSWER_SECONDS,
    AUTOSCALER,
    HTTP_SCALED_OBJECT,
    SCALED_OBJECT,
    Means,
    ScalingSettings,
    choose,
    go_duration,
    hold_seconds,
    objects,
    others,
    quantity,
)
from vlm_operator.scaling_policy import Scale, Start, scale

from tests.vlm_operator.children import NAME, PARENT, PLANNED
from vlmctl.api import v1alpha1 as api
from vlmctl.api.spec import ScalingEngine

SCALING = api.Scaling(min=1, max=8)
READS = ScalingSettings(prometheus="http://prometheus.monitoring:9090", external_metric="vlmctl_requests_in_flight")
EVERYTHING = Means(keda=True, http_add_on=True, settings=READS)
NOTHING = Means()


def made_of(spec: api.Scaling, means: Means = EVERYTHING, start: Start | None = None) -> Scale:
    return scale(spec, PLANNED, None, start, minimum=choose(spec, means).minimum)


@pytest.mark.parametrize(
    ("asked", "minimum", "means", "engine", "reason"),
    [
        ("Auto", 1, NOTHING, "Operator", "Scaling"),
        ("Auto", 1, Means(keda=True), "Operator", "Scaling"),
        ("Auto", 1, replace(EVERYTHING, http_add_on=False), "KEDA", "Scaling"),
        ("Auto", 0, NOTHING, "Operator", "MinimumRaised"),
        ("Auto", 0, replace(EVERYTHING, http_add_on=False), "KEDA", "MinimumRaised"),
        ("Auto", 0, EVERYTHING, "KEDA", "Scaling"),
        ("Auto", 0, Means(keda=True, http_add_on=True), "Operator", "MinimumRaised"),
        ("Auto", 8, EVERYTHING, "KEDA", "Scaling"),
        ("Operator", 0, EVERYTHING, "Operator", "MinimumRaised"),
        ("Operator", 2, EVERYTHING, "Operator", "Scaling"),
        ("KEDA", 1, NOTHING, "None", "NotInstalled"),
        ("KEDA", 1, Means(keda=True), "None", "NotConfigured"),
        ("KEDA", 1, Means(keda=True, http_add_on=True), "None", "NotConfigured"),
        ("KEDA", 0, Means(keda=True, http_add_on=True), "None", "NotConfigured"),
        ("HPA", 1, NOTHING, "None", "NotConfigured"),
        ("HPA", 0, EVERYTHING, "HPA", "MinimumRaised"),
        ("None", 1, EVERYTHING, "None", "Disabled"),
    ],
)
def test_who_scales(asked: str, minimum: int, means: Means, engine: str, reason: str) -> None:
    """Auto takes KEDA where it can read metrics, else the operator; what cannot be done is done by nobody."""
    choice = choose(replace(SCALING, engine=ScalingEngine(asked), min=minimum), means)
    assert (choice.engine.value, choice.reason.value) == (engine, reason)
    assert choice.wrong is (reason in ("NotInstalled", "NotConfigured"))


@given(
    engine=st.sampled_from(ScalingEngine),
    minimum=st.integers(0, 4),
    keda=st.booleans(),
    http=st.booleans(),
    reads=st.booleans(),
)
def test_zero_only_where_requests_are_held(
    engine: ScalingEngine, minimum: int, keda: bool, http: bool, reads: bool
) -> None:
    """Nobody scales to 0 but KEDA with its HTTP add-on; elsewhere the status says why, and 1 stays."""
    means = Means(keda=keda, http_add_on=http, settings=READS if reads else ScalingSettings())
    choice = choose(replace(SCALING, engine=engine, min=minimum), means)
    assert choice.engine is not ScalingEngine.AUTO
    if choice.engine is ScalingEngine.NONE:
        return
    if choice.minimum == 0:
        # Without a Prometheus nothing sees requests that come through the Service, and they would be cut off.
        assert (choice.engine, minimum, keda, http, reads) == (ScalingEngine.KEDA, 0, True, True, True)
    elif minimum == 0:
        assert choice.reason is ScalingReason.MINIMUM_RAISED
        assert "HTTP add-on" in choice.message
        assert "Prometheus" in choice.message
        assert "InferencePool" in choice.message


def test_engines_never_overlap() -> None:
    """Whatever an engine scales by stands in the way of every other one, KEDA's own autoscaler too."""
    kedas = {SCALED_OBJECT: [NAME], HTTP_SCALED_OBJECT: [f"{NAME}-http"], AUTOSCALER: [f"keda-hpa-{NAME}"]}
    hpas = {AUTOSCALER: [NAME]}
    there = {ScalingEngine.KEDA: kedas, ScalingEngine.HPA: hpas, ScalingEngine.OPERATOR: dict[str, list[str]]()}
    for (is_there, children), wanted in product(there.items(), there):
        assert bool(others(children, NAME, wanted)) is (is_there is not wanted and bool(children)), (is_there, wanted)
    assert others({"Deployment": [NAME], AUTOSCALER: [f"keda-hpa-{NAME}"]}, NAME, ScalingEngine.HPA) == (
        f"{AUTOSCALER} keda-hpa-{NAME}",
    )


def test_the_autoscaler_is_told_the_policy() -> None:
    """The HPA scales the VLMDeployment, by the average of the external metric, with every window and rate."""
    spec = replace(SCALING, engine=ScalingEngine.HPA)
    (found,) = objects(PARENT, choose(spec, EVERYTHING), made_of(spec), EVERYTHING)
    assert found["spec"]["scaleTargetRef"] == {"apiVersion": api.API_VERSION, "kind": api.KIND, "name": NAME}
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (1, 8)
    external = found["spec"]["metrics"][0]["external"]
    assert external["metric"]["selector"] == {"matchLabels": {"deployment": NAME}}
    assert external["target"]["averageValue"] == quantity(made_of(spec).policy.target_in_flight)
    assert found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert "tolerance" not in found["spec"]["behavior"]["scaleDown"]


def test_the_autoscaler_asks_as_the_adapter_has_it() -> None:
    """KEDA's own adapter knows metrics by another label."""
    spec = replace(SCALING, engine=ScalingEngine.HPA)
    label = "scaledobject.keda.sh/name"
    settings = replace(READS, external_metric="s0-prometheus", external_metric_label=label)
    means = replace(EVERYTHING, settings=settings)
    (found,) = objects(PARENT, choose(spec, means), made_of(spec), means)
    metric = found["spec"]["metrics"][0]["external"]["metric"]
    assert metric == {"name": "s0-prometheus", "selector": {"matchLabels": {label: NAME}}}


def test_keda_is_told_the_policy_and_never_guesses() -> None:
    """The ScaledObject has the target as its threshold, and no value of its query is an error, not 0."""
    spec = replace(SCALING, idle="10m")
    (found,) = objects(PARENT, choose(spec, replace(EVERYTHING, http_add_on=False)), made_of(spec), EVERYTHING)
    (trigger,) = found["spec"]["triggers"]
    assert found["kind"] == SCALED_OBJECT
    assert trigger["metadata"]["threshold"] == f"{made_of(spec).policy.target_in_flight:g}"
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert 'namespace="team",deployment="reader"' in trigger["metadata"]["query"]
    assert 'ready="true"' in trigger["metadata"]["query"]
    assert found["spec"]["cooldownPeriod"] == 600
    assert found["spec"]["advanced"]["restoreToOriginalReplicaCount"] is False
    assert "idleReplicaCount" not in found["spec"]


def test_to_zero_requests_are_held_for_as_long_as_starts_take() -> None:
    """The HTTP add-on routes and counts, and its ScaledObject is ours; a request is held for two cold starts, in one of
    which the replica measures itself.
    """
    spec = replace(SCALING, min=0)
    start = Start(seconds=95.0, measured=True)
    made = made_of(spec, start=start)
    route, found = objects(PARENT, choose(spec, EVERYTHING), made, EVERYTHING, ladder_seconds=90.0)
    assert route["metadata"]["annotations"] == {"httpscaledobject.keda.sh/skip-scaledobject-creation": "true"}
    assert route["metadata"]["name"] != found["metadata"]["name"]
    assert route["spec"]["timeouts"] == {"conditionWait": "4m40s", "responseHeader": "1h0m0s"}
    assert [each["type"] for each in found["spec"]["triggers"]] == ["prometheus", "prometheus", "external-push"]
    assert found["spec"]["triggers"][2]["metadata"]["httpScaledObject"] == route["metadata"]["name"]
    assert found["spec"]["minReplicaCount"] == route["spec"]["replicas"]["min"] == 0
    assert hold_seconds(made_of(spec)) > 600


def test_what_was_held_for_too_long_is_led_to_the_operator() -> None:
    """By a Service in the route's namespace, after the time of holding; else the interceptor has its own answer."""
    spec = replace(SCALING, min=0)
    led = replace(EVERYTHING, settings=replace(READS, retry_host="operator.vlm-system.svc.cluster.local"))
    service, route, _ = objects(PARENT, choose(spec, led), made_of(spec), led)
    assert (service["kind"], service["spec"]) == (
        "Service",
        {"type": "ExternalName", "externalName": "operator.vlm-system.svc.cluster.local"},
    )
    later = route["spec"]["coldStartTimeoutFailoverRef"]
    assert later["service"] == service["metadata"]["name"]
    assert go_duration(later["timeoutSeconds"]) == route["spec"]["timeouts"]["conditionWait"]
    assert service["metadata"]["namespace"] == route["metadata"]["namespace"]
    plain, _ = objects(PARENT, choose(spec, EVERYTHING), made_of(spec), EVERYTHING)
    assert "coldStartTimeoutFailoverRef" not in plain["spec"]


@given(
    start_seconds=st.none() | st.floats(1.0, 3600.0),
    ladder_seconds=st.floats(0.0, 3600.0),
    idle_seconds=st.integers(1, 3600),
)
def test_a_replica_that_was_never_asked_has_its_start_and_its_idle_time(
    start_seconds: float | None, ladder_seconds: float, idle_seconds: int
) -> None:
    """KEDA, which has seen no request yet, would take it at once; with another minimum it takes none."""
    start = None if start_seconds is None else Start(seconds=start_seconds, measured=True)
    for minimum in (0, 1):
        spec = replace(SCALING, min=minimum, idle=f"{idle_seconds}s")
        made = made_of(spec, start=start)
        found = objects(PARENT, choose(spec, EVERYTHING), made, EVERYTHING, ladder_seconds=ladder_seconds)[-1]
        first = found["spec"].get("initialCooldownPeriod")
        if minimum:
            assert first is None
        else:
            assert first >= int(idle_seconds + (start_seconds or 300.0) + ladder_seconds)
        assert found["spec"]["cooldownPeriod"] == idle_seconds


def test_an_answer_may_take_as_long_as_the_proxy_gives_it() -> None:
    """The add-on waits for an answer as long as the proxy behind it: images take more than its own half second."""
    assert re.search(rf"timeout server {go_duration(ANSWER_SECONDS).removesuffix('0m0s')}$", configuration(), re.M)


@pytest.mark.parametrize(("seconds", "text"), [(60, "1m0s"), (190, "3m10s"), (59, "59s"), (3600, "1h0m0s")])
def test_durations_are_as_go_writes_them(seconds: int, text: str) -> None:
    """The add-on puts its finalizer in by writing the whole object anew, from Go: what it spells is no difference."""
    assert go_duration(seconds) == text


@pytest.mark.parametrize(
    ("replicas", "minimum", "paused"), [(0, 1, True), (1, 1, False), (0, 0, False), (None, 1, False)]
)
def test_what_somebody_scaled_to_0_stays_so_with_keda(replicas: int | None, minimum: int, paused: bool) -> None:
    """KEDA would scale to its minimum at its next look, unless its object is paused; where that is 0 it wakes it."""
    spec = replace(SCALING, min=minimum)
    stopped = {**PARENT, "spec": {**PARENT["spec"], **({} if replicas is None else {"replicas": replicas})}}
    found = objects(stopped, choose(spec, EVERYTHING), made_of(spec), EVERYTHING)[-1]
    assert found["metadata"].get("annotations", {}).get("autoscaling.keda.sh/paused") == ("true" if paused else None)


@pytest.mark.parametrize("engine", ["HPA", "KEDA"])
def test_a_tolerance_that_the_cluster_drops_is_written_once(engine: str) -> None:
    """Kubernetes 1.33 and 1.34 drop the field unless a feature gate is on; another one that is asked for is written."""

    def asked(tolerance: str | None) -> KubernetesObject:
        down = api.ScalingRules(tolerance=tolerance)
        spec = replace(SCALING, engine=ScalingEngine(engine), behavior=api.ScalingBehavior(scale_down=down))
        return objects(PARENT, choose(spec, EVERYTHING), made_of(spec), EVERYTHING)[-1]

    kept = asked("0.05")
    assert '"tolerance": "50m"' in json.dumps(kept["spec"])
    dropped = json.loads(json.dumps(kept).replace(', "tolerance": "50m"', ""))
    assert dropped != kept
    assert difference(kept, dropped) is None
    assert difference(asked("0.02"), dropped) is not None
    assert difference(asked("0.02"), kept) is not None
    assert "annotations" not in asked("0.1")["metadata"]


@given(value=st.floats(0.05, 1e6))
def test_quantities_are_written_as_the_api_server_answers_them(value: float) -> None:
    """To the millionth and in the canonical form, so that what was written is never written again."""
    text = quantity(value)
    number, unit = (text[:-1], text[-1]) if text[-1] in "mu" else (text, "")
    assert abs(int(number) * {"": 1.0, "m": 1e-3, "u": 1e-6}[unit] - value) <= 1e-6
    assert not unit or int(number) % 1000


def test_an_autoscaler_that_the_api_server_filled_in_is_right() -> None:
    """Fields that the API server and KEDA add are no difference."""
    spec = replace(SCALING, engine=ScalingEngine.HPA)
    (found,) = objects(PARENT, choose(spec, EVERYTHING), made_of(spec), EVERYTHING)
    assert difference(found, {**found, "status": {"currentReplicas": 1}}) is None
