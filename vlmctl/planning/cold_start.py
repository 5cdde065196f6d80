"""How long a replica takes to start: machine, image, weights, processes, compilation, CUDA graphs, warm-up.

The engine's own steps were fitted to 57 complete start-up logs of vLLM 0.19 on one cluster of H100
(catalog/measurements/cold_start.yaml). The host's cores and the disk bind them more than the GPU does.
"""

from __future__ import annotations

from collections.abc import Iterator

from vlmctl.errors import InvalidValue
from vlmctl.planning.architecture import ModelFigures
from vlmctl.planning.placement import is_large
from vlmctl.planning.stored_weights import UNQUANTIZED
from vlmctl.specs.cold_start import ColdStart, StartConditions, Storage
from vlmctl.specs.estimates import Term
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.record import Record
from vlmctl.units import GB

LOGS = "vLLM 0.19 start-up logs on H100 (catalog/measurements/cold_start.yaml)"
MEASURED = "catalog/measurements/cold_start.yaml"

IMAGE_BYTES = 9_612_695_005  # vllm/vllm-openai:v0.19.1 compressed, as a kubelet printed it
IMAGE_GB_PER_SECOND = (
    0.04  # download and unpacking on a fresh node: 0.023 to 0.043 in three pulls, two of them near 0.04
)
# GB/s of one process with vLLM's safetensors loader: medians of what was published, which spreads widely (network:
# 1.17 on a file system of the H100 cluster, 0.18 on a cloud's block storage; hub: 0.05 to 0.75).
STORAGE_GB_PER_SECOND = {
    Storage.HUB: 0.47,
    Storage.NETWORK: 1.17,
    Storage.NVME: 1.6,
    Storage.PAGE_CACHE: 2.5,  # logs of a model that was started before: 1.8 to 4.4
}
PARALLEL_READS_EXPONENT = 0.3  # GPUs of a replica read together: 1.23 times as fast with two, the median of nine logs
PROCESS_SECONDS = 20.5  # API server and engine core: imports, configuration, CUDA context
WORKERS_SECONDS = 11.7  # several GPUs: worker processes and NCCL
PROCESSOR_SECONDS = 19.0  # vision: image processor and its warm-up, 13.4 s before the weights and 5.5 s at the end
SETUP_SECONDS = 1.0  # the model's modules, before and after its weights
COMPILE_FIXED_SECONDS = 1.0
COMPILE_SECONDS_PER_LAYER = 0.35  # Dynamo and Inductor
COMPILE_SECONDS_PER_QUANTIZED_LAYER = 0.12  # more where weights are quantised
COMPILE_CACHED_SECONDS = 2.8  # median of three starts that found the compiled graphs
GRAPH_SECONDS_PER_LAYER = 0.117  # two sets of up to 51 batch sizes
GRAPH_MIXTURE_SECONDS = 8.5  # a mixture of experts, whatever its depth
PROFILE_SECONDS = 8.7  # profiling run, kernels compiled on first use, KV cache, warm-up
PROFILE_CACHED_SECONDS = 2.0
SERVER_SECONDS = 3.7  # from the engine's word to the API server's
SMALL_HOST_FACTOR = 2.9  # the engine's steps on hosts of L40S and L4: 1.9, 2.9 and 4.0 times those of H100 hosts
BENCHMARK_SECONDS = 90.0  # budget of a replica that measures itself before it takes traffic

# Relative errors, median and 90th percentile. H100: of whole starts, each model predicted from the others. Small hosts:
# of three starts, the factor of one GPU's host taken from the other's.
ERROR_LARGE = (0.10, 0.33)
ERROR_SMALL = (0.29, 0.51)


class StartShape(Record, frozen=True, kw_only=True):
    """What of a model and its placement decides how long the engine takes to start. `checkpoint_bytes`: on disk."""

    layers: int
    mixture: bool
    vision: bool
    quantized: bool
    checkpoint_bytes: float
    gpu_count: int


def start_shape(figures: ModelFigures, gpu_count: int) -> StartShape:
    """The shape of a planned replica."""
    return StartShape(
        layers=figures.language.layers,
        mixture=figures.language.experts is not None,
        vision=figures.vision is not None,
        quantized=figures.precision not in UNQUANTIZED,
        checkpoint_bytes=figures.language_bytes + figures.vision_bytes,
        gpu_count=gpu_count,
    )


def cold_start(
    figures: ModelFigures,
    gpu: GpuSpec,
    *,
    gpu_count: int,
    storage: Storage,
    image_cached: bool = True,
    compile_cached: bool = False,
) -> ColdStart:
    """Time from the decision to start one replica until it takes traffic, on a machine that is there."""
    found = StartConditions(storage=storage, image_cached=image_cached, compile_cached=compile_cached)
    return start(figures, gpu, gpu_count=gpu_count, conditions=found)


