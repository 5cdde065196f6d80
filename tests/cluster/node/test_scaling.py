"""A step of the load on real engines, with large images: replicas follow it and go back, whoever scales them, and every
request is answered meanwhile.

One VLMDeployment lives through all the tests of this module, in their order. Each of its replicas has a part of a core
and no more, so that a second one is as fast as the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import msgspec
import pytest
from vlm_operator.kinds import BY_KIND, POD, VLMDEPLOYMENT
from vlm_operator.proxy import BACKEND
from vlm_operator.reasons import BenchmarkReason, ReadyReason, ScalingReason
from vlm_operator.scaling_queries import in_flight_query

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.adapters import established, open_crd
from tests.cluster.control_plane.operators import Space, eventually, scale_writers
from tests.cluster.control_plane.prometheus import Prometheus, discovered, free_port, monitored_scrapes, prometheus
from tests.cluster.foretold import Count, agreement, foretold, policy_of, steps_of
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.keda import keda, metered
from tests.cluster.node.load_step import (
    Replicas,
    changes,
    drops,
    measured_speed,
    send,
    stage_means,
    stages,
    unexplained,
    watched,
)
from tests.cluster.node.operators import Recorder, change_values, installed, remove_namespace
from tests.cluster.node.prometheus_adapter import prometheus_adapter
from tests.cluster.node.test_replicas import CLAIM, ENGINE_SECONDS, NAME, SLICE, Served
from vlmctl.api import v1alpha1 as api
from vlmctl.bench.samples import Sample
from vlmctl.bench.workload import BenchWorkload, ImageSlot, SizeShare
from vlmctl.units import parse_duration_seconds

SPACE = "scaling"
WIDTH, HEIGHT = 1024, 768
PROMPT_TOKENS, OUTPUT_TOKENS = 32, 32
INTERVAL_SECONDS = 5  # of the operator's looks, and of the autoscalers' as control_plane.sh has it
DOWN_SECONDS = 30
MOST = 3
SCALING = {
    "min": 1,
    "max": MOST,
    "engine": "Operator",
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": DOWN_SECONDS}},
}
CPU, CPU_LIMIT = "300m", "500m"  # three engines, and all else, on two cores
OBJECTIVE, LIMIT_SECONDS = "10s", 10.0
# Seconds, and requests per second over what a replica measured: one is enough; busy; three are needed; one is enough.
STAGES = ((60.0, 0.3), (100.0, 0.7), (140.0, 2.0), (140.0, 0.5))
ALONE_SECONDS = tuple(3.0 * number for number in range(6))  # when requests are sent of which each is alone
ALONE_SEED = 10
AGREES_SHARE = 0.95
WORKLOAD = BenchWorkload(
    slots=(ImageSlot(sizes=(SizeShare(width_pixels=WIDTH, height_pixels=HEIGHT),)),),
    prompt_tokens=PROMPT_TOKENS,
    output_tokens=OUTPUT_TOKENS,
)
IN_FLIGHT = f'haproxy_backend_current_sessions{{proxy="{BACKEND}",namespace="{SPACE}",deployment="{NAME}"}}'
HPA_CONTROLLER = "horizontal-pod-autoscaler"
WRITERS = {"Operator": "vlm-operator", "KEDA": HPA_CONTROLLER, "HPA": HPA_CONTROLLER}


class Scaled(NamedTuple):
    """The VLMDeployment, and who sees its load."""

    served: Served
    prometheus: Prometheus

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.served.space.find(VLMDEPLOYMENT, NAME)["status"]
        return found


@pytest.fixture(scope="module")
def scaled(
    node: Cluster, operator_image: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scaled]:
    """One replica that measured itself; KEDA, its adapter, and a Prometheus that finds pods by the PodMonitor."""
    folder, port = tmp_path_factory.mktemp("scaling"), free_port()
    values = (
        f"scaling.intervalSeconds={INTERVAL_SECONDS}",
        "podMonitor.interval=1s",
        f"scaling.prometheus=http://127.0.0.1:{port}",
        "scaling.externalMetric=s0-prometheus",
        "scaling.externalMetricLabel=scaledobject\\.keda\\.sh/name",
    )
    with ExitStack() as stack:
        established(node, [open_crd("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")])
        stack.enter_context(keda(node, folder / "keda"))
        stack.enter_context(installed(node, *values))
        space = stack.enter_context(closing(Space(node, SPACE)))
        node.apply(*claim_of(tiny_model, CLAIM, SPACE), limits())
        recorder = Recorder(space, (POD, SLICE))
        space.make(NAME, manifest(tiny_model))
        served = Served(space, recorder)
        served.until(Ready=ReadyReason.READY, Benchmarked=BenchmarkReason.MEASURED)
        targets = folder / "targets.json"
        stack.enter_context(discovered(space, targets))
        scrapes = monitored_scrapes(space.find(BY_KIND["PodMonitor"], NAME), targets)
        found = stack.enter_context(
            prometheus(node.bin / "prometheus", folder / "prometheus", scrapes=scrapes, port=port)
        )
        eventually(lambda: _has_value(found))
        yield Scaled(served, found)
        space.remove(NAME)  # and what KEDA has to let go, while it is there
        node.kubectl("delete", "scaledobjects", "--all", "--namespace", SPACE)
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")
    node.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com")


def limits() -> dict[str, Any]:
    """What no container may go beyond, where nothing else is said of it."""
    spec = {"limits": [{"type": "Container", "default": {"cpu": CPU_LIMIT}}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "cpu", "namespace": SPACE}, "spec": spec}


def manifest(model: Path) -> dict[str, Any]:
    """Requests hold new images each, so the engine keeps none of them."""
    facts = {"config": "config.json", "processor": "processor_config.json"}
    arguments = ["--enforce-eager", "--kv-cache-memory-bytes=67108864", "--dtype=bfloat16", "--mm-processor-cache-gb=0"]
    return {
        "model": {
            "source": {"pvc": {"claimName": CLAIM}},
            "facts": {name: (model / file).read_text() for name, file in facts.items()},
        },
        "workload": {
            "images": [{"size": f"{WIDTH}x{HEIGHT}"}],
            "promptTokens": PROMPT_TOKENS,
            "outputTokens": OUTPUT_TOKENS,
        },
        "objectives": {"ttft": OBJECTIVE},
        "benchmark": {"budget": "90s", "minimumOfMeasured": "0.1"},
        "engine": {"arguments": arguments},
        "scaling": SCALING,
        "pod": {"cpu": CPU, "memory": "6Gi"},  # each request holds its image until it is answered
    }


def _has_value(found: Prometheus) -> None:
    assert found.values(in_flight_query(SPACE, NAME)) == [0.0]


def by_keda(scaled: Scaled, _folder: Path) -> AbstractContextManager[None]:
    """KEDA's adapter serves what the HPA reads, under the names that the fixture has told the chart."""
    query, address = in_flight_query(SPACE, NAME), scaled.prometheus.address
    return metered(scaled.served.cluster, NAME, SPACE, query=query, prometheus=address)


