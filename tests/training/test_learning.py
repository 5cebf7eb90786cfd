"""prepare → update → report: exact at the first ratio, blind to weight 0, deaf to NaN."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rollouts import ONE, SETTINGS, N, T, rollout, small_model

from klamp.algorithms import Context
from klamp.config.algorithms import A2C, NPG, PPO, TRPO, PPOPenalty
from klamp.mathematics.distributions import Categorical
from klamp.networks import ActorCritic, flatten
from klamp.runtime.seeding import Purpose, key_words
from klamp.training.learning import (
    initial_state,
    learn_from_batch,
    make_learn,
    refuse_non_finite,
)
from klamp.training.prepare import prepare
from klamp.trust_region.report import Outcome
from klamp.types import Batch, Inputs, Rollout, Update


@pytest.fixture(scope="module")
def model():
    return small_model()


@cache
def learner(algorithm):
    """One program of each algorithm, for all tests."""
    return make_learn(small_model()[1], algorithm, SETTINGS)


def run(model, algorithm, data: Rollout):
    theta, network = model
    state = initial_state(algorithm, network, theta)
    learn = learner(algorithm)
    return learn(theta, state, data, None, ONE, key_words(3, Purpose.ACT), jnp.asarray(0.0))


@pytest.mark.parametrize("algorithm", [PPO(epochs=2), TRPO()], ids=["ppo", "trpo"])
def test_garbage_under_weight_zero_changes_nothing(model, algorithm) -> None:
    clean = rollout()
    weight = clean.weight.copy()
    weight[3, 1] = weight[7, 2] = 0
    # The step before a row without weight ends its episode, as an autoreset has it.
    ended = clean.terminated.copy()
    ended[2, 1] = ended[6, 2] = True
    clean = clean._replace(weight=weight, terminated=ended)
    dirty = clean._replace(
        **{
            name: np.where(
                (weight > 0).reshape(T, N, *(1,) * (getattr(clean, name).ndim - 2)),
                getattr(clean, name),
                np.nan,
            ).astype(np.float32)
            for name in ("observation", "next_observation")
        },
        reward=np.where(weight > 0, clean.reward, 1e30).astype(np.float32),
    )
    a, b = (run(model, algorithm, data) for data in (clean, dirty))
    np.testing.assert_array_equal(a[0], b[0])
    assert float(a[2].kl) == float(b[2].kl)
    assert np.isfinite(float(b[2].value_loss))


@pytest.mark.parametrize("algorithm", [PPO(epochs=2), TRPO()], ids=["ppo", "trpo"])
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e38])
def test_a_poisoned_batch_moves_nothing(model, algorithm, poison: float) -> None:
    data = rollout()
    data.reward[5, 2] = poison
    theta, state, report = run(model, algorithm, data)
    assert np.all(np.isfinite(theta))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    if not np.isfinite(poison):
        assert int(report.outcome) == Outcome.NON_FINITE
        np.testing.assert_array_equal(theta, model[0])


POISONED = ("old_value", "old", "advantage", "value_target", "theta", "state")


@pytest.mark.parametrize("what", [None, *POISONED])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_an_update_with_one_nan_is_refused_whole_and_named(what: str | None, poison: float) -> None:
    """θ and the state come back as they were, and the first quantity in the flow is named."""
    old = (jnp.zeros(3), (jnp.ones(2), jnp.asarray(4)))
    parts = {"theta": jnp.array([1.0, 2, 3]), "state": jnp.array([1.0, 2])}
    rows = {name: jnp.ones(5) for name in ("advantage", "old_value", "value_target")}
    logits = jnp.zeros((5, 3))
    for group in (parts, rows):
        if what in group:
            group[what] = group[what].at[1].set(poison)
    if what == "old":
        logits = logits.at[2].set(jnp.array([poison, 0, 0]))
    batch = Batch(
        Inputs(jnp.zeros((5, 1))),
        jnp.zeros(5, int),
        old=Categorical(logits),
        **rows,
        weight=jnp.ones(5),
    )
    given = Update(parts["theta"], (parts["state"], jnp.asarray(5)), jnp.asarray(0), {})
    back = refuse_non_finite(*old, batch, given)
    if what is None:
        assert int(back.outcome) == 0
        assert int(back.details["non_finite"]) == -1
        np.testing.assert_array_equal(back.theta, given.theta)
        return
    assert int(back.outcome) == Outcome.NON_FINITE
    assert int(back.details["non_finite"]) == POISONED.index(what)
    np.testing.assert_array_equal(back.theta, old[0])
    assert int(back.state[1]) == 4


class Voiced(eqx.Module):
    """A policy over tokens: at each of the last places, a choice that the tokens before decide."""

    table: jax.Array
    places: int = eqx.field(static=True)

    def __call__(self, tokens):
        said = jnp.cumsum(self.table[tokens], axis=1) / jnp.arange(1, tokens.shape[1] + 1)[:, None]
        return Categorical(said[:, -self.places :])


class NoValue(eqx.Module):
    def __call__(self, tokens):
        return jnp.zeros((len(tokens), 4))


class NoConditions(ActorCritic):
    def distribution(self, inputs):
        return self.actor(inputs)

    def distribution_and_value(self, inputs):
        return self.actor(inputs), self.critic(inputs)


@pytest.mark.parametrize(
    "algorithm",
    [
        PPO(epochs=2, minibatch_size=4, value_coefficient=0.0, learning_rate=0.01),
        TRPO(),
        *(
            pytest.param(algorithm, marks=pytest.mark.compiles)
            for algorithm in (
                PPOPenalty(epochs=2, minibatch_size=4, value_coefficient=0.0),
                A2C(value_coefficient=0.0),
                NPG(),
            )
        ),
    ],
    ids=lambda algorithm: type(algorithm).__name__,
)
def test_any_batch_can_be_learnt_from(algorithm) -> None:
    """Eight sequences of nine tokens, four of them answers; no rollout, no critic, no targets."""
    keys = jax.random.split(jax.random.key(0), 3)
    table = jax.random.normal(keys[0], (6, 3))
    theta, network = flatten(NoConditions(Voiced(table, 4), lambda tokens: tokens, NoValue()))
    tokens = jax.random.randint(keys[1], (8, 9), 0, 6)
    old = network.distribution(theta, tokens)
    action = old.sample(keys[2])
    weight = jnp.ones((8, 4)).at[:3, 3].set(0).at[5].set(0)
    advantage = jnp.where(action == 1, 1.0, -0.5)
    batch = Batch(tokens, action, advantage, old, weight)
    context = Context(SETTINGS, network, jax.random.key(1), jnp.asarray(0.0))
    state = initial_state(algorithm, network, theta)
    learn = jax.jit(learn_from_batch, static_argnums=0)
    new_theta, new_state, report = learn(algorithm, context, theta, state, batch)
    assert Outcome(int(report.outcome)) == Outcome.ACCEPTED
    assert float(report.surrogate_after) > float(report.surrogate_before)
    moved = jax.jit(lambda at: old.kl_to(network.distribution(at, tokens)))(new_theta)
    kl = np.average(moved, weights=weight)
    np.testing.assert_allclose(report.kl, kl, rtol=1e-3, atol=1e-7)
    assert np.isnan(report.value_loss)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    spoiled = batch._replace(advantage=jnp.where(weight > 0, advantage, jnp.nan))
    np.testing.assert_array_equal(learn(algorithm, context, theta, state, spoiled)[0], new_theta)
    refused = learn(algorithm, context, theta, state, batch._replace(advantage=advantage * jnp.inf))
    np.testing.assert_array_equal(refused[0], theta)
    assert Outcome(int(refused[2].outcome)) == Outcome.NON_FINITE


def test_the_report_is_of_the_whole_batch(model) -> None:
    theta, network = model
    new_theta, _, report = run(model, TRPO(), rollout())

    @jax.jit
    def measured(theta, new_theta):
        batch = prepare(network, theta, rollout(), None, ONE, SETTINGS)
        new = network.distribution(new_theta, batch.inputs)
        log_ratio = new.log_prob(batch.action) - batch.old.log_prob(batch.action)
        return batch.old.kl_to(new), log_ratio

    kl, log_ratio = (np.asarray(each) for each in measured(theta, new_theta))
    assert float(report.kl) == pytest.approx(float(kl.mean()), rel=1e-4)
    assert float(report.kl_max) == pytest.approx(float(kl.max()), rel=1e-4)
    assert float(report.kl) <= TRPO().max_kl
    ratio = np.exp(log_ratio)
    assert float(report.ratio_max) == pytest.approx(float(ratio.max()), rel=1e-4)
    share = float(np.square(ratio.sum()) / (T * N * np.square(ratio).sum()))
    assert float(report.effective_sample_size) == pytest.approx(share, rel=1e-4)
    assert float(report.surrogate_after) > float(report.surrogate_before)
