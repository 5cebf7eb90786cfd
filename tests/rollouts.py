"""A small policy with critic, and a rollout of random numbers for it."""

from functools import cache

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from small_policies import drawn

from klamp.config.settings import Settings
from klamp.networks import Model
from klamp.types import Rollout

T, N = 16, 4
SETTINGS = Settings(num_envs=N, rollout_length=T, hidden_sizes=(8,), critic_epochs=2)
ONE = jnp.asarray(1.0, jnp.float32)


@cache
def small_model() -> tuple[jax.Array, Model]:
    """θ, and the model that reads it: five numbers are seen, one of three actions is chosen."""
    space = gymnasium.spaces.Discrete(3)
    theta, model = drawn(5, space, SETTINGS)
    return theta + 0.2 * jax.random.normal(jax.random.key(1), theta.shape), model


def rollout(seed: int = 0) -> Rollout:
    """T steps of N environments; each step ends an episode with a chance of about a fifth."""
    generator = np.random.default_rng(seed)
    normal = lambda *shape: generator.normal(size=shape).astype(np.float32)  # noqa: E731
    return Rollout(
        normal(T, N, 5),
        normal(T, N, 5),
        generator.integers(0, 3, (T, N)).astype(np.int32),
        normal(T, N),
        generator.random((T, N)) < 0.1,
        generator.random((T, N)) < 0.1,
        np.ones((T, N), np.float32),
    )
