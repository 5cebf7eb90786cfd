"""The algorithms: one module each, a pure ``init`` and a pure ``update``.

``update`` is the only place where a policy moves. Everything around it (collection, networks,
advantages, normalisation, metrics) is the same for all, so that a comparison of two algorithms
compares their updates and nothing else.
"""

from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float

from klamp.algorithms.context import Context as Context
from klamp.algorithms.context import UpdateSettings as UpdateSettings
from klamp.config.algorithms import ALGORITHMS, AlgorithmConfig
from klamp.networks import Model
from klamp.types import Batch, PyTree, Update


@runtime_checkable
class Algorithm(Protocol):
    """What the training loop needs of an algorithm. Both functions are pure and traceable."""

    def init(self, config: Any, model: Model, theta: Float[Array, " n"]) -> PyTree:
        """The state that the algorithm carries from update to update: a pytree of arrays."""
        ...

    def update(
        self, config: Any, context: Context, theta: Float[Array, " n"], state: PyTree, batch: Batch
    ) -> Update:
        """New θ and state from one batch, of the same shapes and types."""
        ...


def implementation(config: AlgorithmConfig) -> Algorithm:
    """The two functions of a config, which both take it first.

    For klamp's own algorithms they are in the module with the name of the config's module; for a
    user's own class they are its methods.
    """
    kind: Any = type(config)
    if kind not in ALGORITHMS.values():
        return kind
    module: Any = import_module(f"{__name__}.{kind.__module__.rpartition('.')[2]}")
    return module
