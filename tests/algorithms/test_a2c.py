"""A2C: one joint step on the definition of its objective."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from probe import SETTINGS, adam_first_step, flat_grad, one_update

from klamp.config.algorithms import A2C
from klamp.trust_region.report import Outcome

CONFIG = A2C(
    learning_rate=1e-3, entropy_coefficient=0.1, value_coefficient=0.3, max_gradient_norm=1e6
)


@pytest.mark.parametrize("kind", [{}, {"continuous": True}, {"shared": True}])
def test_the_step_follows_the_gradient_of_the_definition(kind: dict[str, bool]) -> None:
    model, theta, batch, update = one_update(CONFIG, **kind)

    def objective(new, value):
        policy = jnp.mean(new.log_prob(batch.action) * batch.advantage)
        error = jnp.mean(jnp.square(value - batch.value_target))
        return -policy + 0.3 * error - 0.1 * jnp.mean(new.entropy())

    gradient = flat_grad(model, theta, objective, batch)
    np.testing.assert_allclose(update.state.first, 0.1 * gradient, atol=1e-6)
    direction = adam_first_step(gradient, max_gradient_norm=1e6)
    moved = np.asarray((theta - update.theta) / CONFIG.learning_rate)
    np.testing.assert_allclose(moved, direction, atol=3e-3)
    norm = np.linalg.norm(gradient)
    assert float(update.details["gradient_norm"]) == pytest.approx(norm, rel=1e-4)
    assert int(update.outcome) == Outcome.ACCEPTED
    assert int(update.state.steps) == 1


def test_the_step_size_is_scheduled() -> None:
    config = replace(CONFIG, final_learning_rate=0.0)
    full, half, none = (one_update(config, progress=p)[3].theta for p in (0.0, 0.5, 1.0))
    theta = one_update(config, progress=0.0)[1]
    np.testing.assert_allclose(half - theta, 0.5 * (full - theta), atol=1e-6)
    np.testing.assert_array_equal(none, theta)


def test_without_value_loss_the_critic_stays() -> None:
    model, theta, _, update = one_update(replace(CONFIG, value_coefficient=0.0))
    end = model.policy_end
    np.testing.assert_array_equal(update.theta[end:], theta[end:])


def test_the_gradient_is_clipped() -> None:
    _, _, _, update = one_update(replace(CONFIG, max_gradient_norm=1e-3))
    assert float(jnp.linalg.norm(update.state.first)) == pytest.approx(1e-4, rel=1e-3)
    # What is told is the gradient's own norm, not what was left of it.
    assert float(update.details["gradient_norm"]) > 1e-2


def test_the_batch_is_the_only_minibatch() -> None:
    settings = replace(SETTINGS, advantage_normalization="minibatch")
    # The probe's advantages are standardised already: doing it again changes nothing.
    one, other = one_update(CONFIG), one_update(CONFIG, settings=settings)
    np.testing.assert_allclose(one[3].theta, other[3].theta, atol=1e-5)
