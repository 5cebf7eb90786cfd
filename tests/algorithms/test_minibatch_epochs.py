"""The epochs of minibatches: how many steps, on which rows, and when they stop."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probe import SETTINGS, context_of, make_model, mean_kl, quickly, sample

from klamp.algorithms import minibatch_epochs
from klamp.config.algorithms import PPO
from klamp.mathematics import adam
from klamp.mathematics.minibatches import minibatch_rows
from klamp.mathematics.weighting import weighted_mean

CONFIG = PPO(epochs=3, minibatch_size=24)
KEY = jax.random.key(5)


def loss(network, part, old_log_prob):
    """Some loss that reads everything a loss may read."""
    new, value = network.distribution_and_value(part.inputs)
    ratio = jnp.exp(new.log_prob(part.action) - old_log_prob)
    terms = -ratio * part.advantage + jnp.square(value - part.value_target)
    return weighted_mean(terms, part.weight)


@cache
def compiled(model, settings, stop_kl, optimizer):
    return quickly(
        lambda theta, batch: minibatch_epochs.descend(
            loss,
            CONFIG,
            context_of(model, settings, seed=5),
            theta,
            optimizer.init(theta),
            batch,
            step_size=jnp.asarray(0.01),
            stop_kl=stop_kl,
            optimizer=optimizer,
        )
    )


def run(theta, model, batch, *, settings=SETTINGS, stop_kl=None, optimizer=adam):
    return compiled(model, settings, stop_kl, optimizer)(theta, batch)


@pytest.fixture(scope="module")
def problem():
    theta, model = make_model()
    return theta, model, sample(model, theta, 0)[0]


def test_the_scan_is_the_loop_of_algorithm_1(problem) -> None:
    theta, model, batch = problem
    found, moments, done = run(*problem)
    reference = optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_adam(eps=1e-5))
    state, rows = reference.init(theta), np.asarray(minibatch_rows(KEY, 3, 64, 24))
    old_log_prob = np.asarray(batch.old.log_prob(batch.action))
    batch = jax.device_get(batch)

    @quickly
    def step(at, state, part, kept):
        gradient = jax.grad(lambda at: loss(model.unravel(at), part, kept))(at)
        direction, state = reference.update(gradient, state)
        return at - 0.01 * direction, state

    expected = theta
    for padded in rows.reshape(-1, 24):
        chosen = padded[padded >= 0]
        part = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], batch)
        expected, state = step(expected, state, part, old_log_prob[chosen])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert int(done) == 3
    assert int(moments.steps) == 3 * 3  # 64 rows make three minibatches of 24.


def test_a_transformation_of_optax_stands_in_the_place_of_adam(problem) -> None:
    theirs, moments, _ = run(*problem, optimizer=optax.scale_by_adam(eps=adam.EPSILON))
    ours, own, _ = run(*problem)
    np.testing.assert_allclose(theirs, ours, atol=2e-6)
    np.testing.assert_allclose(moments.mu, own.first, rtol=1e-4, atol=1e-7)
    lion, _, _ = run(*problem, optimizer=optax.scale_by_lion())
    # Nine steps by the sign of a gradient: no entry has gone farther, most have moved.
    moved = np.abs(lion - problem[0])
    assert moved.max() <= 9 * 0.01 + 1e-6
    assert np.mean(moved > 0) > 0.9


@pytest.mark.parametrize(("stop_kl", "expected"), [(1e-9, 1), (1e9, 3)])
def test_the_epochs_stop_by_the_exact_kl(problem, stop_kl: float, expected: int) -> None:
    theta, _, done = run(*problem, stop_kl=stop_kl)
    assert int(done) == expected
    assert mean_kl(problem[1], theta, problem[2]) > 1e-9


def test_no_bound_is_the_same_as_one_never_reached(problem) -> None:
    np.testing.assert_array_equal(run(*problem)[0], run(*problem, stop_kl=1e9)[0])


def test_advantages_are_standardised_where_settings_say(problem) -> None:
    theta, model, batch = problem
    shifted = batch._replace(advantage=10 + 3 * batch.advantage)
    each = replace(SETTINGS, advantage_normalization="minibatch")
    one, other = (run(theta, model, b, settings=each)[0] for b in (batch, shifted))
    np.testing.assert_allclose(one, other, atol=1e-4)
    plain = run(theta, model, shifted, settings=SETTINGS)[0]
    assert np.abs(plain - other).max() > 1e-2
