"""Action masks: their order, their faults, and that they come through from environments."""

import numpy as np
import pytest
from environments import ACTIONS, probe
from gymnasium import spaces

from klamp import EnvironmentFault
from klamp.envs.source import resolve
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.envs.spaces.masks import ActionMasks, choices_left, mask_rows, mask_sizes
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


def test_sizes_follow_the_parts_in_order() -> None:
    assert mask_sizes(spaces.Discrete(4, start=2)) == (4,)
    assert mask_sizes(ACTIONS["multidiscrete"]) == (3, 2)
    assert mask_sizes(ACTIONS["dict"]) == (3,)
    assert mask_sizes(ACTIONS["box"]) == mask_sizes(ACTIONS["multibinary"]) == ()


def test_masks_come_as_arrays_or_as_one_array_a_choice() -> None:
    plain = np.array([[1, 0, 1], [0, 1, 0]], np.int8)
    np.testing.assert_array_equal(mask_rows(plain, 2), plain.astype(bool))
    several = np.empty(2, object)
    several[0] = (np.array([1, 0]), np.array([0, 1, 1]))
    several[1] = None
    np.testing.assert_array_equal(mask_rows(several, 2), [[1, 0, 0, 1, 1], [0] * 5])


def test_every_choice_needs_an_action() -> None:
    allowed = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0]], bool)
    np.testing.assert_array_equal(choices_left(allowed, (2, 2)), [True, False, False])


def masks() -> ActionMasks:
    return ActionMasks("Some-v0", spaces.Discrete(3), 2)


def test_all_masked_names_environment_and_step() -> None:
    some = masks()
    some.begin()
    some.read(np.array([[1, 1, 0], [0, 0, 0]]))
    with pytest.raises(EnvironmentFault, match=r"environment 1 of `Some-v0` at step 7 allows no"):
        some.settle(7, np.zeros(2, bool))


def test_a_row_that_has_ended_may_say_anything() -> None:
    some = masks()
    some.begin()
    some.read(np.array([[1, 1, 0], [0, 0, 0]]), np.array([True, False]))
    some.settle(7, np.array([False, True]))
    np.testing.assert_array_equal(some.allowed, [[1, 1, 0], [1, 1, 1]])


def test_a_mask_that_stays_away_is_named() -> None:
    some = masks()
    some.begin()
    some.read(np.ones((2, 3)), np.array([True, False]))
    with pytest.raises(EnvironmentFault, match=r"environment 1 .* is missing"):
        some.settle(2, np.zeros(2, bool))
    some.begin()
    some.read(None)
    with pytest.raises(EnvironmentFault, match=r"environment 0 .* is missing"):
        some.settle(3, np.zeros(2, bool))


def test_a_mask_of_the_wrong_size_is_named() -> None:
    with pytest.raises(EnvironmentFault, match=r"has 4 entries; .* take 3"):
        masks().read(np.ones((2, 4)))


@pytest.mark.parametrize("masked", ["info", "observation"])
@pytest.mark.parametrize("action", ["discrete", "multidiscrete"])
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_masks_come_through_with_the_observation_they_belong_to(
    masked: str, action: str, vectorization: str
) -> None:
    """The probe asserts that no forbidden action is taken, across episode ends."""
    if vectorization == "async" and (masked, action) != ("info", "discrete"):
        pytest.skip("one asynchronous case is enough")
    host = resolve(probe("box", action, masked)).host(
        3, EnvironmentSeeds(0, Purpose.CHECK), vectorization=vectorization
    )
    try:
        rng = np.random.Generator(np.random.Philox(0))
        observation = host.reset()
        forbidden = 0
        for _ in range(30):
            context = observation.argmax(axis=1)
            assert np.all(host.action_mask[np.arange(3), context])
            forbidden += (~host.action_mask).sum()
            drawn = random_actions(host.action_space, 3, host.action_mask, rng)
            observation = host.step(to_environment(host.action_space)(drawn)).observation
        assert forbidden == 90
        assert observation.shape == (3, 3)
    finally:
        host.close()


def test_without_masks_there_is_none() -> None:
    host = resolve(probe()).host(2, EnvironmentSeeds(0, Purpose.CHECK))
    host.reset()
    assert host.action_mask is None
    host.close()
