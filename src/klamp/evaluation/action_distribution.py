"""A policy's distribution in a state, over the environment's actions."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from klamp.config.choices import ActionBounds
from klamp.envs.spaces.supported import Space
from klamp.mathematics.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
)
from klamp.mathematics.distributions.squashed import NODES, REACH, squash
from klamp.runtime.device import in_float32

INSIDE = 1 - 2.0**-24
"""Actions that rounding puts at a bound are moved to this share of the way to it."""


@dataclass(frozen=True)
class ActionDistribution:
    """π(·|observation), of one observation or of a batch; numpy in, numpy out.

    Results with one entry per part of an action have the structure of the action space: a dict for
    Dict, a tuple for Tuple.
    """

    parameters: Any
    """The distribution as `klamp.distributions` has it, one row for each observation."""
    action_space: Space
    bounds: ActionBounds
    single: bool
    """Whether it is of one observation, so that results have no axis of rows."""

    @property
    def probabilities(self) -> Any:
        """π of each action of a choice; None of a Box, which has densities.

        Of Discrete an array in the order of its actions, of MultiDiscrete a tuple with one for each
        choice, of MultiBinary π(1) of each.
        """
        return self._each(_probabilities)

    @property
    def deviation(self) -> Any:
        """Standard deviation of each number of a Box, in units of the action; None of other parts.

        Under ``clip`` it is that of the Gaussian before clipping; under ``tanh`` and ``beta``, of
        the bounded action.
        """
        return self._each(_deviation)

    @property
    @in_float32
    def entropy(self) -> Any:
        """−E[log π], in nats: a float, or [N]."""
        return self._number(self.parameters.entropy())

    @in_float32
    def log_prob(self, action: Any) -> Any:
        """Log π(action), in nats, of an action as ``act`` returns it: a float, or [N].

        Of a Box it is the log of a density, in units of the action; under ``clip`` it is that of
        the Gaussian, also at the bounds, to which samples are clipped.
        """
        rows = len(np.asarray(self.parameters.entropy()))
        sampled = _sampled(self.action_space, self.parameters, self.bounds, action, rows)
        return self._number(self.parameters.log_prob(sampled))

    def _number(self, found: Any) -> Any:
        array = np.asarray(found)
        return float(array[0]) if self.single else array

    def _each(self, function: Any) -> Any:
        return _over(function, self.action_space, self.parameters, self.single)


def _over(function: Any, space: Any, distribution: Any, single: bool) -> Any:
    """A function of each part of a distribution, in the structure of the space."""
    if isinstance(distribution, Joint):
        keys: Any = space.spaces if isinstance(space, spaces.Dict) else range(len(space.spaces))
        pairs = zip(keys, distribution.parts, strict=True)
        found = {key: _over(function, space[key], part, single) for key, part in pairs}
        return found if isinstance(space, spaces.Dict) else tuple(found.values())
    found = function(space, distribution)
    if found is None or not single:
        return found
    return tuple(part[0] for part in found) if isinstance(found, tuple) else found[0]


@in_float32
def _probabilities(space: Any, distribution: Any) -> Any:
    match distribution:
        case Categorical():
            return np.exp(np.asarray(distribution.log_probabilities))
        case MultiCategorical():
            return tuple(np.exp(np.asarray(part.log_probabilities)) for part in distribution.parts)
        case Bernoulli():
            odds = np.asarray(distribution.logits)
            return (0.5 + 0.5 * np.tanh(odds / 2)).reshape(-1, *space.shape)
        case _:
            return None


def _deviation(space: Any, distribution: Any) -> Any:
    match distribution:
        case DiagonalGaussian():
            found = np.exp(np.asarray(distribution.log_std))
        case SquashedGaussian():
            # The mean and square of tanh by the quadrature that the entropy has, too.
            z = np.linspace(-REACH, REACH, NODES)
            share = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
            mean, log_std = (
                np.asarray(part, np.float64)[..., None]
                for part in (distribution.base.mean, distribution.base.log_std)
            )
            low, high = np.array(distribution.low)[:, None], np.array(distribution.high)[:, None]
            action = squash(mean + np.exp(log_std) * z, low, high)
            centre = (share * action).sum(-1, keepdims=True)
            found = np.sqrt((share * (action - centre) ** 2).sum(-1))
        case ScaledBeta():
            a, b = (
                np.asarray(part, np.float64) for part in (distribution.alpha, distribution.beta)
            )
            width = np.array(distribution.high) - np.array(distribution.low)
            found = width * np.sqrt(a * b / (a + b + 1)) / (a + b)
        case _:
            return None
    return found.astype(np.float32).reshape(-1, *space.shape)


def _sampled(space: Any, distribution: Any, bounds: ActionBounds, action: Any, rows: int) -> Any:
    """An action of the environment as the distribution samples it."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            keys: Any = space.spaces if isinstance(space, spaces.Dict) else range(len(space.spaces))
            return tuple(
                _sampled(space[key], part, bounds, action[key], rows)
                for key, part in zip(keys, distribution.parts, strict=True)
            )
        case spaces.Discrete():
            return jnp.asarray(np.asarray(action).reshape(rows) - int(space.start))
        case spaces.MultiDiscrete() | spaces.MultiBinary():
            counted = np.asarray(action).reshape(rows, *space.shape) - getattr(space, "start", 0)
            return jnp.asarray(counted.reshape(rows, -1))
        case _:
            flat = np.asarray(action, np.float64).reshape(rows, -1)
            if bounds == "clip":
                return jnp.asarray(flat, jnp.float32)
            low, high = np.ravel(space.low).astype(float), np.ravel(space.high).astype(float)
            share = np.clip((flat - (high / 2 + low / 2)) / (high / 2 - low / 2), -INSIDE, INSIDE)
            # Log-odds are twice the argument of tanh.
            return jnp.asarray(np.arctanh(share) * (1 if bounds == "tanh" else 2), jnp.float32)
