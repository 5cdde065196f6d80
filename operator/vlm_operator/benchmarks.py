"""Measurements as objects of the cluster: what one holds for, how it is made, and which pod is to do what for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from vlm_operator import names
from vlm_operator.records import KubernetesObject, Planned
from vlm_operator.reported import container, has_ended
from vlm_operator.results import AgentResult, Figures, Stage, Task, Word, encode, read_word
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.manifest import api_workload
from vlmctl.specs.measurements import Measurement

DIGEST_LENGTH = 16  # hexadecimal digits
NAME_PART_LENGTH = 40  # of the model's name, for people
SIGNIFICANT = 4  # digits of figures: a measurement is less sure than their rounding
DECIMALS = 6
SHORTEST_SECONDS = 1e-6  # that `api.duration` writes
UNKNOWN = "unknown"
UNPINNED = "unpinned"  # in a key: whatever the repository or the volume holds at a start
BY_DIGEST = "@sha256:"  # in an image's reference, which then names its content
# Why a container waits when all is well; anything else is a failure that may last (kubelet, kuberuntime and images).
STARTING = frozenset({None, "ContainerCreating", "PodInitializing"})
ProductOf = Callable[[str], str | None]  # of a node's name: the label that tells its GPUs, None where it is not known


def benchmark_key(planned: Planned, product: str) -> api.BenchmarkKey:
    """What a measurement of the revision holds for on nodes of a product."""
    placement = planned.plan.placement
    return api.BenchmarkKey(
        model=planned.model,
        checkpoint=planned.repository or planned.checkpoint,
        precision=placement.precision.value,
        gpu_product=product,
        gpu_count=placement.gpu_count,
        engine_image=planned.image,
        arguments=tuple(word for argument in planned.arguments for word in argument.words),
        workload=api_workload(planned.plan.workload),
        revision=planned.revision or (None if BY_DIGEST in planned.repository else UNPINNED),
    )


def benchmark_name(key: api.BenchmarkKey) -> str:
    """The name of the object that holds the measurement: the same for the same key."""
    digest = hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()[:DIGEST_LENGTH]
    model = re.sub(r"[^a-z0-9]+", "-", key.model.lower()).strip("-")[:NAME_PART_LENGTH].strip("-")
    return f"{model}-{digest}" if model else digest


def benchmark(
    result: AgentResult, key: api.BenchmarkKey, planned: Planned, *, namespace: str
) -> api.VLMBenchmark | None:
    """The object to create from what an agent measured; None where it measured nothing."""
    best = result.ladder.best
    if best is None:
        return None
    return api.VLMBenchmark(
        api_version=api.API_VERSION,
        kind=api.BENCHMARK_KIND,
        metadata=api.Metadata(
            name=benchmark_name(key),
            namespace=namespace,
            labels={names.MANAGED_BY: names.FIELD_MANAGER, names.PART_OF: "vlmctl"},
        ),
        spec=api.VLMBenchmarkSpec(
            key=key,
            gpu=planned.plan.placement.gpu,
            engine_version=result.engine_version or UNKNOWN,
            concurrency=best.concurrency,
            requests_per_second=decimal(best.requests_per_second),
            interval=interval(best),
            measured=best.measured,
            ttft=_duration(best.ttft_p95_seconds),
            tpot=_duration(best.tpot_p95_seconds),
            image_tokens=best.image_tokens,
            rows=tuple(msgspec.to_builtins(row) for row in result.ladder.rows if _is_of(row, key, planned)),
        ),
    )


def _is_of(row: Measurement, key: api.BenchmarkKey, planned: Planned) -> bool:
    """Whether a row says that it is of what was measured: others are estimated with rows, so none may be of another."""
    placement = planned.plan.placement
    said = (row.model, row.weights, row.gpu, row.gpu_count)
    return said == (placement.model, key.precision, placement.gpu, placement.gpu_count)


def find_benchmark(benchmarks: Iterable[api.VLMBenchmark], key: api.BenchmarkKey) -> api.VLMBenchmark | None:
    """The measurement of exactly this key, the latest where there are several."""
    found = [each for each in benchmarks if each.spec.key == key]
    return max(found, key=lambda each: (each.spec.measured, each.metadata.name), default=None)


def decimal(value: float) -> str:
    """A number as the API writes it: in `SIGNIFICANT` digits, without an exponent."""
    return f"{float(f'{value:.{SIGNIFICANT}g}'):.{DECIMALS}f}".rstrip("0").rstrip(".")


def _duration(seconds: float | None) -> str | None:
    """None also for what is none to the microsecond: tokens that came in one piece."""
    return api.duration(seconds) if seconds is not None and seconds >= SHORTEST_SECONDS else None


def interval(figures: Figures) -> str:
    """``2.91-3.3``; unknown where there were too few requests."""
    if figures.low is None or figures.high is None:
        return UNKNOWN
    return f"{decimal(figures.low)}-{decimal(figures.high)}"


def product_of(pod: KubernetesObject, planned: Planned, product: ProductOf) -> str | None:
    """The GPU product that a pod has; None while it has no node.

    Where nodes cannot be read it is the only one planned for, else the GPU's id in the catalog.
    """
    node = pod.get("spec", {}).get("nodeName")
    if not node:
        return None
    planned_for = planned.node_products
    return product(node) or (planned_for[0] if len(planned_for) == 1 else planned.plan.placement.gpu)


def assignments(
    pods: Iterable[KubernetesObject],
    planned: Planned,
    benchmarks: Iterable[api.VLMBenchmark],
    asked: api.BenchmarkSpec,
    product: ProductOf,
    *,
    results: Mapping[str, AgentResult] | None = None,
) -> dict[str, str]:
    """The annotation to write to the pods of a revision, by name, where it is to be another than it is.

    Of a key that nobody measured exactly one pod climbs the ladder; the others send a smoke request, or hold a probe
    once it is measured. They do not wait for it: there is nothing to hold them to before, and it may fail. Where that
    pod ends or fails before it has measured, another one that takes no traffic yet climbs. A pod that takes traffic is
    told nothing new. `results`: by uid, what agents said.
    """
    said = results or {}
    known = tuple(benchmarks)
    groups: dict[str | None, list[KubernetesObject]] = {}
    for pod in sorted(filter(_lives, pods), key=_age):
        groups.setdefault(product_of(pod, planned, product), []).append(pod)
    found: dict[str, str] = {}
    for name, members in groups.items():
        for pod, word in _words(name, members, planned, known, asked, said):
            text = encode(word).decode()
            if text != _annotation(pod):
                found[pod["metadata"]["name"]] = text
    return found


def standing_word(planned: Planned, benchmarks: Iterable[api.VLMBenchmark], asked: api.BenchmarkSpec) -> str:
    """What pods of the revision do that nobody tells anything, as an annotation has it; empty where nothing is known.

    They cannot know their node's GPU, so the slowest of the products that they may run on is what they are held to.
    """
    known = tuple(benchmarks) if asked.policy is not api.BenchmarkPolicy.NONE else ()
    products = dict.fromkeys((*planned.node_products, planned.plan.placement.gpu))
    found = [find_benchmark(known, benchmark_key(planned, product)) for product in products]
    specs = [each.spec for each in found if each is not None]
    slowest = min(specs, key=lambda spec: float(spec.requests_per_second), default=None)
    return encode(_probe(slowest, asked)).decode() if slowest is not None else ""


def is_kept(pod: KubernetesObject, result: AgentResult | None) -> bool:
    """Whether it is noted on the pod that what its agent measured is kept."""
    noted = (pod["metadata"].get("annotations") or {}).get(names.MEASURED)
    return result is not None and result.ladder.best is not None and result.ladder.best.measured == noted


def _words(
    product: str | None,
    pods: list[KubernetesObject],
    planned: Planned,
    benchmarks: tuple[api.VLMBenchmark, ...],
    asked: api.BenchmarkSpec,
    results: Mapping[str, AgentResult],
) -> list[tuple[KubernetesObject, Word]]:
    """What pods on nodes of one product are to do; those that take traffic are left out."""
    waiting = [pod for pod in pods if not _took_traffic(pod, results)]
    if asked.policy is api.BenchmarkPolicy.NONE:
        return [(pod, Word(task=Task.SMOKE)) for pod in waiting]
    if product is None:  # no node yet, so that nobody knows what was measured
        return []
    measured = find_benchmark(benchmarks, benchmark_key(planned, product))
    if measured is not None:
        word = _probe(measured.spec, asked)
        return [(pod, word) for pod in waiting if _told(pod) is not Task.LADDER or not _climbs(pod, results)]
    ladder = Word(task=Task.LADDER, budget=asked.budget)
    climber = _climber(pods, waiting, results)
    return [(pod, ladder if pod is climber else Word(task=Task.SMOKE)) for pod in waiting]


def _climber(
    pods: list[KubernetesObject], waiting: list[KubernetesObject], results: Mapping[str, AgentResult]
) -> KubernetesObject | None:
    """The pod that is to measure: the one that was told to, as long as it can, else the oldest that can."""
    told = [pod for pod in pods if _told(pod) is Task.LADDER and not _gave_up(pod, results)]
    able = [pod for pod in waiting if not _fails(pod) and not _gave_up(pod, results)]
    return next(iter([pod for pod in told if not _fails(pod)] or able or told), None)


def _probe(measured: api.VLMBenchmarkSpec, asked: api.BenchmarkSpec) -> Word:
    return Word(
        task=Task.PROBE,
        requests_per_second=measured.requests_per_second,
        concurrency=measured.concurrency,
        minimum_of_measured=asked.minimum_of_measured,
    )


def _annotation(pod: KubernetesObject) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(names.BENCHMARK, ""))


def _told(pod: KubernetesObject) -> Task | None:
    word = read_word(_annotation(pod))
    return word.task if word is not None else None


def _result(pod: KubernetesObject, results: Mapping[str, AgentResult]) -> AgentResult | None:
    return results.get(pod["metadata"].get("uid", ""))


def _took_traffic(pod: KubernetesObject, results: Mapping[str, AgentResult]) -> bool:
    """Whether it takes traffic or did: its agent then sends no more than a smoke request."""
    result = _result(pod, results)
    return bool(container(pod, names.ENGINE).get("ready")) or (result is not None and result.opened is not None)


def _climbs(pod: KubernetesObject, results: Mapping[str, AgentResult]) -> bool:
    result = _result(pod, results)
    return result is not None and result.stage is Stage.LADDER


def _gave_up(pod: KubernetesObject, results: Mapping[str, AgentResult]) -> bool:
    """Whether it took traffic without having measured, which it does not do any more then."""
    result = _result(pod, results)
    return result is not None and result.opened is not None and not result.measured


def _lives(pod: KubernetesObject) -> bool:
    component = pod["metadata"].get("labels", {}).get(names.COMPONENT, names.ENGINE)
    return not has_ended(pod) and not pod["metadata"].get("deletionTimestamp") and component == names.ENGINE


def _age(pod: KubernetesObject) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp", "")), pod["metadata"]["name"]


def _fails(pod: KubernetesObject) -> bool:
    """Whether its engine cannot start as things are."""
    waiting = container(pod, names.ENGINE).get("state", {}).get("waiting") or {}
    return waiting.get("reason") not in STARTING
