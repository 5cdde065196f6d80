"""Models side by side: one column each, scores only beside scores of the same benchmark, split and mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlmctl import library
from vlmctl.cli import wording
from vlmctl.cli.model_page import fact_groups
from vlmctl.cli.output import Block, Heading, Table, Text
from vlmctl.cli.wording import marked
from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.specs.model import ModelSpec

COLUMNS = 4  # models in one table: more do not fit a page
_Key = tuple[str, str | None, str | None]

_ATTRIBUTES: Mapping[str, Callable[[ModelSpec], str]] = {
    "Encoder": lambda model: marked(wording.encoder(model.vision), model.vision),
    "Connector": lambda model: marked(_connector(model) or wording.UNKNOWN, model.connector),
    "Language model": lambda model: marked(wording.decoder(model.language), model.language),
    "Resolution": lambda model: marked(wording.resolution(model.resolution), model.resolution),
    "Parameters": lambda model: marked(wording.parameters(model.parameters), model.parameters),
    "Context": lambda model: marked(f"{model.context.tokens:,}", model.context),
    "Licence": lambda model: marked(wording.license_name(model.license), model.license),
    "Conditions": lambda model: wording.license_conditions(model.license),
    "Served by": lambda model: wording.versions(model),
}


def comparison_data(models: Sequence[ModelSpec], width_pixels: int, height_pixels: int) -> dict[str, Any]:
    """What machines read: the models, and every score of any of them by benchmark, split and mode."""
    return {
        "image": f"{width_pixels}x{height_pixels}",
        "models": [_row(model, width_pixels, height_pixels) for model in models],
        "scores": [
            {"benchmark": key[0], "split": key[1], "mode": key[2], "values": values}
            for key, values in _scores(models).items()
        ],
    }


def comparison_blocks(models: Sequence[ModelSpec], width_pixels: int, height_pixels: int) -> list[Block]:
    """Tables of a few models each for people, facts first, then scores."""
    groups = [models[start : start + COLUMNS] for start in range(0, len(models), COLUMNS)]
    blocks: list[Block] = [_facts_table(group, width_pixels, height_pixels) for group in groups]
    for group in groups:
        blocks += _score_blocks(group)
    return [*blocks, Text(wording.UNVERIFIED_NOTE)]


def _facts_table(models: Sequence[ModelSpec], width_pixels: int, height_pixels: int) -> Table:
    cells = [[label, *(show(model) for model in models)] for label, show in _ATTRIBUTES.items()]
    tokens = [_tokens(model, width_pixels, height_pixels) for model in models]
    cells.append([f"Tokens, {width_pixels}x{height_pixels}", *(_cell(count) for count in tokens)])
    return Table(["", *(model.id for model in models)], cells)


def _score_blocks(models: Sequence[ModelSpec]) -> list[Block]:
    """Scores that at least two of the models were given; the others are counted."""
    names = [model.id for model in models]
    scores = _scores(models)
    shared = {key: values for key, values in scores.items() if len(values) > 1 or len(models) == 1}
    lines = [[wording.score_key(*key), *(_cell(values.get(name)) for name in names)] for key, values in shared.items()]
    blocks: list[Block] = []
    if lines:
        blocks += [Heading("Scores"), Table(["Benchmark (split, mode)", *names], lines, right=names)]
    if hidden := len(scores) - len(shared):
        blocks.append(Text(f"{hidden} more scores that only one of these models was given: see `vlmctl models show`."))
    return blocks


def _row(model: ModelSpec, width_pixels: int, height_pixels: int) -> dict[str, Any]:
    return {
        "id": model.id,
        "encoder": model.vision.name if model.vision else None,
        "connector": _connector(model),
        "language_model": model.language.name if model.language else None,
        "resolution_strategy": model.resolution.strategy.value if model.resolution else None,
        "effective_pixels": model.resolution.effective_pixels if model.resolution else None,
        "parameters": round(model.parameters.total_billions * 1e9),
        "active_parameters": round(model.parameters.active_billions * 1e9),
        "context_tokens": model.context.tokens,
        "image_tokens": _tokens(model, width_pixels, height_pixels),
        "license": wording.license_name(model.license),
        "license_commercial": model.license.commercial.value,
        "served_by": list(model.serving.served_by),
        "unverified": [name for name, fact in fact_groups(model) if not fact.verified],
    }


def _connector(model: ModelSpec) -> str | None:
    return model.connector.kind if model.connector else None


def _tokens(model: ModelSpec, width_pixels: int, height_pixels: int) -> int | None:
    try:
        return library.image_tokens(model, width_pixels, height_pixels).total_tokens
    except (UnsupportedModel, InvalidValue):
        return None


def _scores(models: Sequence[ModelSpec]) -> dict[_Key, dict[str, float]]:
    found: dict[_Key, dict[str, float]] = {}
    for model in models:
        for score in sorted(model.scores, key=lambda score: score.reporter == "maker"):  # the maker's own stays
            found.setdefault((score.benchmark, score.split, score.mode), {})[model.id] = score.value
    return dict(sorted(found.items(), key=lambda item: tuple(part or "" for part in item[0])))


def _cell(value: float | None) -> str:
    return "-" if value is None else wording.number(value)
