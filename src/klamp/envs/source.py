"""What an ``env`` is, decided once: from a name, a class, a function or an object to its source.

Code that makes, steps, checks, films or records environments asks the source, and does not
distinguish kinds of them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import gymnasium
from gymnasium.vector import VectorEnv

from klamp.config.env_kwargs import checked_env_kwargs
from klamp.config.environment_name import FACTORY, OBJECT, POOL, can_be_imported, usual_wrappers
from klamp.config.run import RunConfig, check_environment_name
from klamp.envs.device.adapters import brax, gymnax, playground
from klamp.envs.device.protocol import DeviceEnvironment, is_device_environment
from klamp.envs.device.source import DeviceSource, no_wrappers
from klamp.envs.host.envpool import PoolSource
from klamp.envs.host.gymnasium_source import ROWS, GymnasiumSource
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.recipe import Recipe
from klamp.envs.host.vector_object import VectorObjectSource
from klamp.envs.wrappers import Wrapper, wrappers_of
from klamp.errors import ConfigError, shown
from klamp.runtime.qualified_name import qualified_name
from klamp.runtime.seeding import EnvironmentSeeds

LIBRARIES: dict[str, Callable[[str, Mapping[str, Any]], DeviceEnvironment]] = {
    "gymnax": gymnax,
    "brax": brax,
    "playground": playground,
}
"""Makers of the environments of JAX libraries, by the prefix of their names."""


class EnvironmentSource(Protocol):
    """Where the environments of a run come from. Nothing is imported or made before it is asked."""

    @property
    def name(self) -> str:
        """What `config.json` records as `env`."""
        ...

    @property
    def title(self) -> str:
        """The environment in messages."""
        ...

    @property
    def env_kwargs(self) -> Mapping[str, Any]:
        """Arguments of its constructor."""
        ...

    @property
    def wrappers(self) -> tuple[str, ...]:
        """What it is wrapped in, the innermost first, as `config.json` records it."""
        ...

    @property
    def exact(self) -> bool:
        """Whether its position is expected to be restored exactly."""
        ...

    @property
    def rows(self) -> int | None:
        """The number stepped together, where the settings do not decide it."""
        ...

    @property
    def one(self) -> Recipe | None:
        """Makes one copy, to be checked or filmed; None where none can be stepped by itself."""
        ...

    def device(self, vectorization: str) -> DeviceEnvironment | None:
        """The environment as pure functions; None where it is stepped on the host."""
        ...

    def together(self, num_envs: int, vectorization: str) -> bool:
        """Whether so many rows are stepped by a vector form of the environment's own."""
        ...

    def host(
        self,
        num_envs: int,
        seeds: EnvironmentSeeds,
        *,
        vectorization: str = "auto",
        step_limit_s: float = 60.0,
    ) -> HostEnvironments:
        """``num_envs`` environments stepped on the host, ready to be reset.

        ``auto`` takes the environment's own vector form where it has one and there are more than
        a few of them, else steps copies in this process; ``async`` gives each copy a process, which
        has ``step_limit_s`` seconds for a step. Raises ``EnvironmentFault`` where none can be made.
        """
        ...


def resolve(
    env: object, env_kwargs: Mapping[str, Any] | None = None, wrappers: object = None
) -> EnvironmentSource:
    """The source of an environment, whatever it was given as.

    ``env`` is a name (a Gymnasium id, ``module:id``, ``gymnax:…``, ``brax:…``, ``playground:…``,
    ``envpool:…``, ``factory:module:name``), a class or function that makes one or a vector
    environment, an object written in JAX, or a vector environment itself. ``env_kwargs`` are
    arguments of its constructor, ``wrappers`` names or callables, the innermost first; None: those
    that environments of that name usually have. Raises ``ConfigError`` where it is none of these,
    or where the kind of environment takes no arguments or wrappers.
    """
    arguments = checked_env_kwargs(env_kwargs)
    wrapped = wrappers_of(usual_wrappers(env) if wrappers is None else wrappers)
    if isinstance(env, VectorEnv):
        return _vector_object(env, arguments, wrapped)
    if isinstance(env, gymnasium.Env):
        raise ConfigError(
            f"The environment is an object, {shown(env)}, of which no copies can be made. Give its "
            "class, or a function that makes one, such as `klamp.train(lambda: MyEnvironment(…), "
            "…)`, or the id by which it is registered."
        )
    if is_device_environment(env):
        return _object(env, arguments, wrapped)
    if callable(env):
        return GymnasiumSource(FACTORY + qualified_name(env), arguments, wrapped, env)
    return _named(check_environment_name(env), arguments, wrapped)


def _object(env: Any, arguments: dict[str, Any], wrapped: tuple[Wrapper, ...]) -> DeviceSource:
    """An object that is an environment written in JAX."""
    name, title = _bare_object(env, arguments, wrapped, "it is written in JAX")
    return DeviceSource(name, title, {}, lambda: env)


