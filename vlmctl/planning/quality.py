"""Quality from published evidence: only figures of the same benchmark, split and mode are compared, none is filled in.

Every comparable figure is placed between the lowest (0) and highest (100) of its kind in the catalog, so that easy and
hard benchmarks weigh alike. Missing figures lower the confidence, not the points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from vlmctl.specs.answers import Evidence, Quality
from vlmctl.specs.hardware import Benchmark
from vlmctl.specs.model import ModelSpec, Score
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Task

DIRECT = "direct"  # answers without a reasoning trace
THINKING = "thinking"
LANGUAGE_WEIGHT = 1.0  # of a benchmark that covers an asked language, beside the tasks' own weights
# Wordings of sources for the two modes; any other (chain of thought, test-time search, task-tuned) is not compared.
_MODES = {
    None: DIRECT,
    "": DIRECT,
    "instruct": DIRECT,
    "non-thinking": DIRECT,
    "no thinking": DIRECT,
    "reasoning off": DIRECT,
    "no reasoning": DIRECT,
    "thinking": THINKING,
    "reasoning": THINKING,
    "reasoning on": THINKING,
}


class Yardstick(Record, frozen=True, kw_only=True):
    """A benchmark in one split and mode, with the range of its figures in the catalog."""

    benchmark: str
    split: str | None
    mode: str
    weight: float
    lowest: float
    highest: float
    higher_is_better: bool
    models: int
    languages: tuple[str, ...]


def mode_of(needs: Iterable[str]) -> str:
    """The mode whose figures are compared: thinking where that is needed."""
    return THINKING if "thinking" in needs else DIRECT


def comparable_mode(score: Score) -> str | None:
    """`direct` or `thinking`; None for a mode that is compared with nothing."""
    return _MODES.get(score.mode.lower() if score.mode else score.mode)


def yardsticks(
    benchmarks: Iterable[Benchmark],
    models: Sequence[ModelSpec],
    *,
    tasks: Mapping[str, float],
    languages: Sequence[str] = (),
    mode: str = DIRECT,
) -> tuple[Yardstick, ...]:
    """The evidence that counts for these tasks and languages, in the split that most models have figures for.

    A benchmark weighs by its tasks and by how many models publish it: a scale that few share compares little. The range
    is taken over the whole catalog, so filters on models never change a model's quality.
    """
    found = []
    figures = _figures_by_benchmark(models, mode)
    for benchmark in sorted(benchmarks, key=lambda each: each.id):
        weight = sum(asked * benchmark.tasks.get(task, 0.0) for task, asked in tasks.items())
        if _is_of_asked_language(benchmark, languages):
            weight += LANGUAGE_WEIGHT
        if weight > 0 and benchmark.id in figures:
            found.append(_yardstick(benchmark, figures[benchmark.id], weight, mode, languages))
    most = max((measure.models for measure in found), default=1)
    return tuple(replace(measure, weight=measure.weight * measure.models / most) for measure in found)


def single_yardsticks(
    benchmarks: Iterable[Benchmark], models: Sequence[ModelSpec], *, names: Iterable[str], mode: str = DIRECT
) -> dict[str, Yardstick]:
    """The yardstick of each named benchmark, whatever the tasks; one that nobody publishes in the mode is left out."""
    wanted = list(names)
    if not wanted:
        return {}
    by_id = {benchmark.id: benchmark for benchmark in benchmarks}
    figures = _figures_by_benchmark(models, mode)
    return {name: _yardstick(by_id[name], figures[name], 1.0, mode, ()) for name in wanted if name in figures}


def _yardstick(
    benchmark: Benchmark,
    splits: Mapping[str | None, Sequence[float]],
    weight: float,
    mode: str,
    languages: Sequence[str],
) -> Yardstick:
    split = _yardstick_split(splits, languages)
    values = splits[split]
    return Yardstick(
        benchmark=benchmark.id,
        split=split,
        mode=mode,
        weight=weight,
        lowest=min(values),
        highest=max(values),
        higher_is_better=benchmark.higher_is_better,
        models=len(values),
        languages=_languages_of(split) or benchmark.languages,
    )


def _is_of_asked_language(benchmark: Benchmark, languages: Sequence[str]) -> bool:
    """Whether a multilingual benchmark covers an asked language; English alone makes no benchmark one of language."""
    wanted = {language.split("-")[0].lower() for language in languages} - {"en"}
    return Task.MULTILINGUAL in benchmark.tasks and bool(wanted & set(benchmark.languages))


def _yardstick_split(splits: Mapping[str | None, Sequence[float]], languages: Sequence[str]) -> str | None:
    """The split that most models publish; where splits are languages, an asked one, else English, comes first."""
    preferred = [language.split("-")[0].lower() for language in languages] + ["en"]

    def order(split: str | None) -> tuple[int, int, str]:
        spoken = _languages_of(split)
        rank = preferred.index(spoken[0]) if spoken and spoken[0] in preferred else len(preferred)
        return (rank if spoken else 0, -len(splits[split]), split or "")

    return min(splits, key=order)


def _languages_of(split: str | None) -> tuple[str, ...]:
    """The language that a split is named for, such as `zh` or `en_edit`; () where it is named for something else."""
    head = (split or "").split("_")[0].lower()
    return (head,) if len(head) == 2 and head.isalpha() else ()


def model_quality(model: ModelSpec, measures: Sequence[Yardstick]) -> Quality:
    """A model's points and confidence on the yardsticks."""
    evidence = []
    best = {
        (score.benchmark, score.split): score
        for score in sorted(model.scores, key=_preference, reverse=True)
        if measures and comparable_mode(score) == measures[0].mode
    }
    for measure in measures:
        score = best.get((measure.benchmark, measure.split))
        if score is None:
            continue
        evidence.append(
            Evidence(
                benchmark=measure.benchmark,
                split=measure.split,
                mode=measure.mode,
                value=score.value,
                relative=_relative(score.value, measure),
                weight=measure.weight,
                languages=measure.languages,
                reporter=score.reporter,
                source=score.source,
            )
        )
    wanted = sum(measure.weight for measure in measures)
    covered = sum(item.weight for item in evidence)
    doubts = []
    if measures and not evidence:
        other = {THINKING: DIRECT, DIRECT: THINKING}[measures[0].mode]
        held = any(comparable_mode(score) == other for score in model.scores)
        doubts.append(f"published figures are only for {other} mode" if held else "no comparable published figure")
    return Quality(
        points=sum(item.relative * item.weight for item in evidence) / covered if covered else None,
        confidence=covered / wanted if wanted else 0.0,
        evidence=tuple(evidence),
        doubts=tuple(doubts),
    )


