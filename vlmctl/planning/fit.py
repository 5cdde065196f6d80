"""Does it fit: the ledger of one model on one GPU, the largest load it takes, and the nearest ways out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.architecture import ModelFigures, model_figures
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.host_memory import host_memory
from vlmctl.planning.kv_cache import BATCHES_IN_FLIGHT, least_cache_bytes
from vlmctl.planning.memory import memory_ledger, paging_of
from vlmctl.planning.placement import GPU_COUNTS, engine_settings, runs_on
from vlmctl.planning.requirements import planned_demand
from vlmctl.specs.answers import FitReport, WayOut
from vlmctl.specs.estimates import EngineSettings, MemoryLedger
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.workload import Workload

IMAGE_SHRINKS = (0.5, 0.25, 0.125)  # of the image's area, tried in this order
OUTPUT_SHRINKS = (0.5, 0.25)


def fit(
    model: ModelSpec,
    gpu: GpuSpec,
    workload: Workload,
    *,
    gpu_count: int = 1,
    precision: Precision | None = None,
    others: Sequence[GpuSpec] = (),
) -> FitReport:
    """The ledger for a model on `gpu_count` GPUs, and ways out (also on `others`) where it does not fit.

    Raises UnsupportedModel where the model cannot be estimated, InvalidValue where no checkpoint has the precision.
    """
    if gpu_count not in GPU_COUNTS:
        raise InvalidValue(f"a replica cannot have {gpu_count} GPUs.", remedy="Choose 1, 2, 4 or 8: one node.")
    chosen, checkpoint = checkpoint_of(model, precision)
    figures = model_figures(model, chosen)
    demand = planned_demand(model, workload)
    settings = engine_settings(model, gpu, workload, demand)
    ledger = memory_ledger(figures, gpu, demand, settings, gpu_count=gpu_count)
    refusal = runs_on(figures, gpu, gpu_count)
    fits = ledger.fits and refusal is None
    concurrency = min(ledger.maximum_sequences, settings.max_num_seqs)
    report = FitReport(
        model=model.id,
        gpu=gpu.id,
        gpu_count=gpu_count,
        quantization=chosen.value,
        checkpoint=checkpoint,
        memory=ledger,
        host=host_memory(figures, workload, demand, settings, gpu_count=gpu_count, sequences=max(1, concurrency)),
        request_tokens=demand.total_tokens,
        image_tokens=demand.image_tokens,
        fits=fits,
        shortfall_bytes=max(
            0, max(ledger.kv_bytes_per_sequence, ledger.longest_sequence_bytes) - ledger.kv_cache_bytes
        ),
        maximum_concurrency=concurrency if fits else 0,
        maximum_context_tokens=_longest_context(model, figures, demand, settings, ledger, gpu_count),
        runs=refusal or "",
    )
    if fits:
        return report
    return replace(report, ways_out=tuple(_ways_out(model, gpu, workload, gpu_count, chosen, others)))


def checkpoint_of(model: ModelSpec, precision: Precision | None) -> tuple[Precision, str]:
    """The precision and repository to use; raises InvalidValue naming the published ones where there is none."""
    if precision is None or precision is model.precision:
        return model.precision, model.repository
    for each in model.quantizations:
        if each.precision is precision:
            return precision, each.repository
    published = ", ".join(sorted({model.precision.value, *(each.precision.value for each in model.quantizations)}))
    raise InvalidValue(
        f"{model.id} has no {precision.value} checkpoint in the catalog.", remedy=f"Published: {published}."
    )


def _longest_context(
    model: ModelSpec,
    figures: ModelFigures,
    demand: RequestDemand,
    settings: EngineSettings,
    ledger: MemoryLedger,
    gpu_count: int,
) -> int:
    """The longest sequence that the engine starts with, by bisection (KV never shrinks with length)."""
    paging = paging_of(figures, settings, gpu_count=gpu_count)
    in_flight = BATCHES_IN_FLIGHT * settings.max_num_batched_tokens
    low, high = 0, model.context.tokens
    while low < high:
        middle = (low + high + 1) // 2
        held = least_cache_bytes(paging, middle, in_flight_tokens=in_flight, cross_tokens=demand.cross_tokens)
        low, high = (middle, high) if held <= ledger.kv_cache_bytes else (low, middle - 1)
    return low


def _ways_out(
    model: ModelSpec,
    gpu: GpuSpec,
    workload: Workload,
    gpu_count: int,
    precision: Precision,
    others: Sequence[GpuSpec],
) -> Iterator[WayOut]:
    """The smallest change of each kind that fits, nearest to what was asked first."""
    more = [count for count in GPU_COUNTS if count > gpu_count]

    def attempt(change: str, asked: Workload) -> WayOut | None:
        return _try(change, model, gpu, asked, gpu_count, precision)

    yield from _first(attempt(change, asked) for change, asked in _smaller_images(workload))
    yield from _fewer_images(workload, attempt)
    yield from _first(attempt(change, asked) for change, asked in _shorter_answers(workload))
    for each in model.quantizations:
        name = f"the {each.precision.value} checkpoint"
        counts = [(name, gpu_count), *((f"{name} over {n} GPUs", n) for n in more)]
        yield from _first(_try(change, model, gpu, workload, n, each.precision) for change, n in counts)
    yield from _first(_try(f"tensor parallel over {n} GPUs", model, gpu, workload, n, precision) for n in more)
    larger = sorted(
        (other for other in others if other.memory_bytes > gpu.memory_bytes),
        key=lambda each: (each.memory_bytes, each.id),
    )
    for count in (gpu_count, *more):
        found = list(_first(_try(f"a larger GPU, {o.id}", model, o, workload, count, precision) for o in larger))
        yield from found
        if found:
            break


def _smaller_images(workload: Workload) -> Iterator[tuple[str, Workload]]:
    for share in IMAGE_SHRINKS if workload.images else ():
        side = share**0.5
        images = tuple(
            replace(
                image,
                width_pixels=max(1, round(image.width_pixels * side)),
                height_pixels=max(1, round(image.height_pixels * side)),
            )
            for image in workload.images
        )
        yield f"images of {share:.0%} of the pixels", replace(workload, images=images)


def _fewer_images(workload: Workload, attempt: Callable[[str, Workload], WayOut | None]) -> Iterator[WayOut]:
    """Of one size: as many as fit, by bisection (memory never shrinks with images). Of several: the largest alone."""
    found = None
    if len(workload.images) == 1:
        low, high = 0, workload.image_count - 1
        while low < high:
            middle = (low + high + 1) // 2
            fewer = replace(workload, images=(replace(workload.images[0], count=middle),))
            way = attempt(f"{middle} images per request", fewer)
            low, high, found = (low, middle - 1, found) if way is None else (middle, high, way)
    elif workload.images:
        largest = max(workload.images, key=lambda image: image.width_pixels * image.height_pixels)
        found = attempt("the largest image alone", replace(workload, images=(replace(largest, count=1),)))
    if found is not None:
        yield found


def _shorter_answers(workload: Workload) -> Iterator[tuple[str, Workload]]:
    for share in OUTPUT_SHRINKS:
        tokens = max(1, round(workload.output_tokens * share))
        yield f"answers of {tokens} tokens", replace(workload, output_tokens=tokens)


def _try(
    change: str, model: ModelSpec, gpu: GpuSpec, workload: Workload, gpu_count: int, precision: Precision
) -> WayOut | None:
    """The change, if the whole ledger agrees with it."""
    figures = model_figures(model, precision)
    if runs_on(figures, gpu, gpu_count) is not None:
        return None
    try:
        demand = planned_demand(model, workload)
        settings = engine_settings(model, gpu, workload, demand)
    except (UnsupportedModel, InvalidValue):
        return None
    ledger = memory_ledger(figures, gpu, demand, settings, gpu_count=gpu_count)
    if not ledger.fits:
        return None
    return WayOut(
        change=change,
        gpu=gpu.id,
        gpu_count=gpu_count,
        quantization=precision.value,
        concurrency=min(ledger.maximum_sequences, settings.max_num_seqs),
    )


def _first(found: Iterable[WayOut | None]) -> Iterator[WayOut]:
    for way in found:
        if way is not None:
            yield way
            return
