"""The memory: sequences equal single steps, episodes begin with none, and it can be learnt."""

from pathlib import Path

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_policies import drawn

import klamp
from klamp.config.settings import Settings
from klamp.types import Inputs
from tests.environments_with_memory import Recall

gymnasium.register("Recall-v0", Recall)
SIZE, LENGTH, SEQUENCES = 5, 8, 3
ROWS = LENGTH * SEQUENCES


@pytest.fixture(scope="module")
def recurrent():
    settings = Settings(
        recurrent_size=SIZE, sequence_length=LENGTH, rollout_length=LENGTH, hidden_sizes=(6,)
    )
    theta, model = drawn(2, gymnasium.spaces.Discrete(3), settings)
    return theta + 0.3 * jax.random.normal(jax.random.key(1), theta.shape), model


def inputs(first: np.ndarray) -> Inputs:
    generator = np.random.default_rng(0)
    return Inputs(
        jnp.asarray(generator.normal(size=(ROWS, 2)), jnp.float32),
        hidden_state=jnp.asarray(generator.normal(size=(ROWS, SIZE)), jnp.float32),
        episode_start=jnp.asarray(first),
    )


def test_a_sequence_is_its_steps_one_by_one(recurrent) -> None:
    theta, model = recurrent
    first = np.random.default_rng(1).random(ROWS) < 0.2
    rows = inputs(first)
    logits, values = [], []

    @jax.jit
    def step(theta, row):
        return model.step_value(theta, row), *model.act(theta, row)

    @jax.jit
    def whole(theta, rows):
        return model.distribution(theta, rows).logits, model.value(theta, rows)

    for s in range(SEQUENCES):
        memory = rows.hidden_state[s * LENGTH : s * LENGTH + 1]
        for t in range(s * LENGTH, (s + 1) * LENGTH):
            row = Inputs(
                rows.observation[t : t + 1],
                hidden_state=memory,
                episode_start=rows.episode_start[t : t + 1],
            )
            value, distribution, memory = step(theta, row)
            values.append(value[0])
            logits.append(distribution.logits[0])
    np.testing.assert_allclose(whole(theta, rows)[0], np.asarray(logits), rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(whole(theta, rows)[1], np.asarray(values), rtol=1e-6, atol=2e-6)


def test_nothing_crosses_the_start_of_an_episode(recurrent) -> None:
    theta, model = recurrent
    first = np.zeros(ROWS, bool)
    first[4] = True
    rows = inputs(first)
    garbled = rows._replace(
        observation=rows.observation.at[:4].set(9.0), hidden_state=rows.hidden_state.at[0].set(-7.0)
    )
    a, b = (model.distribution(theta, x).logits for x in (rows, garbled))
    assert not np.allclose(a[:4], b[:4])
    np.testing.assert_array_equal(a[4:], b[4:])


def test_the_gradient_reaches_back_through_the_sequence(recurrent) -> None:
    theta, model = recurrent
    rows = inputs(np.zeros(ROWS, bool))

    def last(observation):
        return model.value(theta, rows._replace(observation=observation))[LENGTH - 1]

    gradient = jax.jit(jax.grad(last))(rows.observation)
    assert np.all(np.abs(gradient[:LENGTH]).sum(axis=1) > 0)
    np.testing.assert_array_equal(gradient[LENGTH:], 0)


def test_the_value_of_what_followed_remembers_the_row(recurrent) -> None:
    theta, model = recurrent
    rows = inputs(np.zeros(ROWS, bool))
    following = Inputs(jnp.roll(rows.observation, -1, axis=0))
    ahead = model.next_value(theta, rows, following)
    within = np.arange(ROWS - 1) % LENGTH != LENGTH - 1
    value = model.value(theta, rows)
    np.testing.assert_allclose(ahead[:-1][within], value[1:][within], atol=2e-6)


@pytest.mark.compiles
def test_the_fisher_product_of_a_memory_is_the_hessian_of_the_kl(recurrent) -> None:
    theta, model = recurrent
    part = theta[: model.policy_end]
    rows = inputs(np.random.default_rng(2).random(ROWS) < 0.2)
    v = jax.random.normal(jax.random.key(3), part.shape)
    product = eqx.filter_jit(klamp.fisher_vector_product)(model.policy, part, rows, v)
    definition = eqx.filter_jit(klamp.kl_hessian_vector_product)(model.policy, part, rows, v)
    np.testing.assert_allclose(product, definition, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["ppo", "trpo"])
def test_what_must_be_remembered_is_learnt(algo: str, tmp_path: Path) -> None:
    shared = {
        "steps": 20_000,
        "rollout_length": 64,
        "sequence_length": 16,
        "normalize_observation": False,
        "quiet": True,
    }
    result = klamp.train("Recall-v0", algo, recurrent_size=16, out=tmp_path / "run", **shared)
    # Without a memory nothing beats 0.5.
    assert result.summary["return_mean"] > 0.9
    assert result.metrics[0]["kl_max"] > 0
    policy = klamp.load(tmp_path / "run")
    assert klamp.evaluate(policy, episodes=20).returns.mean() > 0.9
