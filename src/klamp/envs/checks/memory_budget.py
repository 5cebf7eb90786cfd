"""The least memory that a run takes, computed before anything is allocated."""

import os
from itertools import pairwise
from typing import Any

import numpy as np

from klamp.config.settings import Settings
from klamp.envs.spaces.actions import action_numbers
from klamp.envs.spaces.joined import JoinedBox
from klamp.envs.spaces.observations import policy_observation_space
from klamp.envs.spaces.supported import Space
from klamp.errors import ConfigError

NUMBER = 4
"""Bytes of a float32."""


def check_memory(
    env: str, settings: Settings, observation_space: Space, action_space: Space
) -> None:
    """Raise ``ConfigError`` where one rollout or the networks cannot fit into this machine."""
    here = machine_memory()
    seen = policy_observation_space(observation_space)
    rollout = rollout_bytes(settings, seen, action_space)
    if rollout > here:
        raise ConfigError(
            f"One rollout of {settings.rollout_length:,} steps of {settings.num_envs:,} "
            f"environments `{env}`, with {int(np.prod(seen.shape)):,} numbers an observation, "
            f"takes at least {in_words(rollout)}; this machine has {in_words(here)}. Lower "
            "it by `rollout_length=…` or `num_envs=…`."
        )
    network = network_bytes(settings, seen)
    if network > here:
        raise ConfigError(
            f"Networks with the `hidden_sizes` {settings.hidden_sizes} take at least "
            f"{in_words(network)} for the observations of `{env}`; this machine has "
            f"{in_words(here)}. Give smaller ones by `hidden_sizes=…`."
        )


def rollout_bytes(settings: Settings, seen: Any, action_space: Space) -> int:
    """The buffers of a rollout: both observations, action, reward, weight and two flags."""
    observation = int(np.prod(seen.shape)) * (1 if seen.dtype.itemsize == 1 else NUMBER)
    each = 2 * observation + NUMBER * action_numbers(action_space) + 2 * NUMBER + 2
    return settings.rollout_length * settings.num_envs * each


def network_bytes(settings: Settings, seen: Any) -> int:
    """Weights of the hidden layers, their gradient, and Adam's two moments."""
    # An image passes through convolutions first: only what follows the first layer is certain.
    image = len(seen.shape) > 1 or isinstance(seen, JoinedBox)
    first = [] if image else [int(np.prod(seen.shape))]
    weights = sum(a * b for a, b in pairwise([*first, *settings.hidden_sizes]))
    return weights * (1 if settings.shared_network else 2) * 4 * NUMBER


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def in_words(size: float) -> str:
    """Bytes in words, in kB, MB, … (powers of 1000)."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} EB"
