"""Environments of other JAX libraries behind ``DeviceEnvironment``, imported when asked for.

``gymnax:ID``, ``brax:ID`` and ``playground:ID``, and Gymnasium's own functional environments
(``phys2d/…``, ``tabular/…``). None of their own resets is used: they begin new episodes in place of
the final observation, and Brax's begin always in the same state.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import PRNGKeyArray

from klamp.config.environment_name import LIBRARIES
from klamp.envs.device.protocol import DeviceEnvironment, DeviceStep
from klamp.envs.host.serial import one_line
from klamp.errors import ConfigError, EnvironmentFault, closest

BRAX_LIMIT = 1000
"""Steps of an episode in Brax's own training, whose environments have no limit of their own."""


class Timed(NamedTuple):
    """The state of an environment that does not count its steps, and their number."""

    inner: Any
    steps: Any


def device_environment(env: Any, vectorization: str = "auto") -> DeviceEnvironment | None:
    """The environment written in JAX that a name stands for; None where it names none.

    Raises ``EnvironmentFault`` where the library is missing or has no such environment.
    Gymnasium's functional environments are stepped on the host where ``vectorization`` says how.
    """
    if not isinstance(env, str):
        only_auto(type(env).__qualname__, vectorization)
        return env
    library, _, name = env.partition(":")
    makers: dict[str, Callable[[str, str], DeviceEnvironment]] = dict(
        zip(LIBRARIES, (_gymnax, _brax, _playground), strict=True)
    )
    if library in makers and env != library:
        only_auto(env, vectorization)
        return _made(env, lambda: makers[library](env, name))
    if env.startswith(("phys2d/", "tabular/")) and vectorization == "auto":
        return _made(env, lambda: _functional(env))
    return None


def only_auto(env: str, vectorization: str) -> None:
    """Raise ``ConfigError`` where a library steps its environments together in a way of its own."""
    if vectorization != "auto":
        raise ConfigError(
            f"`vectorization` of Settings is {vectorization!r}, but would do nothing: `{env}` is "
            "stepped together by its own library. Leave it out."
        )


def _made(env: str, make: Callable[[], DeviceEnvironment]) -> DeviceEnvironment:
    """What ``make`` returns; whatever it raises, as a fault."""
    try:
        with warnings.catch_warnings():
            # What these libraries say of themselves when imported is not about the run.
            warnings.simplefilter("ignore")
            return make()
    except EnvironmentFault:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        extra = "playground" if env.startswith("playground:") else "jaxenvs"
        raise EnvironmentFault(
            f"The environment `{env}` needs a library that cannot be imported: {one_line(error)} "
            f'Do `pip install "klamp[{extra}]"`.'
        ) from error
    except Exception as error:
        raise EnvironmentFault(
            f"The environment `{env}` could not be made: {type(error).__name__}: "
            f"{one_line(error)} Check its name and the version of its library."
        ) from error


def _known(env: str, name: str, library: str, names: list[str]) -> None:
    """Raise ``EnvironmentFault`` where a library has no environment of that name."""
    if name not in names:
        raise EnvironmentFault(
            f"There is no environment `{env}`: {library} knows none by the name `{name}`."
            f"{closest(name, names, 3)} Give the name as {library} spells it."
        )


def _gymnax(env: str, name: str) -> DeviceEnvironment:
    gymnax = import_module("gymnax")

    if not hasattr(gymnax.environments.environment.Environment, "is_truncated"):
        raise EnvironmentFault(
            f"The environment `{env}` needs gymnax 1.0 or later: before, it did not tell a time "
            'limit from a terminal state. Do `pip install "klamp[jaxenvs]"`.'
        )
    _known(env, name, "gymnax", list(gymnax.registered_envs))
    return Gymnax(*gymnax.make(name))


def _brax(env: str, name: str) -> DeviceEnvironment:
    envs = import_module("brax.envs")

    _known(env, name, "Brax", list(envs._envs))
    return Braxlike(envs.get_environment(name), BRAX_LIMIT)


def _playground(env: str, name: str) -> DeviceEnvironment:
    registry = import_module("mujoco_playground").registry

    _known(env, name, "MuJoCo Playground", list(registry.ALL_ENVS))
    limit = int(registry.get_default_config(name).episode_length)
    return Braxlike(registry.load(name), limit)


