"""Several choices at once: the sum of categoricals."""

import jax
import jax.numpy as jnp
import numpy as np
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
)

from klamp import Categorical
from klamp.mathematics.distributions import MultiCategorical
from klamp.mathematics.distributions.joint import mask_size

SIZES = (2, 3, 4)


def build(out: jax.Array) -> MultiCategorical:
    return MultiCategorical(out, SIZES)


def logits(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 9))


def test_definitions() -> None:
    check_monte_carlo(build(logits(0)), build(logits(1)))
    check_fisher(build, 9)
    check_fisher_is_the_scores_covariance(build, 9)
    check_entropy_gradient(build, 9)


def test_each_quantity_is_the_sum_over_the_parts() -> None:
    p, q, action = build(logits(0)), build(logits(1)), jnp.asarray([[1, 2, 3]] * 3)
    first = [Categorical(logits(0)[:, a:b]) for a, b in ((0, 2), (2, 5), (5, 9))]
    second = [Categorical(logits(1)[:, a:b]) for a, b in ((0, 2), (2, 5), (5, 9))]
    scores = sum(part.log_prob(action[:, i]) for i, part in enumerate(first))
    np.testing.assert_allclose(p.log_prob(action), scores, rtol=1e-6)
    np.testing.assert_allclose(p.entropy(), sum(x.entropy() for x in first), rtol=1e-6)
    divergences = sum(x.kl_to(y) for x, y in zip(first, second, strict=True))
    np.testing.assert_allclose(p.kl_to(q), divergences, rtol=1e-6)


def test_masks_concatenate() -> None:
    mask = jnp.asarray([[False, True, True, False, True, False, False, False, True]] * 3)
    p = build(logits(0)).masked(mask)
    assert mask_size(p) == 9
    drawn = np.asarray(p.sample_from(p.noise(jax.random.key(0), (1000,))))
    assert set(np.unique(drawn[..., 0])) == {1}
    assert set(np.unique(drawn[..., 1])) == {0, 2}
    assert set(np.unique(drawn[..., 2])) == {3}
