"""Episode ends, in all three autoreset modes, on an environment whose every transition is known."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import Count
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_policies import drawn

from klamp import Settings
from klamp.collection.collector import BehaviorPolicy
from klamp.collection.host import HostCollector
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.mathematics.weighting import scored
from klamp.networks import Model
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key_words
from klamp.training.prepare import prepare
from klamp.types import Batch, Rollout

LENGTHS = (3, 5)
MODES = [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


@partial(jax.jit, static_argnums=(0, 3))
def prepared(model: Model, theta: Any, rollout: Rollout, settings: Settings) -> Batch:
    """The batch of a rollout, what is not scored removed."""
    return scored(prepare(model, theta, rollout, None, jnp.ones(()), settings))


def host(mode: AutoresetMode, ending: str) -> HostEnvironments:
    return hosted(mode, [lambda n=n: Count(n, ending) for n in LENGTHS])


def hosted(mode: AutoresetMode, makers: list) -> HostEnvironments:
    """Environments that we reset, or a vector environment that resets its rows itself."""
    if mode == AutoresetMode.DISABLED:
        copies = LocalCopies([make() for make in makers])
        return CopiedEnvironments(copies, "Count", EnvironmentSeeds(11, Purpose.EPISODE))
    vector = SyncVectorEnv(makers, autoreset_mode=mode, copy=False)
    return VectorEnvironments(vector, "Count", EnvironmentSeeds(11, Purpose.EPISODE))


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
@pytest.mark.parametrize("mode", MODES)
def test_every_transition_leads_where_it_really_led(mode: AutoresetMode, ending: str) -> None:
    environments = host(mode, ending)
    current = np.array(environments.reset())
    counted = np.zeros((2, 2))
    np.testing.assert_array_equal(current, counted)
    for _ in range(20):
        after = environments.step(np.zeros(2, int))
        for i, length in enumerate(LENGTHS):
            episode, step = current[i]
            if not after.valid[i]:
                # The phantom row: an ended episode's last observation, acted on without effect.
                assert mode == AutoresetMode.NEXT_STEP
                assert step == length
                np.testing.assert_array_equal(after.observation[i], [episode + 1, 0])
                continue
            assert step < length
            np.testing.assert_array_equal(after.next_observation[i], [episode, step + 1])
            assert after.reward[i] == step + 1
            ended = step + 1 == length
            assert after.terminated[i] == (ended and ending == "terminated")
            assert after.truncated[i] == (ended and ending == "truncated")
            starts_again = ended and mode != AutoresetMode.NEXT_STEP
            acted_on_next = [episode + 1, 0] if starts_again else [episode, step + 1]
            np.testing.assert_array_equal(after.observation[i], acted_on_next)
        current = np.array(after.observation)
    environments.close()


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
@pytest.mark.parametrize("mode", MODES)
def test_targets_bootstrap_at_truncation_and_never_at_termination(
    mode: AutoresetMode, ending: str
) -> None:
    """λ = 0: the target is r + γV(true next observation), or r where the episode terminated."""
    settings = Settings(hidden_sizes=(), trace_decay=0.0, discount=0.5, rollout_length=12)
    environments = host(mode, ending)
    space = environments.policy_observation_space
    theta, model = drawn(space, environments.action_space, settings)
    # V = 100·episode + 10·step, so that a value tells which observation it is of.
    theta = theta.at[model.critic_start :].set(np.array([100, 10, 0], np.float32))
    collector = HostCollector(environments, model, theta, settings)
    rollout = collector.collect(BehaviorPolicy(theta, None, key_words(1, Purpose.ACT))).rollout
    rollout = jax.tree.map(np.array, rollout)
    batch = prepared(model, theta, rollout, settings)
    target = np.asarray(batch.value_target).reshape(12, 2)
    weight = np.asarray(batch.weight).reshape(12, 2)
    phantoms = 0
    for t in range(12):
        for i, length in enumerate(LENGTHS):
            episode, step = rollout.observation[t, i]
            if step == length:
                assert weight[t, i] == target[t, i] == 0
                phantoms += 1
                continue
            assert weight[t, i] == 1
            ended = step + 1 == length and ending == "terminated"
            bootstrap = 0 if ended else 0.5 * (100 * episode + 10 * (step + 1))
            np.testing.assert_allclose(target[t, i], step + 1 + bootstrap, rtol=1e-5)
    assert phantoms == (5 if mode == AutoresetMode.NEXT_STEP else 0)
    environments.close()
