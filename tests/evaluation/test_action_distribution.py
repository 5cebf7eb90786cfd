"""The distribution in terms of the environment's actions agrees with what ``act`` samples."""

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces
from small_policies import policy

WIDE = spaces.Box(np.array([-1, 0], np.float32), np.array([3, 10], np.float32))
X = np.array([0.2, 0.9, 0.4], np.float32)
MANY = np.tile(X, (4_000, 1))


def test_probabilities_are_those_of_the_samples_and_of_log_prob() -> None:
    some = policy(OBSERVATIONS["box"], ACTIONS["discrete"], spread=20.0)
    found = some.distribution(X)
    shares = [np.mean(some.act(MANY) == action) for action in (-1, 0, 1)]
    np.testing.assert_allclose(found.probabilities, shares, atol=0.03)
    np.testing.assert_allclose(
        found.probabilities, [np.exp(found.log_prob(a)) for a in (-1, 0, 1)], rtol=1e-5
    )
    p = found.probabilities
    assert found.entropy == pytest.approx(-np.sum(p * np.log(p)), rel=1e-5)
    assert found.deviation is None


@pytest.mark.parametrize(
    "bounds", ["clip", *(pytest.param(b, marks=pytest.mark.compiles) for b in ("tanh", "beta"))]
)
def test_densities_of_bounded_actions_add_up_and_have_their_deviation(bounds: str) -> None:
    some = policy(OBSERVATIONS["box"], WIDE, action_bounds=bounds, initial_log_std=-1.0)
    found, actions = some.distribution(X), np.asarray(some.act(MANY), np.float64)
    if bounds == "clip":  # the deviation is that before the cut, here of the first dimension
        np.testing.assert_allclose(found.deviation, np.exp(-1), rtol=1e-5)
    else:
        np.testing.assert_allclose(found.deviation, actions.std(0), rtol=0.06)
    # E[1/π] over the samples is the volume they come from: 40, where the density covers it.
    log_probs = some.distribution(MANY).log_prob(some.act(MANY))
    assert log_probs.shape == (4_000,)
    assert -np.mean(log_probs) == pytest.approx(found.entropy, abs=0.3 if bounds == "clip" else 0.1)


def test_actions_at_a_bound_have_a_finite_density() -> None:
    for bounds in ("tanh", "beta"):
        found = policy(OBSERVATIONS["box"], WIDE, action_bounds=bounds).distribution(X)
        assert np.isfinite(found.log_prob(WIDE.high))
        assert np.isfinite(found.log_prob(WIDE.low))


@pytest.mark.parametrize("name", ["multidiscrete", "multibinary", "dict", "tuple"])
def test_parts_have_the_structure_of_the_action(name: str) -> None:
    some = policy(OBSERVATIONS["box"], ACTIONS[name])
    one, two = some.distribution(X), some.distribution(np.stack([X, X]))
    action = some.act(X)
    assert isinstance(one.log_prob(action), float)
    assert one.log_prob(action) < 0 or name in ("dict", "tuple")
    assert two.entropy.shape == (2,)
    np.testing.assert_allclose(two.entropy, one.entropy, rtol=1e-6)
    match name:
        case "multidiscrete":
            assert [part.shape for part in one.probabilities] == [(3,), (2,)]
            assert [part.shape for part in two.probabilities] == [(2, 3), (2, 2)]
        case "multibinary":
            assert one.probabilities.shape == (3,)
        case "dict":
            assert one.probabilities["force"] is None
            assert one.deviation["force"].shape == (2,)
        case _:
            assert one.deviation[1] == {"bits": None}
            assert one.probabilities[1]["bits"].shape == (3,)


def test_masked_actions_have_probability_zero_and_nothing_is_remembered() -> None:
    some = policy(OBSERVATIONS["box"], ACTIONS["discrete"], masked=True, recurrent_size=4)
    found = some.distribution(X, action_mask=[1, 0, 1])
    assert found.probabilities[1] == 0
    again = some.distribution(X, action_mask=[1, 0, 1])
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    some.act(X, action_mask=[1, 0, 1])
    later = some.distribution(X, action_mask=[1, 0, 1])
    assert not np.array_equal(found.probabilities, later.probabilities)
