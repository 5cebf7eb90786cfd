"""The choice of a token, kept as features and the head that makes logits of them.

Of a real vocabulary the logits are by far the largest array of an update: 1,024 tokens over 151,936
entries take 620 MB, and a KL divergence several times that. Here they are computed from the
features (a thousandth of their size) for some rows at a time, whatever is asked is computed of
these, and they are dropped; for gradients they are computed once more.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from klamp.mathematics.distributions import Categorical
from klamp.types import Shared

AT_ONCE = 2**21
"""Logits of all rows that are computed together; at least one row is."""


class VocabularyDistribution(eqx.Module):
    """``Categorical(features @ head.T / temperature)``, computed some rows at a time.

    The parameters of each row are its features. The head is frozen: it is ``Shared`` by all rows,
    no gradient is taken in it, and the metric is that of the features. Both distributions of a KL
    divergence may have heads and temperatures of their own.
    """

    features: Float[Array, "*B D"]
    head: Shared
    """[V, D]."""
    temperature: float = eqx.field(static=True, default=1.0)
    """Logits are divided by it; positive."""

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Key[Array, "*S"]:
        """A key for each row, from which its Gumbel noise is drawn when it is needed."""
        return jax.random.split(key, (*sample_shape, *self.features.shape[:-1]))

    def sample_from(self, noise: Key[Array, "*S"]) -> Int[Array, "*S"]:
        """argmax(logits + Gumbel noise): distributed as softmax(logits)."""

        def draw(features: Array, key: Array) -> Array:
            choice = self._choice(features)
            return choice.sample_from(choice.noise(key))

        features = jnp.broadcast_to(self.features, (*noise.shape, self.features.shape[-1]))
        return self._over_rows(draw, noise.shape, features, noise)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*B"]:
        """One token for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Int[Array, "*B"]:
        """The most probable token of each row."""
        return self._of_each(lambda features: self._choice(features).mode())

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """Log π(token), in nats."""
        return self._of_each(lambda f, a: self._choice(f).log_prob(a), jnp.asarray(action))

    def entropy(self) -> Float[Array, "*B"]:
        """−Σ π log π, in nats."""
        return self._of_each(lambda features: self._choice(features).entropy())

    def kl_to(self, other: "VocabularyDistribution") -> Float[Array, "*B"]:
        """Σ p (log p − log q) over the whole vocabulary, in nats, as ``Categorical`` sums it."""
        return self._of_each(lambda p, q: self._choice(p).kl_to(other._choice(q)), other.features)

    def fisher_metric(self, tangent: "VocabularyDistribution") -> "VocabularyDistribution":
        """Hᵀ(diag(p) − ppᵀ)H·tangent/T²: the Fisher matrix in the features."""

        def product(features: Array, direction: Array) -> Array:
            # ``Categorical`` has e to the log-probabilities, which would be one more pass of e.
            p, change = (
                jax.nn.softmax(self._choice(features).logits),
                self._choice(direction).logits,
            )
            metric = p * (change - jnp.sum(p * change))
            return metric @ self._head(features.dtype) / self.temperature

        found = self._of_each(product, tangent.features)
        nothing = jax.tree.map(jnp.zeros_like, tangent.head)
        return type(self)(found, nothing, self.temperature)

    def _head(self, dtype: Any) -> Float[Array, "V D"]:
        return self.head.value.astype(dtype)

    def _choice(self, features: Float[Array, " D"]) -> Categorical:
        return Categorical(features / self.temperature @ self._head(features.dtype).T)

    def _of_each(self, function: Callable[..., Array], *others: Array) -> Array:
        samples = self.features.shape[:-1]
        return self._over_rows(function, samples, self.features, *others)

    def _over_rows(
        self, function: Callable[..., Array], samples: tuple[int, ...], *arrays: Array
    ) -> Array:
        """``function`` of every row, of as many at a time as ``AT_ONCE`` allows.

        All arrays begin with the axes ``samples``, and so does the result.
        """
        rows = [array.reshape(-1, *array.shape[len(samples) :]) for array in arrays]
        at_once = max(AT_ONCE // self.head.value.shape[0], 1)
        if len(rows[0]) > at_once:
            function = jax.checkpoint(function, prevent_cse=False)
        found = jax.lax.map(lambda row: function(*row), rows, batch_size=at_once)
        return found.reshape(*samples, *found.shape[1:])
