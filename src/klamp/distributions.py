"""Action distributions: what a policy returns for a batch of inputs.

Each is a pytree of its parameters, with the batch in the leading axes, and offers the same seven
things: ``noise`` and ``sample_from`` (which together make ``sample``), ``mode``, ``log_prob``,
``entropy``, ``kl_to`` and ``fisher_metric``. Log-probabilities, entropies and divergences are in
nats and *summed* over action dimensions: a distribution over six joints has one KL divergence.
"""

import math
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

D = TypeVar("D", bound="Distribution")


@runtime_checkable
class Distribution(Protocol):
    """What the trust region needs of a distribution; a pytree whose leaves are its parameters."""

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Any:
        """Randomness for ``sample_from``, drawn without knowing the parameters' values."""
        ...

    def sample_from(self, noise: Any) -> Any:
        """The action that this noise leads to."""
        ...

    def sample(self, key: PRNGKeyArray) -> Any:
        """One action for each row of the batch."""
        ...

    def mode(self) -> Any:
        """The most probable action of each row."""
        ...

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """log π(action), in nats."""
        ...

    def entropy(self) -> Float[Array, "*B"]:
        """−E[log π], in nats."""
        ...

    def kl_to(self, other: Any) -> Float[Array, "*B"]:
        """KL(self‖other), in nats."""
        ...

    def fisher_metric(self, tangent: Any) -> Any:
        """M·tangent, with M the Fisher matrix in the distribution's own parameters."""
        ...


def kl_divergence(*, p: D, q: D) -> Float[Array, "*B"]:
    """KL(p‖q) = E_p[log p − log q] ≥ 0, in nats, one number a row.

    Keyword-only, because the two directions differ and no learning curve shows which was taken.
    The trust region of TRPO (arXiv:1502.05477, eq. 12) is ``kl_divergence(p=old, q=new)``.
    """
    return p.kl_to(q)


class Categorical(eqx.Module):
    """A choice among n actions 0 … n−1, by unnormalised log-probabilities."""

    logits: Float[Array, "*B n"]

    def __init__(self, logits: Any):
        self.logits = jnp.asarray(logits)

    @property
    def log_probabilities(self) -> Float[Array, "*B n"]:
        """log π(·), normalised."""
        return jax.nn.log_softmax(self.logits)

    def noise(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "*S n"]:
        """Gumbel noise, one number an action."""
        return jax.random.gumbel(key, (*sample_shape, *self.logits.shape), self.logits.dtype)

    def sample_from(self, noise: Float[Array, "*S n"]) -> Int[Array, "*S"]:
        """argmax(logits + Gumbel noise): distributed as softmax(logits)."""
        return jnp.argmax(self.logits + noise, axis=-1)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*B"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Int[Array, "*B"]:
        """The most probable action of each row."""
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """log π(action), in nats."""
        # A comparison with every action, not a gather: its transpose is a scatter, slow on a CPU.
        chosen = jnp.arange(self.logits.shape[-1]) == jnp.asarray(action)[..., None]
        return jnp.sum(jnp.where(chosen, self.log_probabilities, 0), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """−Σ π log π, in nats."""
        log_p = self.log_probabilities
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    def kl_to(self, other: "Categorical") -> Float[Array, "*B"]:
        """Σ p (log p − log q), as Σ [p (log p − log q) + q − p].

        The added terms sum to 0, and make each summand non-negative: near p = q the plain sum
        cancels to a rounding error of either sign, this one does not. (Clamping the result at 0
        instead would halve its second derivative at p = q, which is the Fisher matrix.)
        With d = log p − log q, q − p is p·expm1(−d) unless q is much larger: the rounding errors
        of two exponentials are of size p·ε, where the summand is ½pd².
        """
        log_p, log_q = self.log_probabilities, other.log_probabilities
        p, d = jnp.exp(log_p), log_p - log_q
        near = d > -1
        small = jnp.where(near, d, 0)
        far = p * d + (jnp.exp(log_q) - p)
        return jnp.sum(jnp.where(near, p * (small + jnp.expm1(-small)), far), axis=-1)

    def fisher_metric(self, tangent: "Categorical") -> "Categorical":
        """(diag(p) − ppᵀ)·tangent: the Fisher matrix in the logits."""
        p = jnp.exp(self.log_probabilities)
        u = tangent.logits
        return type(self)(p * (u - jnp.sum(p * u, axis=-1, keepdims=True)))


class DiagonalGaussian(eqx.Module):
    """Independent normal actions; ``log_std`` (nats) broadcasts against ``mean``."""

    mean: Float[Array, "*B a"]
    log_std: Float[Array, "*B a"]

    def __init__(self, mean: Any, log_std: Any):
        # Both leaves get the batch's shape, so that every parameter has one row a sample.
        self.mean, self.log_std = jnp.broadcast_arrays(jnp.asarray(mean), jnp.asarray(log_std))

    def noise(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "*S a"]:
        """Standard normal noise, one number an action dimension."""
        return jax.random.normal(key, (*sample_shape, *self.mean.shape), self.mean.dtype)

    def sample_from(self, noise: Float[Array, "*S a"]) -> Float[Array, "*S a"]:
        """μ + σ·noise."""
        return self.mean + jnp.exp(self.log_std) * noise

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*B a"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Float[Array, "*B a"]:
        """The mean."""
        return self.mean

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """Log density of ``action``, in nats, summed over action dimensions."""
        z = (jnp.asarray(action) - self.mean) * jnp.exp(-self.log_std)
        return -jnp.sum(0.5 * jnp.square(z) + self.log_std + 0.5 * math.log(2 * math.pi), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Differential entropy, in nats; negative for narrow distributions."""
        return jnp.sum(self.log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def kl_to(self, other: "DiagonalGaussian") -> Float[Array, "*B"]:
        """Σ [log σq/σp + (σp² + (μp − μq)²) / 2σq² − ½], with s = log σp − log σq.

        Written ½(expm1(2s) − 2s) + ½((μp − μq)/σq)², which keeps its digits near p = q.
        """
        s = self.log_std - other.log_std
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return 0.5 * jnp.sum(jnp.expm1(2 * s) - 2 * s + jnp.square(shift), axis=-1)

    def fisher_metric(self, tangent: "DiagonalGaussian") -> "DiagonalGaussian":
        """(dμ/σ², 2·d log σ): the Fisher matrix in (mean, log_std) is diagonal."""
        return type(self)(jnp.exp(-2 * self.log_std) * tangent.mean, 2 * tangent.log_std)
