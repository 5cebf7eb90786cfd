"""The algorithms: one module each, a pure ``init`` and a pure ``update``.

``update`` is the only place where a policy moves. Everything around it (collection, networks,
advantages, normalisation, metrics) is the same for all, so that a comparison of two algorithms
compares their updates and nothing else.
"""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

from klamp.algorithms import a2c, npg, ppo, ppo_penalty, reinforce, trpo
from klamp.config.algorithms import A2C, NPG, PPO, REINFORCE, TRPO, PPOPenalty
from klamp.config.settings import Settings
from klamp.networks import Model
from klamp.types import Batch, Update


@runtime_checkable
class Algorithm(Protocol):
    """What the training loop needs of an algorithm. Both functions are pure and traceable."""

    def init(self, config: Any, model: Model, theta: Float[Array, " n"]) -> Any:
        """The state that the algorithm carries from update to update: a pytree of arrays."""
        ...

    def update(
        self,
        config: Any,
        settings: Settings,
        model: Model,
        theta: Float[Array, " n"],
        state: Any,
        batch: Batch,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> Update:
        """New θ and state from one batch; ``progress`` goes from 0 to 1 over the run."""
        ...


MODULES: dict[type[Any], Any] = {
    REINFORCE: reinforce,
    A2C: a2c,
    NPG: npg,
    TRPO: trpo,
    PPO: ppo,
    PPOPenalty: ppo_penalty,
}
"""Each config's module."""


def implementation(config: Any) -> Algorithm:
    """The module that implements a config; a config with both functions implements itself."""
    return MODULES.get(type(config), config)
