"""Which spaces are supported, and that every action arrives inside its space."""

import jax
import numpy as np
import pytest
from environments import ACTIONS
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from klamp.envs.spaces.actions import action_buffer, random_actions, to_environment
from klamp.envs.spaces.masks import mask_sizes
from klamp.networks import action_head
from klamp.networks.action_decoder import action_decoder

BOX = spaces.Box(-1, 1, (2,), np.float32)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.compiles
@pytest.mark.parametrize("bounds", ["clip", "tanh", "beta"])
@pytest.mark.parametrize("name", ACTIONS)
def test_sampled_actions_arrive_inside_the_space(name: str, bounds: str) -> None:
    """What the policy's own distribution samples fits buffers and space, row by row."""
    space = ACTIONS[name]
    head = action_head(space, 4, bounds=bounds, key=jax.random.key(0))
    distribution = head(jax.random.normal(jax.random.key(1), (6, 4)))
    action = jax.tree.map(np.asarray, distribution.sample(jax.random.key(2)))
    buffer = action_buffer(space, (6,))
    assert jax.tree.map(np.shape, buffer) == jax.tree.map(np.shape, action)
    assert jax.tree.structure(buffer) == jax.tree.structure(action)
    for kept, new in zip(jax.tree.leaves(buffer), jax.tree.leaves(action), strict=True):
        assert np.can_cast(new.dtype, kept.dtype, "same_kind")
    outside = action_decoder(space, bounds)(action)
    rows = list(iterate(batch_space(space, 6), outside))
    assert len(rows) == 6
    assert all(space.contains(row) for row in rows)


def test_clipping_keeps_what_is_inside_and_discrete_actions_start_where_the_space_says() -> None:
    clipped = to_environment(BOX)(np.array([[0.3, 5.0], [-7.0, -0.2]], np.float32))
    np.testing.assert_array_equal(clipped, np.array([[0.3, 1], [-1, -0.2]], np.float32))
    moved = to_environment(ACTIONS["multidiscrete"])(np.array([[0, 1], [2, 0]], np.int32))
    np.testing.assert_array_equal(moved[..., 0], [[3, 1], [5, 0]])
    np.testing.assert_array_equal(to_environment(ACTIONS["discrete"])(np.array([0, 2])), [-1, 1])


@pytest.mark.parametrize("name", ACTIONS)
def test_random_actions_respect_the_mask(name: str) -> None:
    space = ACTIONS[name]
    width = sum(mask_sizes(space))
    mask = np.zeros((50, width), bool)
    starts = np.cumsum((0, *mask_sizes(space)))[:-1]
    mask[:, starts] = True
    drawn = random_actions(space, 50, mask, generator())
    assert jax.tree.map(np.shape, drawn) == jax.tree.map(np.shape, action_buffer(space, (50,)))
    if name in ("discrete", "multidiscrete"):
        assert np.all(drawn == 0)
    free = random_actions(space, 50, None, generator())
    if name == "discrete":
        assert set(free) == {0, 1, 2}
