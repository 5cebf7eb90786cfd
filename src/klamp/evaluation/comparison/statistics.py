"""Statistics of few seeds: interquartile mean, intervals, improvement, performance profile.

Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice" (arXiv:2108.13264), as in its library rliable. A *score* is one number
of one run, here its last mean return. Intervals are 95 % percentile-bootstrap intervals: seeds are
drawn with replacement, those of each task apart (which is what *stratified* means), the statistic
is computed again, and the middle 95 % of the results are the interval. The bootstrap has a fixed
seed, so that the same runs give the same numbers.
"""

from collections.abc import Callable, Sequence
from math import comb

import numpy as np

RESAMPLES = 10_000
"""Bootstrap resamples of an interval."""

Interval = tuple[float, float]
Scores = np.ndarray
"""The scores of the seeds of one algorithm in one task, [seeds]."""


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half along the last axis, [..., seeds] → [...].

    A quarter of the values, rounded down, is left out at either end, as ``scipy.stats.trim_mean``
    does; of fewer than four values it is the mean.
    """
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


def stratified_interval(
    tasks: Sequence[Scores],
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
) -> Interval | None:
    """The 95 % interval of a statistic of all scores of all tasks; None where one has one seed.

    ``statistic`` reduces the last axis of [resamples, scores].
    """
    if min(len(scores) for scores in tasks) < 2:
        return None
    generator = _generator()
    drawn = [scores[generator.integers(0, len(scores), (RESAMPLES, len(scores)))]
             for scores in tasks]  # fmt: skip
    return _middle(statistic(np.concatenate(drawn, axis=1)))


def mean_interval(values: Scores) -> Interval:
    """The 95 % interval of the mean of one task's scores; of one score, that score."""
    return stratified_interval([values], _mean) or (float(values[0]), float(values[0]))


def probability_of_improvement(one: Sequence[Scores], other: Sequence[Scores]) -> float:
    """P(X > Y): how often a seed of ``one`` scores above a seed of ``other``, mean over the tasks.

    Each task's share counts all pairs of seeds, and a tie as half a pair. A half says nothing.
    """
    pairs = zip(one, other, strict=True)
    return float(np.mean([_above(x, y).mean() for x, y in pairs]))


def improvement_interval(one: Sequence[Scores], other: Sequence[Scores]) -> Interval | None:
    """Its 95 % interval, both drawn again; None where either has one seed in a task."""
    if min(len(scores) for scores in (*one, *other)) < 2:
        return None
    generator = _generator()
    shares = [
        np.einsum(
            "ri,ij,rj->r", _shares(generator, len(x)), _above(x, y), _shares(generator, len(y))
        )
        for x, y in zip(one, other, strict=True)
    ]
    return _middle(np.mean(shares, axis=0))


def chance_of_separation(one: int, other: int) -> float:
    """How often chance alone puts all seeds of either of two equal algorithms above the other's.

    Of the C(n + m, n) orders, which are equally likely then, two separate them: of 3 against 3
    seeds 10 %, of 4 against 4 seeds 3 %. It is the smallest two-sided p-value that an exact rank
    test of so many seeds has.
    """
    return min(1.0, 2 / comb(one + other, one))


def performance_profile(
    scores: Scores, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The share of seeds that score above each threshold, and its 95 % interval at each of them.

    ``[thresholds]`` each. Of one seed the interval is that share itself.
    """
    above = (scores[:, None] > thresholds).astype(float)
    share = above.mean(axis=0)
    if len(scores) < 2:
        return share, share, share
    # How many of the drawn seeds are above is binomial; few of the shares differ.
    shares, places = np.unique(share, return_inverse=True)
    drawn = _generator().binomial(len(scores), shares, (RESAMPLES, len(shares))) / len(scores)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return share, low[places], high[places]


def _above(x: Scores, y: Scores) -> np.ndarray:
    """1 where a seed is above the other's, ½ where they are equal, [seeds, other seeds]."""
    return (x[:, None] > y) + 0.5 * (x[:, None] == y)


def _shares(generator: np.random.Generator, seeds: int) -> np.ndarray:
    """How often each seed is drawn in each resample, as a share of them, [resamples, seeds]."""
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds


def _middle(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(0))
