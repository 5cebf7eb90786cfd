"""A trained policy as users hold it: numpy in, numpy out, with its normaliser inside."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from klamp.config import RunConfig
from klamp.envs.spaces import to_environment
from klamp.networks import Model
from klamp.normalize import Scaling, normalize
from klamp.seeding import Purpose, key
from klamp.types import Inputs


class TrainedPolicy:
    """A policy and its critic with frozen normalisation. Fit to be called from any host code."""

    def __init__(
        self,
        model: Model,
        theta: Array,
        scaling: Scaling | None,
        observation_space: Any,
        action_space: Any,
        config: RunConfig,
    ) -> None:
        self.model, self.theta, self.scaling = model, theta, scaling
        self.observation_space, self.action_space = observation_space, action_space
        self.config = config
        self._calls = 0
        self._to_environment = to_environment(action_space)

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """An action of the environment for one observation, or one for each of a batch.

        Sampled from the policy, or its mode where ``deterministic``; clipped to the action space.
        Samples are a function of the run's seed and the number of calls before.
        """
        rows, single = self._rows(observation)
        noise_key = key(self.config.settings.seed, Purpose.EVALUATE, 0, self._calls)
        self._calls += 1
        chosen = self._mode(rows) if deterministic else self._sample(rows, noise_key)
        action = self._to_environment(np.asarray(chosen))
        return action[0] if single else action

    def value(self, observation: Any) -> Any:
        """V of one observation (a float) or of each of a batch, in the units of the training."""
        rows, single = self._rows(observation)
        value = np.asarray(self._value(rows))
        return float(value[0]) if single else value

    def _rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        """The observation as a batch, and whether it was a single one."""
        array, shape = np.asarray(observation), self.observation_space.shape
        if array.shape == shape:
            return array[None], True
        if array.shape[1:] == shape:
            return array, False
        raise ValueError(
            f"The observation has the shape {array.shape}; this policy for {self.config.env} takes "
            f"one of shape {shape}, or a batch of them with one more axis in front."
        )

    def _inputs(self, rows: Any) -> Inputs:
        return Inputs(rows if self.scaling is None else normalize(rows, self.scaling))

    @cached_property
    def _sample(self) -> Callable[..., Array]:
        return jax.jit(
            lambda rows, noise_key: self.model.distribution(self.theta, self._inputs(rows)).sample(
                noise_key
            )
        )

    @cached_property
    def _mode(self) -> Callable[..., Array]:
        return jax.jit(lambda rows: self.model.distribution(self.theta, self._inputs(rows)).mode())

    @cached_property
    def _value(self) -> Callable[..., Array]:
        return jax.jit(lambda rows: self.model.value(self.theta, self._inputs(rows)))
