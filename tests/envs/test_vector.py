"""Vector environments that reset their own rows."""

import numpy as np
import pytest
from environments import Count
from gymnasium.vector import SyncVectorEnv

from klamp import EnvironmentFault
from klamp.envs.making import make_host
from klamp.envs.vector import VectorEnvironments
from klamp.errors import CheckpointError
from klamp.seeding import Purpose


def test_a_vector_environment_must_say_how_it_resets() -> None:
    vector = SyncVectorEnv([Count])
    vector.metadata = {}
    with pytest.raises(EnvironmentFault, match="does not say how it resets"):
        VectorEnvironments(vector, "Count", 0, Purpose.EPISODE)


def test_what_an_iteration_draws_does_not_depend_on_what_was_drawn_before() -> None:
    """CartPole draws every row's next start from one generator."""
    starts = []
    for before in (0, 7):
        host = make_host("CartPole-v1", 3, seed=1, purpose=Purpose.EPISODE)
        host.reset()
        for _ in range(before):
            host.vector.np_random.random()
        host.begin(5)
        starts.append(host.vector.np_random.random(4))
        host.begin(6)
        assert not np.array_equal(starts[-1], host.vector.np_random.random(4))
    np.testing.assert_array_equal(*starts)


@pytest.mark.parametrize("damage", ["missing", "shape", "type", "before", "beyond"])
def test_a_position_of_other_environments_is_refused(damage: str) -> None:
    host = make_host("CartPole-v1", 3, seed=1, purpose=Purpose.EPISODE)
    host.reset()
    saved = host.position().arrays()
    if damage == "missing":
        del saved["own.state"]
    elif damage == "shape":
        saved["own.state"] = saved["own.state"][:, :2]
    elif damage == "type":
        saved["own.gravity"] = saved["own.gravity"].astype(np.complex64)
    else:
        saved["episodes"] = np.full(3, -1 if damage == "before" else 2**63 - 1)
    with pytest.raises(CheckpointError, match="where the 3 rows of `CartPole-v1` stood"):
        host.restore(saved)
