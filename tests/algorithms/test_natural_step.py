"""The natural step that TRPO and NPG share: the policy's part of θ, then the critic's."""

import jax.numpy as jnp
import numpy as np
from probe import context_of, make_model, quickly, sample

from klamp.algorithms import critic_fit
from klamp.algorithms.natural_step import COMMON, natural_update
from klamp.config.algorithms import NPG
from klamp.trust_region.line_search import FullStep
from klamp.trust_region.report import StepReport
from klamp.trust_region.step import trust_region_step

CONFIG = NPG(max_kl=1e-3, damping=0.01)


def test_the_policy_takes_the_step_and_the_critic_its_fit() -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 2)
    context, end = context_of(model), model.policy_end
    state = critic_fit.initial_moments(model, theta)

    @quickly
    def update(theta):
        return natural_update(
            CONFIG, context, theta, state, batch, search=FullStep(), step_share=0.5
        )

    found = update(theta)
    part, report = trust_region_step(
        model.policy,
        theta[:end],
        batch,
        max_kl=0.5e-3,
        damping=0.01,
        search=FullStep(),
        sequence=1,
    )
    np.testing.assert_allclose(found.theta[:end], part, rtol=1e-4, atol=1e-6)
    assert set(found.details) == set(StepReport._fields) - set(COMMON)
    np.testing.assert_allclose(found.details["kl_predicted"], report.kl_predicted, rtol=1e-3)
    assert np.any(found.theta[end:] != theta[end:])
    without, _, told = critic_fit.fit_after_step(
        context, theta, state, batch._replace(value_target=None), max_kl=1e-3
    )
    assert jnp.array_equal(without, theta)
    assert told == {}
