"""How one copy of a Gymnasium environment is made: its specification, and what it is wrapped in."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from klamp.envs.wrappers import Wrapper
from klamp.errors import EnvironmentFault, closest, install_extra, one_line


@dataclass(frozen=True)
class Recipe:
    """Makes copies that are alike; can be sent to another process, by cloudpickle."""

    title: str
    """The environment in messages."""
    spec: EnvSpec
    """What constructs it, with the arguments."""
    wrappers: tuple[Wrapper, ...]
    """The innermost first."""
    call: str
    """The Python that makes one, for a person to try."""

    def __call__(self, **options: Any) -> Any:
        """One copy. ``options`` go to the constructor, over the arguments of the run."""
        # The contract is checked once, by klamp; it need not be checked at every step.
        env: Any = gymnasium.make(self.spec, disable_env_checker=True, **options)
        for wrapper in self.wrappers:
            env = wrapper.wrap(env)
            if not isinstance(env, gymnasium.Env):
                raise EnvironmentFault(
                    f"The wrapper `{wrapper.name}` of `{self.title}` returned "
                    f"{type(env).__name__}; expected an environment of Gymnasium's. Return the "
                    "wrapped environment, such as a `gymnasium.Wrapper`."
                )
        return env

    def made(self, **options: Any) -> Any:
        """One copy; whatever keeps it from being made is an ``EnvironmentFault``."""
        try:
            return self(**options)
        except EnvironmentFault:
            raise
        except (Exception, SystemExit) as error:
            raise self.cannot_make(error) from error

    def cannot_make(self, error: BaseException) -> EnvironmentFault:
        """Why no copy could be made, in the constructor's own words, with the likely remedy."""
        wrong = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if isinstance(error, TypeError) and wrong is not None and wrong[1] in self.spec.kwargs:
            make = self.spec.entry_point or self.spec.vector_entry_point
            return unknown_argument(self.title, wrong[1], arguments(make))
        text = one_line(error)
        missing = isinstance(error, gymnasium.error.DependencyNotInstalled | ImportError)
        remedy = "Check the environment's own constructor."
        if self.wrappers:
            named = ", ".join(f"`{wrapper.name}`" for wrapper in self.wrappers)
            remedy = f"Check the environment's own constructor, and its wrappers: {named}."
        if missing:
            remedy = "Install what it names."
            if "mujoco" in text or "imageio" in text:
                remedy = install_extra("mujoco")
            elif "opencv" in text:
                remedy = install_extra("atari")
        return EnvironmentFault(
            f"The environment `{self.title}` could not be made: {type(error).__name__}: {text} "
            f"{remedy}"
        )


def unknown_argument(title: str, name: str, known: list[str]) -> EnvironmentFault:
    """The fault of an argument that a constructor does not know."""
    listed = f" Expected one of {', '.join(known)}." if known else " It takes none."
    return EnvironmentFault(
        f"The environment `{title}` has no argument `{name}`.{closest(name, known)}{listed} "
        "Correct it in `env_kwargs=…`."
    )


def arguments(entry_point: object) -> list[str]:
    """The names of the arguments that a constructor takes, those that it hands on included."""
    from gymnasium.envs.registration import load_env_creator  # noqa: PLC0415

    make: Any = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    handed_on = inspect.Parameter.VAR_KEYWORD
    names: list[str] = []
    for part in _constructors(make):
        parameters = inspect.signature(part).parameters.values()
        named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names += [name for name in named if name not in ("self", *names)]
        if all(parameter.kind is not handed_on for parameter in parameters):
            break
    return [name for name in names if name not in ("render_mode", "num_envs")]


def _constructors(make: Any) -> list[Callable[..., Any]]:
    """A function; or the constructors of a class and of those that it derives from."""
    if not isinstance(make, type):
        return [make]
    own = (kind.__dict__.get("__init__") for kind in make.__mro__ if kind is not object)
    return [part for part in own if part is not None]
