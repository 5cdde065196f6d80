"""Quality rests on comparable evidence alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.records import make_model
from vlmctl.planning.quality import THINKING, best_score, comparable_mode, model_quality, yardsticks
from vlmctl.specs.hardware import Benchmark
from vlmctl.specs.model import ModelSpec, Score

READING = {"document-ocr": 1.0}


def _benchmark(name: str, *, higher: bool = True, languages: tuple[str, ...] = ()) -> Benchmark:
    tasks = {"multilingual": 1.0} if languages else {"document-ocr": 1.0}
    return Benchmark(
        id=name, name=name, measures="m", higher_is_better=higher, tasks=tasks, languages=languages, source="s"
    )


def _model(name: str, *scores: Score) -> ModelSpec:
    return make_model(name, scores=scores)


def _score(value: float, benchmark: str = "docs", **more: str) -> Score:
    return Score(benchmark=benchmark, value=value, source="s", **more)


def test_points_run_from_the_lowest_to_the_highest_figure() -> None:
    """The best model of a benchmark has 100 points, the worst 0, one half-way 50."""
    models = [_model("a", _score(60)), _model("b", _score(80)), _model("c", _score(100))]
    measures = yardsticks([_benchmark("docs")], models, tasks=READING)
    assert [model_quality(model, measures).points for model in models] == [0, 50, 100]


def test_an_error_rate_counts_the_other_way_round() -> None:
    """Where lower is better the lowest figure has 100 points."""
    models = [_model("a", _score(0.1)), _model("b", _score(0.5))]
    measures = yardsticks([_benchmark("docs", higher=False)], models, tasks=READING)
    assert [model_quality(model, measures).points for model in models] == [100, 0]


def test_missing_figures_lower_the_confidence_and_not_the_points() -> None:
    """A model with one of two equally shared benchmarks keeps its points and has half the confidence."""
    both = (_score(50), _score(50, "forms"))
    models = [_model("low", _score(0), _score(0, "forms")), _model("half", _score(50)), _model("full", *both)]
    models.append(_model("forms-only", _score(50, "forms")))
    measures = yardsticks([_benchmark("docs"), _benchmark("forms")], models, tasks=READING)
    half, full = (model_quality(model, measures) for model in models[1:3])
    assert half.points == full.points
    assert half.confidence == pytest.approx(0.5)
    assert full.confidence == pytest.approx(1.0)


def test_splits_are_never_mixed() -> None:
    """The split most models publish is the yardstick; a figure of another split is no evidence."""
    models = [
        _model("a", _score(90, split="test")),
        _model("b", _score(70, split="test")),
        _model("c", _score(99, split="val")),
    ]
    measures = yardsticks([_benchmark("docs")], models, tasks=READING)
    assert measures[0].split == "test"
    assert model_quality(models[2], measures).points is None


def test_modes_are_never_mixed() -> None:
    """Thinking figures do not enter a direct ranking, and say so; chain-of-thought enters neither."""
    models = [_model("a", _score(90)), _model("b", _score(99, mode="thinking")), _model("c", _score(98, mode="CoT"))]
    direct = yardsticks([_benchmark("docs")], models, tasks=READING)
    assert direct[0].models == 1
    assert model_quality(models[1], direct).doubts == ("published figures are only for thinking mode",)
    thinking = yardsticks([_benchmark("docs")], models, tasks=READING, mode=THINKING)
    assert model_quality(models[1], thinking).points == 100
    assert comparable_mode(models[2].scores[0]) is None


def test_a_benchmark_of_the_asked_language_counts() -> None:
    """A multilingual benchmark is evidence when one of its languages is asked for; English asks for none."""
    models = [_model("a", _score(10, "many"), _score(50)), _model("b", _score(90, "many"), _score(40))]
    benchmarks = [_benchmark("docs"), _benchmark("many", languages=("en", "ja", "ko"))]
    assert [m.benchmark for m in yardsticks(benchmarks, models, tasks=READING)] == ["docs"]
    for language, expected in (("ja-JP", ["docs", "many"]), ("en", ["docs"])):
        asked = yardsticks(benchmarks, models, tasks=READING, languages=(language,))
        assert [m.benchmark for m in asked] == expected


def test_the_split_of_the_asked_language_is_taken() -> None:
    """Where splits are languages the asked one counts, else English; others count by how many publish them."""
    models = [
        _model("a", *(_score(50, split=name) for name in ("zh", "ar", "en"))),
        _model("b", _score(60, split="zh")),
    ]
    for languages, expected in ((("ar",), "ar"), ((), "en"), (("fr",), "en")):
        assert yardsticks([_benchmark("docs")], models, tasks=READING, languages=languages)[0].split == expected


def test_the_makers_own_latest_figure_counts() -> None:
    """Makers before third parties, then the later date, then the lower value."""
    scores = (
        _score(99, reporter="third-party", as_of="2026-01"),
        _score(80, as_of="2024-01"),
        _score(85, as_of="2025-01"),
        _score(84, as_of="2025-01"),
    )
    model = _model("a", *scores)
    measure = yardsticks([_benchmark("docs")], [model], tasks=READING)[0]
    found = best_score(model, measure)
    assert found is not None
    assert found.value == 84
    assert best_score(replace(model, scores=()), measure) is None
