"""The charge for leaving the reference, and how its price adapts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp import Categorical, kl_divergence
from klamp.lm.learning.reference import adapted, charged


def test_each_token_is_charged_for_its_own_log_ratio() -> None:
    here, far = (jax.random.normal(jax.random.key(seed), (2, 3, 5)) for seed in (0, 1))
    reward, weight = jnp.ones((2, 3)), jnp.asarray([[1, 1, 0], [1, 0, 0.0]])
    broken, action = here.at[0, 2].set(jnp.nan), jnp.asarray([[4, 0, 1], [2, 3, 3]])
    policy, reference = Categorical(broken), Categorical(far)
    found = charged(reward, policy, reference, action, jnp.asarray(0.5), weight)
    p, q = (np.asarray(jax.nn.softmax(x)) for x in (here, far))
    ratio = np.take_along_axis(np.log(p / q), np.asarray(action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found, 1 - 0.5 * np.where(weight > 0, ratio, 0), rtol=1e-5)


def test_the_policy_gradient_of_the_charge_is_the_gradient_of_the_kl() -> None:
    """Σ π(a)·∇log π(a)·charge(a) over all tokens of one state; the exact KL would give 0."""
    here, far = (jax.random.normal(jax.random.key(seed), (5,)) for seed in (0, 1))
    every, one = jnp.arange(5)[None], jnp.ones((1, 5))
    rows = [Categorical(jnp.tile(x, (1, 5, 1))) for x in (here, far)]
    charge = -charged(jnp.zeros((1, 5)), *rows, every, jnp.asarray(1.0), one)[0]
    scores = jax.jacobian(jax.nn.log_softmax)(here)
    found = (jax.nn.softmax(here) * charge) @ scores
    kl = jax.grad(lambda x: kl_divergence(p=Categorical(x), q=Categorical(far)))(here)
    np.testing.assert_allclose(found, kl, rtol=1e-4, atol=1e-6)


def test_the_price_follows_the_target_within_a_tenth() -> None:
    price = jnp.asarray(2.0)
    for kl, factor in ((0.1, 1.0), (0.11, 1.05), (5.0, 1.1), (0.09, 0.95), (0.0, 0.9)):
        assert float(adapted(price, jnp.asarray(kl), 0.1)) == pytest.approx(2 * factor, rel=1e-4)
    assert float(adapted(price, jnp.asarray(jnp.nan), 0.1)) == 2
