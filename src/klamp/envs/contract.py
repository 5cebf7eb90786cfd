"""The start-up check: a throw-away copy is stepped, so that a broken promise is found at once."""

from typing import Any

import numpy as np

from klamp.envs.host import HostEnvironments
from klamp.envs.making import make_host
from klamp.envs.spaces import check_spaces, random_actions, to_environment
from klamp.errors import EnvironmentFault
from klamp.seeding import Purpose

STEPS = 16
"""Random steps of the throw-away copy."""


def check_environment(env: str, vectorization: str, seed: int) -> None:
    """Make a copy of ``env``, take a few random steps, and raise ``EnvironmentFault`` on a fault.

    Checked: both spaces are supported, observations have the space's shape and are finite, rewards
    are finite numbers, the end flags are booleans. Nothing of the run's own environments is used.
    """
    copies = make_host(env, 2, seed=seed, purpose=Purpose.CHECK, vectorization=vectorization)
    try:
        check_spaces(env, copies.observation_space, copies.action_space)
        _walk(copies, seed)
    except EnvironmentFault:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"The environment `{env}` raised {type(error).__name__} in its first {STEPS} steps: "
            f"{' '.join(str(error).split())} Run it by itself with "
            f"`gymnasium.make({env!r})`, `reset(seed=0)` and `step(action_space.sample())`."
        ) from error
    finally:
        copies.close()


def _walk(copies: HostEnvironments, seed: int) -> None:
    """Reset, then random steps."""
    env, space = copies.env, copies.seen_space
    words = np.random.SeedSequence((seed, int(Purpose.CHECK)))
    generator = np.random.Generator(np.random.Philox(words))
    to_action = to_environment(copies.action_space)
    _check_observation(env, "reset", copies.reset(), space)
    for step in range(STEPS):
        drawn = random_actions(copies.action_space, copies.num_envs, copies.action_mask, generator)
        after = copies.step(to_action(drawn))
        where = f"step {step}"
        _check_observation(env, where, after.observation, space)
        _check_observation(env, where, after.next_observation, space)
        reward = np.asarray(after.reward)
        if reward.shape != (copies.num_envs,) or not np.all(np.isfinite(reward)):
            raise EnvironmentFault(
                f"The reward of `{env}` at {where} is {after.reward!r}; expected one finite number "
                "for each environment."
            )
        for name in ("terminated", "truncated"):
            flag = np.asarray(getattr(after, name))
            if flag.dtype != bool:
                raise EnvironmentFault(
                    f"`{name}` of `{env}` at {where} is {flag!r}; expected booleans, so that a "
                    "time limit and a terminal state can be told apart."
                )


def _check_observation(env: str, where: str, observation: Any, space: Any) -> None:
    array = np.asarray(observation)
    if array.shape[1:] != space.shape:
        raise EnvironmentFault(
            f"An observation of `{env}` at {where} has the shape {array.shape[1:]}, but its "
            f"observation space says {space.shape}. Correct one of the two in the environment."
        )
    if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
        raise EnvironmentFault(
            f"An observation of `{env}` at {where} is not finite: {array!r}. Find the step of the "
            "environment that divides by zero or overflows."
        )
