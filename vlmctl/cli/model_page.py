"""One model as a page for people: sections of facts with their sources, unverified ones marked."""

from __future__ import annotations

from vlmctl.cli import wording
from vlmctl.cli.output import Block, Facts, Heading, Table, Text
from vlmctl.cli.wording import marked
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Fact


def model_page(model: ModelSpec) -> list[Block]:
    """The blocks of `vlmctl models show`."""
    blocks: list[Block] = [Heading(f"{model.name} ({model.id})"), Facts(_identity(model))]
    if model.note:
        blocks.append(Text(model.note))
    for title, pairs in (
        ("Architecture", _architecture(model)),
        ("Inputs", _inputs(model)),
        ("Licence", _license(model)),
        ("Serving", _serving(model)),
    ):
        blocks += [Heading(title), Facts(pairs)]
    blocks += _scores(model) + _bullets("Known to fail", _known_bad(model)) + _bullets("Cautions", _cautions(model))
    blocks += _bullets("Sources", _sources(model))
    if any(not fact.verified for _, fact in fact_groups(model)):
        blocks.append(Text(wording.UNVERIFIED_NOTE))
    return blocks


def fact_groups(model: ModelSpec) -> list[tuple[str, Fact]]:
    """The groups of facts that carry a source of their own, by what they are about."""
    groups: tuple[tuple[str, Fact | None], ...] = (
        ("parameters", model.parameters),
        ("licence", model.license),
        ("context", model.context),
        ("language model", model.language),
        ("vision encoder", model.vision),
        ("connector", model.connector),
        ("resolution", model.resolution),
        ("image tokens", model.image_tokens),
        ("images", model.images),
        ("video", model.video),
        ("languages", model.languages),
        ("grounding", model.grounding),
        ("serving", model.serving),
    )
    return [(name, fact) for name, fact in groups if fact is not None]


def _identity(model: ModelSpec) -> list[tuple[str, str]]:
    counts = model.parameters
    parts = wording.parameter_parts(counts)
    size = wording.parameters(counts) + (f": {parts}" if parts else "")
    pairs = [
        ("Repository", model.repository),
        ("Family", f"{model.family}, {model.edition.value} edition, {model.modality.value}"),
        ("Released", model.released or wording.UNKNOWN),
        ("Parameters", marked(size, counts)),
        ("Context", marked(f"{model.context.tokens:,} tokens, image tokens included", model.context)),
    ]
    if model.aliases:
        pairs.append(("Also called", ", ".join(model.aliases)))
    return pairs


def _architecture(model: ModelSpec) -> list[tuple[str, str]]:
    pairs = [
        ("Encoder", marked(wording.encoder(model.vision), model.vision)),
        ("Connector", marked(model.connector.kind if model.connector else wording.UNKNOWN, model.connector)),
        ("Language model", marked(wording.decoder(model.language), model.language)),
    ]
    if model.language is not None:
        pairs.append(("Attention", marked(wording.attention(model.language), model.language)))
        pairs.append(("Experts", marked(wording.experts(model.language), model.language)))
    return pairs


def _inputs(model: ModelSpec) -> list[tuple[str, str]]:
    pairs = [
        ("Resolution", marked(wording.resolution(model.resolution), model.resolution)),
        ("Image tokens", marked(wording.token_rule(model.image_tokens), model.image_tokens)),
        ("Images", marked(wording.image_limits(model.images), model.images)),
        ("Video", marked(wording.yes_no(model.video.supported if model.video else None), model.video)),
    ]
    if model.languages is not None:
        known = model.languages
        pairs.append(("Reads text in", marked(wording.languages(known.ocr, known.ocr_claimed_count), known)))
        pairs.append(("Converses in", marked(wording.languages(known.text, known.text_claimed_count), known)))
    if model.grounding is not None:
        form = f", as {model.grounding.form}" if model.grounding.form else ""
        pairs.append(("Boxes", marked(model.grounding.convention.value + form, model.grounding)))
    if model.capabilities:
        pairs.append(("Also", ", ".join(model.capabilities)))
    return pairs


def _license(model: ModelSpec) -> list[tuple[str, str]]:
    found = model.license
    pairs = [
        ("Name", marked(wording.license_name(found), found)),
        ("Conditions", marked(wording.license_conditions(found), found)),
    ]
    return [*pairs, ("Note", found.note)] if found.note else pairs


def _serving(model: ModelSpec) -> list[tuple[str, str]]:
    serving = model.serving
    pairs = [
        ("Engine", marked(wording.versions(model), serving)),
        ("Class", marked(serving.architecture or wording.UNKNOWN, serving)),
        ("Remote code", marked(wording.yes_no(serving.requires_remote_code), serving)),
    ]
    for argument in serving.arguments:
        value = f" {argument.value}" if argument.value else ""
        pairs.append(("Argument", f"{argument.flag}{value}: {argument.reason}"))
    for checkpoint in model.quantizations:
        owner = "official" if checkpoint.official else "by others"
        quality = ", quality published" if checkpoint.quality_published else ""
        pairs.append(
            (
                "Quantised",
                marked(f"{checkpoint.repository} ({checkpoint.precision.value}, {owner}{quality})", checkpoint),
            )
        )
    return [*pairs, ("Note", serving.note)] if serving.note else pairs


def _scores(model: ModelSpec) -> list[Block]:
    if not model.scores:
        return [Heading("Scores"), Text("None in the catalog.")]
    scores = sorted(model.scores, key=lambda score: (score.benchmark, score.split or "", score.mode or ""))
    rows = [
        (
            wording.score_key(score.benchmark, score.split, score.mode),
            wording.number(score.value),
            score.reporter,
            score.as_of or "",
            score.source,
        )
        for score in scores
    ]
    return [Heading("Scores"), Table(("Benchmark", "Score", "Reported by", "As of", "Source"), rows, right=("Score",))]


def _known_bad(model: ModelSpec) -> list[str]:
    return [f"{item.condition}: {item.effect} [{item.source}]" for item in model.serving.known_bad]


def _cautions(model: ModelSpec) -> list[str]:
    return [f"{caution.text} [{caution.source}]" for caution in model.cautions]


def _sources(model: ModelSpec) -> list[str]:
    """One line per source, with the facts it stands for."""
    about: dict[str, list[str]] = {}
    for name, fact in fact_groups(model):
        about.setdefault(fact.source, []).append(marked(name, fact))
    return [f"{', '.join(names)}: {source}" for source, names in about.items()]


def _bullets(title: str, lines: list[str]) -> list[Block]:
    return [Heading(title), *(Text(line, bullet=True) for line in lines)] if lines else []
