"""Networks of the settings, networks of the user's own, and the recipe in the documentation."""

import json
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import probe
from gymnasium import spaces
from jax.flatten_util import ravel_pytree

import klamp
from klamp.cli.main import main
from klamp.envs.source import resolve
from klamp.networks import (
    CNN,
    MLP,
    Actor,
    ActorCritic,
    Critic,
    Dense,
    Features,
    NoEncoder,
    Trunk,
    action_head,
    build_network,
    check_network,
)
from klamp.networks.build import network_maker, network_to_fill
from klamp.runtime.qualified_name import qualified_name
from klamp.runtime.seeding import EnvironmentSeeds, Purpose
from klamp.runtime.seeding import key as seeded
from klamp.types import Inputs

BOX, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(3)


def own(observation_space: spaces.Box, action_space: spaces.Space, key: jax.Array) -> ActorCritic:
    """A network of a user's own: no hidden layer in the policy, one in the critic."""
    keys = jax.random.split(key, 3)
    size = observation_space.shape[0]
    actor = Actor(MLP(size, (), "tanh", key=keys[0]), action_head(action_space, size, key=keys[0]))
    critic = Critic(MLP(size, (8,), "relu", key=keys[1]), Dense(8, 1, gain=1.0, key=keys[2]))
    return ActorCritic(actor, NoEncoder(), critic)


def test_images_get_convolutions_and_flat_bytes_do_not() -> None:
    settings = klamp.Settings(hidden_sizes=(8,))
    image = spaces.Box(0, 255, (9, 9, 1), np.uint8)

    def shapes(space: spaces.Box) -> ActorCritic:
        """The network without its numbers."""
        key = jax.random.key(0)
        return eqx.filter_eval_shape(build_network, space, ACTIONS, settings, key=key)

    network = shapes(image)
    assert isinstance(network.actor.torso, CNN)
    seen = Inputs(jnp.zeros((2, 9, 9, 1), jnp.uint8))
    assert eqx.filter_eval_shape(lambda of: of.value(seen), network).shape == (2,)
    flat = spaces.Box(0, 255, (81,), np.uint8)
    assert isinstance(shapes(flat).actor.torso, MLP)


def test_a_schedule_needs_a_gaussian() -> None:
    with pytest.raises(klamp.ConfigError, match=r"`action_scale` is .* no Gaussian part"):
        build_network(BOX, ACTIONS, klamp.Settings(action_scale="scheduled"), key=jax.random.key(0))


def test_masks_and_scales_reach_any_actor() -> None:
    network = own(BOX, spaces.Tuple((ACTIONS, BOX)), jax.random.key(0))
    mask = jnp.array([[True, False, False], [False, True, True]])
    inputs = Inputs(jnp.ones((2, 3)), action_mask=mask, log_std=jnp.array([-1.0, -2.0]))
    choice, gaussian = network.distribution(inputs).parts
    np.testing.assert_array_equal(np.exp(choice.log_probabilities)[0], [1, 0, 0])
    np.testing.assert_array_equal(gaussian.log_std[:, 0], [-1, -2])
    again, _ = network.distribution_and_value(inputs)
    np.testing.assert_array_equal(again.parts[0].logits, choice.logits)


def test_what_does_not_fit_is_explained() -> None:
    with pytest.raises(klamp.ConfigError, match="of type int; expected klamp"):
        check_network(3, BOX, ACTIONS)
    wrong = own(BOX, spaces.MultiBinary(2), jax.random.key(0))
    with pytest.raises(klamp.ConfigError, match=r"actions of shape \(2, 2\).* needs \(2,\)"):
        check_network(wrong, BOX, ACTIONS)
    right = own(BOX, ACTIONS, jax.random.key(0))
    assert check_network(right, BOX, ACTIONS) is right


def test_a_network_of_the_users_own_trains_loads_and_resumes(tmp_path: Path) -> None:
    settings = {"num_envs": 4, "rollout_length": 32, "quiet": True}
    result = klamp.train(probe(), "trpo", steps=256, network=own, out=tmp_path / "run", **settings)
    assert result.policy.config.network == qualified_name(own) == f"{__name__}:own"
    observation = np.eye(3, dtype=np.float32)
    for given in ({}, {"network": own}):
        loaded = klamp.load(result.folder, **given)
        np.testing.assert_array_equal(loaded.value(observation), result.policy.value(observation))
    resumed = klamp.resume(result.folder, steps=512, quiet=True)
    assert resumed.summary["step"] == 512


def on_frozen_encoder(
    observation_space: spaces.Box, action_space: spaces.Space, key: jax.Array
) -> ActorCritic:
    """Policy and critic on features that are not trained."""
    keys = jax.random.split(key, 3)
    return ActorCritic(
        Actor(Features(), action_head(action_space, 4, key=keys[0])),
        Trunk(MLP(observation_space.shape[0], (4,), "tanh", key=keys[1])),
        Critic(Features(), Dense(4, 1, gain=1.0, key=keys[2])),
        trainable=ActorCritic(True, False, True),
    )


