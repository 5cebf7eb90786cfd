"""PPO with a KL penalty: its objective, and β by the rule of §4."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from probe import adam_first_step, compiled, flat_grad, make_model, mean_kl, one_update, sample

from klamp.algorithms import ppo_penalty
from klamp.config.algorithms import PPOPenalty
from klamp.mathematics.objectives import penalized_surrogate

BASE = PPOPenalty(epochs=4, minibatch_size=32, learning_rate=1e-2)


def kl_of(config: PPOPenalty) -> float:
    model, _, batch, update = one_update(config)
    return mean_kl(model, update.theta, batch)


def test_the_objective_by_hand() -> None:
    ratio, advantage, kl = (jnp.asarray(v) for v in ([1.5, 0.5], [2.0, -1.0], [0.1, 0.3]))
    # ½·(1.5·2 − 3·0.1 + 0.5·(−1) − 3·0.3)
    assert float(penalized_surrogate(ratio, advantage, kl, 3.0)) == pytest.approx(0.65)
    weight = jnp.asarray([1.0, 0.0])
    garbage = kl.at[1].set(jnp.nan)
    assert float(penalized_surrogate(ratio, advantage, garbage, 3.0, weight)) == pytest.approx(2.7)


def test_the_step_is_that_of_equation_8() -> None:
    config = replace(BASE, epochs=1, minibatch_size=64, learning_rate=1e-3, kl_coefficient=5.0)
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    # Away from θ_old, where the KL has a gradient.
    there = theta + 0.3
    update = compiled(config, model)(there, ppo_penalty.init(config, model, there), batch)

    def objective(new, value):
        ratio = jnp.exp(new.log_prob(batch.action) - batch.old.log_prob(batch.action))
        p, log_p = jnp.exp(batch.old.log_probabilities), batch.old.log_probabilities
        kl = jnp.sum(p * (log_p - new.log_probabilities), -1)
        error = jnp.mean(jnp.square(value - batch.value_target))
        return -jnp.mean(ratio * batch.advantage - 5 * kl) + 0.5 * error

    direction = adam_first_step(
        flat_grad(model, there, objective, batch), max_gradient_norm=config.max_gradient_norm
    )
    moved = np.asarray((there - update.theta) / config.learning_rate)
    np.testing.assert_allclose(moved, direction, atol=3e-3)


@pytest.mark.parametrize(
    ("share", "factor"),
    [(0.1, 0.5), (0.66, 0.5), (0.67, 1), (1.0, 1), (1.49, 1), (1.51, 2), (100.0, 2)],
)
def test_the_rule(share: float, factor: float) -> None:
    beta = ppo_penalty.adapted(jnp.asarray(0.3), jnp.asarray(share * 0.01), 0.01)
    assert float(beta) == pytest.approx(0.3 * factor, rel=1e-6)


def test_beta_stays_where_it_can_come_back_from() -> None:
    lowest, highest = ppo_penalty.COEFFICIENTS
    near, far = jnp.asarray(0.0), jnp.asarray(1.0)
    assert float(ppo_penalty.adapted(jnp.asarray(lowest), near, 0.01)) == pytest.approx(lowest)
    assert float(ppo_penalty.adapted(jnp.asarray(highest), far, 0.01)) == pytest.approx(highest)
    # NaN is neither near nor far.
    assert float(ppo_penalty.adapted(far, jnp.asarray(jnp.nan), 0.01)) == 1


@pytest.mark.parametrize(("scale", "factor"), [(1e-3, 2), (1, 1), (1e3, 0.5)])
def test_an_update_adapts_by_the_exact_kl_of_the_whole_batch(scale: float, factor: float) -> None:
    config = replace(BASE, target_kl=scale * kl_of(BASE), kl_coefficient=1.0)
    update = one_update(config)[3]
    assert float(update.details["kl_coefficient"]) == 1
    assert float(update.state.kl_coefficient) == factor


def test_a_fixed_coefficient_stays_and_a_higher_price_buys_a_smaller_step() -> None:
    fixed = replace(BASE, target_kl=None)
    assert float(one_update(fixed)[3].state.kl_coefficient) == 1
    cheap, dear = replace(fixed, kl_coefficient=0.0), replace(fixed, kl_coefficient=100.0)
    assert kl_of(dear) < 0.3 * kl_of(cheap)
    assert kl_of(replace(fixed, epochs=8)) > kl_of(fixed)


def test_the_coefficient_used_is_the_one_of_the_state() -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    config = replace(BASE, target_kl=None)
    state = ppo_penalty.init(config, model, theta)
    dear = state._replace(kl_coefficient=jnp.asarray(100.0))
    step = compiled(config, model)
    kls = [mean_kl(model, step(theta, s, batch).theta, batch) for s in (state, dear)]
    assert kls[1] < 0.5 * kls[0]
    # The report says which one was used.
    assert float(step(theta, dear, batch).details["kl_coefficient"]) == 100
