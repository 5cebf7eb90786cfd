"""From an environment's name to environments that can be stepped; errors that say what to do."""

import contextlib
import os
import sys
import warnings
from typing import Any

import gymnasium

from klamp.envs.copied import CopiedEnvironments
from klamp.envs.copies import LocalCopies, one_line
from klamp.envs.host import HostEnvironments
from klamp.envs.jax_adapters import LIBRARIES, device_environment, only_auto
from klamp.envs.pool import PREFIX, PoolEnvironments
from klamp.envs.stepped import SteppedEnvironments
from klamp.envs.vector import VectorEnvironments
from klamp.envs.workers import WorkerCopies
from klamp.errors import EnvironmentFault, closest
from klamp.seeding import Purpose

OBJECT = "object:"
"""How the name of an environment begins that was given as an object."""

FEW = 2
"""Copies that are stepped in turn, rather than as arrays, whose calls cost the same for any number:
a step of two CartPoles takes 23 µs in turn, 40 µs together; of four, 40 µs either way."""


def make_host(
    env: Any,
    num_envs: int,
    *,
    seed: int,
    purpose: Purpose,
    vectorization: str = "auto",
    step_limit_s: float = 60.0,
) -> HostEnvironments:
    """``num_envs`` copies of a Gymnasium id (or ``module:id``), ready to be reset.

    ``auto`` takes the environment's own vector form where it has one and there are more than
    ``FEW`` of them, else steps copies in this process; ``async`` gives each copy a process, which
    has ``step_limit_s`` for a step. One that is written in JAX, by its name or as an object, is
    stepped on the device, ``envpool:ID`` by EnvPool.
    """
    on_device = device_environment(env, vectorization)
    if on_device is not None:
        name = env if isinstance(env, str) else type(env).__qualname__
        return SteppedEnvironments(on_device, name, num_envs, seed, purpose)
    if env.startswith(PREFIX):
        only_auto(env, vectorization)
        return PoolEnvironments(env, num_envs, seed, purpose)
    spec = specification(env)
    try:
        if takes_vector_form(spec, num_envs, vectorization):
            vector = gymnasium.make_vec(spec, num_envs=num_envs)
            return VectorEnvironments(vector, env, seed, purpose)
        if vectorization == "async":
            workers = WorkerCopies(spec, num_envs, step_limit_s)
            return CopiedEnvironments(workers, env, seed, purpose)
        # The contract has been checked once; it need not be checked at every step.
        with contextlib.ExitStack() as made:
            envs = [_closed_by(made, spec) for _ in range(num_envs)]
            made.pop_all()
    except EnvironmentFault:
        raise
    except Exception as error:
        raise EnvironmentFault(cannot_make(env, error)) from error
    return CopiedEnvironments(LocalCopies(envs), env, seed, purpose)


def _closed_by(made: contextlib.ExitStack, spec: Any) -> Any:
    """A copy, which is closed again where another cannot be made."""
    env = gymnasium.make(spec, disable_env_checker=True)
    made.callback(env.close)
    return env


def takes_vector_form(spec: Any, num_envs: int, vectorization: str) -> bool:
    """Whether rows are stepped by the environment's own vector form."""
    if vectorization != "auto" or spec.vector_entry_point is None:
        return False
    return num_envs > FEW or spec.entry_point is None


def make_single(env: str, **options: Any) -> Any:
    """One environment of its own, to be rendered."""
    spec = specification(env)
    try:
        return gymnasium.make(spec, **options)
    except Exception as error:
        raise EnvironmentFault(cannot_make(env, error)) from error


def module_of(env: str) -> str | None:
    """The module that is imported to make an environment; None where its name names none."""
    if env.startswith((OBJECT, PREFIX, *(f"{library}:" for library in LIBRARIES))):
        return None
    return env.rpartition(":")[0] or None


def specification(env: str) -> Any:
    """The registered specification of an id; an error that suggests the nearest one."""
    module, name = module_of(env), env.rpartition(":")[2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # The loader of `module:id` imports the module, which registers the id.
            if module:
                _search_here_last()
                __import__(module)
            return gymnasium.spec(name)
    except ImportError as error:
        raise EnvironmentFault(
            f"The environment `{env}` needs the module `{module}`, which cannot be imported "
            f"({error}). Install it, or run from the folder that holds it."
        ) from error
    except gymnasium.error.Error as error:
        known = list(gymnasium.registry)
        raise EnvironmentFault(
            f"There is no environment `{env}` among those that Gymnasium knows here."
            f"{closest(name, known, 3)} For one of your own, give `module:id`, where importing "
            "`module` registers `id`."
        ) from error
    except (Exception, SystemExit) as error:
        raise EnvironmentFault(
            f"The module `{module}` of the environment `{env}` raised {type(error).__name__} while "
            f"it was imported: {one_line(error)} Mend the module; `python -c 'import {module}'` "
            "shows where it happens."
        ) from error


def _search_here_last() -> None:
    """Have modules be found in the working folder, too, as `python -m klamp` finds them.

    Last, so that a file there takes no other module's place; not at all where Python was told so.
    """
    with contextlib.suppress(OSError):
        here = os.getcwd()
        if not (sys.flags.safe_path or here in sys.path or "" in sys.path):
            sys.path.append(here)


def cannot_make(env: str, error: BaseException) -> str:
    """Why an environment could not be made, in its own words, with the likely remedy."""
    text = one_line(error)
    missing = isinstance(error, gymnasium.error.DependencyNotInstalled | ImportError)
    remedy = "Check the environment's own constructor."
    if missing:
        mujoco = "mujoco" in text or "imageio" in text
        remedy = 'Do `pip install "klamp[mujoco]"`.' if mujoco else "Install what it names."
    return f"The environment `{env}` could not be made: {type(error).__name__}: {text} {remedy}"
