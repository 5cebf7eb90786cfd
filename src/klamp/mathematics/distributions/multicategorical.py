"""Several choices at once, each among actions of its own: the actions of MultiDiscrete."""

from collections.abc import Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.mathematics.distributions.categorical import Categorical


class MultiCategorical(eqx.Module):
    """Independent categoricals over ``sizes`` actions each, by their logits in one row.

    An action is one integer per part, [*B, parts].
    """

    logits: Float[Array, "*B n"]
    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, logits: ArrayLike, sizes: Iterable[int]) -> None:
        self.logits, self.sizes = jnp.asarray(logits), tuple(int(size) for size in sizes)

    @property
    def parts(self) -> tuple[Categorical, ...]:
        """The categorical of each part."""
        cuts = np.cumsum((0, *self.sizes))
        return tuple(
            Categorical(self.logits[..., cuts[i] : cuts[i + 1]]) for i in range(len(self.sizes))
        )

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*S n"]:
        """Gumbel noise, one number per action of every part."""
        return jax.random.gumbel(key, (*sample_shape, *self.logits.shape), self.logits.dtype)

    def sample_from(self, noise: Float[Array, "*S n"]) -> Int[Array, "*S parts"]:
        """In each part, argmax(logits + Gumbel noise)."""
        return MultiCategorical(self.logits + noise, self.sizes).mode()

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*B parts"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Int[Array, "*B parts"]:
        """The most probable action of each part."""
        return jnp.stack([part.mode() for part in self.parts], axis=-1)

    def log_prob(self, action: ArrayLike) -> Float[Array, "*B"]:
        """Log π(action), in nats, summed over the parts."""
        action = jnp.asarray(action)
        return sum_of([part.log_prob(action[..., i]) for i, part in enumerate(self.parts)])

    def entropy(self) -> Float[Array, "*B"]:
        """The sum of the parts' entropies, in nats."""
        return sum_of([part.entropy() for part in self.parts])

    def kl_to(self, other: "MultiCategorical") -> Float[Array, "*B"]:
        """The sum of the parts' divergences: independent parts add, they are not averaged."""
        pairs = zip(self.parts, other.parts, strict=True)
        return sum_of([p.kl_to(q) for p, q in pairs])

    def fisher_metric(self, tangent: "MultiCategorical") -> "MultiCategorical":
        """Block diagonal: each part's own Fisher matrix."""
        pairs = zip(self.parts, tangent.parts, strict=True)
        blocks = [part.fisher_metric(u).logits for part, u in pairs]
        return type(self)(jnp.concatenate(blocks, axis=-1), self.sizes)

    def masked(self, allowed: Bool[Array, "*B n"]) -> "MultiCategorical":
        """Only the allowed actions; the mask is the parts' masks one after another."""
        return type(self)(Categorical(self.logits).masked(allowed).logits, self.sizes)


def sum_of(terms: list[Float[Array, "*B"]]) -> Float[Array, "*B"]:
    """The sum of one or more arrays."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