def _vector_object(
    env: Any, arguments: dict[str, Any], wrapped: tuple[Wrapper, ...]
) -> VectorObjectSource:
    """A vector environment that its user made."""
    return VectorObjectSource(*_bare_object(env, arguments, wrapped, ROWS), env)


def _bare_object(
    env: Any, arguments: dict[str, Any], wrapped: tuple[Wrapper, ...], why: str
) -> tuple[str, str]:
    """The recorded name of an object and its title; ``why`` it takes no wrappers."""
    title = type(env).__qualname__
    if arguments:
        raise ConfigError(
            f"The environment is an object, of the class `{title}`, so `env_kwargs` come too late: "
            "give the arguments to its constructor, and leave them out here."
        )
    no_wrappers(title, tuple(each.name for each in wrapped), why)
    return f"{OBJECT}{type(env).__module__}:{title}", title


def _named(env: str, arguments: dict[str, Any], wrapped: tuple[Wrapper, ...]) -> EnvironmentSource:
    """An environment by its name."""
    names = tuple(each.name for each in wrapped)
    library, colon, _ = env.partition(":")
    if colon and library in LIBRARIES:
        no_wrappers(env, names, "it is written in JAX")
        return DeviceSource(env, env, arguments, partial(LIBRARIES[library], env, arguments))
    if env.startswith(POOL):
        no_wrappers(env, names, "EnvPool steps its environments by itself")
        return PoolSource(env, arguments)
    if env.startswith(OBJECT) or not can_be_imported(env.removeprefix(FACTORY)):
        what = "an object" if env.startswith(OBJECT) else "made by code of a script's own"
        raise ConfigError(
            f"The environment of the run is {what}, `{env.partition(':')[2]}`, which no file "
            "holds. Give it again, in Python: `klamp.load(folder, environment=…)`, "
            "`klamp.resume(folder, environment=…)`, `klamp.evaluate(policy, environment)`."
        )
    return GymnasiumSource(env, arguments, wrapped)


def source_of(
    config: RunConfig, environment: object = None, wrappers: object = None
) -> EnvironmentSource:
    """The source of a run's environment, from its configuration and what is given again.

    Raises ``ConfigError`` where what no file holds is missing, or where another is given.
    """
    wrapped = config.wrappers if wrappers is None else wrappers
    env = config.env if environment is None else environment
    source = resolve(env, config.env_kwargs, wrapped)
    if not _same(source.name, config.env):
        raise ConfigError(
            f"The run was made with the environment `{config.env}`, but `environment` is "
            f"{source.name!r}. Give one of the run's own class, or leave it out where the run has "
            "an id."
        )
    given = source.wrappers
    if len(given) != len(config.wrappers) or not all(map(_same, given, config.wrappers)):
        raise ConfigError(
            f"The run was made with the wrappers {list(config.wrappers)}, but `wrappers` are "
            f"{list(given)}. Give the run's own, in their order."
        )
    return source


def given_again(environment: object, wrappers: object, network: object) -> list[str]:
    """Which of the parts of a run its user gives again, so that no name leads to them."""
    parts = {"environment": environment, "wrappers": wrappers, "network": network}
    return [name for name, value in parts.items() if value is not None]


def source_to_evaluate(
    config: RunConfig, env: object, env_kwargs: Mapping[str, Any] | None, wrappers: object
) -> EnvironmentSource:
    """The source of environments for a run's policy: the run's own, but for what is given.

    One that Gymnasium has made is made again from its ``spec``, as it is; a vector environment is
    taken itself. Any other is wrapped as
    the run's was, and the run's own has the run's arguments, unless they are given.
    """
    if isinstance(env, VectorEnv):
        return _vector_object(env, {}, ())
    if isinstance(env, gymnasium.Env):
        return _made_again(env)
    named = config.env if env is None else resolve(env).name
    arguments = config.env_kwargs if _same(named, config.env) else {}
    return resolve(
        config.env if env is None else env,
        arguments if env_kwargs is None else env_kwargs,
        config.wrappers if wrappers is None else wrappers,
    )


def _made_again(env: Any) -> EnvironmentSource:
    """The source of an environment that Gymnasium has made."""
    if env.spec is None:
        raise ConfigError(
            f"The environment is an object, {shown(env)}, which cannot be made again: it has no "
            "`spec` of a single environment. Give its id, its class, or a function that makes one."
        )
    return GymnasiumSource(env.spec.id, {}, (), env.spec)


def _same(name: str, recorded: str) -> bool:
    """Whether two names are of the same code: a script's own is in `__main__` where it runs."""
    (kind, module, inside), (recorded_kind, recorded_module, own) = map(_split, (name, recorded))
    in_main = "__main__" in (module, recorded_module)
    return name == recorded or (in_main and (kind, inside) == (recorded_kind, own))


def _split(name: str) -> tuple[str, str, str]:
    """What comes before the module in a recorded name, the module, and the name inside it."""
    rest, _, inside = name.rpartition(":")
    kind, _, module = rest.rpartition(":")
    return kind, module, inside
