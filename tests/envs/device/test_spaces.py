"""Observations and actions on the device are what they are on the host."""

from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from klamp.envs.device.spaces import see, to_action
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.envs.spaces.observations import MASK_KEY, batch_of_one, encoder, seen_space

SPACES = {
    "box": spaces.Box(-1, 1, (2, 3), np.float32),
    "doubles": spaces.Box(-1, 1, (3,), np.float64),
    "image": spaces.Box(0, 255, (4, 4, 1), np.uint8),
    "discrete": spaces.Discrete(4, start=2),
    "several": spaces.MultiDiscrete([2, 3], start=[1, 0]),
    "bits": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 255, (2,), np.uint8)}),
    "tuple": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.MultiBinary(2)]),
    "masked": spaces.Dict({"x": spaces.Box(-1, 1, (2,)), MASK_KEY: spaces.MultiBinary(3)}),
}


@pytest.mark.parametrize("name", SPACES)
def test_observations_are_seen_as_on_the_host(name: str) -> None:
    space = SPACES[name]
    space.seed(0)
    encode = encoder(space)
    for _ in range(5):
        observation = space.sample()
        batch = batch_of_one(observation)
        expected = batch if encode is None else encode(batch)
        array, mask = see(space, observation)
        assert array.shape == seen_space(space).shape
        np.testing.assert_allclose(array, expected[0], rtol=1e-6)
        if name == "image":
            assert array.dtype == np.uint8
        if name == "masked":
            np.testing.assert_array_equal(mask, observation[MASK_KEY] == 1)
        else:
            assert mask is None


ACTIONS = {
    "discrete": spaces.Discrete(4, start=2),
    "several": spaces.MultiDiscrete([2, 3], start=[1, 0]),
    "bits": spaces.MultiBinary((2, 2)),
    "box": spaces.Box(np.array([-1, 0], np.float32), np.array([1, 3], np.float32)),
    "dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,))}),
    "tuple": spaces.Tuple([spaces.Box(-2, 2, (1,)), spaces.Discrete(3)]),
}


@pytest.mark.parametrize("bounds", ["clip", "tanh", "beta"])
@pytest.mark.parametrize("name", ACTIONS)
def test_actions_become_those_of_the_host(name: str, bounds: Any) -> None:
    space = ACTIONS[name]
    sampled = random_actions(space, 20, None, np.random.default_rng(0))
    expected = to_environment(space, bounds)(sampled)
    taken = jax.vmap(lambda row: to_action(space, row, bounds))(jax.tree.map(np.asarray, sampled))
    for ours, theirs in zip(jax.tree.leaves(taken), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    rows = iterate(batch_space(space, 20), jax.device_get(taken)) if name != "bits" else []
    assert all(space.contains(_plain(row, space)) for row in rows)


def _plain(row: Any, space: Any) -> Any:
    """A row with the dtypes of 64 bits that Gymnasium insists on."""
    if isinstance(space, spaces.Dict):
        return {name: _plain(row[name], part) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_plain(part, inner) for part, inner in zip(row, space.spaces, strict=True))
    return np.asarray(row, space.dtype)
