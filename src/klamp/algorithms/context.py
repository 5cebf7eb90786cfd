"""What an update is given besides θ, its own state and the batch."""

from typing import Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.networks import Model


@runtime_checkable
class UpdateSettings(Protocol):
    """The shared settings that updates read: ``klamp.Settings``, or another loop's own.

    Whatever has these is static for jit, so it must be hashable, as a frozen dataclass is.
    """

    @property
    def sequence(self) -> int:
        """Rows of a batch that belong together, ≥ 1; minibatches do not part them."""
        ...

    @property
    def shards(self) -> int:
        """Equal parts of a batch, one after another, that minibatches take equal shares of, ≥ 1."""
        ...

    @property
    def advantage_normalization(self) -> str:
        """``"minibatch"`` where the update standardises advantages, once for each minibatch."""
        ...

    @property
    def critic_epochs(self) -> int:
        """Passes over the batch of a fit of the critic by itself, ≥ 1."""
        ...

    @property
    def critic_minibatch_size(self) -> int:
        """Rows in each step of that fit, ≥ 1."""
        ...

    @property
    def critic_learning_rate(self) -> float:
        """Step size of that fit, > 0."""
        ...


class Context(eqx.Module):
    """What an update is given besides θ, its own state and the batch; a pytree, fit for jit."""

    settings: UpdateSettings = eqx.field(static=True)
    """What all algorithms share."""
    model: Model
    """The network as functions of θ."""
    key: PRNGKeyArray
    """Randomness of this update alone."""
    progress: Float[Array, ""]
    """How much of the run is done, from 0 to 1: what schedules go by."""
    devices: int = eqx.field(static=True, default=1)
    """Devices that hold the rows of the batch, in equal parts."""
