"""Returns and advantages, from rewards and values; time-major, exact at every episode end."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from klamp.config.choices import AdvantageEstimator, ValueTarget
from klamp.mathematics.weighting import weighted_mean, weighted_variance
from klamp.types import HostOrDevice


def gae(
    reward: Float[HostOrDevice, "T *N"],
    value: Float[HostOrDevice, "T *N"],
    next_value: Float[HostOrDevice, "T *N"],
    terminated: Shaped[HostOrDevice, "T *N"],
    truncated: Shaped[HostOrDevice, "T *N"],
    *,
    discount: float | Float[Array, ""],
    trace_decay: float | Float[Array, ""],
) -> Float[Array, "T *N"]:
    """Generalised advantage estimation (arXiv:1506.02438, eq. 16), exact at episode ends.

    ``δ_t = r_t + γ·V(s'_t)·(1 − terminated_t) − V(s_t)`` and
    ``A_t = δ_t + γλ·(1 − terminated_t)·(1 − truncated_t)·A_{t+1}``, with A_T = 0.

    ``next_value`` is V of the *true* next observation, the final one where an episode ended: a
    truncated episode goes on beyond the cut, so it is bootstrapped; a terminated one is over. What
    stands in ``next_value`` where ``terminated`` is set is not read (it may be NaN).
    ``discount`` γ and ``trace_decay`` λ are in [0, 1].
    """
    reward, value = jnp.asarray(reward), jnp.asarray(value)
    terminated, truncated = jnp.asarray(terminated, bool), jnp.asarray(truncated, bool)
    delta = reward + discount * jnp.where(terminated, 0, jnp.asarray(next_value)) - value
    carry_on = discount * trace_decay * jnp.where(terminated | truncated, 0, jnp.ones_like(delta))

    def backward(following: Float[Array, "*N"], step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, carry_on_t = step
        # Not a product with 0: a NaN must not cross the end of an episode.
        advantage = delta_t + jnp.where(carry_on_t > 0, carry_on_t * following, 0)
        return advantage, advantage

    return jax.lax.scan(backward, jnp.zeros_like(delta[0]), (delta, carry_on), reverse=True)[1]


def discounted_returns(
    reward: Float[HostOrDevice, "T *N"],
    next_value: Float[HostOrDevice, "T *N"],
    terminated: Shaped[HostOrDevice, "T *N"],
    truncated: Shaped[HostOrDevice, "T *N"],
    *,
    discount: float | Float[Array, ""],
) -> Float[Array, "T *N"]:
    """Monte-Carlo returns ``R_t = r_t + γ·R_{t+1}``, exact at episode ends.

    R stops at a termination. At a truncation, and at the end of the rollout, the part that was not
    seen is V of the true next observation; ``next_value`` of zeros gives the plain sum of rewards.
    """
    zeros = jnp.zeros_like(jnp.asarray(reward))
    cut = jnp.asarray(truncated, bool).at[-1].set(True)
    # With V ≡ 0 inside an episode and λ = 1, A_t is the discounted sum itself.
    bootstrap = jnp.where(cut, jnp.asarray(next_value), 0)
    return gae(reward, zeros, bootstrap, terminated, cut, discount=discount, trace_decay=1.0)


def estimate(
    reward: Float[HostOrDevice, "T *N"],
    value: Float[HostOrDevice, "T *N"],
    next_value: Float[HostOrDevice, "T *N"],
    terminated: Shaped[HostOrDevice, "T *N"],
    truncated: Shaped[HostOrDevice, "T *N"],
    weight: Float[HostOrDevice, "T *N"] | None = None,
    *,
    discount: float,
    trace_decay: float,
    estimator: AdvantageEstimator = "gae",
    target: ValueTarget = "td-lambda",
) -> tuple[Float[Array, "T *N"], Float[Array, "T *N"]]:
    """The advantage that weighs ∇ log π, and the target of the critic: all choices in one place.

    ``"gae"`` is A^GAE(γ, λ). The others start from a Monte-Carlo return: ``"monte-carlo"`` is
    R_t − V(s_t), with V for what lies beyond the end of the rollout. ``"return"`` is R_t itself,
    without a critic, so R_t ends with the rollout: the policy gradient of the reward up to that
    end. ``"standardized-return"`` is that return, standardised to mean 0 and deviation 1 over the
    batch, minus V(s_t), which learns the standardised return too. The critic's target is the
    λ-return A^GAE + V, or the Monte-Carlo return in use.
    """
    ends = (terminated, truncated)
    generalised = gae(reward, value, next_value, *ends, discount=discount, trace_decay=trace_decay)
    beyond = next_value if estimator in ("gae", "monte-carlo") else jnp.zeros_like(next_value)
    returns = discounted_returns(reward, beyond, *ends, discount=discount)
    if estimator == "standardized-return":
        returns = standardize(returns, weight)
    match estimator:
        case "gae":
            advantage = generalised
        case "return":
            advantage = returns
        case _:
            advantage = returns - value
    return advantage, generalised + value if target == "td-lambda" else returns


def standardize(
    advantage: Float[HostOrDevice, "*S"], weight: Float[HostOrDevice, "*S"] | None = None
) -> Float[Array, "*S"]:
    """(A − mean) / standard deviation over the samples with weight; rows of weight 0 become 0.

    Equal advantages give zeros, not noise: below a spread of 1e-6 of the largest |A| the
    difference between samples is rounding.
    """
    kept = advantage if weight is None else jnp.where(weight > 0, advantage, 0)
    largest = jnp.max(jnp.abs(kept))
    # In units of the largest, so that no square overflows.
    scaled = kept / jnp.where(largest > 0, largest, 1)
    centred = scaled - weighted_mean(scaled, weight)
    deviation = jnp.sqrt(weighted_variance(scaled, weight))
    # A comparison with NaN is false: a NaN comes out as NaN, not as an advantage of 0.
    equal = deviation <= 1e-6
    standard = jnp.where(equal, 0, centred / jnp.where(equal, 1, deviation))
    return standard if weight is None else jnp.where(weight > 0, standard, 0)
