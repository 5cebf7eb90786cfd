"""Environments of other JAX libraries behind ``DeviceEnvironment``, imported when asked for.

``gymnax:ID``, ``brax:ID`` and ``playground:ID``, and Gymnasium's own functional environments
(``phys2d/…``, ``tabular/…``). Their automatic resets are not used: they replace the final
observation, and Brax's always start in the same state.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import PRNGKeyArray

from klamp.envs.device.protocol import DeviceEnvironment, DeviceStep
from klamp.envs.host.recipe import arguments, unknown_argument
from klamp.envs.spaces.supported import Space
from klamp.errors import EnvironmentFault, closest, install_extra, one_line
from klamp.types import PyTree

Arguments = Mapping[str, Any]
"""Arguments of an environment's constructor, by name."""

BRAX_LIMIT = 1000
"""Steps of an episode in Brax's own training, whose environments have no limit of their own."""


class Timed(NamedTuple):
    """The state of an environment that does not count its steps, and their number."""

    inner: PyTree
    steps: Any


def _made(env: str, make: Callable[[str], DeviceEnvironment]) -> DeviceEnvironment:
    """What ``make`` returns of the name behind the colon; whatever it raises, as a fault."""
    try:
        with warnings.catch_warnings():
            # What these libraries print when imported is not about the run.
            warnings.simplefilter("ignore")
            return make(env.partition(":")[2])
    except EnvironmentFault:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        extra = "playground" if env.startswith("playground:") else "jaxenvs"
        raise EnvironmentFault(
            f"The environment `{env}` needs a library that cannot be imported: {one_line(error)} "
            f"{install_extra(extra)}"
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


def _accepted(env: str, env_kwargs: Arguments, known: list[str]) -> None:
    """Raise ``EnvironmentFault`` where an environment has no argument of a given name."""
    for name in env_kwargs:
        if name not in known:
            raise unknown_argument(env, name, known)


def gymnax(env: str, env_kwargs: Arguments) -> DeviceEnvironment:
    """``gymnax:ID``; its arguments are fields of its parameters, or go to its constructor."""
    return _made(env, lambda name: _gymnax(env, name, env_kwargs))


def _gymnax(env: str, name: str, env_kwargs: Arguments) -> DeviceEnvironment:
    library = import_module("gymnax")

    if not hasattr(library.environments.environment.Environment, "is_truncated"):
        raise EnvironmentFault(
            f"The environment `{env}` needs gymnax 1.0 or later: before, it did not tell a time "
            f"limit from a terminal state. {install_extra('jaxenvs')}"
        )
    _known(env, name, "gymnax", list(library.registered_envs))
    environment, parameters = library.make(name)
    if env_kwargs:
        own = {field.name for field in fields(parameters)}
        _accepted(env, env_kwargs, [*own, *arguments(type(environment))])
        to_make = {key: value for key, value in env_kwargs.items() if key not in own}
        environment, parameters = library.make(name, **to_make)
        parameters = replace(parameters, **{k: env_kwargs[k] for k in own & set(env_kwargs)})
    return Gymnax(environment, parameters)


def brax(env: str, env_kwargs: Arguments) -> DeviceEnvironment:
    """``brax:ID``; its arguments go to its constructor."""

    def make(name: str) -> DeviceEnvironment:
        envs = import_module("brax.envs")

        _known(env, name, "Brax", list(envs._envs))
        if env_kwargs:
            _accepted(env, env_kwargs, arguments(envs._envs[name]))
        return Braxlike(envs.get_environment(name, **env_kwargs), BRAX_LIMIT)

    return _made(env, make)


def playground(env: str, env_kwargs: Arguments) -> DeviceEnvironment:
    """``playground:ID``; its arguments override its own configuration."""

    def make(name: str) -> DeviceEnvironment:
        registry = import_module("mujoco_playground").registry

        _known(env, name, "MuJoCo Playground", list(registry.ALL_ENVS))
        default = registry.get_default_config(name)
        if not env_kwargs:
            return Braxlike(registry.load(name), int(default.episode_length))
        _accepted(env, env_kwargs, list(default))
        limit = env_kwargs.get("episode_length", default.episode_length)
        return Braxlike(registry.load(name, config_overrides=dict(env_kwargs)), int(limit))

    return _made(env, make)


def functional(env: str, env_kwargs: Arguments) -> DeviceEnvironment:
    """One of Gymnasium's functional environments (``phys2d/…``, ``tabular/…``)."""

    def make(name: str) -> DeviceEnvironment:
        try:
            made = gymnasium.make(env, disable_env_checker=True, **env_kwargs)
        except gymnasium.error.UnregisteredEnv as error:
            families = ("phys2d/", "tabular/")
            _known(env, env, "Gymnasium", [n for n in gymnasium.registry if n.startswith(families)])
            raise EnvironmentFault(f"The environment `{env}` could not be made: {error}") from error
        function = getattr(made.unwrapped, "func_env")  # noqa: B009 - not Gymnasium's every Env
        assert made.spec is not None
        return Functional(function, made.spec.max_episode_steps)

    return _made(env, make)


@dataclass(frozen=True)
class Gymnax:
    """An environment of gymnax ≥ 1 with its parameters (arXiv:1606.01540's interface in JAX)."""

    environment: Any
    parameters: Any

    @property
    def observation_space(self) -> Space:
        """As Gymnasium has it."""
        return _gymnasium_space(self.environment.observation_space(self.parameters))

    @property
    def action_space(self) -> Space:
        """As Gymnasium has it."""
        return _gymnasium_space(self.environment.action_space(self.parameters))

    def reset(self, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        """An episode begins."""
        observation, state = self.environment.reset_env(key, self.parameters)
        return state, observation

    def step(self, key: PRNGKeyArray, state: PyTree, action: Any) -> DeviceStep:
        """One step; at the time limit an episode is truncated, whether it is terminal or not."""
        observation, state, reward, terminated, info = self.environment.step_env(
            key, state, action, self.parameters
        )
        truncated = self.environment.is_truncated(state, self.parameters)
        # Its `discount` repeats `terminated`.
        told = {name: info[name] for name in info if name != "discount"}
        return DeviceStep(state, observation, reward, terminated, truncated, told)


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
    def observation_space(self) -> Space:
        """Unbounded; where there are several observations, all of them."""
        return _unbounded(self.environment.observation_size)

    @property
    def action_space(self) -> Space:
        """Each actuator from −1 to 1."""
        return spaces.Box(-1, 1, (int(self.environment.action_size),), np.float32)

    def reset(self, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
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
        ends = (after.reward, terminated, truncated)
        return DeviceStep(Timed(after, steps), after.obs, *ends, dict(after.metrics))


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
    def observation_space(self) -> Space:
        """Its own."""
        return self.environment.observation_space

    @property
    def action_space(self) -> Space:
        """Its own."""
        return self.environment.action_space

    def reset(self, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
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