def _functional(env: str) -> DeviceEnvironment:
    try:
        made = gymnasium.make(env, disable_env_checker=True)
    except gymnasium.error.UnregisteredEnv as error:
        families = ("phys2d/", "tabular/")
        _known(env, env, "Gymnasium", [n for n in gymnasium.registry if n.startswith(families)])
        raise EnvironmentFault(f"The environment `{env}` could not be made: {error}") from error
    function = getattr(made.unwrapped, "func_env")  # noqa: B009 - not Gymnasium's every Env
    assert made.spec is not None
    return Functional(function, made.spec.max_episode_steps)


@dataclass(frozen=True)
class Gymnax:
    """An environment of gymnax ≥ 1 with its parameters (arXiv:1606.01540's interface in JAX)."""

    environment: Any
    parameters: Any

    @property
    def observation_space(self) -> Any:
        """As Gymnasium has it."""
        return _gymnasium_space(self.environment.observation_space(self.parameters))

    @property
    def action_space(self) -> Any:
        """As Gymnasium has it."""
        return _gymnasium_space(self.environment.action_space(self.parameters))

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Any]:
        """An episode begins."""
        observation, state = self.environment.reset_env(key, self.parameters)
        return state, observation

    def step(self, key: PRNGKeyArray, state: Any, action: Any) -> DeviceStep:
        """One step; at the time limit an episode is truncated, whether it is terminal or not."""
        observation, state, reward, terminated, _ = self.environment.step_env(
            key, state, action, self.parameters
        )
        truncated = self.environment.is_truncated(state, self.parameters)
        return DeviceStep(state, observation, reward, terminated, truncated)


def _gymnasium_space(space: Any) -> Any:
    """A space of gymnax as one of Gymnasium."""
    parts = getattr(space, "spaces", None)
    if isinstance(parts, dict):
        return spaces.Dict({name: _gymnasium_space(part) for name, part in parts.items()})
    if parts is not None:
        return spaces.Tuple([_gymnasium_space(part) for part in parts])
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    kind = np.dtype(space.dtype)
    low, high = (np.broadcast_to(np.asarray(b, kind), space.shape) for b in (space.low, space.high))
    return spaces.Box(low, high, tuple(space.shape), kind.type)


@dataclass(frozen=True)
class Braxlike:
    """An environment of Brax or MuJoCo Playground, cut off after ``limit`` steps."""

    environment: Any
    limit: int

    @property
    def observation_space(self) -> Any:
        """Unbounded; where there are several observations, all of them."""
        return _unbounded(self.environment.observation_size)

    @property
    def action_space(self) -> Any:
        """Each actuator from −1 to 1."""
        return spaces.Box(-1, 1, (int(self.environment.action_size),), np.float32)

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Any]:
        """An episode begins."""
        state = self.environment.reset(key)
        return Timed(state, jnp.zeros((), jnp.int32)), state.obs

    def step(self, key: PRNGKeyArray, state: Timed, action: Any) -> DeviceStep:
        """One step; what is random in it comes from the state."""
        after = self.environment.step(state.inner, action)
        steps = state.steps + 1
        terminated = jnp.asarray(after.done, bool)
        # As in Brax's EpisodeWrapper, an end of the task's own is no truncation.
        truncated = (steps >= self.limit) & ~terminated
        return DeviceStep(Timed(after, steps), after.obs, after.reward, terminated, truncated)


def _unbounded(size: Any) -> Any:
    """A Box without bounds of a size, a shape, or each of several by name."""
    if hasattr(size, "items"):
        return spaces.Dict({name: _unbounded(part) for name, part in size.items()})
    shape = tuple(size) if isinstance(size, tuple | list) else (int(size),)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


@dataclass(frozen=True)
class Functional:
    """A Gymnasium ``FuncEnv``, cut off after ``limit`` steps (None: never)."""

    environment: Any
    limit: int | None

    @property
    def observation_space(self) -> Any:
        """Its own."""
        return self.environment.observation_space

    @property
    def action_space(self) -> Any:
        """Its own."""
        return self.environment.action_space

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Any]:
        """An episode begins."""
        state = self.environment.initial(rng=key)
        return Timed(state, jnp.zeros((), jnp.int32)), self.environment.observation(state, key)

    def step(self, key: PRNGKeyArray, state: Timed, action: Any) -> DeviceStep:
        """One step, its parts called as Gymnasium's own wrapper calls them."""
        function, before = self.environment, state.inner
        after = function.transition(before, action, key)
        steps = state.steps + 1
        return DeviceStep(
            Timed(after, steps),
            function.observation(after, key),
            function.reward(before, action, after, key),
            function.terminal(after, key),
            jnp.zeros((), bool) if self.limit is None else steps >= self.limit,
        )
