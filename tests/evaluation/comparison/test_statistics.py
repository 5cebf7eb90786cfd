"""The statistics against scipy and against counting."""

import itertools

import numpy as np
import pytest
from scipy import stats

from klamp.evaluation.comparison import statistics
from klamp.evaluation.comparison.statistics import (
    chance_of_separation,
    improvement_interval,
    interquartile_mean,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 41])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(3, count))
    np.testing.assert_allclose(
        interquartile_mean(values), stats.trim_mean(values, 0.25, axis=1), rtol=1e-13
    )


def test_the_interval_is_that_of_every_resample_there_is() -> None:
    """Of three seeds there are 27 resamples; ours draws many of them."""
    scores = np.array([1.0, 2.0, 10.0])
    every = [np.mean(picks) for picks in itertools.product(scores, repeat=3)]
    found = stratified_interval([scores])
    assert found is not None
    assert found == tuple(np.percentile(every, [2.5, 97.5], method="inverted_cdf"))


def test_the_interval_agrees_with_scipys_bootstrap() -> None:
    scores = np.random.default_rng(1).normal(100, 20, 12)
    theirs = stats.bootstrap(
        (scores,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(stratified_interval([scores]), tuple(theirs), atol=1.0)


def test_seeds_of_a_task_are_drawn_within_it() -> None:
    """Two tasks far apart: drawn from one heap, the share of either would vary, and the mean."""
    tasks = [np.array([0.0, 1.0, 2.0, 3.0]), np.array([1000.0, 1001.0, 1002.0, 1003.0])]
    low, high = stratified_interval(tasks, lambda values: values.mean(axis=-1)) or (0, 0)
    assert 500 < low < 501.5 < high < 503


def test_it_repeats_and_one_seed_has_none() -> None:
    scores = np.arange(5.0)
    assert stratified_interval([scores]) == stratified_interval([scores])
    assert stratified_interval([scores, np.ones(1)]) is None
    assert improvement_interval([scores], [np.ones(1)]) is None
    assert mean_interval(np.array([3.0])) == (3.0, 3.0)


def test_the_interval_covers_the_mean_as_often_as_the_documents_say() -> None:
    """``docs/comparing.md``: of 3 seeds 75 %, of 5 seeds 83 %, of 10 seeds 90 %, of 20 93 %."""
    generator = np.random.default_rng(0)
    for seeds, wanted in ((3, 0.75), (5, 0.83), (10, 0.90), (20, 0.93)):
        bounds = [mean_interval(generator.normal(3.0, 1.0, seeds)) for _ in range(400)]
        assert np.mean([low <= 3.0 <= high for low, high in bounds]) == pytest.approx(
            wanted, abs=0.05
        )


def test_the_probability_of_improvement_counts_pairs() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0])
    wins = sum((a > b) + 0.5 * (a == b) for a in x for b in y) / 6
    assert probability_of_improvement([x], [y]) == pytest.approx(wins)
    u = stats.mannwhitneyu(x, y).statistic
    assert probability_of_improvement([x], [y]) == pytest.approx(u / 6)
    both = probability_of_improvement([x, y], [y, y])
    assert both == pytest.approx((wins + 0.5) / 2)
    assert probability_of_improvement([y], [x]) == pytest.approx(1 - wins)


def test_its_interval_is_that_of_counted_resamples() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 7.0]), np.array([2.0, 0.0, 5.0])
    generator = np.random.default_rng(5)
    counted = [
        probability_of_improvement([generator.choice(x, 4)], [generator.choice(y, 3)])
        for _ in range(4000)
    ]
    found = improvement_interval([x], [y])
    assert found is not None
    np.testing.assert_allclose(found, np.percentile(counted, [2.5, 97.5]), atol=0.05)


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 2), (3, 3), (4, 4), (3, 5)])
def test_the_chance_of_separation_is_counted(one: int, other: int) -> None:
    ranks = range(one + other)
    orders = [set(chosen) for chosen in itertools.combinations(ranks, one)]
    apart = [chosen for chosen in orders if chosen in (set(ranks[:one]), set(ranks[other:]))]
    assert chance_of_separation(one, other) == pytest.approx(len(apart) / len(orders))
    exact = stats.mannwhitneyu(np.arange(one), np.arange(other) + 100, method="exact").pvalue
    assert chance_of_separation(one, other) == pytest.approx(exact)


def test_the_profile_is_the_share_above() -> None:
    scores, thresholds = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 5.0])
    share, low, high = performance_profile(scores, thresholds)
    np.testing.assert_allclose(share, [1.0, 0.75, 0.25, 0.0])
    assert np.all(low <= share)
    assert np.all(share <= high)
    # One threshold is one binomial proportion.
    drawn = np.random.default_rng(0).binomial(4, 0.25, statistics.RESAMPLES) / 4
    np.testing.assert_allclose((low[2], high[2]), np.percentile(drawn, [2.5, 97.5]), atol=0.26)
