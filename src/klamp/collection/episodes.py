"""Returns and lengths of finished episodes, from the rewards that the environment gave."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

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
    statistics: EpisodeStatistics, reward: np.ndarray, ended: np.ndarray, weight: np.ndarray
) -> EpisodeStatistics:
    """Statistics after a rollout of rewards [T, N]; rows of weight 0 do not count."""
    ended = np.asarray(ended, bool)
    # In front of each environment's steps stands what its running episode had before them.
    real = np.column_stack((statistics.running_length, (weight > 0).T))
    counted = np.column_stack((statistics.running_return, np.where(weight > 0, reward, 0.0).T))
    begins = np.zeros(real.shape, bool)
    begins[:, 0], begins[:, 2:] = True, ended.T[:, :-1]
    # Environment by environment, each step has the number of its stretch: what lies between ends.
    stretch = np.cumsum(begins).reshape(begins.shape) - 1
    returns = np.bincount(stretch.ravel(), counted.ravel())
    lengths = np.bincount(stretch.ravel(), real.ravel())
    time, index = np.nonzero(ended)
    done, goes_on = stretch[index, time + 1][::-1], ~ended[-1]
    return add_finished(
        statistics,
        len(done),
        returns[done],
        lengths[done],
        returns[stretch[:, -1]] * goes_on,
        lengths[stretch[:, -1]] * goes_on,
    )


def add_finished(
    statistics: EpisodeStatistics,
    count: int,
    returns: np.ndarray,
    lengths: np.ndarray,
    running_return: np.ndarray,
    running_length: np.ndarray,
) -> EpisodeStatistics:
    """Statistics after a rollout that was summed up elsewhere.

    ``count`` episodes ended in it; ``returns`` and ``lengths`` are of the last of them, the newest
    first, at least as many as the window can show; the others are of the running episodes.
    """
    finished = int(statistics.finished) + count
    known = min(count, WINDOW, len(returns))
    slots = (finished - 1 - np.arange(known)) % WINDOW
    window, long = statistics.returns.copy(), statistics.lengths.copy()
    window[slots], long[slots] = returns[:known], lengths[:known]
    running = (np.asarray(part, np.float64) for part in (running_return, running_length))
    return EpisodeStatistics(np.asarray(finished, np.int64), window, long, *running)
