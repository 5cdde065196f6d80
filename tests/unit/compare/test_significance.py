"""Intervals and tests: against values worked out by hand, and by how often they err over many seeds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_models import ScriptedModel, always, scripted_result
from vlmctl.compare import significance
from vlmctl.compare.significance import (
    Paired,
    compare_pairs,
    mcnemar_exact,
    mean_interval,
    sign_permutation,
    smallest_possible_p,
    with_holm,
)
from vlmctl.compare.standings import standings

SEEDS = 400
WHOLE_COMPARISONS = 120


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (0, 6, 2 / 64), (1, 7, 2 * 9 / 256), (10, 2, 2 * 79 / 4096)],
)
def test_mcnemar(first: int, second: int, p: float) -> None:
    """Twice the binomial tail at one half, as summed by hand."""
    assert mcnemar_exact(first, second) == pytest.approx(p)
    assert mcnemar_exact(second, first) == pytest.approx(p)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.5], 1.0),
        ([1.0, 1.0, 1.0], 2 / 8),
        ([3.0, 2.0, 1.0], 2 / 8),
        ([3.0, 2.0, -1.0], 4 / 8),  # as large: 6, 4, -4, -6
    ],
)
def test_sign_permutation(differences: list[float], p: float) -> None:
    """The share of sign patterns whose sum is as far from zero."""
    assert sign_permutation(differences) == pytest.approx(p)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=18))
def test_permuting_signs_of_right_and_wrong_is_mcnemar(differences: list[float]) -> None:
    """Where every difference is one, trying all signs gives McNemar's exact p."""
    exact = mcnemar_exact(differences.count(1.0), differences.count(-1.0))
    assert sign_permutation(differences) == pytest.approx(exact)


def test_random_signs_come_near_the_exact_p() -> None:
    """With more cases than all patterns can be tried for, the drawn p is within a few standard errors of the exact."""
    differences = [1.0] * 40 + [-1.0] * 24
    assert sign_permutation(differences) == pytest.approx(mcnemar_exact(40, 24), abs=0.01)


def test_holm() -> None:
    """p values of 0.01, 0.04 and 0.03 become 0.03, 0.06 and 0.06 (Holm 1979)."""
    pairs = [
        Paired(first="a", second="b", cases=9, difference=1, low=0, high=1, p=p, adjusted_p=p, test="")
        for p in (0.01, 0.04, 0.03)
    ]
    assert [pair.adjusted_p for pair in with_holm(pairs)] == pytest.approx([0.03, 0.06, 0.06])


def test_five_cases_prove_nothing() -> None:
    """The clearest result of five cases is above 0.05, that of six below."""
    assert smallest_possible_p(5) > 0.05 > smallest_possible_p(6)
    five = compare_pairs({"a": dict.fromkeys(range(5), 1.0), "b": dict.fromkeys(range(5), 0.0)})
    assert five[0].better() is None


def test_only_shared_cases_are_compared() -> None:
    """A case that one side has no score of says nothing of the pair."""
    (pair,) = compare_pairs({"a": {1: 1.0, 2: 1.0, 3: 0.0}, "b": {2: 0.0, 3: 0.0, 4: 1.0}})
    assert (pair.cases, pair.difference) == (2, 0.5)
    assert compare_pairs({"a": {1: 1.0}, "b": {2: 1.0}}) == ()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 95% intervals of 60 right-or-wrong cases, 92% to 98% hold the true share."""
    rng, held = random.Random(1), 0
    for seed in range(SEEDS):
        interval = mean_interval([float(rng.random() < 0.7) for _ in range(60)], seed=seed)
        assert interval is not None
        held += interval.low <= 0.7 <= interval.high
    assert 0.92 <= held / SEEDS <= 0.98


def test_all_right_is_not_certain() -> None:
    """Ten of ten right leaves room below 1, by Wilson's interval: 10 / (10 + 1.96^2)."""
    interval = mean_interval([1.0] * 10)
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(10 / (10 + 1.959964**2)), 1.0)
    assert mean_interval([]) is None


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are drawn coarsely where only p values matter: they take most of the time."""
    monkeypatch.setattr(significance, "BOOTSTRAP_DRAWS", 50)


@pytest.mark.usefixtures("few_draws")
def test_equal_models_rarely_get_a_winner() -> None:
    """Of two equally good models one is called better in at most about 5% of comparisons, though not never."""
    won = 0
    for seed in range(SEEDS):
        pair = [ScriptedModel(name, always(0.7), seed) for name in ("a", "b")]
        won += standings(scripted_result(pair, ["charts", "forms"], 60)).winner is not None
    assert 0.005 <= won / SEEDS <= 0.07


@pytest.mark.usefixtures("few_draws")
def test_four_equal_models_err_no_more_than_two() -> None:
    """With six pairs to err in, any difference at all is still called in at most about 5% of comparisons."""
    erred = 0
    for seed in range(WHOLE_COMPARISONS):
        four = [ScriptedModel(name, always(0.7), seed) for name in "abcd"]
        found = standings(scripted_result(four, ["charts"], 60))
        erred += any(pair.better() for pair in found.pairs)
    assert erred / WHOLE_COMPARISONS <= 0.1  # 5%, and two standard errors


@pytest.mark.usefixtures("few_draws")
def test_graded_scores_err_about_as_often_as_they_say() -> None:
    """The permutation of signs calls equal models different in 3% to 7.5% of comparisons of graded scores."""
    erred = 0
    for seed in range(SEEDS):
        rng = random.Random(seed)
        scores = {name: {case: rng.random() for case in range(18)} for name in ("a", "b")}
        erred += compare_pairs(scores, seed=seed)[0].better() is not None
    assert 0.03 <= erred / SEEDS <= 0.075


@pytest.mark.usefixtures("few_draws")
def test_a_clear_difference_is_found() -> None:
    """90% against 60% on 120 cases is called in nearly every comparison, and always for the right side."""
    winners = [
        standings(
            scripted_result(
                [ScriptedModel("good", always(0.9), seed), ScriptedModel("poor", always(0.6), seed)], ["charts"], 120
            )
        ).winner
        for seed in range(50)
    ]
    assert winners.count("good") >= 48
    assert "poor" not in winners
