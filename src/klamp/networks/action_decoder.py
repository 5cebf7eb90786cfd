"""From what a policy samples to what an environment takes: squashed, then clipped and shaped."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.config.choices import ActionBounds
from klamp.envs.spaces.actions import to_environment
from klamp.envs.spaces.supported import Space, parts_of
from klamp.mathematics.distributions.squashed import squash


def action_decoder(space: Space, bounds: ActionBounds = "clip") -> Callable[[Any], Any]:
    """The map from sampled actions [N, …] to what ``step`` takes, in numpy or traced by JAX.

    Under the bounds ``tanh`` and ``beta`` a Box is reached by the distribution's own squashing; the
    stored action stays as sampled, so that its log-probability is that of the distribution.
    """
    to_step = to_environment(space)
    if bounds == "clip":
        return to_step
    squashed = _squasher(space, bounds)
    return lambda action: to_step(squashed(action))


def _squasher(space: Any, bounds: ActionBounds) -> Callable[[Any], Any]:
    """Every Box among the parts of a space into its bounds; all else as it is."""
    parts = parts_of(space)
    if parts is not None:
        inner = [_squasher(part, bounds) for part in parts]
        return lambda action: tuple(part(a) for part, a in zip(inner, action, strict=True))
    if not isinstance(space, spaces.Box):
        return lambda action: action
    low, high = np.ravel(space.low), np.ravel(space.high)
    # Log-odds reach the bounds by the sigmoid, which is the tanh of their half.
    slope = np.float32(1 if bounds == "tanh" else 0.5)
    return partial(squash, low=low, high=high, slope=slope)
