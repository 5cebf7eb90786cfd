"""N environments written in JAX: ends are exact, new episodes have keys of their own."""

from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from jax_environments import CartPole, Masked, Walk

from klamp.envs.device.batched import BatchedEnvironment, from_arrays, to_arrays
from klamp.errors import CheckpointError


def walked(environment: Any, rows: int, steps: int, actions: np.ndarray) -> tuple[list, list]:
    """What rows stood at before each step, and what each step led to."""
    together = BatchedEnvironment(environment, rows)
    step = jax.jit(together.step)
    stand = jax.jit(together.reset)(jax.random.key(0))
    stands, ends = [stand], []
    for t in range(steps):
        stand, ended = step(together.keys(jax.random.key(1), t), stand, actions[t])
        stands.append(jax.device_get(stand))
        ends.append(jax.device_get(ended))
    return stands, ends


def test_cartpole_is_gymnasiums_row_by_row() -> None:
    rows, steps = 3, 60
    actions = np.random.default_rng(0).integers(0, 2, (steps, rows)).astype(np.int32)
    stands, ends = walked(CartPole(limit=20), rows, steps, actions)
    host = gymnasium.make("CartPole-v1", max_episode_steps=20).unwrapped
    seen = {"terminated": 0, "truncated": 0}
    for row in range(rows):
        host.reset(seed=0)
        host.state, count = np.asarray(stands[0].observation[row], np.float64), 0
        for t in range(steps):
            observation, reward, terminated, *_ = host.step(int(actions[t, row]))
            count += 1
            after = ends[t]
            np.testing.assert_allclose(after.next_observation[row], observation, atol=1e-5)
            assert after.reward[row] == reward
            assert bool(after.terminated[row]) == terminated
            assert bool(after.truncated[row]) == (count >= 20)
            begun = stands[t + 1].observation[row]
            if terminated or count >= 20:
                seen["terminated" if terminated else "truncated"] += 1
                assert np.abs(begun).max() <= 0.05
                assert not np.array_equal(begun, after.next_observation[row])
                host.reset(seed=0)
                host.state, count = np.asarray(begun, np.float64), 0
            else:
                np.testing.assert_array_equal(begun, after.next_observation[row])
    assert min(seen.values()) > 0


def test_rows_are_independent_of_how_many_end() -> None:
    """A row that ends is begun anew whichever others do; one that does not end goes on."""
    actions = np.zeros((40, 8, 1), np.float32)
    stands, ends = walked(Walk(), 8, 40, actions)
    ended = np.stack([e.terminated | e.truncated for e in ends])
    assert ended.any(axis=1).sum() > ended.all(axis=1).sum() > -1
    for t in range(40):
        goes_on = ~ended[t]
        after, begun = ends[t].next_observation, np.asarray(stands[t + 1].observation)
        np.testing.assert_array_equal(begun[goes_on], after[goes_on])
        steps = np.asarray(stands[t + 1].state["steps"])
        assert (steps[ended[t]] == 0).all()
        assert (steps[goes_on] > 0).all()
    firsts = [tuple(stands[t + 1].observation[i]) for t, i in np.argwhere(ended)]
    assert len(set(firsts)) == len(firsts), "each new episode has a key of its own"


def test_masks_come_with_the_observation() -> None:
    stands, _ = walked(Masked(), 4, 5, np.zeros((5, 4), np.int32))
    for stand in stands:
        assert stand.mask.shape == (4, 3)
        np.testing.assert_array_equal(stand.mask, np.asarray(stand.observation) == 0)


def test_a_position_goes_through_arrays_unchanged() -> None:
    together = BatchedEnvironment(Walk(), 3)
    stand = together.reset(jax.random.key(3))
    arrays = to_arrays(stand)
    again = from_arrays(together.reset(jax.random.key(4)), arrays, "Walk")
    assert {k: v.tobytes() for k, v in to_arrays(again).items()} == {
        k: v.tobytes() for k, v in arrays.items()
    }
    action = np.zeros((3, 1), np.float32)
    keys = together.keys(jax.random.key(5), 0)
    for one, two in zip(
        to_arrays(together.step(keys, stand, action)).values(),
        to_arrays(together.step(keys, again, action)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(CheckpointError, match="does not say where the environments"):
        from_arrays(BatchedEnvironment(Walk(), 2).reset(jax.random.key(0)), arrays, "Walk")
