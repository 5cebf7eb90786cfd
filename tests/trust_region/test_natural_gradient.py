import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import POLICIES, as_arrays, precision

from klamp import Batch, DiagonalGaussian, Outcome, trust_region_step

CATEGORICAL = POLICIES[0]


def test_the_step_is_that_of_the_explicit_fisher_matrix():
    # In float64 with as many iterations as parameters: x = (F + λI)⁻¹g, F as the Hessian of the KL.
    problem = CATEGORICAL
    with precision("float64") as dtype:
        rng = np.random.default_rng(1)
        theta = as_arrays(problem.theta(rng), dtype)
        flat, unravel = ravel_pytree(theta)
        batch = as_arrays(problem.batch(rng, jax.tree.map(np.asarray, theta)), dtype)
        batch = batch._replace(old=problem.policy(theta, batch.inputs))
        damping, max_kl = 0.03, 1e-3

        @jax.jit
        def derivatives(flat):
            def kl(at):
                return jnp.mean(batch.old.kl_to(problem.policy(unravel(at), batch.inputs)))

            def surrogate(at):
                new = problem.policy(unravel(at), batch.inputs)
                log_ratio = new.log_prob(batch.action) - batch.old.log_prob(batch.action)
                return jnp.mean(jnp.exp(log_ratio) * batch.advantage)

            return jax.grad(surrogate)(flat), jax.hessian(kl)(flat)

        gradient, hessian = (np.asarray(x) for x in derivatives(flat))
        damped = hessian + damping * np.eye(flat.size)
        x = np.linalg.solve(damped, gradient)
        step = np.sqrt(2 * max_kl / (x @ damped @ x)) * x
        new_theta, report = trust_region_step(
            problem.policy, theta, batch, max_kl=max_kl, damping=damping, cg_iterations=100
        )
        assert int(report.outcome) == Outcome.ACCEPTED
        step = step * 0.8 ** int(report.backtracks)
        np.testing.assert_allclose(
            ravel_pytree(new_theta)[0] - flat, step, rtol=1e-6, atol=1e-9 * np.abs(step).max()
        )
        assert report.kl_predicted == pytest.approx(0.5 * step @ hessian @ step, rel=1e-6)
        assert report.gain_predicted == pytest.approx(gradient @ step, rel=1e-6)
        assert report.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)


def test_the_natural_step_does_not_depend_on_the_parametrisation():
    # φ with θ = Cφ describes the same policies; without damping the new policy is the same too,
    # which no plain gradient step achieves.
    def policy(phi, inputs):
        observation, change = inputs
        theta = change @ phi
        return DiagonalGaussian(observation @ theta[:6].reshape(3, 2), theta[6:])

    with precision("float64") as dtype:
        rng = np.random.default_rng(2)
        theta, observation = rng.normal(size=8), rng.normal(size=(24, 3))
        mean, advantage = observation @ theta[:6].reshape(3, 2), rng.normal(size=24)
        action = mean + np.exp(theta[6:]) * rng.normal(size=mean.shape)
        old = DiagonalGaussian(mean, theta[6:])

        def step(change):
            inputs = observation, change
            batch = as_arrays(Batch(inputs, action, advantage, old), dtype)
            phi = jnp.asarray(np.linalg.solve(change, theta))
            new_phi, report = trust_region_step(policy, phi, batch, damping=0.0, cg_iterations=30)
            assert int(report.outcome) == Outcome.ACCEPTED
            return change @ np.asarray(new_phi)

        new_theta = step(np.eye(8))
        other = step(np.eye(8) + 0.2 * rng.normal(size=(8, 8)))
        np.testing.assert_allclose(other, new_theta, rtol=1e-7)
        assert np.max(np.abs(new_theta - theta)) > 0.01
