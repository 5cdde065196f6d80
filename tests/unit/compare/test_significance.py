"""Intervals and tests: against values worked out by hand, and by how often they err over many seeds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_models import ScriptedModel, always, scripted_result
from vlmctl.compare import significance
from vlmctl.compare.clusters import clusters_of
from vlmctl.compare.results import AskedCase, ImageFacts
from vlmctl.compare.significance import (
    Paired,
    compare_pairs,
    mcnemar_exact,
    mean_interval,
    sign_permutation,
    smallest_possible_p,
    with_holm,
)
from vlmctl.compare.standings import case_scores, standings
from vlmctl.compare.verdicts import pair_verdict, verdict

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
        Paired(first="a", second="b", cases=9, clusters=9, difference=1, low=0, high=1, p=p, adjusted_p=p, test="")
        for p in (0.01, 0.04, 0.03)
    ]
    assert [pair.adjusted_p for pair in with_holm(pairs)] == pytest.approx([0.03, 0.06, 0.06])


def test_five_cases_prove_nothing() -> None:
    """The clearest result of five cases is above 0.05, that of six below."""
    assert smallest_possible_p(5) > 0.05 > smallest_possible_p(6)
    five = compare_pairs({"a": dict.fromkeys(range(5), 1.0), "b": dict.fromkeys(range(5), 0.0)})
    assert five[0].better() is None


def test_five_images_prove_nothing_however_many_cases_they_have() -> None:
    """Fifteen cases on five images, all won by one side, are five words on it."""
    images = {case: case // 3 for case in range(15)}
    (pair,) = compare_pairs({"a": dict.fromkeys(images, 1.0), "b": dict.fromkeys(images, 0.0)}, images)
    assert (pair.cases, pair.clusters, pair.p) == (15, 5, smallest_possible_p(5))
    assert pair.better() is None
    assert pair_verdict(pair, [pair], 0.05) == "too few clusters to tell: no difference could have been shown"


def test_pairs_raise_the_number_of_cases_that_it_takes() -> None:
    """Six cases tell two models apart; three pairs they do not, whoever is right, and that is said of all of them."""
    right = [ScriptedModel("a", always(1.0)), ScriptedModel("b", always(0.0)), ScriptedModel("c", always(0.0))]
    found = standings(scripted_result(right, ["charts"], 6))
    assert {pair_verdict(pair, found.pairs, 0.05) for pair in found.pairs} == {
        "too few cases to tell: no difference could have been shown"
    }
    assert verdict(found, 0.05).startswith("Too few cases to tell")
    two = standings(scripted_result(right[:2], ["charts"], 6))
    assert [pair_verdict(pair, two.pairs, 0.05) for pair in two.pairs] == ["a is better"]
    seven = standings(scripted_result(right, ["charts"], 7))
    assert sorted(pair_verdict(pair, seven.pairs, 0.05) for pair in seven.pairs)[:2] == ["a is better", "a is better"]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=24), st.integers(1, 4), st.data())
def test_asking_again_about_the_same_images_proves_nothing_more(
    scores: list[float], times: int, data: st.DataObject
) -> None:
    """As many copies of each case on its image: the same p, the same interval."""
    other = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(scores), max_size=len(scores)))
    (once,) = compare_pairs({"a": dict(enumerate(scores)), "b": dict(enumerate(other))})
    images = {(case, copy): case for case in range(len(scores)) for copy in range(times)}
    copied = {name: {key: own[at] for key, at in images.items()} for name, own in (("a", scores), ("b", other))}
    (again,) = compare_pairs(copied, images)
    assert again.p == pytest.approx(once.p)
    assert (again.difference, again.low, again.high) == pytest.approx((once.difference, once.low, once.high), abs=1e-9)
    assert (again.cases, again.clusters) == (len(scores) * times, len(scores))


def test_only_shared_cases_are_compared() -> None:
    """A case that one side has no score of says nothing of the pair."""
    (pair,) = compare_pairs({"a": {1: 1.0, 2: 1.0, 3: 0.0}, "b": {2: 0.0, 3: 0.0, 4: 1.0}})
    assert (pair.cases, pair.difference) == (2, 0.5)
    assert compare_pairs({"a": {1: 1.0}, "b": {2: 1.0}}) == ()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 95% intervals of 60 right-or-wrong cases, 92% to 98% hold the true share."""
    rng, held = random.Random(1), 0
    for seed in range(SEEDS):
        interval = mean_interval({case: float(rng.random() < 0.7) for case in range(60)}, seed=seed)
        assert interval is not None
        held += interval.low <= 0.7 <= interval.high
    assert 0.92 <= held / SEEDS <= 0.98


