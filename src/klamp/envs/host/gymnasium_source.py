"""Gymnasium's environments, registered by an id or made by a class or function of the user's own.

They are stepped on the host, as copies or in a vector form of their own. Gymnasium's functional
ones are written in JAX, and stepped on the device unless ``vectorization`` says how on the host.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import VectorEnv

from klamp.config.environment_name import FACTORY, module_of, title_of
from klamp.envs.device.adapters import functional
from klamp.envs.device.protocol import DeviceEnvironment
from klamp.envs.device.source import no_wrappers, only_auto
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.recipe import Recipe
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.host.subprocesses import WorkerCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.wrappers import Wrapper
from klamp.errors import ConfigError, EnvironmentFault, closest, install_extra
from klamp.runtime.importing import import_here
from klamp.runtime.qualified_name import find_code, raised_on_import
from klamp.runtime.seeding import EnvironmentSeeds

FEW = 2
"""Up to this number of copies are stepped in turn. Stepping arrays costs the same for any number: a
step of two CartPoles takes 23 µs in turn, 40 µs together; of four, 40 µs either way."""

ROWS = "it steps all its rows by itself"
"""Why a vector environment takes no wrappers."""

FUNCTIONAL = ("phys2d/", "tabular/")
"""How the ids of Gymnasium's functional environments begin."""

PACKAGES = {"ALE": ("ale_py", "atari")}
"""The module that registers the ids of a namespace, and the extra that installs it."""


@dataclass(frozen=True)
class GymnasiumSource:
    """``EnvironmentSource`` of an id, ``module:id``, a class, or a function.

    A class of vector environments, and a function with an argument ``num_envs``, make all rows at
    once.
    """

    name: str
    env_kwargs: Mapping[str, Any]
    wrapped: tuple[Wrapper, ...]
    factory: Callable[..., Any] | EnvSpec | None = None
    """The class or function, where it was given; found by its name where not."""

    exact = True
    rows: None = None

    @property
    def title(self) -> str:
        """The environment in messages."""
        return title_of(self.name)

    @property
    def wrappers(self) -> tuple[str, ...]:
        """As `config.json` records them."""
        return tuple(wrapper.name for wrapper in self.wrapped)

    @cached_property
    def recipe(self) -> Recipe:
        """How copies are made; imports the module that the name names."""
        wanted = {key: value for each in self.wrapped for key, value in each.env_kwargs.items()}
        given: dict[str, Any] = {**wanted, **self.env_kwargs}
        told = "".join(f", {key}={value!r}" for key, value in given.items())
        if self.factory is None and not self.name.startswith(FACTORY):
            spec, call = specification(self.name), f"gymnasium.make({self.name!r}{told})"
            spec = _with_arguments(spec, given) if given else spec
            return Recipe(self.title, spec, self.wrapped, call)
        if isinstance(self.factory, EnvSpec):
            return Recipe(self.title, self.factory, self.wrapped, f"gymnasium.make({self.title!r})")
        make = self.factory or find_code(self.name.removeprefix(FACTORY), "environment")
        if _makes_rows(make):
            spec = EnvSpec(self.title, None, vector_entry_point=make, kwargs=given)
        else:
            spec = EnvSpec(self.title, make, order_enforce=False, kwargs=given)
        return Recipe(self.title, spec, self.wrapped, f"{self.title}({told.removeprefix(', ')})")

    @property
    def one(self) -> Recipe | None:
        """Makes one copy by itself; None where only a vector form is registered."""
        return None if self.recipe.spec.entry_point is None else self.recipe

    def device(self, vectorization: str) -> DeviceEnvironment | None:
        """One of Gymnasium's functional environments, as pure functions."""
        if vectorization != "auto" or not self.name.startswith(FUNCTIONAL):
            return None
        if self.wrapped:
            raise ConfigError(
                f"The environment `{self.name}` is written in JAX, so no wrapper can hold it: "
                f"`{self.wrapped[0].name}` wraps what is stepped on the host. Step it there, by "
                "`vectorization='sync'`, or leave the wrappers out."
            )
        return functional(self.name, self.env_kwargs)

    def together(self, num_envs: int, vectorization: str) -> bool:
        """Whether rows are stepped by the environment's own vector form.

        Never with wrappers, which hold one copy, nor with arguments that the form does not take.
        """
        spec = self.recipe.spec
        if spec.entry_point is None:
            only_auto(self.title, vectorization)
            no_wrappers(self.title, self.wrappers, ROWS)
            return True
        if vectorization != "auto" or self.wrapped or spec.vector_entry_point is None:
            return False
        if num_envs <= FEW or spec.additional_wrappers:
            return False
        return not self.env_kwargs or _takes(spec.vector_entry_point, spec.kwargs)

    def host(
        self,
        num_envs: int,
        seeds: EnvironmentSeeds,
        *,
        vectorization: str = "auto",
        step_limit_s: float = 60.0,
    ) -> HostEnvironments:
        """Copies in this process, in processes of their own, or in their own vector form."""
        recipe, title = self.recipe, self.title
        try:
            if self.together(num_envs, vectorization):
                vector = gymnasium.make_vec(recipe.spec, num_envs=num_envs)
                return VectorEnvironments(vector, title, seeds)
            if vectorization == "async":
                workers = WorkerCopies(recipe, num_envs, step_limit_s)
                return CopiedEnvironments(workers, title, seeds)
            with ExitStack() as made:
                envs = [_closed_by(made, recipe) for _ in range(num_envs)]
                made.pop_all()
        except (ConfigError, EnvironmentFault):
            raise
        except Exception as error:
            raise recipe.cannot_make(error) from error
        return CopiedEnvironments(LocalCopies(envs), title, seeds)


