"""Every term of an estimate with its formula, value and source."""

from __future__ import annotations

from vlmctl.planning.architecture import ModelFigures, kv_bytes_per_token
from vlmctl.planning.choices import Choice, Setting
from vlmctl.planning.corrected import Correction
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.host_memory import MARGIN
from vlmctl.planning.placement import TARGET_UTILIZATION
from vlmctl.planning.speed import CONSTANTS, attainable_tflops, encoder_tflops, weights_bandwidth_share
from vlmctl.planning.throughput import step_seconds
from vlmctl.specs.estimates import Plan, Term
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Record
from vlmctl.units import GIB

ENGINE_MODEL = "docs/estimating.md"
CALIBRATION = "docs/calibrate.md"
MEASUREMENTS_SHOWN = 8  # of those that moved an estimate, the nearest


class Section(Record, frozen=True, kw_only=True):
    """A titled list of terms."""

    title: str
    terms: tuple[Term, ...]


def explain(
    model: ModelSpec, demand: RequestDemand, choice: Choice, plan: Plan, setting: Setting
) -> tuple[Section, ...]:
    """The whole estimate of a planned placement, in the order in which it is worked out."""
    measured = _measured_terms(choice.correction)
    return (
        Section(title="Request", terms=_request_terms(model, demand)),
        Section(title="Memory of one GPU", terms=_memory_terms(plan, choice.figures)),
        Section(title="Memory of the host", terms=_host_terms(plan)),
        Section(title="GPU", terms=_gpu_terms(choice)),
        Section(title="One step, one prefill", terms=_speed_terms(choice)),
        *([Section(title="Your measurements nearby", terms=measured)] if measured else []),
        Section(title="Under the load", terms=_load_terms(plan, choice, setting)),
        Section(title="Money", terms=_cost_terms(plan, setting)),
    )


def _request_terms(model: ModelSpec, demand: RequestDemand) -> tuple[Term, ...]:
    rule = model.image_tokens.source if model.image_tokens else "no images"
    return (
        _term("prompt tokens", demand.prompt_tokens, "tokens", "as given", "workload"),
        _term("image tokens", demand.image_tokens, "tokens", "image-token rule of the model", rule),
        _term("marker tokens", demand.marker_tokens, "tokens", "around and between images", rule),
        _term("output tokens", demand.output_tokens, "tokens", "as given, or assumed for the task", "workload"),
        _term("sequence", demand.total_tokens, "tokens", "prompt + images + markers + output", "sum"),
        _term("encoder patches", demand.encoder_patches, "patches", "over all views of all images", rule),
        _term(
            "encoder work",
            demand.encoder_operations / 1e12,
            "TFLOP",
            "2 x parameters x patches + attention",
            ENGINE_MODEL,
        ),
    )


def _memory_terms(plan: Plan, figures: ModelFigures) -> tuple[Term, ...]:
    ledger = plan.memory
    token = kv_bytes_per_token(figures.language, tensor_parallel=plan.placement.gpu_count)
    lines = [_term(item.name, item.bytes / 1e9, "GB", item.formula, item.source) for item in ledger.items]
    share = plan.placement.settings.gpu_memory_utilization
    return (
        _term("budget", ledger.budget_bytes / 1e9, "GB", f"GPU memory x {share:g}", "catalog, engine setting"),
        *lines,
        _term("KV cache", ledger.kv_cache_bytes / 1e9, "GB", "budget - all of the above", "sum"),
        _term(
            "KV per token",
            token,
            "B",
            "2 x layers x KV heads x head size x 2 B, or one latent",
            figures.language.source,
        ),
        _term("KV per request", ledger.kv_bytes_per_sequence / 1e6, "MB", "at full length, in blocks of 16", "sum"),
        _term("requests at once", ledger.maximum_sequences, "requests", "KV cache / KV per request", "sum"),
    )


def _host_terms(plan: Plan) -> tuple[Term, ...]:
    host = plan.host
    lines = [_term(item.name, item.bytes / 1e9, "GB", item.formula, item.source) for item in host.items]
    return (
        *lines,
        _term("size of /dev/shm", host.shared_memory_bytes / GIB, "GiB", "its use, in whole GiB", "sum"),
        _term(
            "memory of the pod", host.memory_bytes / GIB, "GiB", f"all but /dev/shm + {MARGIN:.0%}, + its size", "sum"
        ),
    )


def _gpu_terms(choice: Choice) -> tuple[Term, ...]:
    gpu, figures = choice.gpu, choice.figures
    peak = gpu.tflops(figures.precision) or 0.0
    sixteen_bit = gpu.sixteen_bit_tflops or 0.0
    product, encoder = attainable_tflops(figures, gpu), encoder_tflops(gpu)
    return (
        _term("memory bandwidth", gpu.memory_bandwidth_gb_per_second, "GB/s", "peak", gpu.source),
        _term(
            "bandwidth reached",
            weights_bandwidth_share(gpu),
            "of peak",
            f"constant for {gpu.memory_type}",
            ENGINE_MODEL,
        ),
        _term(
            "compute for the decoder", peak, "TFLOP/s", f"dense peak for {figures.precision.value} weights", gpu.source
        ),
        _term(
            "compute reached in products", product / peak, "of peak", "constant, and the vendor's share", ENGINE_MODEL
        ),
        _term("compute for the encoder", sixteen_bit, "TFLOP/s", "dense 16-bit peak", gpu.source),
        _term("compute reached in the encoder", encoder / sixteen_bit, "of peak", "the same", ENGINE_MODEL),
    )


