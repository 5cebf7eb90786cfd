"""Collection: the rollout is what happened, for every kind of action, and repeats."""

import re
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from environments import ACTIONS, Count, probe
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_policies import drawn

from klamp import Settings
from klamp.collection.collector import BehaviorPolicy
from klamp.collection.host import HostCollector
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import resolve
from klamp.errors import CheckpointError
from klamp.mathematics.normalization import Scaling
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key, key_of, key_words
from klamp.types import Inputs, Rollout

LENGTH, COPIES = 9, 3


def collector(env: str, **settings: object) -> tuple[HostCollector, object, object]:
    chosen = Settings(hidden_sizes=(4,), rollout_length=LENGTH, **settings)
    host = resolve(env).host(COPIES, EnvironmentSeeds(0, Purpose.EPISODE))
    theta, model = drawn(host.policy_observation_space, host.action_space, chosen)
    return HostCollector(host, model, theta, chosen), theta, model


def copied(rollout: Rollout) -> Rollout:
    return jax.tree.map(np.array, rollout)


def collected(source: HostCollector, theta: Any, seed: int = 0) -> Rollout:
    """One rollout of the plain policy."""
    return copied(source.collect(BehaviorPolicy(theta, None, key_words(seed, Purpose.ACT))).rollout)


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_of_every_kind_are_those_of_the_noise(action: str) -> None:
    """The stored action is sample_from(noise_t) under θ: nothing is lost on the way to buffers."""
    source, theta, model = collector(probe("box", action))
    words = key_words(3, Purpose.ACT)
    rollout = copied(source.collect(BehaviorPolicy(theta, None, words)).rollout)

    @jax.jit
    def chosen(seen: jax.Array, t: int) -> Any:
        distribution = model.distribution(theta, Inputs(seen))
        noise = distribution.noise(key_of(words), (LENGTH,))
        return distribution.sample_from(jax.tree.map(lambda leaf: leaf[t], noise))

    for t in (0, LENGTH - 1):
        expected = chosen(rollout.observation[t], t)
        stored = jax.tree.map(lambda leaf, t=t: leaf[t], rollout.action)
        assert jax.tree.structure(stored) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(stored), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert np.all((rollout.reward >= -0.5) & (rollout.reward <= 1))
    source.environments.close()


