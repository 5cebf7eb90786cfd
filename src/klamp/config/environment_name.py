"""The origin of environments and wrappers, from their names."""

import re
from typing import Any

OBJECT = "object:"
"""The prefix of environments given as objects: written in JAX, or vector environments."""

FACTORY = "factory:"
"""The prefix of environments made by a class or a function: ``factory:module:name``."""

POOL = "envpool:"
"""The prefix of EnvPool's environments."""

LANGUAGE = "lm:"
"""The prefix of what a language model is trained in."""

LIBRARIES = ("gymnax", "brax", "playground")
"""The prefixes of JAX libraries' environments, before the colon."""

WRAPPERS: dict[str, tuple[str, ...]] = {"ALE": ("atari", "frame-stack=4", "sign-reward")}
"""What the environments of a task are wrapped in, where nobody says otherwise."""

_VERSION = re.compile(r"-v[0-9]+$")


def usual_wrappers(env: Any) -> tuple[str, ...]:
    """What an environment is wrapped in where nobody says otherwise; only a name has any."""
    return WRAPPERS.get(task_of(env), ()) if isinstance(env, str) else ()


def task_of(env: str) -> str:
    """The task of an environment: it wants the same settings in every version and library.

    All games of Atari (``ALE/…``) are one.
    """
    if env.startswith("ALE/"):
        return "ALE"
    name = env.removeprefix("gymnax:").removeprefix("phys2d/").removeprefix(POOL)
    return _VERSION.sub("", name)


def module_of(env: str) -> str | None:
    """The module that is imported to make an environment; None where its name names none."""
    if env.startswith(FACTORY):
        return code_module(env.removeprefix(FACTORY))
    if env.startswith((OBJECT, POOL, LANGUAGE, *(f"{library}:" for library in LIBRARIES))):
        return None
    return env.rpartition(":")[0] or None


def code_module(name: str) -> str | None:
    """The module of code that is named as ``module:name``.

    None where it cannot be imported by that name: it was defined in a script or a function, or it
    has no colon and is one of klamp's own.
    """
    module, _, inside = name.partition(":")
    return module if inside and can_be_imported(name) else None


def can_be_imported(name: str) -> bool:
    """Whether ``module:name`` leads to the same code in another process."""
    return "<" not in name and not name.startswith("__main__:")


def title_of(env: str) -> str:
    """An environment's name in messages and folders: a class or function by its own name.

    Of a language model's folder, the last part of its path.
    """
    if env.startswith(LANGUAGE):
        return LANGUAGE + env.removeprefix(LANGUAGE).rstrip("/").rpartition("/")[2]
    if not env.startswith(FACTORY):
        return env
    own = env.rpartition(":")[2].rpartition("<locals>.")[2]
    return own.replace("<", "").replace(">", "")