def _makes_rows(make: Any) -> bool:
    """Whether a class or function makes a vector environment, of as many rows as are asked for."""
    if isinstance(make, type):
        return issubclass(make, VectorEnv)
    try:
        return "num_envs" in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def _closed_by(made: ExitStack, recipe: Recipe) -> Any:
    """A copy, which is closed again where another cannot be made."""
    env = recipe()
    made.callback(env.close)
    return env


def _with_arguments(spec: EnvSpec, given: dict[str, Any]) -> EnvSpec:
    """A specification with other arguments; ``max_episode_steps`` is its own time limit."""
    rest = dict(given)
    limit = rest.pop("max_episode_steps", spec.max_episode_steps)
    return replace(spec, kwargs={**spec.kwargs, **rest}, max_episode_steps=limit)


def _takes(vector: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a vector form takes the arguments of a single environment."""
    make = load_env_creator(vector) if isinstance(vector, str) else vector
    try:
        inspect.signature(make).bind(num_envs=1, **kwargs)
    except TypeError:
        return False
    return True


def specification(env: str) -> EnvSpec:
    """The registered specification of an id; an error that suggests the nearest one."""
    own, name = module_of(env), env.rpartition(":")[2]
    package, extra = PACKAGES.get(name.partition("/")[0], (None, ""))
    module = own or package
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # The loader of `module:id` imports the module, which registers the id.
            if module:
                import_here(module)
            return gymnasium.spec(name)
    except ImportError as error:
        raise EnvironmentFault(
            f"The environment `{env}` needs the module `{module}`, which cannot be imported "
            f"({error}). Install it, or run from the folder that holds it."
            if own
            else f"The environment `{env}` needs a package that cannot be imported ({error}). "
            f"{install_extra(extra)}"
        ) from error
    except gymnasium.error.Error as error:
        known = list(gymnasium.registry)
        raise EnvironmentFault(
            f"There is no environment `{env}` among those that Gymnasium knows here."
            f"{closest(name, known, 3)} For one of your own, give `module:id`, where importing "
            "`module` registers `id`."
        ) from error
    except (Exception, SystemExit) as error:
        raise raised_on_import(str(module), f"environment `{env}`", error) from error
