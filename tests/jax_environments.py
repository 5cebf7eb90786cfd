"""Environments written in JAX, for the tests: no library but JAX is needed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from klamp.envs.device.protocol import DeviceStep


class Pole(NamedTuple):
    physics: Any
    steps: Any


class CartPole:
    """Gymnasium's CartPole-v1, by the equations of its source."""

    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, limit: int = 500) -> None:
        self.limit = limit

    def reset(self, key: Any) -> tuple:
        physics = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return Pole(physics, jnp.zeros((), jnp.int32)), physics

    def step(self, key: Any, state: Pole, action: Any) -> DeviceStep:
        _, x_dot, theta, theta_dot = state.physics
        force = jnp.where(action == 1, 10.0, -10.0)
        temp = (force + 0.05 * theta_dot**2 * jnp.sin(theta)) / 1.1
        theta_acc = (9.8 * jnp.sin(theta) - jnp.cos(theta) * temp) / (
            0.5 * (4 / 3 - 0.1 * jnp.cos(theta) ** 2 / 1.1)
        )
        x_acc = temp - 0.05 * theta_acc * jnp.cos(theta) / 1.1
        physics = state.physics + 0.02 * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])
        terminated = (jnp.abs(physics[0]) > 2.4) | (jnp.abs(physics[2]) > 12 * np.pi / 180)
        steps = state.steps + 1
        return DeviceStep(Pole(physics, steps), physics, 1.0, terminated, steps >= self.limit)


class Walk:
    """A random walk of two numbers that is random in every step; ends at random, or after 7."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, key: Any) -> tuple:
        at = jax.random.normal(key, (2,))
        return {"at": at, "key": key, "steps": 0}, at

    def step(self, key: Any, state: dict, action: Any) -> DeviceStep:
        at = state["at"] + 0.1 * action[0] + jax.random.normal(key, (2,))
        own = jax.random.fold_in(state["key"], 1)
        steps = state["steps"] + 1
        ends = jax.random.bernoulli(own, 0.1)
        after = {"at": at, "key": own, "steps": steps}
        return DeviceStep(after, at, jnp.sum(at), ends, steps >= 7)


class TellingWalk(Walk):
    """A walk on the device whose info tells its steps, a flag and an array."""

    def step(self, key: Any, state: dict, action: Any) -> Any:
        after = super().step(key, state, action)
        steps = after.state["steps"]
        info = {"steps": steps, "is_long": steps > 4, "vector": jnp.ones(3)}
        return after._replace(info=info)


class Masked:
    """Three actions of which one is forbidden, another each step; the observation is a Dict."""

    observation_space = spaces.Dict(
        {"action_mask": spaces.MultiBinary(3), "place": spaces.Discrete(3)}
    )
    action_space = spaces.Discrete(3)

    def reset(self, key: Any) -> tuple:
        state = jax.random.randint(key, (), 0, 3)
        return state, self._shown(state)

    def step(self, key: Any, state: Any, action: Any) -> DeviceStep:
        forbidden = action == state
        after = (state + 1) % 3
        reward = jnp.where(forbidden, -100.0, 1.0)
        return DeviceStep(after, self._shown(after), reward, after == 0, jnp.asarray(False))

    def _shown(self, state: Any) -> dict:
        return {"action_mask": jnp.arange(3) != state, "place": state}


class Broken(CartPole):
    """CartPole whose velocity is NaN at the tenth step of each episode."""

    def step(self, key: Any, state: Pole, action: Any) -> DeviceStep:
        after = super().step(key, state, action)
        physics = after.state.physics.at[1].set(
            jnp.where(after.state.steps == 10, jnp.nan, after.state.physics[1])
        )
        return after._replace(state=after.state._replace(physics=physics), observation=physics)
