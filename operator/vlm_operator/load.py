"""How many requests are in flight at a deployment's replicas, as their proxies count them, and how many were answered.

A proxy counts a request from when it is accepted to the end of its answer, so images that are still being decoded are
in it; the engine's own figures leave them out.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping

from vlm_operator import proxy
from vlm_operator.pod_client import PodClient
from vlm_operator.records import KubernetesObject
from vlm_operator.reported import condition
from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record

METRICS = f"{proxy.METRICS_PATH}?scope=backend"  # HAProxy's exporter, of its backends alone
SCRAPE_SECONDS = 3.0  # for one pod, everything included
MAXIMUM_BYTES = 256 * 1024  # of an answer; two backends have 20 kB
_SAMPLE = re.compile(
    r"^(?P<name>haproxy_backend_current_sessions|haproxy_backend_http_responses_total)"
    r"\{(?P<labels>[^}]*)\}[ \t]+(?P<value>\S+)",
    re.MULTILINE,
)
OF_INFERENCE = f'proxy="{proxy.BACKEND}"'
IN_FLIGHT = ("haproxy_backend_current_sessions", frozenset({OF_INFERENCE}))
ANSWERED = ("haproxy_backend_http_responses_total", frozenset({OF_INFERENCE, 'code="2xx"'}))


class Reading(Record, frozen=True, kw_only=True):
    """What one replica told when it was asked. `answered`: with 2xx, since its proxy was started."""

    in_flight: float
    answered: float


class Load(Record, frozen=True, kw_only=True):
    """All replicas together. `in_flight` of None: nothing is known. `reported`: replicas that take traffic and told it.

    `silent`: those that take traffic and did not tell.
    """

    in_flight: float | None
    reported: int = 0
    silent: int = 0


def load(pods: Iterable[KubernetesObject], readings: Mapping[str, Reading]) -> Load:
    """The load now. `pods`: a deployment's; `readings`: what each has just told, by uid."""
    serving = [each for each in pods if takes_traffic(each)]
    told = [readings[uid] for each in serving if (uid := str(each["metadata"]["uid"])) in readings]
    return Load(
        in_flight=sum(each.in_flight for each in told) if told else None,
        reported=len(told),
        silent=len(serving) - len(told),
    )


def takes_traffic(pod: KubernetesObject) -> bool:
    """Whether the Service sends it requests. One that is being deleted gets none, and needs no replica."""
    status = pod.get("status", {})
    return (
        bool(status.get("podIP"))
        and "deletionTimestamp" not in pod["metadata"]
        and condition(pod, "Ready").get("status") == "True"
    )


def read_metrics(text: str) -> Reading:
    """What a proxy's exporter wrote; raises InvalidValue where a figure is missing, twice there, or none."""
    found: dict[tuple[str, frozenset[str]], float] = {}
    for sample in _SAMPLE.finditer(text):
        series = (sample["name"], frozenset(sample["labels"].split(",")))
        if series not in (IN_FLIGHT, ANSWERED):
            continue
        if series in found:
            raise InvalidValue(f"{series[0]} is there twice.", remedy="Nobody but the proxy may answer on its port.")
        found[series] = _count(sample["value"], series[0])
    missing = [series[0] for series in (IN_FLIGHT, ANSWERED) if series not in found]
    if missing:
        raise InvalidValue(
            f"{missing[0]} of the backend `{proxy.BACKEND}` is missing.", remedy="Look at the proxy's log."
        )
    return Reading(in_flight=found[IN_FLIGHT], answered=found[ANSWERED])


def _count(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InvalidValue(f"{name} is {text[:40]!r}.", remedy="Look at the proxy's log.")
    return value


class Scraper(PodClient):
    """Asks proxies, all at once and each within a bounded time; used inside `async with`."""

    def __init__(self) -> None:
        super().__init__(seconds=SCRAPE_SECONDS, maximum_bytes=MAXIMUM_BYTES)

    async def read(self, pods: Iterable[KubernetesObject]) -> dict[str, Reading]:
        """By uid, what the pods told; one that did not, or has no address, is not in it."""
        asked = [each for each in pods if each.get("status", {}).get("podIP")]
        told = await asyncio.gather(*map(self._one, asked))
        return {
            str(pod["metadata"]["uid"]): reading
            for pod, reading in zip(asked, told, strict=True)
            if reading is not None
        }

    async def _one(self, pod: KubernetesObject) -> Reading | None:
        """None for a proxy that is away, or tells what cannot be read."""
        try:
            content = await self.get(pod, proxy.METRICS_PORT, METRICS)
            return None if content is None else read_metrics(content.decode(errors="replace"))
        except InvalidValue:
            return None
