"""Copies in this process: rows, replays, and faults with the index of the copy."""

from typing import Any

import numpy as np
import pytest
from environments import ACTIONS, Count, Probe
from gymnasium.vector.utils import iterate

from klamp.envs.host.serial import LocalCopies
from klamp.errors import CopyFault


def test_a_replay_takes_the_actions_from_the_seed() -> None:
    copies = LocalCopies([Count(9), Count(3)])
    copies.reset({0: 0, 1: 0})
    last = copies.replay(1, 4, [np.int64(0)] * 3)
    assert (last.reward, last.truncated) == (3.0, True)
    np.testing.assert_array_equal(copies.observation, [[0, 0], [1, 3]])
    assert copies.replay(1, 4, []).reward == 0


class Wrong(Count):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def step(self, action: Any) -> Any:
        observation, reward, *ends, info = super().step(action)
        match self.what:
            case "shape":
                return np.zeros(1, np.float32), reward, *ends, info
            case "none":
                return None, reward, *ends, info
            case "four":
                return observation, reward, ends[0], info
            case "ends":
                return observation, reward, "no", False, info
            case "info":
                return observation, reward, *ends, []
            case "reward":
                return observation, "much", *ends, info
            case _:
                raise ConnectionError("a", "b")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("shape", r"ValueError in `step`: the observation has the shape \(1,\), expected \(2,\)"),
        ("none", "AttributeError"),
        ("four", "ValueError in `step`: not enough values to unpack"),
        ("reward", "ValueError in `step`: could not convert string to float"),
        ("ends", "TypeError in `step`: `terminated` is of type str, expected a bool"),
        ("info", "TypeError in `step`: `info` is of type list, expected a dict"),
        ("raises", "ConnectionError in `step`: .*a.*b"),
    ],
)
def test_what_goes_wrong_is_told_with_the_copy(what: str, message: str) -> None:
    copies = LocalCopies([Count(), Wrong(what)])
    copies.reset({0: 0, 1: 0})
    with pytest.raises(CopyFault, match=message) as caught:
        copies.step(np.zeros(2, int))
    assert caught.value.index == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_every_kind_of_action_is_split_into_rows(action: str) -> None:
    from gymnasium.vector.utils import batch_space

    copies = LocalCopies([Probe("box", action, None), Probe("box", action, None)])
    copies.reset({0: 0, 1: 1})
    space = batch_space(copies.single_action_space, 2)
    space.seed(3)
    batch = space.sample()
    alone = [Probe("box", action, None), Probe("box", action, None)]
    for index, (env, one) in enumerate(zip(alone, iterate(space, batch), strict=True)):
        env.reset(seed=index)
        assert copies.step(batch).reward[index] == env.step(one)[1]
        copies.reset({0: 0, 1: 1})
