"""What policy and critic share, and dropout with one mask per transition."""

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

ACTIONS = [gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-1, 1, (2,), np.float32)]
SMALL = {"num_envs": 4, "rollout_length": 128, "quiet": True}


def network(space, **settings):
    theta, model = drawn(4, space, Settings(**settings))
    return theta + 0.1 * jax.random.normal(jax.random.key(1), theta.shape), model


def rows(count: int = 64) -> Inputs:
    keys = jax.random.bits(jax.random.key(3), (count, 2), jnp.uint32)
    return Inputs(jax.random.normal(jax.random.key(2), (count, 4)), dropout_key=keys)


@pytest.mark.parametrize("space", ACTIONS, ids=["discrete", "box"])
def test_a_shared_trunk_is_in_both_parts(space) -> None:
    theta, model = network(space, shared_network=True)
    assert model.shared
    trunk = slice(model.critic_start, model.policy_end)
    moved = theta.at[trunk].add(0.1)
    inputs = rows()._replace(dropout_key=None)
    before, after = (model.distribution(at, inputs) for at in (theta, moved))
    assert float(klamp.kl_divergence(p=before, q=after).mean()) > 1e-6
    assert not np.allclose(model.value(theta, inputs), model.value(moved, inputs))
    separate_theta, separate = network(space)
    assert not separate.shared
    assert separate_theta.size > theta.size


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
@pytest.mark.parametrize("space", ACTIONS, ids=["discrete", "box"])
def test_one_mask_a_transition(space, shared: bool, rate: float) -> None:
    theta, model = network(space, dropout=rate, shared_network=shared)
    inputs = rows()
    once, again = (model.distribution(theta, inputs) for _ in range(2))
    kl = klamp.kl_divergence(p=once, q=again)
    np.testing.assert_array_equal(kl, np.zeros_like(kl))
    # The mask is the row's, not the batch's: any subset of rows sees the same.
    some = model.distribution(theta, jax.tree.map(lambda leaf: leaf[10:20], inputs))
    leaf, part = jax.tree.leaves(once)[0], jax.tree.leaves(some)[0]
    np.testing.assert_allclose(part, leaf[10:20], atol=1e-6)
    # Fresh keys are another sub-network: what a naive dropout would compare with.
    fresh = model.distribution(theta, inputs._replace(dropout_key=inputs.dropout_key + 1))
    assert float(klamp.kl_divergence(p=once, q=fresh).mean()) > 1e-4


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("space", ACTIONS, ids=["discrete", "box"])
def test_the_fisher_product_under_dropout_is_symmetric_and_positive(space, rate: float) -> None:
    theta, model = network(space, dropout=rate)
    part, inputs = theta[: model.policy_end], rows()
    u, v = jax.random.normal(jax.random.key(4), (2, part.size))
    product = eqx.filter_jit(klamp.fisher_vector_product)
    fu, fv = (product(model.policy, part, inputs, x) for x in (u, v))
    scale = float(jnp.linalg.norm(u) * jnp.linalg.norm(fv))
    assert abs(float(u @ fv - v @ fu)) <= 1e-5 * scale
    assert float(v @ fv) >= 0
    assert float(u @ fu) >= 0


def test_dropout_keeps_the_mean_and_the_share(trained: klamp.Result) -> None:
    from klamp.networks.layers import drop

    keys = jax.random.bits(jax.random.key(5), (4000, 2), jnp.uint32)
    dropped = np.asarray(drop(jnp.ones((4000, 8)), keys, 0, 0.3))
    assert abs((dropped == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 32_000)
    assert abs(dropped.mean() - 1) < 0.02
    other = np.asarray(drop(jnp.ones((4000, 8)), keys, 1, 0.3))
    assert not np.array_equal(dropped, other)
    # Nothing is left out where the inputs carry no key.
    assert trained.policy.act(np.zeros(4, np.float32), deterministic=True) in (0, 1)


@pytest.mark.compiles
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_the_whole_update_of_a_shared_trunk_stays_within_the_region(
    env: str, tmp_path: Path
) -> None:
    result = klamp.train(
        env, klamp.TRPO(max_kl=0.01), steps=6_000, shared_network=True, out=tmp_path / "r", **SMALL
    )
    kls = np.array([line["kl"] for line in result.metrics])
    assert np.all(kls <= 0.01)
    assert np.median(kls) > 1e-3
    kept = np.array([line["critic_fit_kept"] for line in result.metrics])
    assert kept.mean() > 0.3


@pytest.mark.compiles
@pytest.mark.parametrize("algo", ["ppo", "trpo"])
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
def test_dropout_trains_within_the_region_and_loads_without_masks(
    algo: str, shared: bool, tmp_path: Path
) -> None:
    result = klamp.train(
        "CartPole-v1",
        algo,
        steps=3_000,
        dropout=0.5,
        shared_network=shared,
        out=tmp_path / "run",
        **SMALL,
    )
    if algo == "trpo":
        assert all(line["kl"] <= 0.01 for line in result.metrics)
        assert sum(line["outcome"] == "ACCEPTED" for line in result.metrics) >= 3
    observation = np.array([0.1, 0.0, -0.1, 0.0], np.float32)
    values = {klamp.load(tmp_path / "run").value(observation) for _ in range(2)}
    assert len(values) == 1
