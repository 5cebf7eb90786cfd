"""From features to the distribution over an action space."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.config.choices import ActionBounds, ActionScale, MeanActivation
from klamp.envs.spaces.supported import Space
from klamp.errors import ConfigError
from klamp.mathematics.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
)
from klamp.networks.layers import Dense

LOG_STD_RANGE = (-20.0, 2.0)
"""Deviations from 2e-9 to 7.4: in float32 neither σ nor 1/σ² comes near 0 or infinity."""
SHARPNESS = 8.0
"""The bounds of log σ have an effect from about half a nat before them."""


def bounded_log_std(raw: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """Log σ within [−20, 2]: the identity in between, bending smoothly towards either bound.

    A hard clip has no gradient beyond the bound, so that log σ cannot come back from there; here
    the derivative is ½ at the bound and positive everywhere, and the Fisher matrix contains it.
    More than 2 nats away from a bound the result is ``raw`` itself, bit for bit.
    """
    low, high = LOG_STD_RANGE
    above = jax.nn.softplus(SHARPNESS * (raw - high)) / SHARPNESS
    below = jax.nn.softplus(SHARPNESS * (low - raw)) / SHARPNESS
    return raw - above + below


class CategoricalHead(eqx.Module):
    """Features to the logits of n actions."""

    dense: Dense

    def __init__(self, size_in: int, actions: int, *, key: PRNGKeyArray) -> None:
        # Gain 0.01: the first policy is almost uniform, so that early data covers all actions.
        self.dense = Dense(size_in, actions, gain=0.01, key=key)

    def __call__(self, features: Float[Array, "B h"]) -> Categorical:
        """One distribution per row."""
        return Categorical(self.dense(features))


class MultiCategoricalHead(eqx.Module):
    """Features to the logits of several choices."""

    dense: Dense
    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, size_in: int, sizes: tuple[int, ...], *, key: PRNGKeyArray) -> None:
        self.dense = Dense(size_in, sum(sizes), gain=0.01, key=key)
        self.sizes = sizes

    def __call__(self, features: Float[Array, "B h"]) -> MultiCategorical:
        """One distribution per row."""
        return MultiCategorical(self.dense(features), self.sizes)


class BernoulliHead(eqx.Module):
    """Features to the log-odds of n yes-or-no actions."""

    dense: Dense

    def __init__(self, size_in: int, actions: int, *, key: PRNGKeyArray) -> None:
        self.dense = Dense(size_in, actions, gain=0.01, key=key)

    def __call__(self, features: Float[Array, "B h"]) -> Bernoulli:
        """One distribution per row."""
        return Bernoulli(self.dense(features))


class GaussianHead(eqx.Module):
    """Features to the mean of a Gaussian whose log σ is a parameter, the same in every state."""

    dense: Dense
    log_std: Float[Array, " a"]

    def __init__(
        self, size_in: int, dimensions: int, *, initial_log_std: float, key: PRNGKeyArray
    ) -> None:
        self.dense = Dense(size_in, dimensions, gain=0.01, key=key)
        self.log_std = jnp.full(dimensions, initial_log_std, jnp.float32)

    def __call__(self, features: Float[Array, "B h"]) -> DiagonalGaussian:
        """One distribution per row."""
        return DiagonalGaussian(self.dense(features), bounded_log_std(self.log_std))


class StateGaussianHead(eqx.Module):
    """Features to mean and log σ of a Gaussian, both functions of the state."""

    dense: Dense
    initial_log_std: float = eqx.field(static=True)

    def __init__(
        self, size_in: int, dimensions: int, *, initial_log_std: float, key: PRNGKeyArray
    ) -> None:
        self.dense = Dense(size_in, 2 * dimensions, gain=0.01, key=key)
        self.initial_log_std = initial_log_std

    def __call__(self, features: Float[Array, "B h"]) -> DiagonalGaussian:
        """One distribution per row."""
        mean, change = jnp.split(self.dense(features), 2, axis=-1)
        return DiagonalGaussian(mean, bounded_log_std(self.initial_log_std + change))


class MeanHead(eqx.Module):
    """Features to the mean of a Gaussian whose scale follows a schedule.

    The scale comes with the inputs (``Inputs.log_std``) and replaces the one given here.
    """

    dense: Dense

    def __init__(self, size_in: int, dimensions: int, *, key: PRNGKeyArray) -> None:
        self.dense = Dense(size_in, dimensions, gain=0.01, key=key)

    def __call__(self, features: Float[Array, "B h"]) -> DiagonalGaussian:
        """One distribution per row."""
        return DiagonalGaussian(self.dense(features), 0.0)


class TanhMean(eqx.Module):
    """The Gaussian of another head with its mean through tanh."""

    gaussian: Callable[[Array], DiagonalGaussian]

    def __call__(self, features: Float[Array, "B h"]) -> DiagonalGaussian:
        """One distribution per row."""
        found = self.gaussian(features)
        return DiagonalGaussian(jnp.tanh(found.mean), found.log_std)


class SquashedHead(eqx.Module):
    """Features to a Gaussian squashed into bounds."""

    gaussian: Callable[[Array], DiagonalGaussian]
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, features: Float[Array, "B h"]) -> SquashedGaussian:
        """One distribution per row."""
        return SquashedGaussian(self.gaussian(features), self.low, self.high)


class BetaHead(eqx.Module):
    """Features to α, β = 1 + softplus(·): densities with one peak."""

    dense: Dense
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self, size_in: int, low: tuple[float, ...], high: tuple[float, ...], *, key: PRNGKeyArray
    ) -> None:
        self.dense = Dense(size_in, 2 * len(low), gain=0.01, key=key)
        self.low, self.high = low, high

    def __call__(self, features: Float[Array, "B h"]) -> ScaledBeta:
        """One distribution per row."""
        alpha, beta = jnp.split(1 + jax.nn.softplus(self.dense(features)), 2, axis=-1)
        return ScaledBeta(alpha, beta, self.low, self.high)


class JointHead(eqx.Module):
    """Features to one distribution for each part of a Dict or Tuple."""

    parts: tuple[Callable[[Array], Any], ...]

    def __call__(self, features: Float[Array, "B h"]) -> Joint:
        """One distribution per row."""
        return Joint(part(features) for part in self.parts)


def action_head(
    space: Space,
    size_in: int,
    *,
    initial_log_std: float = 0.0,
    scale: ActionScale = "learned",
    bounds: ActionBounds = "clip",
    mean_activation: MeanActivation = "none",
    key: PRNGKeyArray,
) -> Any:
    """The head whose distribution covers a Gymnasium action space.

    Raises ``ConfigError`` where ``bounds`` need bounds that the space does not have.
    """
    match space:
        case spaces.Discrete():
            return CategoricalHead(size_in, int(space.n), key=key)
        case spaces.MultiDiscrete():
            return MultiCategoricalHead(size_in, tuple(map(int, space.nvec.flat)), key=key)
        case spaces.MultiBinary():
            return BernoulliHead(size_in, int(np.prod(space.shape)), key=key)
        case spaces.Box():
            return _box_head(space, size_in, initial_log_std, scale, bounds, mean_activation, key)
        case spaces.Dict() | spaces.Tuple():
            inner = list(space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces)
            keys = jax.random.split(key, len(inner))
            options: Any = {
                "initial_log_std": initial_log_std,
                "scale": scale,
                "bounds": bounds,
                "mean_activation": mean_activation,
            }
            return JointHead(
                tuple(action_head(p, size_in, key=keys[i], **options) for i, p in enumerate(inner))
            )
        case _:
            raise TypeError(f"No distribution covers actions of {space}.")


def _box_head(
    space: spaces.Box,
    size_in: int,
    initial_log_std: float,
    scale: ActionScale,
    bounds: ActionBounds,
    mean_activation: MeanActivation,
    key: PRNGKeyArray,
) -> Any:
    """Continuous actions: a scale, within bounds or not."""
    low, high = (tuple(float(x) for x in np.ravel(bound)) for bound in (space.low, space.high))
    if bounds != "clip" and not np.all(np.isfinite((low, high)) & np.less(low, high)):
        raise ConfigError(
            f"`action_bounds` is {bounds!r}, but the actions are {space}: expected finite bounds "
            "in every dimension. Use `action_bounds='clip'`, or bound the action space."
        )
    if bounds == "beta":
        return BetaHead(size_in, low, high, key=key)
    match scale:
        case "learned":
            head = GaussianHead(size_in, len(low), initial_log_std=initial_log_std, key=key)
        case "state":
            head = StateGaussianHead(size_in, len(low), initial_log_std=initial_log_std, key=key)
        case _:
            head = MeanHead(size_in, len(low), key=key)
    if mean_activation == "tanh":
        head = TanhMean(head)
    return SquashedHead(head, low, high) if bounds == "tanh" else head


def has_gaussian(space: Space, bounds: ActionBounds) -> bool:
    """Whether any part of an action space gets a Gaussian, whose scale a schedule can set."""
    match space:
        case spaces.Box():
            return bounds != "beta"
        case spaces.Dict():
            return any(has_gaussian(part, bounds) for part in space.spaces.values())
        case spaces.Tuple():
            return any(has_gaussian(part, bounds) for part in space.spaces)
        case _:
            return False
