"""When the first replica of a revision reached each step on its way to traffic, as far as the cluster tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vlm_operator import names
from vlm_operator.records import KubernetesObject
from vlm_operator.results import AgentResult
from vlmctl.api import v1alpha1 as api


def timeline(
    pods: Iterable[tuple[KubernetesObject, AgentResult | None]],
    job: KubernetesObject | None,
    before: api.Timeline | None,
) -> api.Timeline | None:
    """The earliest moment of each step over the revision's pods and what was told `before`; None before the first one.

    `job`: the download of its weights. A pod that is gone takes nothing back, and a restart makes nothing later.
    Where each pod loads the weights by itself nothing tells when they were there.
    """
    each = [_steps(pod, result) for pod, result in pods]
    known = before or api.Timeline()
    found = api.Timeline(
        scheduled=_first(known.scheduled, *(steps.scheduled for steps in each)),
        image_pulled=_first(known.image_pulled, *(steps.image_pulled for steps in each)),
        weights_ready=_first(known.weights_ready, _completed(job)),
        engine_ready=_first(known.engine_ready, *(steps.engine_ready for steps in each)),
        benchmarked=_first(known.benchmarked, *(steps.benchmarked for steps in each)),
    )
    return None if found == api.Timeline() else found


def _steps(pod: KubernetesObject, result: AgentResult | None) -> api.Timeline:
    measured = result.ladder.best.measured if result is not None and result.ladder.best is not None else None
    return api.Timeline(
        scheduled=_scheduled(pod),
        image_pulled=_first(*_starts(pod)),
        engine_ready=result.engine_ready if result is not None else None,
        benchmarked=measured or (result.opened if result is not None else None),
    )


def _scheduled(pod: KubernetesObject) -> str | None:
    for each in pod.get("status", {}).get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "True":
            found: str | None = each.get("lastTransitionTime")
            return found
    return None


def _starts(pod: KubernetesObject) -> Iterator[str | None]:
    """When the engine's container was started: this time and, as far as the kubelet remembers, before."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if container["name"] != names.ENGINE:
            continue
        for field in ("state", "lastState"):
            state: dict[str, Any] = container.get(field) or {}
            for kind in ("running", "terminated"):
                yield (state.get(kind) or {}).get("startedAt")


def _completed(job: KubernetesObject | None) -> str | None:
    found: str | None = (job or {}).get("status", {}).get("completionTime")
    return found


def _first(*moments: str | None) -> str | None:
    """The earliest; all are RFC 3339 in UTC to the second, as Kubernetes writes metav1.Time, so text compares."""
    return min((moment for moment in moments if moment), default=None)
