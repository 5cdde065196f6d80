"""How facts are worded for people, in one place: unknown is said, unverified is marked, conditions are spelled out."""

from __future__ import annotations

from vlmctl.planning import requirements
from vlmctl.specs.estimates import SpeedEstimate
from vlmctl.specs.hardware import Offer
from vlmctl.specs.model import (
    AttentionKind,
    Commercial,
    ImageLimits,
    LanguageModel,
    License,
    ModelSpec,
    Parameters,
    Resolution,
    TokenRuleFact,
    VisionTower,
)
from vlmctl.specs.record import Fact
from vlmctl.units import show_count, show_seconds

UNKNOWN = "unknown"
UNKNOWN_CELL = "?"  # of a table of figures
UNKNOWN_CELL_NOTE = f"{UNKNOWN_CELL} is not known."
UNVERIFIED_MARK = " *"
UNVERIFIED_NOTE = "* not verified: nobody has read this in a source yet."

_COMMERCIAL = {
    Commercial.YES: "commercial use allowed",
    Commercial.CONDITIONAL: "commercial use under conditions",
    Commercial.NO: "no commercial use",
    Commercial.UNKNOWN: "commercial use unknown",
}


def marked(text: str, fact: Fact | None) -> str:
    """The text, with the mark of a fact that nobody has verified."""
    return text if fact is None or fact.verified else text + UNVERIFIED_MARK


def latencies(speed: SpeedEstimate) -> str:
    """How soon requests are answered, at the median and the 95th percentile, and how many within the objectives."""
    pairs = (
        ("first token", speed.ttft_p50_seconds, speed.ttft_p95_seconds),
        ("per output token", speed.tpot_p50_seconds, speed.tpot_p95_seconds),
        ("whole answer", speed.e2e_p50_seconds, speed.e2e_p95_seconds),
    )
    parts = [
        f"{name} {show_seconds(median)} and {show_seconds(late)}"
        for name, median, late in pairs
        if median is not None and late is not None
    ]
    met = "" if speed.goodput is None else f" {speed.goodput:.0%} of the requests meet the objectives."
    return f"Latencies there, median and 95th percentile: {'; '.join(parts)}.{met}"


def yes_no(value: bool | None) -> str:
    """``yes``, ``no`` or ``unknown``."""
    return UNKNOWN if value is None else "yes" if value else "no"


def billions(count: float | None) -> str:
    """``8.29B`` from a count in billions."""
    return UNKNOWN if count is None else show_count(count * 1e9)


def parameters(counts: Parameters) -> str:
    """``8.29B``, and what of it is active where the model is a mixture of experts."""
    total = billions(counts.total_billions)
    if counts.active_billions >= counts.total_billions:
        return total
    return f"{total} ({billions(counts.active_billions)} active)"


def parameter_parts(counts: Parameters) -> str:
    """The language, vision and projector shares, those that are known."""
    parts = (
        ("language", counts.language_billions),
        ("vision", counts.vision_billions),
        ("projector", counts.projector_billions),
    )
    return ", ".join(f"{billions(count)} {name}" for name, count in parts if count is not None)


def encoder(tower: VisionTower | None) -> str:
    """Name and size of the vision encoder."""
    if tower is None:
        return "none or unknown"
    size = f", {billions(tower.parameters_billions)}" if tower.parameters_billions else ""
    patch = f", {tower.patch_pixels}-pixel patches" if tower.patch_pixels else ""
    return f"{tower.name}{size}{patch}"


def decoder(language: LanguageModel | None) -> str:
    """Name, depth and width of the language model."""
    if language is None:
        return UNKNOWN
    return f"{language.name}: {language.layers} layers, hidden {language.hidden_size:,}"


def attention(language: LanguageModel) -> str:
    """Every group of layers with what it keeps."""
    groups = []
    for group in language.attention:
        text = f"{group.layers} {group.kind.value}"
        if group.kind is AttentionKind.LATENT:
            text += f" ({group.query_heads} heads, {group.latent_dim} latent)"
        elif group.kv_heads:
            text += f" ({group.query_heads} query, {group.kv_heads} KV heads of {group.head_dim})"
        groups.append(text + (f", window {group.window_tokens:,}" if group.window_tokens else ""))
    return "; ".join(groups)


