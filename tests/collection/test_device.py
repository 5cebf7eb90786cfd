"""What a fused rollout counts, by its definitions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.collection.device import Totals, first_non_finite, last_finished, moments_of
from klamp.collection.episodes import WINDOW, add_finished, add_rollout, no_episodes
from klamp.types import Rollout

T, N = 60, 5


def summed(reward: np.ndarray, ended: np.ndarray) -> Totals:
    """Sums over the running episodes as they stand at each step, ends included."""
    sums = np.zeros((2, *reward.shape), np.float32)
    running = np.zeros((2, reward.shape[1]), np.float32)
    for t in range(len(reward)):
        running += np.stack([reward[t], np.ones_like(reward[t])])
        sums[:, t] = running
        running = np.where(ended[t], 0, running)
    return Totals(jnp.asarray(sums[0]), jnp.asarray(sums[1]), jnp.zeros(()))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.9])
def test_finished_episodes_are_those_of_the_host(share: float) -> None:
    random = np.random.default_rng(0)
    reward = random.normal(size=(T, N)).astype(np.float32)
    ended = random.random((T, N)) < share
    before = add_rollout(no_episodes(N), *(np.zeros((3, N)),) * 2, np.zeros((3, N)))
    expected = add_rollout(before, reward, ended, np.ones((T, N)))
    sums = summed(reward, ended)
    number, returned, length = jax.device_get(last_finished(jnp.asarray(ended), sums))
    running = [np.where(ended[-1], 0, part[-1]) for part in sums[:2]]
    found = add_finished(before, int(number), returned, length, *running)
    assert int(found.finished) == int(expected.finished) == ended.sum()
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    if share > 0.5:
        assert ended.sum() > WINDOW


def test_moments_keep_their_digits_far_from_zero() -> None:
    samples = np.random.default_rng(0).normal(1000, 0.1, (64, 32, 3)).astype(np.float32)
    mean, deviations = moments_of(jnp.asarray(samples))
    exact = samples.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(
        deviations, np.square(exact - exact.mean(axis=0)).sum(axis=0), rtol=1e-4
    )


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_first_is_found(which: int) -> None:
    parts = [np.zeros((4, 2, 3), np.float32), np.zeros((4, 2, 3), np.float32), np.zeros((4, 2))]

    def found() -> tuple:
        nothing = jnp.zeros(())
        rollout = Rollout(
            *(jnp.asarray(part) for part in parts[:2]),
            nothing,
            jnp.asarray(parts[2]),
            *[nothing] * 3,
        )
        return tuple(part.item() for part in first_non_finite(rollout))

    assert found()[0] == -1
    parts[2][3, 1] = np.nan
    parts[which][(2, 1, 0)[: parts[which].ndim]] = -np.inf
    index = np.ravel_multi_index((2, 1, 0)[: parts[which].ndim], parts[which].shape)
    assert found() == (which, index, -np.inf)
