"""A trained policy takes raw observations and gives actions of the environment, one or many."""

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from small_policies import policy

from klamp import TrainedPolicy
from klamp.mathematics.normalization import Scaling


def batch_of(space: spaces.Space, rows: int) -> tuple[list, object]:
    space.seed(0)
    samples = [space.sample() for _ in range(rows)]
    return samples, concatenate(space, samples, create_empty_array(space, rows))


@pytest.mark.compiles
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_raw_observations_of_every_kind_one_or_many(name: str) -> None:
    some = policy(OBSERVATIONS[name], ACTIONS["discrete"])
    samples, batch = batch_of(OBSERVATIONS[name], 4)
    values, actions = some.value(batch), some.act(batch, deterministic=True)
    assert values.shape == actions.shape == (4,)
    for i, sample in enumerate(samples):
        assert isinstance(some.value(sample), float)
        assert some.value(sample) == pytest.approx(float(values[i]), rel=1e-4, abs=1e-6)
        assert some.act(sample, deterministic=True) == actions[i]


@pytest.mark.compiles
@pytest.mark.parametrize("bounds", ["clip", "tanh", "beta"])
@pytest.mark.parametrize("name", ACTIONS)
def test_actions_of_every_kind_lie_in_their_space(name: str, bounds: str) -> None:
    if bounds != "clip" and name not in ("box", "dict"):
        pytest.skip("bounds concern Box alone")
    some = policy(OBSERVATIONS["box"], ACTIONS[name], action_bounds=bounds)
    _, batch = batch_of(OBSERVATIONS["box"], 4)
    many = some.act(batch)
    assert all(ACTIONS[name].contains(a) for a in iterate(batch_space(ACTIONS[name], 4), many))
    one = some.act(np.zeros(3, np.float32))
    assert ACTIONS[name].contains(one)


def test_samples_are_a_function_of_seed_and_number_of_calls() -> None:
    first, second = (policy(OBSERVATIONS["box"], ACTIONS["box"]) for _ in range(2))
    x = np.zeros(3, np.float32)
    a, b = [first.act(x) for _ in range(3)], [second.act(x) for _ in range(3)]
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a[0], a[1])
    np.testing.assert_array_equal(first.act(x, True), second.act(x, True))


def test_policies_of_one_network_share_what_is_compiled() -> None:
    """Or a run that evaluates itself now and then would compile, and keep, a program each time."""
    first = policy(OBSERVATIONS["box"], ACTIONS["box"], hidden_sizes=(9,))  # this test's own
    parts = (first.scaling, first.observation_space, first.action_space, first.config)
    later = TrainedPolicy(first.model, first.theta + 1.0, *parts)
    x = np.zeros(3, np.float32)
    for each in (first, later):
        each.act(x)
        each.act(x, deterministic=True)
    assert first.value(x) != later.value(x)
    assert not np.array_equal(first.act(x, True), later.act(x, True))
    compiled = (first.model.sample, first.model.mode, first.model.compiled_value)
    assert [function._cache_size() for function in compiled] == [1, 1, 1]


def test_observations_are_scaled_as_in_training() -> None:
    scaling = Scaling(np.full(3, 0.5, np.float32), np.full(3, 2.0, np.float32))
    plain, scaled = (policy(OBSERVATIONS["box"], ACTIONS["box"], s) for s in (None, scaling))
    x = np.array([0.1, 0.9, 0.4], np.float32)
    assert scaled.value(x) == pytest.approx(plain.value((x - 0.5) * 2), rel=1e-5)


def test_images_are_taken_as_lists_too() -> None:
    some = policy(OBSERVATIONS["image"], ACTIONS["discrete"])
    image = np.full((9, 9, 1), 200, np.uint8)
    assert some.value(image) == some.value(image.tolist())


def test_the_scheduled_scale_is_that_of_the_last_update() -> None:
    wide, narrow = (
        policy(OBSERVATIONS["box"], ACTIONS["box"], None, scale, action_scale="scheduled")
        for scale in (-1.0, -9.0)
    )
    x = np.zeros((500, 3), np.float32)
    assert 0.3 < np.std(wide.act(x)) < 0.45
    assert np.std(narrow.act(x)) < 1e-3


def test_a_mask_is_respected_and_checked() -> None:
    some = policy(OBSERVATIONS["box"], ACTIONS["multidiscrete"])
    x = np.zeros(3, np.float32)
    mask = np.array([0, 1, 0, 1, 0], np.int8)
    for given in (mask, (mask[:3], mask[3:])):
        np.testing.assert_array_equal(some.act(x, action_mask=given).ravel(), [4, 0])
    many = some.act(np.zeros((50, 3)), action_mask=np.tile(mask, (50, 1)))
    assert np.all(many[:, 0] == 4)
    for wrong in (mask[:4], np.zeros(5)):
        with pytest.raises(ValueError, match=r"action mask .* does not fit"):
            some.act(x, action_mask=wrong)


def test_a_mask_in_the_observation_is_found_there() -> None:
    space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "seen": OBSERVATIONS["box"]})
    some = policy(space, ACTIONS["discrete"])
    observation = {"action_mask": np.array([0, 0, 1], np.int8), "seen": np.zeros(3, np.float32)}
    assert some.act(observation) == 1
    assert isinstance(some.value({"seen": np.zeros(3, np.float32)}), float)


def test_what_does_not_fit_is_explained() -> None:
    with pytest.raises(ValueError, match=r"shape \(4,\); this policy for Some-v0 takes one of"):
        policy(OBSERVATIONS["box"], ACTIONS["discrete"]).value(np.zeros(4))
    with pytest.raises(ValueError, match="does not fit Dict"):
        policy(OBSERVATIONS["dict"], ACTIONS["discrete"]).act({"context": 1})


def test_what_is_not_finite_is_refused_and_said_where() -> None:
    some = policy(OBSERVATIONS["box"], ACTIONS["discrete"])
    batch = np.zeros((4, 3), np.float32)
    batch[2, 1] = np.nan
    for ask in (some.act, some.value, some.distribution):
        with pytest.raises(ValueError, match=r"holds nan at \[1\] \(row 2\)"):
            ask(batch)
    with pytest.raises(ValueError, match=r"holds inf at \[0\] \(row 0\)"):
        some.act(np.array([np.inf, 0, 0]))


def test_a_missing_mask_is_refused() -> None:
    told = policy(OBSERVATIONS["box"], ACTIONS["multidiscrete"], masked=True)
    with pytest.raises(ValueError, match=r"mask is missing.*info\['action_mask'\].*Give 5 entries"):
        told.act(np.zeros(3))
    assert told.act(np.zeros(3), action_mask=np.ones(5)).shape == (2, 1)
    space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "seen": OBSERVATIONS["box"]})
    with pytest.raises(ValueError, match=r"mask is missing.*under the key 'action_mask'"):
        policy(space, ACTIONS["discrete"]).act({"seen": np.zeros(3, np.float32)})
