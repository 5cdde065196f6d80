"""Who scales a VLMDeployment in this cluster, and what KEDA or the HorizontalPodAutoscaler are told for it.

One engine scales at a time: an engine's objects are wanted only once those of every other engine are gone, and the
operator's own sweep keeps still meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from vlm_operator import names
from vlm_operator.reasons import ScalingReason
from vlm_operator.records import KubernetesObject
from vlm_operator.scaling_policy import INTERVAL_SECONDS, Scale
from vlm_operator.scaling_queries import answered_query, in_flight_query
from vlmctl.api import v1alpha1 as api
from vlmctl.api.spec import ScalingEngine
from vlmctl.planning.scaling import Direction, ScalingPolicy, StepKind
from vlmctl.specs.record import Record

SCALED_OBJECT, HTTP_SCALED_OBJECT, AUTOSCALER = "ScaledObject", "HTTPScaledObject", "HorizontalPodAutoscaler"
KINDS = frozenset({SCALED_OBJECT, HTTP_SCALED_OBJECT, AUTOSCALER})
HTTP_ADD_ON = "httpscaledobjects.http.keda.sh"  # its CustomResourceDefinition
# The add-on makes a ScaledObject of its own otherwise, and deletes one that has its object's name.
SKIP = {"httpscaledobject.keda.sh/skip-scaledobject-creation": "true"}
PAUSED = {"autoscaling.keda.sh/paused": "true"}
SERVICE_PORT = 80  # of every Service that the operator makes
RETRY_PORT = 8083  # of the operator's own Service, where it tells clients to come again
TOLERANCE = f"{api.GROUP}/tolerance"
USUAL_TOLERANCE = 0.1  # the HPA's own: unsaid, as older clusters have no field for it
HOLD_STARTS = 2.0  # requests are held for so many cold starts
SHORTEST_HOLD_SECONDS = 60.0
ANSWER_SECONDS = 3600  # until an answer begins: the proxy's `timeout server`; the add-on's own was 500 ms until 0.13
UNKNOWN_START_SECONDS = 600.0  # what a start is given where nothing is known of it


class ScalingSettings(Record, frozen=True, kw_only=True):
    """What the chart's values say of autoscaling.

    `prometheus`: the address that KEDA asks. `external_metric`: the name under which an adapter (prometheus-adapter,
    say) serves requests in flight to the HPA; `external_metric_label`: the label of that metric whose value is the
    deployment's name. `http_scaler`: host and port of the KEDA HTTP add-on's scaler. `retry_host`: the operator's
    Service by its full name, which answers requests that the add-on has held for too long. `interval_seconds`: between
    looks, of the operator and of KEDA.
    """

    prometheus: str | None = None
    external_metric: str | None = None
    external_metric_label: str = names.SERIES_LABEL
    http_scaler: str = "keda-add-ons-http-external-scaler.keda:9090"
    retry_host: str | None = None
    interval_seconds: float = INTERVAL_SECONDS


class Means(Record, frozen=True, kw_only=True):
    """What there is to scale with. `keda`, `http_add_on`: whether the cluster serves their kinds."""

    keda: bool = False
    http_add_on: bool = False
    settings: ScalingSettings = ScalingSettings()


class Choice(Record, frozen=True, kw_only=True):
    """Who scales (never Auto), why, and between what bounds. `wrong`: the spec asks for what cannot be done."""

    engine: ScalingEngine
    reason: ScalingReason
    message: str
    minimum: int
    wrong: bool = False

    @property
    def to_zero(self) -> bool:
        """Whether KEDA takes the last replica away, and brings it back."""
        return self.engine is ScalingEngine.KEDA and self.minimum == 0


def choose(spec: api.Scaling, means: Means) -> Choice:
    """The engine that scales."""
    asked = spec.engine
    if asked is ScalingEngine.NONE:
        return _nobody(spec, ScalingReason.DISABLED, "Nobody scales: spec.scaling.engine is None.")
    if spec.min == spec.max == 1:  # as where scaling is left out
        return _nobody(spec, ScalingReason.FIXED, "Nobody scales: spec.scaling.min and max are 1.")
    reads = bool(means.settings.prometheus)
    to_zero = spec.min == 0 and means.keda and means.http_add_on and reads
    if asked is ScalingEngine.KEDA and not means.keda:
        return _nobody(
            spec,
            ScalingReason.NOT_INSTALLED,
            "Nobody scales: KEDA is not installed, or the operator may not read its objects. Install KEDA, or set "
            "spec.scaling.engine to Operator.",
            wrong=True,
        )
    if asked is ScalingEngine.KEDA and not reads:
        return _nobody(
            spec,
            ScalingReason.NOT_CONFIGURED,
            "Nobody scales: KEDA needs the address of a Prometheus, scaling.prometheus of the chart. Set it, or set "
            "spec.scaling.engine to Operator.",
            wrong=True,
        )
    if asked is ScalingEngine.HPA and not means.settings.external_metric:
        return _nobody(
            spec,
            ScalingReason.NOT_CONFIGURED,
            "Nobody scales: the HorizontalPodAutoscaler needs an adapter that serves requests in flight, named in "
            "scaling.externalMetric of the chart. Set it, or set spec.scaling.engine to Operator.",
            wrong=True,
        )
    if asked is ScalingEngine.AUTO:
        asked = ScalingEngine.KEDA if means.keda and reads else ScalingEngine.OPERATOR
    return _bounded(spec, asked, to_zero=to_zero and asked is ScalingEngine.KEDA)


def _nobody(spec: api.Scaling, reason: ScalingReason, message: str, *, wrong: bool = False) -> Choice:
    more = "" if wrong else " Replicas are what spec.replicas says."
    return Choice(engine=ScalingEngine.NONE, reason=reason, message=message + more, minimum=spec.min, wrong=wrong)


def _bounded(spec: api.Scaling, engine: ScalingEngine, *, to_zero: bool) -> Choice:
    who = "The operator" if engine is ScalingEngine.OPERATOR else engine.value
    if spec.min > 0 or to_zero:
        message = f"{who} scales between {spec.min} and {spec.max} replicas."
        if spec.min == spec.max:
            message = f"{who} keeps {spec.max} replicas."
        return Choice(engine=engine, reason=ScalingReason.SCALING, message=message, minimum=spec.min)
    message = (
        f"{who} scales between 1 and {spec.max} replicas, not to 0: that needs KEDA, its HTTP add-on ({HTTP_ADD_ON}) "
        "to hold requests while a replica starts, and a Prometheus (scaling.prometheus of the chart) to see those that "
        "come through the Service. The operator has no activator of its own, and Gateway API's InferencePool is not "
        "supported."
    )
    return Choice(engine=engine, reason=ScalingReason.MINIMUM_RAISED, message=message, minimum=1)


def others(children: Mapping[str, Collection[str]], name: str, engine: ScalingEngine) -> tuple[str, ...]:
    """Objects of other engines that are still there, as ``ScaledObject reader``. KEDA makes an autoscaler itself.

    `children`: the names of a VLMDeployment's children, by kind; those of KEDA's autoscaler have our labels too.
    """
    found = ((kind, each) for kind in sorted(KINDS) for each in sorted(children.get(kind, ())))
    return tuple(f"{kind} {each}" for kind, each in found if not is_of(engine, kind, each == name))


def is_of(engine: ScalingEngine, kind: str, has_its_name: bool) -> bool:
    """Whether an object is the engine's; `has_its_name`: that of the VLMDeployment, which KEDA's autoscaler has not."""
    if engine is ScalingEngine.HPA:
        return kind == AUTOSCALER and has_its_name
    return engine is ScalingEngine.KEDA and (kind != AUTOSCALER or not has_its_name)


def goes_to_zero(body: KubernetesObject) -> bool:
    """Whether a ScaledObject lets KEDA take the last replica away."""
    return bool(body.get("spec", {}).get("minReplicaCount") == 0)


def objects(
    parent: KubernetesObject, choice: Choice, scale: Scale, means: Means, *, ladder_seconds: float = 0.0
) -> tuple[KubernetesObject, ...]:
    """What the chosen engine is told; nothing where the operator or nobody scales. `ladder_seconds`: the longest that a
    replica may measure itself before it takes traffic.
    """
    settings = means.settings
    if choice.engine is ScalingEngine.HPA:
        return (_autoscaler(parent, scale, means),)
    if choice.engine is not ScalingEngine.KEDA or settings.prometheus is None:
        return ()
    place = (parent["metadata"]["namespace"], parent["metadata"]["name"])
    load = in_flight_query(*place, to_zero=choice.to_zero)
    threshold = f"{scale.policy.target_in_flight:g}"
    triggers = [_prometheus_trigger(settings.prometheus, load, threshold)]
    if not choice.to_zero:
        return (_scaled_object(parent, scale, triggers),)
    routed = _http_scaled_object(parent, scale, settings, hold_seconds(scale, ladder_seconds))
    triggers.append(_prometheus_trigger(settings.prometheus, answered_query(*place), "1"))
    triggers.append(
        {
            "type": "external-push",
            "metadata": {"scalerAddress": settings.http_scaler, "httpScaledObject": routed["metadata"]["name"]},
        }
    )
    found = _scaled_object(parent, scale, triggers)
    # Until a trigger was active KEDA counts from when its object was made, and at once if nothing is said.
    first_seconds = scale.policy.idle_seconds + _start_seconds(scale) + ladder_seconds
    found = {**found, "spec": {**found["spec"], "initialCooldownPeriod": int(first_seconds)}}
    return (*_retry_service(parent, settings), routed, found)


def hold_seconds(scale: Scale, ladder_seconds: float = 0.0) -> float:
    """How long the HTTP add-on holds a request for a replica that starts."""
    return max(HOLD_STARTS * _start_seconds(scale) + ladder_seconds, SHORTEST_HOLD_SECONDS)


def _start_seconds(scale: Scale) -> float:
    return UNKNOWN_START_SECONDS if scale.start is None else scale.start.seconds


def go_duration(seconds: int) -> str:
    """As Go writes it, ``1h0m0s``: whatever program in Go writes the object anew spells it so."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def quantity(value: float) -> str:
    """To the millionth, as the API server writes a quantity: ``6``, ``6400m`` or ``500u``."""
    micro = round(value * 1e6)
    for factor, suffix in ((1_000_000, ""), (1_000, "m")):
        if micro % factor == 0:
            return f"{micro // factor}{suffix}"
    return f"{micro}u"


