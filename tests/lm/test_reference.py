"""The charge for leaving the reference, and how its price adapts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp import Categorical
from klamp.lm.reference import adapted, charged


def test_each_token_is_charged_for_the_exact_kl_of_its_state() -> None:
    here, far = (jax.random.normal(jax.random.key(seed), (2, 3, 5)) for seed in (0, 1))
    reward, weight = jnp.ones((2, 3)), jnp.asarray([[1, 1, 0], [1, 0, 0.0]])
    broken = here.at[0, 2].set(jnp.nan)
    found = charged(reward, Categorical(broken), Categorical(far), jnp.asarray(0.5), weight)
    p, q = (np.asarray(jax.nn.softmax(x)) for x in (here, far))
    kl = (p * np.log(p / q)).sum(-1)
    np.testing.assert_allclose(found, 1 - 0.5 * np.where(weight > 0, kl, 0), rtol=1e-5)


def test_the_price_follows_the_target_within_a_tenth() -> None:
    price = jnp.asarray(2.0)
    for kl, factor in ((0.1, 1.0), (0.11, 1.05), (5.0, 1.1), (0.09, 0.95), (0.0, 0.9)):
        assert float(adapted(price, jnp.asarray(kl), 0.1)) == pytest.approx(2 * factor, rel=1e-4)
    assert float(adapted(price, jnp.asarray(jnp.nan), 0.1)) == 2
