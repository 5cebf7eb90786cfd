"""What is exported is compared with the policy on observations of its space."""

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
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