def _child(
    parent: KubernetesObject,
    api_version: str,
    kind: str,
    name: str,
    spec: dict[str, Any],
    annotations: Mapping[str, str],
) -> KubernetesObject:
    own = parent["metadata"]
    metadata = {
        "name": name,
        "namespace": own["namespace"],
        "labels": names.labels(own["name"], names.Component.SCALING),
        "ownerReferences": names.owner(parent),
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _target(parent: KubernetesObject) -> dict[str, str]:
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "name": parent["metadata"]["name"]}


def _autoscaler(parent: KubernetesObject, scale: Scale, means: Means) -> KubernetesObject:
    policy, name, settings = scale.policy, parent["metadata"]["name"], means.settings
    metric = {"name": settings.external_metric, "selector": {"matchLabels": {settings.external_metric_label: name}}}
    target = {"type": "AverageValue", "averageValue": quantity(policy.target_in_flight)}
    spec = {
        "scaleTargetRef": _target(parent),
        "minReplicas": policy.minimum_replicas,
        "maxReplicas": policy.maximum_replicas,
        "behavior": _behavior(scale),
        "metrics": [{"type": "External", "external": {"metric": metric, "target": target}}],
    }
    return _child(parent, "autoscaling/v2", AUTOSCALER, name, spec, _tolerances(policy))


