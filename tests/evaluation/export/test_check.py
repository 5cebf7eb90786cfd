"""What is exported is compared with the policy on observations of its space."""

import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from small_policies import policy

import klamp
from klamp.evaluation.export.check import check, differences, random_inputs, raw_observation
from klamp.evaluation.export.policy_graph import exported


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_lie_in_their_space(name):
    some = policy(OBSERVATIONS[name], ACTIONS["discrete"])
    built = exported(some)
    inputs = random_inputs(some, built, 5, np.random.default_rng(0))
    observation = raw_observation(some, built, inputs)
    assert batch_space(OBSERVATIONS[name], 5).contains(observation)


def test_another_action_or_value_is_found():
    some = policy(OBSERVATIONS["box"], ACTIONS["box"])
    built = exported(some)

    def run(inputs):
        batch = inputs["observation"]
        return {"action": some.act(batch, deterministic=True), "value": some.value(batch)}

    assert differences(some, built, run, 16) == {"action": 0, "value": 0}
    check(some, built, run, 16)
    for name, change in (("action", 1e-3), ("value", 1e-3), ("action", np.nan)):
        with pytest.raises(klamp.KlampError, match=f"its `{name}` differs .* by"):
            check(some, built, lambda x, n=name, c=change: {**run(x), n: run(x)[n] + c}, 16)


def test_no_more_is_asked_than_rounding_allows():
    """A weight of a million and its negative as the bias: their sum is known to a sixteenth."""
    some = policy(OBSERVATIONS["discrete"], spaces.Box(-9, 9, (1,)), hidden_sizes=())
    theta = np.array(some.theta)

    def run(inputs):
        observation = inputs["observation"]
        action = some.act(observation, deterministic=True) + np.float32(0.01)
        return {"action": action, "value": some.value(observation)}

    for size, same in ((1e6, True), (1, False)):
        theta[:3], theta[3] = size, 0.5 - size
        some.theta = jnp.asarray(theta)
        built = exported(some)
        assert differences(some, built, run, 16)["action"] == pytest.approx(0.01, rel=1e-3)
        if same:
            check(some, built, run, 16)
        else:
            with pytest.raises(klamp.KlampError, match="its `action` differs"):
                check(some, built, run, 16)
