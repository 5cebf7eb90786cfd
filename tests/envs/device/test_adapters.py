"""Other libraries' environments: their ends are what their own wrappers, or the host, say.

What needs a library that is not installed is left out; the errors for that case are always tested.
"""

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.envs.checks.device_protocol import check_protocol
from klamp.envs.device.adapters import Braxlike
from klamp.envs.device.batched import BatchedEnvironment
from klamp.envs.device.protocol import DeviceEnvironment, DeviceStep
from klamp.envs.source import resolve
from klamp.errors import EnvironmentFault


def run(environment: Any, actions: np.ndarray, key: Any = None) -> list[tuple[Any, DeviceStep]]:
    """One episode after its end, too: nothing resets it. Each state before, and what followed."""
    step = jax.jit(environment.step)
    state, _ = jax.jit(environment.reset)(jax.random.key(0) if key is None else key)
    walk = []
    for t, action in enumerate(actions):
        after = step(jax.random.key(t), state, action)
        walk.append((state, jax.device_get(after)))
        state = after.state
    return walk


@pytest.mark.parametrize("library", ["gymnax", "brax", "playground"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = {"playground": "mujoco_playground"}.get(library, library)
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentFault, match=r"pip install '\.\[(jaxenvs|playground)\]'"):
        resolve(f"{library}:anything").device("auto")


def test_other_names_are_not_ours() -> None:
    for name in ("CartPole-v1", "module:CartPole-v1", "brax", "phys2d"):
        assert resolve(name).device("auto") is None
    assert resolve("phys2d/CartPole-v1").device("sync") is None


def test_gymnax_cartpole_is_gymnasiums() -> None:
    pytest.importorskip("gymnax")
    environment = resolve("gymnax:CartPole-v1").device("auto")
    assert isinstance(environment, DeviceEnvironment)
    check_protocol("gymnax:CartPole-v1", environment)
    host = gymnasium.make("CartPole-v1").unwrapped
    host.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, 40).astype(np.int32)
    for (state, after), action in zip(run(environment, actions), actions, strict=True):
        physics = (state.x, state.x_dot, state.theta, state.theta_dot)
        host.state, host.steps_beyond_terminated = np.asarray(physics, np.float64), None
        observation, reward, terminated, _, _ = host.step(int(action))
        np.testing.assert_allclose(after.observation, observation, atol=1e-5)
        assert (after.reward, after.terminated) == (reward, terminated)
        assert not after.truncated
        if terminated:
            break
    else:
        pytest.fail("no episode ended")


def test_gymnax_time_limits_are_truncations() -> None:
    pytest.importorskip("gymnax")
    environment = resolve("gymnax:Pendulum-v1").device("auto")
    walk = run(environment, np.zeros((201, 1), np.float32))
    assert not any(after.terminated for _, after in walk)
    assert [bool(after.truncated) for _, after in walk[:201]] == [False] * 199 + [True, True]


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "Catch-bsuite", "FourRooms-misc"])
def test_gymnax_families(name: str) -> None:
    pytest.importorskip("gymnax")
    check_protocol(name, resolve(f"gymnax:{name}").device("auto"))


@pytest.mark.parametrize("library", ["gymnax", "brax"])
def test_an_unknown_name_is_named(library: str) -> None:
    pytest.importorskip(library)
    with pytest.raises(EnvironmentFault, match=f"There is no environment `{library}:Nope`"):
        resolve(f"{library}:Nope").device("auto")


@pytest.mark.filterwarnings("ignore")  # of what Brax itself uses
def test_brax_cuts_off_as_its_own_wrapper_does() -> None:
    training = pytest.importorskip("brax.envs.wrappers.training")
    ours = resolve("brax:inverted_pendulum").device("auto")
    assert isinstance(ours, Braxlike)
    assert ours.limit == 1000
    check_protocol("brax:inverted_pendulum", ours)
    short = Braxlike(ours.environment, 8)
    theirs = training.EpisodeWrapper(ours.environment, 8, 1)
    expected = jax.jit(theirs.reset)(jax.random.key(0))
    actions = np.full((12, 1), 0.0, np.float32)
    seen = []
    for (_, after), action in zip(run(short, actions), actions, strict=True):
        expected = jax.jit(theirs.step)(expected, action)
        np.testing.assert_allclose(after.observation, expected.obs, atol=1e-5)
        np.testing.assert_allclose(after.reward, expected.reward, atol=1e-5)
        assert after.truncated == bool(expected.info["truncation"])
        assert (after.terminated | after.truncated) == bool(expected.done)
        seen.append(bool(after.truncated))
    assert any(seen)


def test_gymnasiums_functional_cartpole_is_its_own_wrapper() -> None:
    pytest.importorskip("flax")
    name = "phys2d/CartPole-v1"
    environment = resolve(name).device("auto")
    assert isinstance(environment, DeviceEnvironment)
    check_protocol(name, environment)
    host = gymnasium.make(name, disable_env_checker=True).unwrapped
    host.reset(seed=0)
    actions = np.ones(20, np.int32)
    ended = []
    for (state, after), action in zip(run(environment, actions), actions, strict=True):
        host.state = state.inner
        observation, reward, terminated, _, _ = host.step(action)
        np.testing.assert_allclose(after.observation, observation, atol=1e-6)
        assert (float(after.reward), bool(after.terminated)) == (reward, terminated)
        ended.append(terminated)
    assert any(ended)
    assert environment.limit == 500
    short = type(environment)(environment.environment, 3)
    assert [bool(after.truncated) for _, after in run(short, actions[:4])] == [0, 0, 1, 1]


