"""Returns and lengths of finished episodes, from the rewards that the environment gave."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from klamp.types import Episode

WINDOW = 100
"""`return_mean` and `length_mean` are over this many last training episodes."""


class EpisodeStatistics(NamedTuple):
    """What is known of finished and running episodes; a pytree of arrays, so it is saved."""

    finished: Int[np.ndarray, ""]
    """Episodes that ended since the start of the run."""
    returns: Float[np.ndarray, " window"]
    """Undiscounted raw returns of the last episodes; the newest is at (finished − 1) mod 100."""
    lengths: Float[np.ndarray, " window"]
    running_return: Float[np.ndarray, " N"]
    running_length: Float[np.ndarray, " N"]

    @property
    def return_mean(self) -> float | None:
        """Mean return of the last 100 episodes; None before one has ended."""
        return self._mean(self.returns)

    @property
    def length_mean(self) -> float | None:
        """Mean length of the last 100 episodes, in environment steps."""
        return self._mean(self.lengths)

    def _mean(self, values: np.ndarray) -> float | None:
        known = min(int(self.finished), WINDOW)
        return float(values[:known].mean()) if known else None


def no_episodes(num_envs: int) -> EpisodeStatistics:
    """Before the first step."""
    zeros = np.zeros(num_envs)
    window = np.zeros(WINDOW)
    return EpisodeStatistics(np.zeros((), np.int64), window, window.copy(), zeros, zeros.copy())


def add_rollout(
    statistics: EpisodeStatistics,
    reward: Float[np.ndarray, "T N"],
    ended: Bool[np.ndarray, "T N"],
    valid: Bool[np.ndarray, "T N"],
) -> EpisodeStatistics:
    """Statistics after a rollout; rows that are no transitions do not count."""
    stretch, returns, lengths = _stretches(statistics, reward, ended, valid)
    time, index = np.nonzero(ended)
    # The newest first, as many as the window can show.
    done, goes_on = stretch[index, time + 1][::-1], ~ended[-1]
    running = (returns[stretch[:, -1]] * goes_on, lengths[stretch[:, -1]] * goes_on)
    counted = add_finished(statistics, returns[done], lengths[done])
    return counted._replace(running_return=running[0], running_length=running[1])


def add_finished(
    statistics: EpisodeStatistics,
    returns: Float[np.ndarray, " episodes"],
    lengths: Float[np.ndarray, " episodes"],
) -> EpisodeStatistics:
    """Statistics with these episodes, which have ended since; the newest comes first."""
    finished = int(statistics.finished) + len(returns)
    slots = (finished - 1 - np.arange(min(len(returns), WINDOW))) % WINDOW
    window, long = statistics.returns.copy(), statistics.lengths.copy()
    window[slots], long[slots] = returns[: len(slots)], lengths[: len(slots)]
    return statistics._replace(
        finished=np.asarray(finished, np.int64), returns=window, lengths=long
    )


def _stretches(
    statistics: EpisodeStatistics,
    reward: Float[np.ndarray, "T N"],
    ended: Bool[np.ndarray, "T N"],
    valid: Bool[np.ndarray, "T N"],
) -> tuple[Int[np.ndarray, "N T1"], Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
    """What lies between ends, environment by environment: number, return and length of each."""
    # In front of each environment's steps stands what its running episode had before them.
    shape = (reward.shape[1], reward.shape[0] + 1)
    begins, counted, real = np.zeros(shape, np.int64), np.empty(shape), np.empty(shape)
    begins[:, 0], begins[:, 2:] = 1, ended.T[:, :-1]
    real[:, 0], real[:, 1:] = statistics.running_length, valid.T
    counted[:, 0], counted[:, 1:] = statistics.running_return, reward.T
    counted[:, 1:][~valid.T] = 0
    stretch = np.cumsum(begins) - 1
    returns = np.bincount(stretch, counted.ravel())
    lengths = np.bincount(stretch, real.ravel())
    return stretch.reshape(shape), returns, lengths


def episodes_of(
    before: EpisodeStatistics,
    step: int,
    reward: Float[np.ndarray, "T N"],
    ended: Bool[np.ndarray, "T N"],
    valid: Bool[np.ndarray, "T N"],
    terminated: Bool[np.ndarray, "T N"],
    numbers: Mapping[str, Float[np.ndarray, " E"]],
    episode_seed: Callable[[int, int], int | None],
) -> list[Episode]:
    """The episodes that ended in a rollout, in their order.

    ``before`` are the statistics before it, and ``step`` the environment steps. ``episode_seed`` is
    that of the summary.
    """
    stretch, returns, lengths = _stretches(before, reward, ended, valid)
    steps = step + np.cumsum(valid.sum(1))
    later = np.cumsum(ended[::-1], 0)[::-1]
    found: list[Episode] = []
    for number, (t, i) in enumerate(
        zip(*(part.tolist() for part in np.nonzero(ended)), strict=True)
    ):
        told = {name: float(of[number]) for name, of in numbers.items() if np.isfinite(of[number])}
        sums = float(returns[stretch[i, t + 1]]), int(lengths[stretch[i, t + 1]])
        seed = episode_seed(i, int(later[t, i]))
        found.append(Episode(int(steps[t]), i, seed, *sums, bool(terminated[t, i]), told))
    return found
