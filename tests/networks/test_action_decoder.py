"""From what policies sample to what environments take, on the host and on the device."""

from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from klamp.envs.spaces.actions import random_actions
from klamp.networks import action_head
from klamp.networks.action_decoder import action_decoder

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
def test_actions_on_the_device_are_those_of_the_host(name: str, bounds: Any) -> None:
    space = ACTIONS[name]
    sampled = random_actions(space, 20, None, np.random.default_rng(0))
    decode = action_decoder(space, bounds)
    expected, taken = decode(sampled), jax.jit(decode)(sampled)
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


@pytest.mark.parametrize("bounds", ["tanh", "beta"])
def test_squashing_is_the_distributions_own(bounds: Any) -> None:
    space = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 0.5], np.float32))
    head = action_head(space, 4, bounds=bounds, key=jax.random.key(0))
    distribution = head(jax.random.normal(jax.random.key(1), (6, 4)))
    action = 5 * distribution.sample(jax.random.key(2))
    found = action_decoder(space, bounds)(np.asarray(action))
    np.testing.assert_allclose(found, distribution.squash(action), rtol=1e-5, atol=1e-6)
    far = action_decoder(space, bounds)(np.array([[1e9, -1e9]], np.float32))
    np.testing.assert_array_equal(far, [[2, 0]])
