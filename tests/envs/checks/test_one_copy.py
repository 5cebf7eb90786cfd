"""A walk is a function of the seed and its number, and every answer on it is checked."""

import gymnasium
import numpy as np
import pytest
from environments import probe

from klamp.envs.checks.one_copy import STEPS, Single, as_bytes
from klamp.envs.source import resolve


def single(env: str) -> Single:
    return Single(resolve(env).one, 60.0)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", probe("dict", "tuple")])
def test_a_walk_is_a_function_of_seed_and_number(env: str) -> None:
    first, second = single(env), single(env)
    walks = [first.walk(0, 0), first.walk(0, 1), first.walk(1, 1)]
    assert walks == [second.walk(0, 0), second.walk(0, 1), second.walk(1, 1)]
    assert walks[0] != walks[1] != walks[2]
    assert sum(answer.call.startswith("`step") for answer in walks[0]) == STEPS
    first.close()
    second.close()


def test_a_walk_goes_on_after_an_end() -> None:
    env = single(probe())
    resets = [answer.call for answer in env.walk(0, 0) if answer.call.startswith("`reset")]
    assert len(resets) == STEPS // 4 + 1
    assert len(set(resets)) == len(resets), "each episode has a seed of its own"


def test_keyboard_interrupt_passes() -> None:
    class Interrupted(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 1, (1,))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
            raise KeyboardInterrupt

    gymnasium.register("Interrupted-v0", Interrupted)
    env = single("Interrupted-v0")
    with pytest.raises(KeyboardInterrupt):
        env.walk(0, 0)


def test_bytes_are_those_of_every_array() -> None:
    nested = {"b": np.ones(2, np.int8), "a": (np.zeros(1, np.float32),)}
    assert as_bytes(nested) == (b"\0\0\0\0", b"\1\1")