def best_score(model: ModelSpec, measure: Yardstick) -> Score | None:
    """The figure that counts on a yardstick: the makers' own before others', the latest, then the lowest."""
    scores = [
        score
        for score in model.scores
        if (score.benchmark, score.split) == (measure.benchmark, measure.split)
        and comparable_mode(score) == measure.mode
    ]
    return min(scores, key=_preference, default=None)


def _preference(score: Score) -> tuple[bool, tuple[int, ...], float]:
    year, _, month = (score.as_of or "0-0").partition("-")
    date = (-int(year or 0), -int(month[:2] or 0) if month[:2].isdigit() else 0)
    return (score.reporter != "maker", date, score.value)


def _figures_by_benchmark(models: Sequence[ModelSpec], mode: str) -> dict[str, dict[str | None, list[float]]]:
    seen: Counter[tuple[str, str, str | None]] = Counter()
    figures: dict[str, dict[str | None, list[float]]] = {}
    for model in models:
        for score in sorted(model.scores, key=_preference):
            key = (model.id, score.benchmark, score.split)
            if comparable_mode(score) != mode or seen[key]:
                continue
            seen[key] += 1
            figures.setdefault(score.benchmark, {}).setdefault(score.split, []).append(score.value)
    return figures


def _relative(value: float, measure: Yardstick) -> float:
    span = measure.highest - measure.lowest
    if span <= 0:
        return 100.0
    share = (value - measure.lowest) / span
    return 100.0 * (share if measure.higher_is_better else 1.0 - share)
