"""What a sampled token is worth: group baselines, and the aggregation of tokens to an objective.

Both are numbers that Â is made of or multiplied by. The weight of a token stays 0 or 1, so that the
mean KL, the entropy and the value loss are means over action tokens whatever the algorithm.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.weighting import zeroed

GroupBaseline = Literal["group", "group-mean", "leave-one-out"]
Aggregation = Literal["token", "sequence", "constant"]

SPREAD = 1e-6
"""Returns of a group that differ by less than this share of the largest differ by rounding."""


def group_advantage(
    score: Float[Array, " S"], generations: int, baseline: GroupBaseline
) -> Float[Array, " S"]:
    """The return of each completion against those of the same prompt, G = ``generations`` in a row.

    ``group``: (R − mean)/deviation (GRPO, arXiv:2402.03300, eq. 3 and §4.1.2), 0 where all are
    equal. ``group-mean``: R − mean (Dr. GRPO, arXiv:2503.20783, eq. 5). ``leave-one-out``: R less
    the mean of the other G − 1 (RLOO, arXiv:2402.14740, eq. 8), G/(G − 1) times as much. A shift of
    a prompt's returns changes nothing; nor does their scale with ``group``. G ≥ 2.
    """
    groups = score.reshape(-1, generations)
    centred = groups - jnp.mean(groups, axis=1, keepdims=True)
    if baseline == "leave-one-out":
        centred = centred * (generations / (generations - 1))
    if baseline == "group":
        deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axis=1, keepdims=True))
        even = without_spread(score, generations)[:, None]
        centred = jnp.where(even, 0, centred / jnp.where(even, 1, deviation))
    return centred.reshape(-1)


def without_spread(score: Float[Array, " S"], generations: int) -> Float[Array, " groups"]:
    """True for groups whose returns are all alike: nothing can be learnt from them."""
    groups = score.reshape(-1, generations)
    largest = jnp.max(jnp.abs(groups), axis=1)
    return jnp.max(groups, axis=1) - jnp.min(groups, axis=1) <= SPREAD * largest


def aggregation_scale(weight: Float[Array, "S A"], aggregation: Aggregation) -> Float[Array, "S A"]:
    """What Â is multiplied by, so that a mean over the N action tokens is another mean.

    ``token``: 1, the mean over tokens (DAPO, arXiv:2503.14476, eq. 8). ``sequence``: N/(S·n) for a
    completion of n tokens, the mean over completions of each one's mean (GRPO, eq. 3).
    ``constant``: N/(S·A), each completion's sum over a length that is the same for all (Dr. GRPO).
    S counts the completions that have weight.
    """
    scored = weight > 0
    length = jnp.sum(scored, axis=1, keepdims=True)
    tokens, sequences = jnp.sum(length), jnp.maximum(jnp.sum(length > 0), 1)
    share = tokens / sequences
    match aggregation:
        case "token":
            scale = jnp.ones_like(length)
        case "sequence":
            scale = share / jnp.maximum(length, 1)
        case "constant":
            scale = jnp.full(length.shape, share / weight.shape[1])
    return zeroed(jnp.broadcast_to(scale, weight.shape), weight)
