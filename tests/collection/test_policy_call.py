"""The policy call: compiled and in numpy the same, for all rows as for some."""

import numpy as np
import pytest
from gymnasium import spaces
from small_policies import drawn

from klamp import Settings
from klamp.collection.policy_call import make_act, make_noise
from klamp.mathematics.normalization import Scaling
from klamp.runtime.seeding import Purpose, key_words
from klamp.types import Inputs

ROWS, FEATURES, LENGTH = 6, 5, 3


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Box(-1, 1, (2,))])
@pytest.mark.parametrize("scaling", [None, Scaling(np.ones(5, np.float32), np.float32(0.5))])
def test_an_action_is_the_same_by_either_way_and_for_any_share_of_the_rows(space, scaling) -> None:
    settings = Settings(hidden_sizes=(8, 8))
    theta, model = drawn(FEATURES, space, settings)
    seen = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
    noise = make_noise(model, theta, seen, LENGTH)(key_words(1, Purpose.ACT))
    act = make_act(model)
    in_numpy = act(theta, scaling, noise, seen)
    compiled = act(theta, scaling, noise, Inputs(seen))
    half = act(theta, scaling, noise[:, :3], seen[:3])
    for t in range(LENGTH):
        chosen = in_numpy(seen, t)
        assert isinstance(chosen, np.ndarray)
        assert not isinstance(compiled(Inputs(seen), t), np.ndarray)
        np.testing.assert_allclose(chosen, compiled(Inputs(seen), t), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(chosen[:3], half(seen[:3], t), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(in_numpy(seen, 0), in_numpy(seen, 1))