def test_an_unknown_functional_environment_is_named() -> None:
    with pytest.raises(EnvironmentFault, match=r"Did you mean `phys2d/CartPole-v"):
        resolve("phys2d/CartPol-v1").device("auto")


class Moving(NamedTuple):
    """The state of a stand-in with MuJoCo Playground's documented interface."""

    data: Any
    obs: Any
    reward: Any
    done: Any
    metrics: Any
    info: Any


class Playing:
    """``reset(rng)`` and ``step(state, action)`` over one state; falls when it goes beyond 1."""

    observation_size = 2
    action_size = 1

    def reset(self, rng: Any) -> Moving:
        at = jax.random.uniform(rng, (2,), minval=-0.1, maxval=0.1)
        zero = jnp.zeros(())
        return Moving(at, at, zero, zero, {"distance": zero}, {"rng": rng})

    def step(self, state: Moving, action: Any) -> Moving:
        rng, _ = jax.random.split(state.info["rng"])
        at = state.data + 0.3 * action
        done = (jnp.abs(at[0]) > 1).astype(jnp.float32)
        return Moving(at, at, -at[0], done, {"distance": at[0]}, {"rng": rng})


def test_playground_by_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = SimpleNamespace(
        ALL_ENVS=("Playing",),
        load=lambda name: Playing(),
        get_default_config=lambda name: SimpleNamespace(episode_length=10),
    )
    module = ModuleType("mujoco_playground")
    module.registry = registry
    monkeypatch.setitem(sys.modules, "mujoco_playground", module)
    environment = resolve("playground:Playing").device("auto")
    assert isinstance(environment, Braxlike)
    assert environment.limit == 10
    assert environment.observation_space.shape == (2,)
    check_protocol("playground:Playing", environment)
    still = run(environment, np.zeros((10, 1), np.float32))
    assert [bool(after.truncated) for _, after in still] == [False] * 9 + [True]
    assert not any(after.terminated for _, after in still)
    pushed = run(environment, np.ones((5, 1), np.float32))
    assert any(after.terminated for _, after in pushed)
    assert not any(after.truncated for _, after in pushed)
    together = BatchedEnvironment(environment, 2)
    stand = together.reset(jax.random.key(0))
    for t in range(10):
        stand, ended = together.step(together.keys(jax.random.key(1), t), stand, jnp.zeros((2, 1)))
    assert ended.truncated.all()
    assert not np.asarray(stand.state.steps).any()
    with pytest.raises(EnvironmentFault, match="MuJoCo Playground knows none"):
        resolve("playground:Plaing").device("auto")


@dataclass(frozen=True)
class Physics:
    """The parameters of a stand-in with gymnax's interface."""

    gravity: float = 9.8


def modules(monkeypatch: pytest.MonkeyPatch, **stand_ins: ModuleType) -> None:
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)


def test_arguments_reach_each_library_and_wrong_ones_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(Playing):
        is_truncated = True

        def __init__(self, size: int = 1) -> None:
            self.size = size

    def module(**parts: Any) -> Any:
        made: Any = ModuleType("stand_in")
        vars(made).update(parts)
        return made

    overrides: list[Any] = []

    def load(name: str, config_overrides: Any = None) -> Playing:
        overrides.append(config_overrides)
        return Playing()

    modules(
        monkeypatch,
        gymnax=module(
            environments=SimpleNamespace(environment=SimpleNamespace(Environment=Own)),
            registered_envs=["X"],
            make=lambda name, **given: (Own(**given), Physics()),
        ),
        brax=module(),
        brax__envs=module(_envs={"X": Own}, get_environment=lambda name, **given: Own(**given)),
        mujoco_playground=module(
            registry=SimpleNamespace(
                ALL_ENVS=("X",), load=load, get_default_config=lambda name: Lengths()
            )
        ),
    )
    made = resolve("gymnax:X", {"gravity": -5.0, "size": 3}).device("auto")
    assert (made.parameters.gravity, made.environment.size) == (-5.0, 3)
    assert resolve("brax:X", {"size": 3}).device("auto").environment.size == 3
    made = resolve("playground:X", {"episode_length": 7}).device("auto")
    assert (made.limit, overrides) == (7, [{"episode_length": 7}])
    for env in ("gymnax:X", "brax:X", "playground:X"):
        with pytest.raises(EnvironmentFault, match="has no argument `sice`"):
            resolve(env, {"sice": 3}).device("auto")


class Lengths(dict[str, int]):
    """A configuration as MuJoCo Playground has them: a mapping with attributes."""

    def __init__(self) -> None:
        super().__init__(episode_length=10)
        self.episode_length = 10
