"""Environments by name, in every form."""

import numpy as np
import pytest
from environments import probe

from klamp import EnvironmentFault
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import resolve
from klamp.runtime.seeding import Purpose


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v2", r"There is no environment `CartPole-v2`.*CartPole-v"),
        ("no_such_module:X-v0", "needs the module `no_such_module`"),
    ],
)
def test_unknown_environments_are_explained(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        resolve(name).host(1, seed=0, purpose=Purpose.CHECK)


def test_asynchronous_and_synchronous_episodes_are_the_same() -> None:
    seen = []
    for vectorization in ("sync", "async"):
        environments = resolve(probe()).host(
            2, seed=5, purpose=Purpose.EPISODE, vectorization=vectorization
        )
        rows = [np.array(environments.reset())]
        for _ in range(9):
            rows.append(np.array(environments.step(np.zeros(2, int)).observation))
        environments.close()
        seen.append(np.stack(rows))
    np.testing.assert_array_equal(*seen)


def test_few_copies_are_stepped_in_turn() -> None:
    """Their vector form costs the same for any number; what has no other form keeps it."""
    for rows, kind in ((1, CopiedEnvironments), (2, CopiedEnvironments), (3, VectorEnvironments)):
        made = resolve("CartPole-v1").host(rows, seed=0, purpose=Purpose.EPISODE)
        assert isinstance(made, kind)
        made.close()
    assert resolve("CartPole-v1").together(8, "auto")
    assert not resolve("CartPole-v1").together(8, "sync")
