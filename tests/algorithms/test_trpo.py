"""TRPO's update: a step within the region, or none, and then the critic."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe import SETTINGS, compiled, make_model, mean_kl, one_update, sample

from klamp.algorithms import trpo
from klamp.config.algorithms import TRPO
from klamp.trust_region.report import Outcome
from klamp.trust_region.step import trust_region_step

CONFIG = TRPO(max_kl=0.01, damping=0.01)
TIGHT, LOOSE = replace(CONFIG, max_kl=0.001), replace(CONFIG, max_kl=0.05)


@pytest.mark.parametrize("kind", [{}, {"continuous": True}])
@pytest.mark.parametrize("config", [TIGHT, LOOSE], ids=["tight", "loose"])
def test_the_step_improves_within_the_region(kind: dict[str, bool], config: TRPO) -> None:
    model, theta, batch, update = one_update(config, **kind)
    assert Outcome(int(update.outcome)) == Outcome.ACCEPTED
    assert 0.3 * config.max_kl < mean_kl(model, update.theta, batch) <= config.max_kl
    assert float(update.details["gain_actual"]) > 0
    end = model.policy_end
    before, after = (
        float(np.square(model.value(t, batch.inputs) - batch.value_target).mean())
        for t in (theta, update.theta)
    )
    assert after < before
    assert np.any(update.theta[end:] != theta[end:])


def test_a_refused_step_leaves_the_policy_bit_identical() -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    step = compiled(TIGHT, model)
    state, end = trpo.init(TIGHT, model, theta), model.policy_end
    for advantage, outcome in (
        (jnp.zeros(64), Outcome.ZERO_GRADIENT),
        (batch.advantage.at[0].set(jnp.nan), Outcome.NON_FINITE),
    ):
        update = step(theta, state, batch._replace(advantage=advantage))
        assert Outcome(int(update.outcome)) == outcome
        assert np.asarray(update.theta[:end]).tobytes() == np.asarray(theta[:end]).tobytes()


def test_more_passes_fit_the_critic_closer() -> None:
    def error(epochs: int) -> float:
        settings = replace(SETTINGS, critic_epochs=epochs, critic_learning_rate=1e-2)
        model, _, batch, update = one_update(CONFIG, settings=settings)
        fitted = model.value(update.theta, batch.inputs)
        return float(np.square(fitted - batch.value_target).mean())

    assert error(20) < 0.7 * error(1)


def test_a_thinned_fisher_matrix_is_of_every_kth_row_and_serves_the_direction_alone() -> None:
    model, theta, batch, whole = one_update(LOOSE)
    thin = replace(LOOSE, fisher_subsample=4)
    update = compiled(thin, model)(theta, trpo.init(thin, model, theta), batch)
    assert Outcome(int(update.outcome)) == Outcome.ACCEPTED
    # The bound is on the KL of all rows, and so is what is reported.
    assert mean_kl(model, update.theta, batch) <= LOOSE.max_kl
    end = model.policy_end
    fisher_batch = jax.tree.map(lambda leaf: leaf[::4], batch)
    expected, _ = trust_region_step(
        model.policy, theta[:end], batch, max_kl=0.05, damping=0.01, fisher_batch=fisher_batch
    )
    # The same step to the rounding of a badly conditioned system, and another than of all rows.
    step = np.linalg.norm(expected - theta[:end])
    assert np.linalg.norm(update.theta[:end] - expected) < 1e-3 * step
    assert np.linalg.norm(whole.theta[:end] - expected) > 1e-2 * step
    of_all = float(whole.details["gradient_norm"])
    assert float(update.details["gradient_norm"]) == pytest.approx(of_all, rel=1e-6)
