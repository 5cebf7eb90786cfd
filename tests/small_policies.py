"""Untrained policies for every kind of space, by the settings of a run."""

import jax
from gymnasium import spaces

from klamp import PPO, RunConfig, Settings, TrainedPolicy
from klamp.envs.spaces.observations import policy_observation_space
from klamp.mathematics.normalization import Scaling
from klamp.networks import build_network, flatten


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
    network = build_network(
        policy_observation_space(observation), action, config.settings, key=jax.random.key(0)
    )
    theta, model = flatten(network)
    parts = (scaling, observation, action, config, log_std)
    return TrainedPolicy(model, theta * spread, *parts, masked=masked)