@contextmanager
def by_prometheus_adapter(scaled: Scaled, folder: Path) -> Iterator[None]:
    """prometheus-adapter serves it in place of KEDA's, under the names of docs/scaling.md, which stay in the chart."""
    cluster = scaled.served.cluster
    with prometheus_adapter(cluster, folder / "prometheus-adapter", scaled.prometheus.address):
        names = ("externalMetric=vlmctl_requests_in_flight", "externalMetricLabel=deployment")
        change_values(cluster, *(f"scaling.{each}" for each in names))
        yield


class Way(NamedTuple):
    """To scale by an engine. `seed`: of the requests; `metric`: serves the one that the HPA reads."""

    name: str
    engine: str
    seed: int
    metric: Callable[[Scaled, Path], AbstractContextManager[None]] = lambda *_: nullcontext()


WAYS = (
    Way("Operator", "Operator", 1),
    Way("KEDA", "KEDA", 2),
    Way("HPA", "HPA", 3, by_keda),
    Way("HPA through prometheus-adapter", "HPA", 4, by_prometheus_adapter),
)


@contextmanager
def scaled_by(scaled: Scaled, way: Way, folder: Path) -> Iterator[None]:
    """Let another engine scale, and wait until it does; what it needs is there until the end of the context."""
    space = scaled.served.space
    _engine(scaled, "None")
    eventually(lambda: _no_autoscaler(space))
    with way.metric(scaled, folder):
        _engine(scaled, way.engine)
        if way.engine != "Operator":
            eventually(lambda: _is_active(space, NAME if way.engine == "HPA" else f"keda-hpa-{NAME}"))
        eventually(lambda: _rests(scaled))
        yield


def _engine(scaled: Scaled, engine: str) -> None:
    space = scaled.served.space
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"scaling": {"engine": engine}}})

    def check() -> None:
        told = scaled.status["scaling"]
        assert told["engine"] == engine, told
        assert told["reason"] in (ScalingReason.SCALING, ScalingReason.DISABLED), told

    eventually(check)


def _no_autoscaler(space: Space) -> None:
    """Neither of the engine before nor, of the same name, of a ScaledObject that is made next."""
    for kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        assert space.ask("GET", BY_KIND[kind].path(SPACE))["items"] == []


def _is_active(space: Space, name: str) -> None:
    """The autoscaler has a figure to go by."""
    status = space.find(BY_KIND["HorizontalPodAutoscaler"], name)["status"]
    assert [each["status"] for each in status["conditions"] if each["type"] == "ScalingActive"] == ["True"], status


