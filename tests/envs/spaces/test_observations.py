"""Observations of any space as one vector: Gymnasium's own flattening is the reference."""

import jax
import numpy as np
import pytest
from environments import OBSERVATIONS
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from klamp import EnvironmentFault
from klamp.envs import MASK_KEY
from klamp.envs.device.batched import BatchedEnvironment
from klamp.envs.spaces.observations import (
    as_batch,
    encoder,
    host_encoder,
    masks_in_observation,
    part_size,
    policy_observation_space,
    without_mask,
)

NESTED = spaces.Dict(
    {
        "z": spaces.Discrete(4, start=-2),
        "a": spaces.Tuple((spaces.MultiDiscrete([[2, 3], [4, 2]]), spaces.Box(-1, 1, (2, 2)))),
        "m": spaces.MultiBinary((2, 2)),
        "f": spaces.Box(-1, 1, (), np.float64),
    }
)
SPACES = {name: space for name, space in OBSERVATIONS.items() if name not in ("box", "image")}


def batch_of(space: spaces.Space, rows: int) -> tuple[list, object]:
    space.seed(3)
    samples = [space.sample() for _ in range(rows)]
    return samples, concatenate(space, samples, create_empty_array(space, rows))


@pytest.mark.parametrize("space", [*SPACES.values(), NESTED], ids=[*SPACES, "nested"])
def test_encoding_is_gymnasiums_flattening(space: spaces.Space) -> None:
    samples, batch = batch_of(space, 5)
    assert batch_space(space, 5).contains(batch)
    rows = encoder(space)(batch)
    expected = np.stack([np.asarray(spaces.flatten(space, sample)) for sample in samples])
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert rows.dtype == np.float32
    assert policy_observation_space(space).shape == rows.shape[1:] == (part_size(space),)


@pytest.mark.parametrize("name", ["box", "image"])
def test_a_box_passes_untouched(name: str) -> None:
    assert encoder(OBSERVATIONS[name]) is None
    assert policy_observation_space(OBSERVATIONS[name]) is OBSERVATIONS[name]


def test_bytes_within_a_dict_are_divided_by_255() -> None:
    space = spaces.Dict({"i": spaces.Box(0, 255, (2, 1), np.uint8), "n": spaces.Discrete(2)})
    rows = encoder(space)({"i": np.array([[[0], [255]]], np.uint8), "n": np.array([1])})
    np.testing.assert_array_equal(rows, [[0, 1, 0, 1]])


def test_the_mask_is_no_observation() -> None:
    image = OBSERVATIONS["image"]
    space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "image": image})
    assert masks_in_observation(space)
    assert without_mask(space) is image
    assert policy_observation_space(space) is image
    batch = {"action_mask": np.ones((2, 3)), "image": np.zeros((2, 9, 9, 1), np.uint8)}
    assert encoder(space)(batch) is batch["image"]
    wider = spaces.Dict(space.spaces | {"n": spaces.Discrete(2)})
    assert policy_observation_space(wider).shape == (83,)
    single = spaces.Dict({"action_mask": spaces.MultiBinary(3), "n": spaces.Discrete(2)})
    rows = encoder(single)({"action_mask": np.ones((1, 3)), "n": np.array([1])})
    np.testing.assert_array_equal(rows, [[0, 1]])


def test_a_discrete_value_outside_its_space_is_named() -> None:
    encode = host_encoder(spaces.Discrete(3, start=5))
    with pytest.raises(EnvironmentFault, match=r"environment 1, part 0, is 8; expected 5 to 7"):
        encode(np.array([5, 8]))


@pytest.mark.parametrize("space", [*OBSERVATIONS.values(), NESTED], ids=[*OBSERVATIONS, "nested"])
def test_one_and_many_are_told_apart(space: spaces.Space) -> None:
    samples, batch = batch_of(space, 4)
    many, single = as_batch(space, batch)
    assert not single
    one, single = as_batch(space, samples[2])
    assert single
    encode = encoder(space) or np.asarray
    np.testing.assert_array_equal(encode(one)[0], encode(many)[2])


def test_what_fits_no_space_is_refused() -> None:
    assert as_batch(NESTED, np.zeros(3)) is None
    assert as_batch(OBSERVATIONS["dict"], {"context": 1}) is None
    assert as_batch(OBSERVATIONS["box"], np.zeros(4)) is None
    assert as_batch(OBSERVATIONS["tuple"], (np.zeros(2),)) is None
    ragged = {"context": np.zeros(2), "noise": np.zeros((3, 2))}
    assert as_batch(OBSERVATIONS["dict"], ragged) is None


ON_DEVICE = {
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


@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_device_sees_what_the_host_sees(name: str) -> None:
    space = ON_DEVICE[name]
    _, batch = batch_of(space, 5)
    together = BatchedEnvironment(Shows(space), 5)
    array, mask = jax.jit(together._see)(batch)
    encode = encoder(space)
    assert array.shape == (5, *policy_observation_space(space).shape)
    np.testing.assert_allclose(array, batch if encode is None else encode(batch), rtol=1e-6)
    if name == "image":
        assert array.dtype == np.uint8
    if name == "masked":
        np.testing.assert_array_equal(mask, batch[MASK_KEY] == 1)
    else:
        assert mask is None


class Shows:
    """As much of an environment as tells what it shows."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space) -> None:
        self.observation_space = space