def experts(language: LanguageModel) -> str:
    """The mixture of experts, or none."""
    if language.experts is None:
        return "none (dense)"
    shared = f" + {language.experts.shared} shared" if language.experts.shared else ""
    return f"{language.experts.active} of {language.experts.count} per token{shared}"


def resolution(found: Resolution | None) -> str:
    """The strategy, and how many pixels reach the encoder."""
    if found is None:
        return UNKNOWN
    pixels = f", up to {found.effective_pixels / 1e6:.2f} megapixels" if found.effective_pixels else ""
    return found.strategy.value + pixels


def token_rule(fact: TokenRuleFact | None) -> str:
    """The kind of rule with the parameters that are not at their defaults; long lists are counted."""
    if fact is None:
        return UNKNOWN
    rule = fact.rule
    names, values = rule.__struct_fields__, [getattr(rule, name) for name in rule.__struct_fields__]
    defaults = [None] * (len(names) - len(rule.__struct_defaults__)) + list(rule.__struct_defaults__)
    said = [
        _parameter(name, value)
        for name, value, default in zip(names, values, defaults, strict=True)
        if value != default and name != "video"
    ]
    if rule.video is not None:
        said.append("frames of video by a rule of their own")
    return f"{rule.__struct_config__.tag}: {', '.join(said)}"


def _parameter(name: str, value: object) -> str:
    label = name.replace("_", " ")
    if isinstance(value, tuple):
        return f"{len(value)} {label}"
    return f"{label} {value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{label} {value}"


def image_limits(limits: ImageLimits | None) -> str:
    """How many images a request may hold, and whether text may stand between them."""
    if limits is None:
        return UNKNOWN
    several = "several" if limits.several else "one" if limits.several is False else UNKNOWN
    count = f"at most {limits.maximum}" if limits.maximum is not None else f"{several} (no stated maximum)"
    return f"{count}, interleaved with text: {yes_no(limits.interleaved)}"


def license_name(found: License) -> str:
    """The short name that people know it by."""
    return found.spdx or found.name


def license_conditions(found: License) -> str:
    """Every condition that a program can test, in words."""
    words = [_COMMERCIAL[found.commercial], *(["permissive"] if found.permissive else [])]
    return ", ".join((*words, *requirements.license_conditions(found)))


def languages(tags: tuple[str, ...], claimed: int | None) -> str:
    """The tags that a source names, and the count that is only claimed."""
    named = ", ".join(tags)
    if claimed is None:
        return named or UNKNOWN
    return f"{named}; {claimed} claimed" if named else f"{claimed} claimed, not listed"


def score_key(benchmark: str, split: str | None, mode: str | None) -> str:
    """Benchmark with split and mode, which are never mixed."""
    details = ", ".join(part for part in (split, mode) if part)
    return f"{benchmark} ({details})" if details else benchmark


def number(value: float) -> str:
    """A score or a small figure without needless digits: ``95.7``, ``864``."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def versions(model: ModelSpec) -> str:
    """Which vLLM versions serve the model."""
    serving = model.serving
    if not serving.served_by:
        return "no engine is known to serve it"
    if serving.first_version is None and serving.last_version is None:
        return f"{', '.join(serving.served_by)} (versions unknown)"
    first = f"from {serving.first_version}" if serving.first_version else "from an unknown version"
    last = f" to {serving.last_version}" if serving.last_version else ""
    return f"{', '.join(serving.served_by)} {first}{last}"


def gpus(gpu: str, gpu_count: int, replicas: int) -> str:
    """``L4``, ``2x L4`` for one replica on two, ``3 x 2x L4`` for three such replicas."""
    each = f"{gpu_count}x {gpu}" if gpu_count > 1 else gpu
    return each if replicas == 1 else f"{replicas} x {each}"


def price_dates(offers: tuple[Offer, ...]) -> str:
    """The span of days that prices were read on."""
    days = sorted({offer.as_of for offer in offers if offer.as_of != UNKNOWN})
    if not days:
        return "an unknown day"
    span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return span if all(offer.as_of != UNKNOWN for offer in offers) else f"{span}, some of an unknown day"