def _speed_terms(choice: Choice) -> tuple[Term, ...]:
    c = choice.coefficients
    source = choice.figures.source
    return (
        _term("read weights", c.dense_read * 1e3, "ms", "bytes read every step / bandwidth", source),
        _term("read all experts", c.expert_read * 1e3, "ms", "only as many as the batch touches count", source),
        _term("read one KV cache", c.kv_read * 1e3, "ms", "KV bytes at the mean length / bandwidth", source),
        _term("multiply one token", c.step_compute * 1e3, "ms", "2 x active parameters / compute", source),
        _term("step overhead", c.overhead * 1e3, "ms", "scheduling + kernels x latency", ENGINE_MODEL),
        _term("and per sequence", c.overhead_per_sequence * 1e3, "ms", "host + all-reduce of its token", ENGINE_MODEL),
        _term("encode images", c.encoder * 1e3, "ms", "encoder work / compute", ENGINE_MODEL),
        _term("prefill", c.prefill * 1e3, "ms", "encoder + work of all tokens / compute + all-reduce", ENGINE_MODEL),
        _term(
            "image decoding, host",
            c.host * 1e3,
            "ms",
            f"pixels x {CONSTANTS.host_seconds_per_pixel * 1e9:.0f} ns on one core",
            ENGINE_MODEL,
        ),
    )


def _measured_terms(correction: Correction) -> tuple[Term, ...]:
    """The measurements that moved the estimate, the nearest first, and how far; none where there are none near it."""
    if not correction.influences:
        return ()
    shown = [
        _term(
            each.ids[0] + (f" and {len(each.ids) - 1} repeats" if len(each.ids) > 1 else ""),
            each.throughput_ratio,
            "x",
            f"measured / estimated throughput; similarity {each.similarity:.2f}",
            "your measurement",
        )
        for each in correction.influences[:MEASUREMENTS_SHOWN]
    ]
    factors, formula = correction.factors, "Gaussian process over the measurements nearby"
    return (
        *shown,
        _term("throughput corrected", factors.throughput, "x", formula, CALIBRATION),
        _term("TTFT corrected", factors.ttft, "x", f"{formula}, levelled with the throughput", CALIBRATION),
        _term("TPOT corrected", factors.tpot, "x", f"{formula}, levelled with the throughput", CALIBRATION),
        _term("error left", correction.spread, "of the estimate's", "posterior / prior deviation", CALIBRATION),
    )


def _load_terms(plan: Plan, choice: Choice, setting: Setting) -> tuple[Term, ...]:
    found, workload = choice.evaluation, setting.requirements.workload
    step = step_seconds(choice.coefficients, max(found.batch, 1.0))
    closed = workload.concurrency is not None
    in_flight = "as asked" if closed else "Little's law at that rate"
    share = "what that concurrency serves" if closed else f"{TARGET_UTILIZATION:.0%} of the saturated rate"
    asked = workload.requests_per_second is not None
    rate = "rate asked / replicas" if asked else share
    wait = "others' prefills" if closed else "M/D/1 queue of prefills"
    return (
        _term("saturated rate", found.capacity, "requests/s", "b / (n x step + b x prefill + host)", ENGINE_MODEL),
        _term("rate within objectives", choice.usable, "requests/s", "highest rate whose p95 holds", ENGINE_MODEL),
        _term(
            "replicas",
            found.replicas,
            "replicas",
            f"none above {TARGET_UTILIZATION:.0%} of saturation or its objectives",
            ENGINE_MODEL,
        ),
        _term("rate of one replica", found.rate, "requests/s", rate, "workload"),
        _term("sequences at once", found.batch, "sequences", in_flight, ENGINE_MODEL),
        _term("one step", step * 1e3, "ms", "max(read, multiply) + KV + overhead", ENGINE_MODEL),
        _term("TPOT", plan.speed.tpot_seconds * 1e3, "ms", "step, and the share of others' prefills", ENGINE_MODEL),
        _term(
            "TTFT",
            plan.speed.ttft_seconds * 1e3,
            "ms",
            f"{CONSTANTS.request_seconds * 1e3:.0f} ms + host + prefill + wait ({wait})",
            ENGINE_MODEL,
        ),
        _term("TTFT p95", plan.speed.ttft_p95_seconds * 1e3, "ms", f"tail of the wait ({wait})", ENGINE_MODEL),
    )


def _cost_terms(plan: Plan, setting: Setting) -> tuple[Term, ...]:
    cost = plan.cost
    if cost is None:
        return ()
    offer = cost.offer
    price = f"{offer.provider} {offer.instance_type} {offer.region}, {offer.kind.value}, {offer.as_of}"
    asked = setting.requirements.workload.requests_per_second
    basis = "machines x price" if asked is not None else "share of a machine filled with replicas"
    return (
        _term("price of one machine", offer.usd_per_hour, "USD/h", price, offer.source),
        _term("hourly cost", cost.usd_per_hour, "USD/h", basis, "sum"),
        _term("utilization", cost.utilization, "of capacity", "rate served / saturated rate", "sum"),
        _term("per 1,000 requests", cost.usd_per_1k_requests, "USD", "hourly cost / requests served x 1,000", "sum"),
        _term("at saturation", cost.saturated_usd_per_1k_requests, "USD", "the floor, at 100% utilization", "sum"),
    )


def _term(name: str, value: float, unit: str, formula: str, source: str) -> Term:
    return Term(name=name, value=float(value), unit=unit, formula=formula, source=source)