def _scaled_object(parent: KubernetesObject, scale: Scale, triggers: list[dict[str, Any]]) -> KubernetesObject:
    policy = scale.policy
    spec = {
        "scaleTargetRef": _target(parent),
        "pollingInterval": max(int(policy.interval_seconds), 1),
        "cooldownPeriod": int(policy.idle_seconds),
        "minReplicaCount": policy.minimum_replicas,
        "maxReplicaCount": policy.maximum_replicas,
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"behavior": _behavior(scale)},
        },
        "triggers": triggers,
    }
    stopped = parent["spec"].get("replicas", 1) == 0 and policy.minimum_replicas > 0  # KEDA would scale to its minimum
    annotations = {**_tolerances(policy), **(PAUSED if stopped else {})}
    return _child(parent, "keda.sh/v1alpha1", SCALED_OBJECT, parent["metadata"]["name"], spec, annotations)


def _prometheus_trigger(address: str, query: str, threshold: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": address,
            "query": query,
            "threshold": threshold,
            "ignoreNullValues": "false",  # no value is an error, on which nothing is scaled
        },
    }


def _retry_service(parent: KubernetesObject, settings: ScalingSettings) -> Iterator[KubernetesObject]:
    """Another name of the operator's own Service, as the interceptor looks for one in the route's namespace."""
    if settings.retry_host is not None:
        spec = {"type": "ExternalName", "externalName": settings.retry_host}
        yield _child(parent, "v1", "Service", names.retry(parent["metadata"]["name"]), spec, {})


