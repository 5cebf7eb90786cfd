"""What a measured KL may stand for: judged by networks in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import PolicyProblem, as_arrays

from klamp import Outcome, kl_divergence, trust_region_step
from klamp.trust_region.projection import project_update
from klamp.trust_region.rounding import attainable, ceiling, resolution, rounding_of

COUNT = 600
HEADS = ["gaussian", "gaussian of the state"]


def problems(head: str, rows: int, count: int = COUNT):
    """Policies with σ from e^−10 to 1 and means up to 1,000, and small changes of them."""
    problem = PolicyProblem(head, observations=4, hidden=16, actions=2, rows=rows)
    rng = np.random.default_rng([rows, HEADS.index(head)])

    def one():
        theta = problem.theta(rng)
        size = 10 ** rng.uniform(-1, 3)
        log_std = rng.uniform(-10, 0)
        theta["w2"] = theta["w2"] * size
        theta["b2"] = theta["b2"] + size
        if head == "gaussian":
            theta["log_std"] = theta["log_std"] * 0 + log_std
        else:
            theta["w2"][:, 2:] /= size * 100
            theta["b2"][2:] = 2 * log_std
        theta = {name: leaf.astype(np.float32) for name, leaf in theta.items()}
        return theta, problem.batch(rng, theta)

    drawn = [one() for _ in range(count)]
    theta, batch = (
        as_arrays(jax.tree.map(lambda *leaves: np.stack(leaves), *part))
        for part in zip(*drawn, strict=True)
    )
    return problem, theta, batch


def exact(problem, theta, moved, inputs) -> np.ndarray:
    """Mean KL(π_θ‖π_moved) of each problem, everything in float64 from the float32 parameters."""
    result = []
    for i in range(COUNT):
        policies = [
            {name: np.asarray(leaf[i], np.float64) for name, leaf in each.items()}
            for each in (theta, moved)
        ]
        old, new = (problem.parameters(at, np.asarray(inputs[i], np.float64)) for at in policies)
        s = 2 * (old[1] - new[1])
        # ½(e^2s − 1 − 2s) by its series where it cancels.
        series = s**2 / 2 + s**3 / 6 + s**4 / 24 + s**5 / 120 + s**6 / 720
        scale = np.where(np.abs(s) < 0.05, series, np.expm1(s) - s)
        shift = ((old[0] - new[0]) / np.exp(new[1])) ** 2
        result.append((scale + shift).sum(-1).mean() / 2)
    return np.asarray(result)


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        (HEADS[0], 24),
        (HEADS[1], 2),
        *(
            pytest.param(*each, marks=pytest.mark.compiles)
            for each in ((HEADS[0], 2), (HEADS[1], 24))
        ),
    ],
)
def test_no_step_and_no_projection_is_above_its_bound(head: str, rows: int) -> None:
    problem, theta, batch = problems(head, rows)
    bounds = (10 ** np.random.default_rng(0).uniform(-8, 1, COUNT)).astype(np.float32)

    @jax.jit
    @jax.vmap
    def solve(theta, batch, max_kl):
        batch = batch._replace(old=problem.policy(theta, batch.inputs))
        stepped, report = trust_region_step(
            problem.policy, theta, batch, max_kl=max_kl, damping=1e-3
        )
        beyond = jax.tree.map(lambda new, old: old + 3 * (new - old), stepped, theta)
        projected = project_update(problem.policy, theta, beyond, batch, max_kl=max_kl)
        return stepped, report, projected.theta

    stepped, report, projected = jax.device_get(solve(theta, batch, bounds))
    accepted = report.outcome == Outcome.ACCEPTED
    # Not vacuous: most are taken, and many of what float32 leaves open are refused.
    assert accepted.mean() > 0.6
    assert (report.kl_resolution > bounds).mean() > 0.02
    assert np.all(exact(problem, theta, stepped, batch.inputs)[accepted] <= bounds[accepted])
    assert np.all(exact(problem, theta, projected, batch.inputs) <= bounds)


def test_a_region_that_cannot_be_resolved_is_refused_and_the_report_says_what_can() -> None:
    problem, *drawn = problems("gaussian", 24, count=1)
    theta, batch = jax.tree.map(lambda leaf: np.asarray(leaf)[0], drawn)
    theta["b2"] = theta["b2"] + 1000
    theta["log_std"] = theta["log_std"] * 0 - 10
    theta, batch = jax.device_put((theta, batch))
    batch = batch._replace(old=jax.jit(problem.policy)(theta, batch.inputs))
    moved, report = trust_region_step(problem.policy, theta, batch, max_kl=1e-6)
    assert int(report.outcome) == Outcome.LINE_SEARCH_EXHAUSTED
    for name, leaf in theta.items():
        np.testing.assert_array_equal(moved[name], leaf)
    assert report.kl_resolution > 1e-6
    enough = 4 * float(report.kl_resolution)
    _, report = trust_region_step(problem.policy, theta, batch, max_kl=enough)
    assert int(report.outcome) == Outcome.ACCEPTED


@pytest.mark.parametrize("head", ["categorical", *HEADS])
def test_ordinary_policies_pay_next_to_nothing(head: str) -> None:
    problem = PolicyProblem(head, observations=4, hidden=64, actions=3, rows=256)
    rng = np.random.default_rng(0)
    theta = problem.theta(rng)
    theta, batch = as_arrays(theta), as_arrays(problem.batch(rng, theta))

    @jax.jit
    def told(theta, batch, max_kl):
        rounding = rounding_of(problem.policy, theta, batch)
        new = problem.policy(theta, batch.inputs)
        ceilings = jax.vmap(lambda kl: ceiling(kl, new, rounding, None))(0.999 * max_kl)
        return ceilings, jax.vmap(lambda kl: attainable(kl, rounding))(max_kl), resolution(rounding)

    max_kl = np.asarray([1e-4, 1e-2], np.float32)
    ceilings, reached, resolved = (np.asarray(part) for part in told(theta, batch, max_kl))
    assert np.all(ceilings < max_kl)
    assert np.all((reached > 0.998 * max_kl) & (reached < max_kl))
    assert resolved < 1e-10


def test_a_ceiling_grows_with_the_kl_and_is_never_below_it() -> None:
    problem = PolicyProblem("gaussian", observations=4, hidden=8, actions=1, rows=8)
    rng = np.random.default_rng(1)
    theta = problem.theta(rng)
    theta, batch = as_arrays(theta), as_arrays(problem.batch(rng, theta))
    rounding = eqx.filter_jit(rounding_of)(problem.policy, theta, batch)
    new = problem.policy(theta, batch.inputs)
    ceilings = jax.jit(jax.vmap(lambda kl: ceiling(kl, new, rounding, None)))
    kls = jnp.logspace(-12, 2, 50)
    found = ceilings(kls)
    assert np.all(np.diff(found) > 0)
    assert np.all(found > kls)
    assert not np.isfinite(ceilings(kls.at[0].set(jnp.nan))[0])
    # As many as before, so that nothing is compiled again; those that float32 resolves count.
    aimed = jax.jit(jax.vmap(lambda kl: attainable(kl, rounding)))(kls)
    assert np.all(ceilings(aimed)[20:] <= kls[20:])


def test_rounding_of_the_divergence_itself_is_within_the_relative_part() -> None:
    # Parameters given in float32, no network: only the divergence and its mean are rounded.
    rng = np.random.default_rng(0)
    problem = PolicyProblem("gaussian", observations=1, hidden=1, actions=2, rows=4)
    distance = 10 ** rng.uniform(-5, -0.5, (2000, 1, 1))
    old = [rng.normal(size=(2000, 4, 2)), 0.5 * rng.normal(size=(2000, 4, 2))]
    new = [x + distance * rng.normal(size=x.shape) for x in old]
    old, new = ([x.astype(np.float32) for x in each] for each in (old, new))

    @jax.jit
    @jax.vmap
    def measured(old, new):
        p, q = problem.distribution(old), problem.distribution(new)
        kl = jnp.mean(kl_divergence(p=p, q=q))

        def policy(at, inputs):
            return jax.tree.map(lambda leaf: leaf + 0 * at, q)

        batch = problem.batch(rng, problem.theta(rng))._replace(inputs=None, old=p)
        return ceiling(kl, q, rounding_of(policy, jnp.zeros(()), batch), None)

    found = np.asarray(measured(tuple(map(jnp.asarray, old)), tuple(map(jnp.asarray, new))))
    (m_p, s_p), (m_q, s_q) = ([x.astype(np.longdouble) for x in each] for each in (old, new))
    square = (np.exp(2 * s_p) + (m_p - m_q) ** 2) / (2 * np.exp(2 * s_q))
    true = (s_q - s_p + square - np.longdouble(0.5)).sum(-1).mean(1)
    assert np.all(true <= found)