def test_all_right_is_not_certain() -> None:
    """Ten of ten right leaves room below 1, by Wilson's interval: 10 / (10 + 1.96^2)."""
    interval = mean_interval(dict.fromkeys(range(10), 1.0))
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(10 / (10 + 1.959964**2)), 1.0)
    assert mean_interval({}) is None


def test_alike_is_not_certain() -> None:
    """Ten ties of ten leave room for a difference either way, and so does one image of which two thirds were right."""
    tied = dict.fromkeys(range(10), 1.0)
    (pair,) = compare_pairs({"a": tied, "b": tied})
    unseen = 1.959964**2 / (10 + 1.959964**2)
    assert (pair.difference, pair.low, pair.high) == (0.0, pytest.approx(-unseen), pytest.approx(unseen))
    one = mean_interval({1: 1.0, 2: 1.0, 3: 0.0}, dict.fromkeys((1, 2, 3), "image"))
    assert one is not None
    assert (one.cases, one.clusters) == (3, 1)
    assert one.low < 0.2
    assert one.high > 0.9


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


@pytest.mark.usefixtures("few_draws")
def test_questions_on_the_same_images_give_no_winner_by_luck() -> None:
    """Three questions on each image, all right or all wrong: equal models rarely differ, by the question often."""
    erred = by_question = 0
    for seed in range(SEEDS):
        pair = [ScriptedModel(name, always(0.7), seed) for name in ("a", "b")]
        result = scripted_result(pair, ["charts"], 90, per_image=3)
        scores = {name: case_scores(result.of(name)) for name in ("a", "b")}
        erred += standings(result).winner is not None
        by_question += compare_pairs(scores)[0].better() is not None
    assert 0.005 <= erred / SEEDS <= 0.07
    assert by_question / SEEDS > 0.15


@pytest.mark.parametrize(("images", "questions"), [(2, 3), (3, 3), (4, 1), (5, 3), (8, 3), (30, 3)])
def test_a_difference_that_is_not_shown_is_within_what_is_said_to_be_possible(images: int, questions: int) -> None:
    """The interval of graded scores holds the true difference in at least 92% of comparisons, of few images too."""
    held, of_image = 0, {case: case // questions for case in range(images * questions)}
    for seed in range(SEEDS):
        rng = random.Random(seed)
        by_image = [(rng.betavariate(4, 2), rng.betavariate(4, 2)) for _ in range(images)]
        scores = {name: {case: by_image[at][side] for case, at in of_image.items()} for side, name in enumerate("ab")}
        (pair,) = compare_pairs(scores, of_image, seed=seed)
        held += pair.low <= 0.0 <= pair.high
    assert 0.92 <= held / SEEDS <= 0.985


@pytest.mark.parametrize(("images", "questions"), [(3, 3), (5, 3), (8, 3)])
def test_intervals_of_few_images_hold_the_truth_too(images: int, questions: int) -> None:
    """Of right-or-wrong cases on three to eight images at least 92% of intervals hold the true share."""
    held, of_image = 0, {case: case // questions for case in range(images * questions)}
    for seed in range(SEEDS):
        rng = random.Random(seed)
        interval = mean_interval({case: float(rng.random() < 0.7) for case in of_image}, of_image, seed=seed)
        assert interval is not None
        held += interval.low <= 0.7 <= interval.high
    assert held / SEEDS >= 0.92


def _case(number: int, images: set[int]) -> AskedCase:
    facts = tuple(ImageFacts(source="", width_pixels=1, height_pixels=1, sha256=f"{image}") for image in images)
    return AskedCase(id=f"{number}", category="", prompt="", expected="", metric="exact", images=facts)


@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=3), max_size=16))
def test_clusters_are_what_images_connect(images: list[set[int]]) -> None:
    """Two cases are in one cluster exactly if a chain of shared images leads from one to the other."""
    found = clusters_of(_case(number, own) for number, own in enumerate(images))
    reached = [set(own) for own in images]
    for _ in images:
        reached = [set().union(own, *(other for other in reached if other & own)) for own in reached]
    for one, own in enumerate(reached):
        assert [found[f"{one}"] == found[f"{other}"] for other in range(len(images))] == [
            bool(own & each) for each in reached
        ]
