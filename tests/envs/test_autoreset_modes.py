"""Every distribution, in all three autoreset modes: trained as if no step had been inserted."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import Probe
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import klamp
from klamp import Outcome, Settings
from klamp.algorithms import trpo
from klamp.collection.collector import BehaviorPolicy
from klamp.collection.host import HostCollector
from klamp.envs.host.vector import VectorEnvironments
from klamp.networks import build_network, flatten
from klamp.runtime.seeding import Purpose
from klamp.training.learning import make_learn
from klamp.training.prepare import prepare

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gaussian": ("box", {}),
    "gaussian of the state": ("box", {"action_scale": "state"}),
    "squashed": ("box", {"action_bounds": "tanh"}),
    "beta": ("box", {"action_bounds": "beta"}),
    "categorical": ("discrete", {}),
    "multi-categorical": ("multidiscrete", {}),
    "bernoulli": ("multibinary", {}),
    "joint": ("dict", {"action_bounds": "beta"}),
}
MODES = [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
ALGORITHM = klamp.TRPO(cg_iterations=4)
ZERO = jnp.zeros(())


def collected(kind: str, mode: AutoresetMode) -> tuple[Any, ...]:
    """A rollout of 24 steps of three rows, six episodes a row, and what prepares and learns it."""
    action, options = KINDS[kind]
    settings = Settings(hidden_sizes=(4,), critic_epochs=1, critic_minibatch_size=16, **options)
    makers = [lambda: Probe("box", action)] * 3
    vector = SyncVectorEnv(makers, autoreset_mode=mode)
    environments = VectorEnvironments(vector, "Probe", 11, Purpose.EPISODE)
    network = build_network(
        environments.seen_space, environments.action_space, settings, key=jax.random.key(0)
    )
    theta, model = flatten(network)
    rollout = (
        HostCollector(environments, model, theta, Settings(rollout_length=24))
        .collect(BehaviorPolicy(theta, None, jax.random.key(1)))
        .rollout
    )
    environments.close()
    return settings, theta, model, jax.tree.map(jnp.asarray, rollout)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_it_is_trained(kind: str, mode: AutoresetMode) -> None:
    settings, theta, model, rollout = collected(kind, mode)
    inserted = 0 if rollout.weight is None else int(np.sum(np.asarray(rollout.weight) == 0))
    assert (inserted > 0) == (mode == AutoresetMode.NEXT_STEP)
    learn = make_learn(model, ALGORITHM, settings)
    state = trpo.init(ALGORITHM, model, theta)
    moved, _, report = learn(theta, state, rollout, None, jnp.asarray(1.0), jax.random.key(2), ZERO)
    assert Outcome(int(report.outcome)) is Outcome.ACCEPTED
    assert 0 < float(report.kl) <= ALGORITHM.max_kl
    assert np.all(np.isfinite(moved))


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_that_of_the_rows_that_are_transitions(kind: str) -> None:
    settings, theta, model, rollout = collected(kind, AutoresetMode.NEXT_STEP)
    batch = prepare(model, theta, rollout, None, jnp.asarray(1.0), settings)
    keep = np.asarray(batch.weight) > 0
    bare = jax.tree.map(lambda leaf: leaf[keep], batch)
    part = theta[: model.policy_end]
    (found, report), (expected, told) = (
        klamp.trust_region_step(model.policy, part, each) for each in (batch, bare)
    )
    assert int(report.outcome) == int(told.outcome) == Outcome.ACCEPTED
    assert float(report.kl) == pytest.approx(float(told.kl), rel=1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("kind", ["beta", "categorical"])
def test_a_refused_update_changes_no_bit(kind: str) -> None:
    settings, theta, model, rollout = collected(kind, AutoresetMode.NEXT_STEP)
    reward = rollout.reward.at[np.flatnonzero(np.asarray(rollout.weight)[:, 0])[0], 0].set(np.nan)
    learn = make_learn(model, ALGORITHM, settings)
    state = trpo.init(ALGORITHM, model, theta)
    rollout = rollout._replace(reward=reward)
    moved, _, report = learn(theta, state, rollout, None, jnp.asarray(1.0), jax.random.key(2), ZERO)
    assert Outcome(int(report.outcome)) is Outcome.NON_FINITE
    np.testing.assert_array_equal(np.asarray(moved), np.asarray(theta))
