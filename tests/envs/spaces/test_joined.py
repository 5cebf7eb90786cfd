"""Images beside other parts: where they stand in a row, and which numbers are normalised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from klamp.envs.spaces.joined import JoinedBox, is_image, normalized_in, normalized_part
from klamp.envs.spaces.observations import encoder, policy_observation_space

FRONT, BACK = spaces.Box(0, 255, (9, 9, 1), np.uint8), spaces.Box(0, 255, (2, 8, 8), np.uint8)
ARM = spaces.Box(-1, 1, (2,), np.float32)
MIXED = spaces.Dict({"a": FRONT, "b": ARM, "c": spaces.Tuple((BACK, spaces.Discrete(3)))})
NESTS = {
    "dict": spaces.Dict({"a": FRONT}),
    "tuple in dict": spaces.Dict({"a": spaces.Tuple((FRONT,))}),
    "masked": spaces.Dict({"action_mask": spaces.MultiBinary(2), "a": spaces.Dict({"b": FRONT})}),
}


@pytest.mark.parametrize("xp", [np, jnp])
def test_numbers_come_first_and_then_each_image(xp):
    seen = policy_observation_space(MIXED)
    assert isinstance(seen, JoinedBox)
    assert (seen.numbers, seen.images) == (5, (FRONT.shape, BACK.shape))
    rng = np.random.default_rng(0)
    front, back = (rng.integers(0, 256, (2, *box.shape), np.uint8) for box in (FRONT, BACK))
    arm, one = rng.normal(size=(2, 2)).astype(np.float32), np.array([2, 0])
    batch = {"a": front, "b": arm, "c": (back, one)}
    rows = encoder(MIXED)(jax.tree.map(xp.asarray, batch))
    assert rows.shape == (2, *seen.shape)
    images = [part.reshape(2, -1) / 255 for part in (front, back)]
    expected = np.concatenate([arm, np.eye(3)[one], *images], axis=1)
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    np.testing.assert_array_equal(normalized_in(seen, rows), rows[:, :5])


@pytest.mark.parametrize("name", NESTS)
def test_a_nest_of_one_image_is_that_image(name):
    assert policy_observation_space(NESTS[name]) == FRONT
    image = np.zeros((2, *FRONT.shape), np.uint8)
    batch = {"dict": {"a": image}, "tuple in dict": {"a": (image,)}}.get(name, {"a": {"b": image}})
    assert encoder(NESTS[name])(batch) is image


def test_bytes_are_not_normalised():
    assert normalized_part(policy_observation_space(MIXED)) == (5,)
    assert normalized_part(policy_observation_space(spaces.Tuple((FRONT, BACK)))) == (0,)
    assert normalized_part(FRONT) == (0,)
    assert normalized_part(ARM) == (2,)
    assert is_image(FRONT)
    assert not is_image(ARM)
    assert normalized_in(ARM, ARM.low) is ARM.low
