"""Every distribution, in all three autoreset modes: trained as if no step had been inserted."""

from functools import cache
from typing import Any, NamedTuple

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
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key_words
from klamp.training.learning import make_learn
from klamp.training.prepare import prepare
from klamp.types import Rollout

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
ALL = [
    pytest.param(kind, marks=() if kind in ("gaussian", "categorical") else pytest.mark.compiles)
    for kind in KINDS
]
"""Each takes a second or more to compile."""
MODES = [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
ALGORITHM = klamp.TRPO(cg_iterations=4)
ZERO, ONE = jnp.zeros(()), jnp.asarray(1.0)
STEPS = 24


class Compiled(NamedTuple):
    """What one kind of policy needs in all modes."""

    settings: Settings
    theta: Any
    model: Any
    collector: HostCollector
    """Lends its compiled policy call."""
    learn: Any
    """The update."""


def environments_of(kind: str, mode: AutoresetMode) -> VectorEnvironments:
    makers = [lambda: Probe("box", KINDS[kind][0])] * 3
    vector = SyncVectorEnv(makers, autoreset_mode=mode)
    return VectorEnvironments(vector, "Probe", EnvironmentSeeds(11, Purpose.EPISODE))


@cache
def compiled(kind: str) -> Compiled:
    options = KINDS[kind][1]
    settings = Settings(
        hidden_sizes=(4,),
        critic_epochs=1,
        critic_minibatch_size=16,
        rollout_length=STEPS,
        **options,
    )
    environments = environments_of(kind, MODES[0])
    network = build_network(
        environments.policy_observation_space,
        environments.action_space,
        settings,
        key=jax.random.key(0),
    )
    theta, model = flatten(network)
    call = HostCollector(environments, model, theta, settings)
    environments.close()
    return Compiled(settings, theta, model, call, make_learn(model, ALGORITHM, settings))


@cache
def collected(kind: str, mode: AutoresetMode) -> Rollout:
    """A rollout of 24 steps of three rows, six episodes a row."""
    parts, environments = compiled(kind), environments_of(kind, mode)
    collector = HostCollector(
        environments, parts.model, parts.theta, parts.settings, parts.collector
    )
    rollout = collector.collect(
        BehaviorPolicy(parts.theta, None, key_words(1, Purpose.ACT))
    ).rollout
    environments.close()
    return jax.tree.map(jnp.asarray, rollout)


def learned(kind: str, rollout: Rollout) -> tuple[Any, ...]:
    parts = compiled(kind)
    state = trpo.init(ALGORITHM, parts.model, parts.theta)
    return parts.learn(parts.theta, state, rollout, None, ONE, key_words(2, Purpose.ACT), ZERO)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("mode", MODES)
def test_it_is_trained(kind: str, mode: AutoresetMode) -> None:
    rollout = collected(kind, mode)
    inserted = 0 if rollout.weight is None else int(np.sum(np.asarray(rollout.weight) == 0))
    assert (inserted > 0) == (mode == AutoresetMode.NEXT_STEP)
    moved, _, report = learned(kind, rollout)
    assert Outcome(int(report.outcome)) is Outcome.ACCEPTED
    assert 0 < float(report.kl) <= ALGORITHM.max_kl
    assert np.all(np.isfinite(moved))


@pytest.mark.parametrize("kind", ALL)
def test_the_step_is_that_of_the_rows_that_are_transitions(kind: str) -> None:
    settings, theta, model, *_ = compiled(kind)
    rollout = collected(kind, AutoresetMode.NEXT_STEP)
    batch = jax.jit(prepare, static_argnums=(0, 5))(model, theta, rollout, None, ONE, settings)
    keep = np.asarray(batch.weight) > 0
    assert 0 < keep.sum() < keep.size
    bare = jax.tree.map(lambda leaf: leaf[keep], batch)._replace(weight=None)
    part = theta[: model.policy_end]
    expected, told = klamp.trust_region_step(
        model.policy, part, bare, max_kl=ALGORITHM.max_kl, cg_iterations=ALGORITHM.cg_iterations
    )
    moved, _, report = learned(kind, rollout)
    assert int(report.outcome) == int(told.outcome) == Outcome.ACCEPTED
    assert float(report.kl) == pytest.approx(float(told.kl), rel=1e-3)
    np.testing.assert_allclose(moved[: model.policy_end], expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("kind", ["squashed", "categorical"])
def test_a_refused_update_changes_no_bit(kind: str) -> None:
    rollout = collected(kind, AutoresetMode.NEXT_STEP)
    reward = rollout.reward.at[np.flatnonzero(np.asarray(rollout.weight)[:, 0])[0], 0].set(np.nan)
    moved, _, report = learned(kind, rollout._replace(reward=reward))
    assert Outcome(int(report.outcome)) is Outcome.NON_FINITE
    np.testing.assert_array_equal(np.asarray(moved), np.asarray(compiled(kind).theta))