@pytest.mark.parametrize("algo", ["ppo", pytest.param("trpo", marks=pytest.mark.compiles)])
def test_what_is_not_trainable_stays_to_the_bit_and_the_run_resumes(
    algo: str, tmp_path: Path
) -> None:
    settings = {"num_envs": 4, "rollout_length": 32, "quiet": True, "network": on_frozen_encoder}
    whole = klamp.train(probe(), algo, steps=256, out=tmp_path / "whole", **settings)
    begun = klamp.train(probe(), algo, steps=128, out=tmp_path / "begun", **settings)
    resumed = klamp.resume(begun.folder, steps=256, quiet=True)
    np.testing.assert_array_equal(resumed.policy.theta, whole.policy.theta)

    spaces_of = (whole.policy.observation_space, whole.policy.action_space)
    built = on_frozen_encoder(*spaces_of, seeded(0, Purpose.INITIALISE))
    trained = whole.policy.model.unravel(whole.policy.theta)
    np.testing.assert_array_equal(of(trained.encoder), of(built.encoder))
    assert np.any(of(trained.actor) != of(built.actor))
    assert whole.policy.theta.size == of(built.actor).size + of(built.critic).size


def of(module: object) -> np.ndarray:
    """The numbers of a module, one after another."""
    return np.asarray(ravel_pytree(eqx.filter(module, eqx.is_array))[0])


def test_a_scripts_own_network_is_needed_again(tmp_path: Path) -> None:
    settings = {"num_envs": 4, "rollout_length": 32, "quiet": True, "out": tmp_path / "run"}
    result = klamp.train(probe(), "a2c", steps=128, network=lambda *p: own(*p), **settings)  # noqa: PLW0108 - a name that leads nowhere
    with pytest.raises(klamp.ConfigError, match=r"built by `.*<lambda>`.*network="):
        klamp.load(result.folder)
    klamp.load(result.folder, network=own)


def test_the_command_line_makes_networks_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, gone on with, evaluated and exported; nothing of it by whom did not train it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    Path("mynets.py").write_text(f"import {__name__}\nmake = {__name__}.own\n")
    words = "--network mynets:make --steps 64 --num-envs 2 --rollout-length 16 --out run --quiet"
    assert main(["train", probe(), "--algo", "a2c", *words.split()]) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["network"] == "mynets:make"
    by_name = klamp.train(
        probe(), klamp.A2C(), network="mynets:make", steps=64, num_envs=2, rollout_length=16,
        out="again", quiet=True, seed=0,
    )  # fmt: skip
    for call in (
        ["resume", "run", "--steps", "96", "--quiet"],
        ["eval", "run", "--episodes", "2"],
        ["export", "run", "--format", "numpy"],
        ["train", "--config", "run/config.json", "--out", "other", "--quiet"],
    ):
        assert main(call) == 0, call
    resumed = klamp.resume(by_name.folder, steps=96, quiet=True)
    theta = klamp.load("run").theta
    np.testing.assert_array_equal(theta, resumed.policy.theta)
    np.testing.assert_array_equal(theta, klamp.load("other").theta)
    del config["signature"]
    Path("run/config.json").write_text(json.dumps(config))
    capsys.readouterr()
    for call in (["eval", "run"], ["train", "--config", "run/config.json", "--out", "none"]):
        assert main(call) == 2
        assert "the network `mynets:make`" in capsys.readouterr().err
    assert main(["eval", "run", "--trust", "--episodes", "1"]) == 0


def test_a_network_where_none_is_wanted_is_refused(trained: klamp.Result) -> None:
    with pytest.raises(klamp.ConfigError, match="leave `network` out"):
        klamp.load(trained.folder, network=own)


def test_networks_of_ones_own_are_needed_again_and_only_they() -> None:
    spaces = resolve("CartPole-v1").host(1, EnvironmentSeeds(0, Purpose.CHECK))
    settings = klamp.Settings()
    with pytest.raises(klamp.ConfigError, match="built-in networks; leave `network` out"):
        network_maker(klamp.RunConfig("CartPole-v1", klamp.PPO(), settings), spaces, min)
    own = klamp.RunConfig("CartPole-v1", klamp.PPO(), settings, network="module:build")
    with pytest.raises(klamp.ConfigError, match=r"network `module:build` needs the module `mod"):
        network_maker(own, spaces, None)
    spaces.close()


@pytest.mark.parametrize("sizes", [{}, {"recurrent_size": 4, "sequence_length": 4}])
def test_a_network_to_fill_is_the_drawn_one_with_zeros(sizes: dict[str, int]) -> None:
    spaces = resolve("CartPole-v1").host(1, EnvironmentSeeds(0, Purpose.CHECK))
    settings = klamp.Settings(hidden_sizes=(3,), **sizes)
    config, key = klamp.RunConfig("CartPole-v1", klamp.PPO(), settings), jax.random.key(3)
    drawn = network_maker(config, spaces, None)(key)
    to_fill = network_to_fill(config, spaces, None, key)
    assert eqx.tree_equal(to_fill, jax.tree.map(np.zeros_like, drawn))
    plain = klamp.RunConfig("CartPole-v1", klamp.PPO(), klamp.Settings(), network="module:build")
    built = network_maker(plain, spaces, own)(key)
    assert eqx.tree_equal(network_to_fill(plain, spaces, own, key), built)
    spaces.close()
