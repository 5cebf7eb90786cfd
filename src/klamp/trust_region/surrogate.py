"""The surrogate E[r·Â] of a batch, and its change together with the KL that the change costs."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.magnitude import power_of_two
from klamp.mathematics.weighting import weighted_mean, zeroed
from klamp.trust_region.line_search import Candidate
from klamp.trust_region.rounding import Rounding, ceiling
from klamp.types import Batch, Policy


def in_units(batch: Batch) -> tuple[Batch, Float[Array, ""]]:
    """The batch, its advantages divided by a power of two of the largest; and that unit.

    No sum or square of them over- or underflows then, and no digit changes.
    """
    largest = jnp.max(jnp.abs(zeroed(batch.advantage, batch.weight)), initial=0)
    unit = power_of_two(largest)
    return batch._replace(advantage=batch.advantage / unit), unit


def surrogate(policy: Policy, theta: Float[Array, " n"], batch: Batch) -> Float[Array, ""]:
    """E[r·Â] at θ."""
    log_prob = policy(theta, batch.inputs).log_prob(batch.action)
    ratio = jnp.exp(log_prob - batch.old_policy().log_prob(batch.action))
    return weighted_mean(ratio * batch.advantage, batch.weight)


def surrogate_and_kl(
    policy: Policy, theta: Float[Array, " n"], batch: Batch, rounding: Rounding
) -> Callable[[Float[Array, " n"]], Candidate]:
    """θ' ↦ (gain, rounding error of the gain, KL(old‖π_θ') and its ceiling), relative to ``theta``.

    The gain E[(r' − r)·Â] is computed as E[r·expm1(log r' − log r)·Â]: the difference of two
    means of size E|Â| would drown a small step's gain in their rounding.
    """
    log_prob = policy(theta, batch.inputs).log_prob(batch.action)
    ratio = jnp.exp(log_prob - batch.old_policy().log_prob(batch.action))
    scale = weighted_mean(jnp.abs(ratio * batch.advantage), batch.weight)
    floor = 2 * jnp.finfo(theta.dtype).eps * scale

    def evaluate(at: Float[Array, " n"]) -> Candidate:
        new = policy(at, batch.inputs)
        change = jnp.expm1(new.log_prob(batch.action) - log_prob)
        gain = weighted_mean(ratio * change * batch.advantage, batch.weight)
        # A policy may be finite where a parameter is not.
        gain = jnp.where(jnp.all(jnp.isfinite(at)), gain, jnp.nan)
        kl = weighted_mean(kl_divergence(p=batch.old_policy(), q=new), batch.weight)
        return Candidate(gain, floor, kl, ceiling(kl, new, rounding, batch.weight))

    return evaluate
