"""A rollout prepared for an update."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rollouts import ONE, SETTINGS, N, T, rollout, small_model

from klamp.mathematics.advantages import estimate, gae
from klamp.mathematics.normalization import Scaling, normalize
from klamp.training.prepare import RowOrder, goes_on
from klamp.training.prepare import prepare as prepare_by_operations
from klamp.types import Inputs, Rollout

prepare = jax.jit(prepare_by_operations, static_argnums=5)
"""One program for each settings: operation by operation, each of them would be compiled."""


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_advantages_and_targets_are_those_of_the_definition(model) -> None:
    theta, network = model
    data = rollout()
    batch = prepare(network, theta, data, None, ONE, SETTINGS)
    flat = lambda x: x.reshape(T * N, -1)  # noqa: E731
    value = network.value(theta, Inputs(jnp.asarray(flat(data.observation)))).reshape(T, N)
    ahead = network.value(theta, Inputs(jnp.asarray(flat(data.next_observation)))).reshape(T, N)
    advantage = gae(
        data.reward, value, ahead, data.terminated, data.truncated, discount=0.99, trace_decay=0.95
    ).reshape(-1)
    np.testing.assert_allclose(batch.value_target, advantage + value.reshape(-1), atol=1e-5)
    standard = (advantage - advantage.mean()) / advantage.std()
    np.testing.assert_allclose(batch.advantage, standard, atol=1e-4)


def continuing(case: str) -> tuple[Rollout, bool]:
    """A rollout whose rows show what the ones before led to, but for one; and whether V of it is
    read.
    """
    data = rollout()
    after = np.concatenate([data.observation[1:], data.next_observation[-1:]])
    ends = np.zeros((T, N), bool)
    data = data._replace(next_observation=after, terminated=ends.copy(), truncated=ends.copy())
    if case != "nothing":
        after[3, 1] += 1
    match case:
        case "terminated":
            data.terminated[3, 1] = True
        case "no transition":
            data.weight[3, 1] = 0
        case "truncated":
            data.truncated[3, 1] = True
    return data, case not in ("nothing", "terminated")


@partial(jax.jit, static_argnums=4)
def defined(network, theta, data, scaling, estimator):
    """Advantages and targets, with V of each next observation computed anew."""

    def value(observation):
        seen = normalize(jnp.asarray(observation.reshape(T * N, -1)), scaling)
        return network.value(theta, Inputs(seen)).reshape(T, N)

    return estimate(
        data.reward,
        value(data.observation),
        value(data.next_observation),
        data.terminated,
        data.truncated,
        discount=0.99,
        trace_decay=0.95,
        estimator=estimator,
    )


@pytest.mark.parametrize(
    "case", ["nothing", "terminated", "no transition", "truncated", "a reset unannounced"]
)
@pytest.mark.parametrize("estimator", ["gae", "monte-carlo"])
def test_values_of_what_followed_are_those_of_the_definition(model, case, estimator) -> None:
    theta, network = model
    data, read = continuing(case)
    assert bool(goes_on(data)) is not read
    scaling = Scaling(np.full(5, 0.3, np.float32), np.full(5, 1.7, np.float32))
    settings = dataclasses.replace(
        SETTINGS, advantage_normalization="off", advantage_estimator=estimator
    )
    batch = prepare(network, theta, data, scaling, ONE, settings)

    advantage, target = defined(network, theta, data, scaling, estimator)
    kept = data.weight.reshape(-1) > 0
    np.testing.assert_allclose(batch.advantage[kept], advantage.reshape(-1)[kept], atol=1e-5)
    np.testing.assert_allclose(batch.value_target[kept], target.reshape(-1)[kept], atol=1e-5)


def test_the_first_ratio_is_one(model) -> None:
    theta, network = model
    scaling = Scaling(np.full(5, 0.3, np.float32), np.full(5, 2.0, np.float32))
    batch = prepare(network, theta, rollout(), scaling, ONE, SETTINGS)
    new = network.distribution(theta, batch.inputs)
    difference = new.log_prob(batch.action) - batch.old.log_prob(batch.action)
    np.testing.assert_allclose(difference, 0, atol=2e-7)
    np.testing.assert_allclose(
        batch.inputs.observation[0], (rollout().observation[0, 0] - 0.3) * 2, rtol=1e-5
    )


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_rewards_are_clipped_only_in_runs_that_normalise_them(model, factor: float) -> None:
    """Whatever the factor has come to: 1 is one like any other."""
    theta, network = model
    data = rollout()._replace(reward=np.full((T, N), 50.0, np.float32))
    scaled = dataclasses.replace(SETTINGS, normalize_reward=True)
    clipped = prepare(network, theta, data, None, factor * ONE, scaled)
    # 25 and 50 are both clipped to 10 deviations: the same as rewards of 10.
    ten = data._replace(reward=np.full((T, N), 10.0, np.float32))
    same = prepare(network, theta, ten, None, ONE, SETTINGS)
    np.testing.assert_array_equal(clipped.value_target, same.value_target)
    raw = prepare(network, theta, data, None, ONE, SETTINGS)
    assert float(raw.value_target.max()) > 50


def test_rows_keep_their_order_both_ways() -> None:
    leaf = jnp.arange(float(T * N)).reshape(T, N)
    for by_environment in (False, True):
        order = RowOrder((T, N), by_environment)
        np.testing.assert_array_equal(order.steps(order.rows(leaf)), leaf)
    np.testing.assert_array_equal(RowOrder((T, N), True).rows(leaf)[:T], leaf[:, 0])
