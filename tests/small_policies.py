"""Untrained networks and policies for every kind of space, by the settings of a run."""

from typing import Any

import jax
from gymnasium import spaces

from klamp import PPO, RunConfig, Settings, TrainedPolicy
from klamp.config.settings import NetworkSettings
from klamp.envs.spaces.observations import policy_observation_space
from klamp.mathematics.normalization import Scaling
from klamp.networks import Model, build_network, flatten

_drawn: dict[Any, tuple[jax.Array, Model]] = {}


def drawn(observation: Any, action: spaces.Space, settings: NetworkSettings) -> Any:
    """θ and the model of a network for these spaces.

    Who asks for the same gets the same: tests share what the model has compiled.
    """
    # Of a Dict's images the text of the space tells nothing.
    seen = (repr(observation), repr(getattr(observation, "images", ())))
    made_of = (*seen, repr(action), settings, jax.config.jax_enable_x64)
    if made_of not in _drawn:
        network = build_network(observation, action, settings, key=jax.random.key(0))
        _drawn[made_of] = flatten(network)
    return _drawn[made_of]


def policy(
    observation: spaces.Space,
    action: spaces.Space,
    scaling: Scaling | None = None,
    log_std: float | None = None,
    masked: bool = False,
    spread: float = 1.0,
    **settings: object,
) -> TrainedPolicy:
    """A policy with random parameters, ``spread`` times as large as at first."""
    config = RunConfig("Some-v0", PPO(), Settings(**{"hidden_sizes": (4,)} | settings))
    theta, model = drawn(policy_observation_space(observation), action, config.settings)
    parts = (scaling, observation, action, config, log_std)
    return TrainedPolicy(model, theta * spread, *parts, masked=masked)