def start(figures: ModelFigures, gpu: GpuSpec, *, gpu_count: int, conditions: StartConditions) -> ColdStart:
    """Time from the decision to start one replica until it takes traffic, under all conditions.

    Raises InvalidValue for a machine that comes in less than no time, or storage that reads nothing.
    """
    _check(conditions)
    shape = start_shape(figures, gpu_count)
    terms: list[Term] = []
    if conditions.machine_seconds is not None:
        terms.append(_term("machine", conditions.machine_seconds, "as given", "given"))
    if not conditions.image_cached:
        size = f"{IMAGE_BYTES / GB:.1f} GB / {IMAGE_GB_PER_SECOND:g} GB/s"
        terms.append(_term("image pull", IMAGE_BYTES / GB / IMAGE_GB_PER_SECOND, size, MEASURED))
    terms.extend(weight_terms(shape, conditions.storage, conditions.storage_gb_per_second))
    factor = 1.0 if is_large(gpu) else SMALL_HOST_FACTOR
    terms.extend(engine_terms(shape, compile_cached=conditions.compile_cached, host_factor=factor))
    if conditions.benchmark:
        terms.append(_term("self-benchmark", BENCHMARK_SECONDS, "its budget", "docs/estimating.md"))
    median, p90 = ERROR_LARGE if is_large(gpu) else ERROR_SMALL
    known = conditions.machine_seconds is not None
    return ColdStart(
        terms=tuple(terms),
        unknown=() if known else (f"until a machine with {gpu.id} is there",),
        error_median=median,
        error_p90=p90,
    )


def given_start(seconds: float) -> ColdStart:
    """One that took so long, all of it."""
    term = _term("start", seconds, "as given", "given")
    return ColdStart(terms=(term,), error_median=0.0, error_p90=0.0)


def weight_terms(shape: StartShape, storage: Storage, gb_per_second: float | None = None) -> Iterator[Term]:
    """Download and reading of the checkpoint. What was just downloaded is read from a disk of the node."""
    gigabytes = shape.checkpoint_bytes / GB
    speed = STORAGE_GB_PER_SECOND[storage] if gb_per_second is None else gb_per_second
    source = MEASURED if gb_per_second is None else "given"
    read = storage
    if storage is Storage.HUB:
        yield _term("weight download", gigabytes / speed, f"{gigabytes:.1f} GB / {speed:g} GB/s", source)
        read, speed, source = Storage.NVME, STORAGE_GB_PER_SECOND[Storage.NVME], MEASURED
    together = speed * shape.gpu_count**PARALLEL_READS_EXPONENT
    yield _term("weight loading", gigabytes / together, f"{gigabytes:.1f} GB / {together:.2f} GB/s ({read})", source)


def engine_terms(shape: StartShape, *, compile_cached: bool, host_factor: float = 1.0) -> Iterator[Term]:
    """The engine's own steps, weights left out; `host_factor`: how much longer the host takes than those of H100."""
    slower = "{}" if host_factor == 1.0 else f"({{}}) x {host_factor:g}, the host"

    def term(name: str, seconds: float, formula: str) -> Term:
        return _term(name, seconds * host_factor, slower.format(formula), LOGS)

    workers = WORKERS_SECONDS if shape.gpu_count > 1 else 0.0
    more = f" + {WORKERS_SECONDS:g} s for workers" if workers else ""
    process = PROCESS_SECONDS + SETUP_SECONDS
    yield term("processes", process + workers, f"{process:g} s{more}")
    if shape.vision:
        yield term("image processor", PROCESSOR_SECONDS, f"{PROCESSOR_SECONDS:g} s")
    if compile_cached:
        yield term("torch.compile", COMPILE_CACHED_SECONDS, f"{COMPILE_CACHED_SECONDS:g} s, from its cache")
    else:
        per_layer = COMPILE_SECONDS_PER_LAYER + shape.quantized * COMPILE_SECONDS_PER_QUANTIZED_LAYER
        formula = f"{COMPILE_FIXED_SECONDS:g} s + {shape.layers} layers x {per_layer:.2f} s"
        yield term("torch.compile", COMPILE_FIXED_SECONDS + per_layer * shape.layers, formula)
    graphs = GRAPH_SECONDS_PER_LAYER * shape.layers + shape.mixture * GRAPH_MIXTURE_SECONDS
    experts = f" + {GRAPH_MIXTURE_SECONDS:g} s for experts" if shape.mixture else ""
    yield term("CUDA graphs", graphs, f"{shape.layers} layers x {GRAPH_SECONDS_PER_LAYER:g} s{experts}")
    profile = PROFILE_CACHED_SECONDS if compile_cached else PROFILE_SECONDS
    yield term("profiling and warm-up", profile, f"{profile:g} s")
    yield term("API server", SERVER_SECONDS, f"{SERVER_SECONDS:g} s")


def _check(conditions: StartConditions) -> None:
    machine, speed = conditions.machine_seconds, conditions.storage_gb_per_second
    if machine is not None and not 0 <= machine < float("inf"):
        raise InvalidValue(f"a machine cannot come in {machine:g} s.", remedy="Give 0 or more seconds.")
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidValue(f"storage cannot read {speed:g} GB/s.", remedy="Give a speed above 0.")


def _term(name: str, seconds: float, formula: str, source: str) -> Term:
    return Term(name=name, value=float(seconds), unit="s", formula=formula, source=source)
