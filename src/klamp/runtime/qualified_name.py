"""Code by name: a class or function as ``module:name``, and back."""

import sys
from types import FunctionType
from typing import Any

from klamp.errors import EnvironmentFault, closest, one_line
from klamp.runtime.importing import import_here


def qualified_name(code: object) -> str:
    """``module:name`` of a callable, by which `config.json` records it.

    One that cannot be imported by this name (a lambda, a local function, an object with
    ``__call__``) has a ``<`` in its name.
    """
    named: Any = code if isinstance(code, FunctionType | type) else type(code)
    name = f"{named.__module__}:{named.__qualname__}"
    if "<" in name or _inside(sys.modules.get(named.__module__), named.__qualname__) is code:
        return name
    return f"{name}.<object>"


def _inside(module: Any, name: str) -> Any:
    """The object with a dotted name in a module; None where there is none."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def find_code(name: str, what: str) -> Any:
    """The callable that ``module:name`` names; ``EnvironmentFault`` where there is none.

    ``what`` is its use, in messages.
    """
    module, _, inside = name.partition(":")
    try:
        imported = import_here(module)
    except ImportError as error:
        raise EnvironmentFault(
            f"The {what} `{name}` needs the module `{module}`, which cannot be imported "
            f"({error}). Install it, or run from the folder that holds it."
        ) from error
    except (Exception, SystemExit) as error:
        raise raised_on_import(module, f"{what} `{name}`", error) from error
    found = _inside(imported, inside)
    if not callable(found):
        raise EnvironmentFault(
            f"There is no {what} `{name}`: the module `{module}` has nothing callable by the name "
            f"`{inside}`.{closest(inside, vars(imported))} Give `module:name` of a class or "
            "function."
        )
    return found


def raised_on_import(module: str, what: str, error: BaseException) -> EnvironmentFault:
    """The fault of a module that raises while it is imported."""
    shows = module if module.endswith(".py") else f"-c 'import {module}'"
    return EnvironmentFault(
        f"The module `{module}` of the {what} raised {type(error).__name__} while "
        f"it was imported: {one_line(error)} Mend the module; `python {shows}` "
        "shows where it happens."
    )
