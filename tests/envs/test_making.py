"""Environments by name, in every form."""

import numpy as np
import pytest
from environments import probe

from klamp import EnvironmentFault
from klamp.envs.making import make_host
from klamp.seeding import Purpose


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v2", r"There is no environment `CartPole-v2`.*CartPole-v"),
        ("no_such_module:X-v0", "needs the module `no_such_module`"),
    ],
)
def test_unknown_environments_are_explained(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        make_host(name, 1, seed=0, purpose=Purpose.CHECK)


def test_asynchronous_and_synchronous_episodes_are_the_same() -> None:
    seen = []
    for vectorization in ("sync", "async"):
        environments = make_host(
            probe(), 2, seed=5, purpose=Purpose.EPISODE, vectorization=vectorization
        )
        rows = [np.array(environments.reset())]
        for _ in range(9):
            rows.append(np.array(environments.step(np.zeros(2, int)).observation))
        environments.close()
        seen.append(np.stack(rows))
    np.testing.assert_array_equal(*seen)