def _http_scaled_object(
    parent: KubernetesObject, scale: Scale, settings: ScalingSettings, held_seconds: float
) -> KubernetesObject:
    """The interceptor's route: requests for the Service's own names, held while no replica is there."""
    policy, metadata = scale.policy, parent["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    spec = {
        "hosts": [f"{name}.{namespace}", f"{name}.{namespace}.svc"],
        "scaleTargetRef": {**_target(parent), "service": name, "port": SERVICE_PORT},
        "replicas": {"min": policy.minimum_replicas, "max": policy.maximum_replicas},
        "scaledownPeriod": int(policy.idle_seconds),
        "scalingMetric": {"concurrency": {"targetValue": max(int(policy.target_in_flight), 1)}},
        "timeouts": {
            "conditionWait": go_duration(round(held_seconds)),
            "responseHeader": go_duration(ANSWER_SECONDS),
        },
    }
    if settings.retry_host is not None:  # an error of the interceptor's own is it otherwise
        later = {"service": names.retry(name), "port": RETRY_PORT, "timeoutSeconds": round(held_seconds)}
        spec["coldStartTimeoutFailoverRef"] = later
    return _child(parent, "http.keda.sh/v1alpha1", HTTP_SCALED_OBJECT, names.http_route(name), spec, SKIP)


def _tolerances(policy: ScalingPolicy) -> dict[str, str]:
    """What was asked for, beside the fields: a cluster may drop these, which is then no difference (`actions`)."""
    asked = {"up": policy.up.tolerance, "down": policy.down.tolerance}
    told = [f"{way}={quantity(share)}" for way, share in asked.items() if share != USUAL_TOLERANCE]
    return {TOLERANCE: ",".join(told)} if told else {}


def _behavior(scale: Scale) -> dict[str, Any]:
    return {"scaleUp": _rules(scale.policy.up), "scaleDown": _rules(scale.policy.down)}


def _rules(direction: Direction) -> dict[str, Any]:
    """Every field, so that no default of the API server's comes in between; a part of a second counts as a whole."""
    steps = [
        {"type": StepKind(each.kind).value, "value": each.value, "periodSeconds": int(each.period_seconds)}
        for each in direction.steps
    ]
    tolerance = {} if direction.tolerance == USUAL_TOLERANCE else {"tolerance": quantity(direction.tolerance)}
    return {
        "stabilizationWindowSeconds": int(direction.stabilization_seconds),
        "selectPolicy": direction.select.value,
        "policies": steps,
        **tolerance,
    }
