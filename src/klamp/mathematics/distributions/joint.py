"""Several independent parts as one action: the hybrid actions of Dict and Tuple spaces."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from klamp.mathematics.distributions.categorical import Categorical
from klamp.mathematics.distributions.gaussian import DiagonalGaussian
from klamp.mathematics.distributions.multicategorical import MultiCategorical, sum_of
from klamp.mathematics.distributions.squashed import SquashedGaussian
from klamp.types import Distribution


class Joint(eqx.Module):
    """Independent distributions, one per part. An action is a tuple with one action per part.

    Log-probability, entropy and KL divergence are sums over the parts, so one ``max_kl`` bounds
    them together, and the Fisher matrix is block diagonal.
    """

    parts: tuple[Distribution, ...]

    def __init__(self, parts: Iterable[Distribution]) -> None:
        self.parts = tuple(parts)

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Each part's noise, from a key of its own."""
        keys = jax.random.split(key, len(self.parts))
        return tuple(part.noise(keys[i], sample_shape) for i, part in enumerate(self.parts))

    def sample_from(self, noise: Any) -> tuple[Any, ...]:
        """Each part's action."""
        return tuple(p.sample_from(n) for p, n in zip(self.parts, noise, strict=True))

    def sample(self, key: PRNGKeyArray) -> tuple[Any, ...]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> tuple[Any, ...]:
        """Each part's mode."""
        return tuple(part.mode() for part in self.parts)

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """Log π(action), in nats, summed over the parts."""
        return sum_of([p.log_prob(a) for p, a in zip(self.parts, action, strict=True)])

    def entropy(self) -> Float[Array, "*B"]:
        """The sum of the parts' entropies, in nats."""
        return sum_of([part.entropy() for part in self.parts])

    def kl_to(self, other: "Joint") -> Float[Array, "*B"]:
        """The sum of the parts' divergences, in nats."""
        return sum_of([p.kl_to(q) for p, q in zip(self.parts, other.parts, strict=True)])

    def fisher_metric(self, tangent: "Joint") -> "Joint":
        """Each part's own Fisher matrix times its own tangent."""
        pairs = zip(self.parts, tangent.parts, strict=True)
        return type(self)(part.fisher_metric(u) for part, u in pairs)

    def masked(self, allowed: Bool[Array, "B n"]) -> "Joint":
        """Only the allowed actions: the masks of the parts that choose, one after another."""
        parts: list[Distribution] = []
        for part in self.parts:
            size = mask_size(part)
            chooses = isinstance(part, Categorical | MultiCategorical | Joint)
            parts.append(part.masked(allowed[..., :size]) if chooses else part)
            allowed = allowed[..., size:]
        return type(self)(parts)

    def with_log_std(self, log_std: Float[Array, " B"]) -> "Joint":
        """The same with this log σ in every Gaussian part."""
        scaled = (DiagonalGaussian, SquashedGaussian, Joint)
        return type(self)(
            part.with_log_std(log_std) if isinstance(part, scaled) else part for part in self.parts
        )


def mask_size(distribution: object) -> int:
    """Entries in a row of a distribution's action mask: one per action that can be chosen."""
    match distribution:
        case Categorical() | MultiCategorical():
            return int(jnp.shape(distribution.logits)[-1])
        case Joint():
            return sum(mask_size(part) for part in distribution.parts)
        case _:
            return 0
