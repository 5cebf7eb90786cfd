"""NPG: TRPO's full step, taken as it is, and refused where there is none."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from probe import compiled, make_model, mean_kl, one_update, sample

from klamp.algorithms import npg
from klamp.config.algorithms import NPG, TRPO
from klamp.mathematics.distributions import DiagonalGaussian
from klamp.trust_region.line_search import FullStep
from klamp.trust_region.report import Outcome
from klamp.trust_region.step import trust_region_step
from klamp.types import Batch

SMALL = NPG(max_kl=1e-4, damping=0.01)


@pytest.mark.parametrize(
    "kind", [{}, pytest.param({"continuous": True}, marks=pytest.mark.compiles)]
)
def test_it_takes_the_full_step_of_trpo(kind: dict[str, bool]) -> None:
    model, theta, _, natural = one_update(SMALL, **kind)
    _, _, _, searched = one_update(TRPO(max_kl=1e-4, damping=0.01), **kind)
    assert int(natural.outcome) == Outcome.ACCEPTED
    # TRPO's first candidate is NPG's step; its search may shorten it by 0.8 each time.
    shortening = 0.8 ** int(searched.details["backtracks"])
    end = model.policy_end
    np.testing.assert_allclose(
        searched.theta[:end] - theta[:end],
        shortening * (natural.theta[:end] - theta[:end]),
        atol=1e-6,
    )
    np.testing.assert_allclose(natural.theta[end:], searched.theta[end:], atol=1e-6)
    assert set(natural.details) == set(searched.details)
    assert float(natural.details["step_scale"]) > 0
    assert int(natural.details["backtracks"]) == 0


def test_the_predictions_hold_where_the_step_is_small() -> None:
    model, _, batch, update = one_update(SMALL)
    predicted = float(update.details["kl_predicted"])
    # The damping's share of δ is not spent.
    assert 0.5e-4 < predicted < 1e-4
    assert mean_kl(model, update.theta, batch) == pytest.approx(predicted, rel=0.1)
    gain = float(update.details["gain_actual"])
    assert gain == pytest.approx(float(update.details["gain_predicted"]), rel=0.05)
    new = model.distribution(update.theta, batch.inputs)
    ratio = np.exp(new.log_prob(batch.action) - batch.old.log_prob(batch.action))
    assert gain == pytest.approx(float(np.mean((ratio - 1) * batch.advantage)), rel=1e-2)


def test_a_larger_region_takes_a_larger_step_and_damping_a_smaller_one() -> None:
    def kl(config: NPG) -> float:
        model, _, batch, update = one_update(config)
        return mean_kl(model, update.theta, batch)

    assert kl(replace(SMALL, max_kl=1e-3)) > 5 * kl(SMALL)
    damped = replace(SMALL, damping=10.0, cg_iterations=1)
    assert kl(damped) < 0.5 * kl(SMALL)
    # Fewer iterations leave a larger residual, here of a system that is almost 10 times the unit.
    few, many = (one_update(config)[3].details for config in (damped, SMALL))
    assert (int(few["cg_iterations"]), int(many["cg_iterations"])) == (1, 10)
    assert float(many["cg_residual"]) < 1e-3


def advantages(batch: Batch, kind: str) -> Batch:
    if kind == "zero":
        return batch._replace(advantage=jnp.zeros_like(batch.advantage))
    value = {"nan": jnp.nan, "infinite": jnp.inf, "overflowing": 3e38}[kind]
    return batch._replace(advantage=batch.advantage.at[5].set(value))


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("zero", Outcome.ZERO_GRADIENT),
        ("nan", Outcome.NON_FINITE),
        ("infinite", Outcome.NON_FINITE),
    ],
)
def test_a_refused_step_leaves_the_policy_bit_identical(kind: str, outcome: Outcome) -> None:
    theta, model = make_model()
    batch = advantages(sample(model, theta, 1)[0], kind)
    update = compiled(SMALL, model)(theta, npg.init(SMALL, model, theta), batch)
    end = model.policy_end
    assert Outcome(int(update.outcome)) == outcome
    assert np.asarray(update.theta[:end]).tobytes() == np.asarray(theta[:end]).tobytes()
    assert float(update.details["step_scale"]) == 0
    assert float(update.details["gain_actual"]) == 0
    # The critic's targets are sound, so it still learns.
    assert np.any(update.theta[end:] != theta[end:])


class Negative(DiagonalGaussian):
    """A Gaussian that claims a Fisher metric of −1."""

    def fisher_metric(self, tangent):
        return Negative(-tangent.mean, -tangent.log_std)


def test_a_policy_without_curvature_is_refused() -> None:
    def policy(theta, inputs):
        return Negative(theta[0] * inputs, jnp.zeros_like(inputs))

    inputs, theta = jnp.asarray([[1.0], [2.0]]), jnp.asarray([0.5])
    old = policy(theta, inputs)
    batch = Batch(inputs, jnp.asarray([[1.0], [0.0]]), jnp.asarray([1.0, -1.0]), old)
    part, report = trust_region_step(policy, theta, batch, damping=0.0, search=FullStep())
    assert Outcome(int(report.outcome)) == Outcome.NONPOSITIVE_CURVATURE
    assert float(part[0]) == 0.5
