"""From an environment's name to environments that can be stepped; errors that say what to do."""

import contextlib
import os
import sys
import warnings
from typing import Any

import gymnasium

from klamp.config.environment_name import OBJECT, POOL, module_of
from klamp.config.run import RunConfig
from klamp.envs.device.adapters import device_environment, only_auto
from klamp.envs.device.on_host import SteppedEnvironments
from klamp.envs.device.protocol import is_device_environment
from klamp.envs.host.envpool import PoolEnvironments
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies, one_line
from klamp.envs.host.subprocesses import WorkerCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.errors import ConfigError, EnvironmentFault, closest
from klamp.runtime.seeding import Purpose

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
    if env.startswith(POOL):
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


def environment_name(env: Any) -> Any:
    """The name of an environment as `config.json` holds it; what is none is left as it is."""
    if not is_device_environment(env):
        return env
    return f"{OBJECT}{type(env).__module__}:{type(env).__qualname__}"


def environment_of(config: RunConfig, environment: Any = None) -> Any:
    """The name of the run's environment, or the object that it was given as.

    Raises ``ConfigError`` where an object is needed and missing, or another than the run's.
    """
    if environment is None and not config.env.startswith(OBJECT):
        return config.env
    if environment is None:
        raise ConfigError(
            f"The environment of the run is an object, `{config.env.removeprefix(OBJECT)}`, which "
            "no file holds. Give it again, in Python: `klamp.load(folder, environment=…)`, "
            "`klamp.resume(folder, environment=…)`, `klamp.evaluate(policy, environment)`."
        )
    name = environment_name(environment)
    if name != config.env:
        raise ConfigError(
            f"The run was made with the environment `{config.env}`, but `environment` is {name!r}. "
            "Give an object of the run's own class, or leave it out where the run has an id."
        )
    return environment