def test_rollouts_go_on_where_the_last_one_ended() -> None:
    host = CopiedEnvironments(LocalCopies([Count()]), "Count", EnvironmentSeeds(0, Purpose.EPISODE))
    space = host.policy_observation_space
    theta, model = drawn(space, host.action_space, Settings(hidden_sizes=()))
    source = HostCollector(host, model, theta, Settings(rollout_length=4))
    seen = [collected(source, theta, i).observation for i in range(3)]
    steps = np.concatenate(seen)[:, 0]
    expected = [(t // 3, t % 3) for t in range(12)]
    np.testing.assert_array_equal(steps, expected)


def test_the_same_key_gives_the_same_rollout_and_another_does_not() -> None:
    rollouts = []
    for number in (0, 0, 1):
        source, theta, _ = collector(probe("box", "dict"))
        rollouts.append(collected(source, theta, number))
        source.environments.close()
    a, b, c = rollouts
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert not np.array_equal(a.action[1], c.action[1])


@pytest.mark.parametrize("masked", ["info", "observation"])
@pytest.mark.parametrize("action", ["discrete", "multidiscrete"])
def test_masks_are_seen_and_kept(masked: str, action: str) -> None:
    """The probe asserts that nothing forbidden is done; what is kept forbids one action each."""
    source, theta, _ = collector(probe("box", action, masked))
    compiled = source.compile(BehaviorPolicy(theta, None, key_words(0, Purpose.ACT)))
    rollout = collected(source, theta)
    assert jax.tree.structure(compiled) == jax.tree.structure(rollout)
    assert rollout.action_mask.shape == (LENGTH, COPIES, 3 if action == "discrete" else 5)
    assert np.all((~rollout.action_mask).sum(axis=-1) == 1)
    first = rollout.action if action == "discrete" else rollout.action[..., 0]
    assert np.take_along_axis(rollout.action_mask, first[..., None], axis=-1).all()
    source.environments.close()


def test_the_scheduled_scale_is_acted_with_and_kept() -> None:
    source, theta, model = collector(probe("box", "box"), action_scale="scheduled")
    behavior = BehaviorPolicy(theta, None, key_words(0, Purpose.ACT), log_std=-3.0)
    compiled = source.compile(behavior)
    rollout = copied(source.collect(behavior).rollout)
    assert jax.tree.structure(compiled) == jax.tree.structure(rollout)
    np.testing.assert_array_equal(rollout.log_std, np.full((LENGTH, COPIES), -3, np.float32))
    inputs = Inputs(rollout.observation[0], log_std=np.full(COPIES, -3, np.float32))
    mean = np.asarray(jax.jit(model.distribution)(theta, inputs).mean)
    z = (rollout.action[0] - mean) / np.exp(-3)
    assert np.abs(z).max() < 5
    assert np.abs(z).max() > 0.1
    source.environments.close()


@pytest.mark.compiles
def test_images_are_kept_as_bytes() -> None:
    source, theta, _ = collector(probe("image"))
    rollout = collected(source, theta)
    assert rollout.observation.dtype == np.uint8
    assert rollout.observation.shape == (LENGTH, COPIES, 9, 9, 1)
    source.environments.close()


def test_observations_are_kept_raw_and_acted_on_scaled() -> None:
    source, theta, model = collector(probe("box", "box"))
    scaling = Scaling(np.full(3, 0.5, np.float32), np.full(3, 4.0, np.float32))
    rollout = copied(
        source.collect(BehaviorPolicy(theta, scaling, key_words(0, Purpose.ACT))).rollout
    )
    assert set(np.unique(rollout.observation)) == {0, 1}

    @jax.jit
    def chosen(shown: jax.Array) -> Any:
        distribution = model.distribution(theta, Inputs(shown))
        noise = distribution.noise(key(0, Purpose.ACT), (LENGTH,))
        return distribution.sample_from(jax.tree.map(lambda leaf: leaf[0], noise))

    expected = chosen((rollout.observation[0] - 0.5) * 4)
    np.testing.assert_allclose(rollout.action[0], expected, rtol=1e-5)
    source.environments.close()


class Faulty(gymnasium.Env):
    """Gives one NaN, where it is told to."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, where: str) -> None:
        self.where, self.time = where, 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        return np.zeros(2, np.float32), {}

    def step(self, action: object) -> tuple:
        self.time += 1
        wrong = self.time == 4
        observation = np.array([0, np.nan if wrong and self.where == "observation" else 0], "f4")
        return observation, np.inf if wrong and self.where == "reward" else 0.0, False, False, {}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "observation",
            r"the observation, entry \(1,\), of environment 1 at step 4 of the rollout is nan",
        ),
        ("reward", r"the reward of environment 1 at step 3 of the rollout is inf"),
    ],
)
def test_what_is_not_finite_is_named(where: str, message: str) -> None:
    copies = LocalCopies([Faulty(""), Faulty(where)])
    host = CopiedEnvironments(copies, "Faulty", EnvironmentSeeds(0, Purpose.EPISODE))
    theta, model = drawn(2, host.action_space, Settings())
    source = HostCollector(host, model, theta, Settings(rollout_length=8))
    fault = source.collect(BehaviorPolicy(theta, None, key_words(0, Purpose.ACT))).summary.fault
    assert fault is not None
    assert re.match(message, fault)
    assert f"`reset(seed={host.episode_seed(1)})` begins" in fault


class Fragile(gymnasium.Env):
    """Shows NaN once in an episode or never, and ends: when, its own generator decides."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        super().reset(seed=seed)
        self.time, self.breaks = 0, int(self.np_random.integers(5, 40))
        self.ends = int(self.np_random.integers(3, 8))
        return np.full(2, self.breaks, np.float32) / 10, {}

    def step(self, action: object) -> tuple:
        self.time += 1
        shown = np.nan if self.time == self.breaks else self.time / 10
        return np.full(2, shown, np.float32), 0.0, False, self.time == self.ends, {}


def first_fault(vector: bool, seed: int) -> tuple[int, str]:
    """The first rollout of a run in which something is not finite, and how that is told."""
    makers = [Fragile] * COPIES
    if vector:
        rows = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        host = VectorEnvironments(rows, "Fragile", EnvironmentSeeds(seed, Purpose.EPISODE))
    else:
        copies = LocalCopies([make() for make in makers])
        host = CopiedEnvironments(copies, "Fragile", EnvironmentSeeds(seed, Purpose.EPISODE))
    theta, model = drawn(2, host.action_space, Settings(hidden_sizes=()))
    source = HostCollector(host, model, theta, Settings(rollout_length=16))
    for iteration in range(50):
        behavior = BehaviorPolicy(theta, None, key_words(iteration, Purpose.ACT), iteration)
        if (fault := source.collect(behavior).summary.fault) is not None:
            return iteration, fault
    raise AssertionError("nothing broke")


def test_the_seed_that_is_named_begins_the_episode_that_broke() -> None:
    for seed in range(4):
        _, fault = first_fault(vector=False, seed=seed)
        named = re.search(r"reset\(seed=(\d+)\)", fault)
        assert named is not None
        alone = Fragile()
        alone.reset(seed=int(named[1]))
        # Of all episodes one in twenty breaks.
        assert np.isnan([alone.step(0)[0] for _ in range(alone.ends)]).any()


def test_where_no_seed_begins_an_episode_none_is_named_and_the_run_repeats_it() -> None:
    iteration, fault = first_fault(vector=True, seed=5)
    assert "reset(" not in fault
    assert "the same run, from `seed=5`, comes to it again" in fault
    assert first_fault(vector=True, seed=5) == (iteration, fault)


@pytest.mark.parametrize("damage", ["none", "no state", "no start", "size", "type", "start"])
def test_a_hidden_state_of_another_form_is_refused(damage: str) -> None:
    chosen = Settings(hidden_sizes=(4,), recurrent_size=4, rollout_length=LENGTH, sequence_length=3)
    host = resolve("CartPole-v1").host(COPIES, EnvironmentSeeds(0, Purpose.EPISODE))
    theta, model = drawn(host.policy_observation_space, host.action_space, chosen)
    source = HostCollector(host, model, theta, chosen)
    saved = source.position().arrays()
    match damage:
        case "no state":
            del saved["hidden_state.0"]
        case "no start":
            del saved["episode_start"]
        case "size":
            saved["hidden_state.0"] = saved["hidden_state.0"][:, :2]
        case "type":
            saved["hidden_state.0"] = saved["hidden_state.0"].astype(np.complex64)
        case "start":
            saved["episode_start"] = np.ones((2, COPIES), bool)
        case _:
            assert source.restore(saved) == []
            return
    with pytest.raises(CheckpointError, match="the hidden state of the recurrent policy"):
        source.restore(saved)