class Outcome(NamedTuple):
    """What came of the requests. `asked`, `predicted`: replicas by seconds since the first stage began; `concurrency`:
    what a replica measured.
    """

    samples: list[Sample]
    replicas: list[Replicas]
    asked: list[Count]
    predicted: list[Count]
    concurrency: int
    writers: set[str]

    def agrees(self, distance: int, predicted: Sequence[Count] | None = None) -> float:
        """Share of the time in which no more than so many replicas are between the two."""
        foretold = self.predicted if predicted is None else predicted
        return agreement(self.asked, foretold, interval_seconds=INTERVAL_SECONDS, distance=distance)

    def distance(self, predicted: Sequence[Count] | None = None) -> float:
        """Replicas between what was seen and foretold on average in a stage, over all of them: what would be paid for
        too much, or too little.
        """
        seen, other = self.means(self.asked), self.means(self.predicted if predicted is None else predicted)
        return fmean(abs(one - two) for one, two in zip(seen, other, strict=True))

    def means(self, counts: Sequence[Count]) -> list[float]:
        """Replicas on average in each stage."""
        return stage_means(counts, [seconds for seconds, _ in STAGES])

    def told(self) -> str:
        """For people."""
        late = unexplained(self.samples, self.replicas, LIMIT_SECONDS, concurrency=self.concurrency)
        return "\n".join(
            (
                f"asked for {changes(self.asked)}",
                f"foretold  {changes(self.predicted)}",
                f"the same {self.agrees(0):.1%} of the time, within one {self.agrees(1):.1%}",
                *(
                    f"{name} on average in each stage: {', '.join(f'{each:.2f}' for each in self.means(counts))}"
                    for name, counts in (("asked for", self.asked), ("foretold", self.predicted))
                ),
                *stages(self.samples, [seconds for seconds, _ in STAGES], LIMIT_SECONDS),
                f"late although no replica was lacking, nor was anything left of a queue: {len(late)}",
            )
        )


def step(scaled: Scaled, way: Way) -> Outcome:
    """All stages, from one replica at rest until there is one again."""
    space, service = scaled.served.space, scaled.served.service()
    alone = send(service, WORKLOAD, ALONE_SECONDS, seed=ALONE_SEED + way.seed)
    assert not any(each.failure for each in alone)
    eventually(lambda: _rests(scaled))
    benchmark = msgspec.convert(scaled.status["benchmark"], api.BenchmarkStatus)
    start_seconds = parse_duration_seconds(scaled.status["scaling"]["coldStart"])
    rate = float(benchmark.requests_per_second)
    coming = steps_of([(seconds, share * rate) for seconds, share in STAGES])
    lines = len(space.cluster.writes())
    with watched(space, NAME, lambda: max(scaled.prometheus.values(IN_FLIGHT), default=None)) as replicas:
        samples = send(service, WORKLOAD, coming.seconds, seed=way.seed)
        eventually(lambda: _rests(scaled), seconds=ENGINE_SECONDS)
    token_seconds = median(each.tpot_seconds for each in alone if each.tpot_seconds is not None)
    speed = measured_speed(benchmark.concurrency, rate, step_seconds=token_seconds, output_tokens=OUTPUT_TOKENS)
    policy = policy_of({**SCALING, "engine": way.engine}, benchmark, start_seconds, interval_seconds=INTERVAL_SECONDS)
    print(f"\n{way.name}: {benchmark}, cold start {start_seconds:g} s, {token_seconds:.3f} s a token alone")
    began = samples[0].intended_at - coming.seconds[0]
    return Outcome(
        samples=samples,
        replicas=replicas,
        asked=[(each.at - began, each.asked) for each in replicas if 0 <= each.at - began <= coming.duration_seconds],
        concurrency=benchmark.concurrency,
        predicted=foretold(coming, speed, policy, start_seconds),
        writers=set(scale_writers(space, lines)),
    )


@pytest.mark.parametrize("way", WAYS, ids=[each.name for each in WAYS])
def test_replicas_follow_the_load_and_no_request_fails(scaled: Scaled, way: Way, tmp_path: Path) -> None:
    """A step beyond what one replica serves brings more of them, as the simulator foretells; later they go again."""
    with scaled_by(scaled, way, tmp_path):
        came = step(scaled, way)
    print(came.told(), flush=True)
    assert [each.failure for each in came.samples if each.failure] == []
    assert {each.output_tokens for each in came.samples} == {OUTPUT_TOKENS}
    assert {each.cached_tokens for each in came.samples} <= {0, None}
    assert unexplained(came.samples, came.replicas, LIMIT_SECONDS, concurrency=came.concurrency) == []
    assert came.agrees(1) >= AGREES_SHARE
    constant = ([(at, count) for at, _ in came.predicted] for count in range(1, MOST + 1))
    assert came.distance() < min(came.distance(each) for each in constant)
    assert max(count for _, count in came.predicted) == max(count for _, count in came.asked) == MOST
    before_last = sum(seconds for seconds, _ in STAGES[:-1])
    assert 1 in (count for at, count in came.asked if at > before_last)
    assert any(each.sent_at < at < each.finished_at for each in came.samples for at in drops(came.replicas))
    assert came.writers == {WRITERS[way.engine]}


def _rests(scaled: Scaled) -> None:
    """One replica, nobody else on the way in or out, and no request."""
    space = scaled.served.space
    assert space.find(VLMDEPLOYMENT, NAME)["spec"]["replicas"] == 1
    assert len(space.all("Pod")) == len(scaled.served.ready_pods()) == 1
    assert scaled.prometheus.values(in_flight_query(SPACE, NAME)) == [0.0]
