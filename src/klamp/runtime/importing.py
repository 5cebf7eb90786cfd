"""The import of a module that a configuration names, from the working folder, too."""

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

from klamp.errors import ConfigError, shown


def import_here(module: str) -> Any:
    """Import a module, which may lie in the working folder, as `python -m klamp` finds it there."""
    search_here_last()
    return import_module(module)


def import_named(module: str, what: str) -> None:
    """Import a module that holds ``what``; raises ``ConfigError`` where that is not possible."""
    try:
        import_here(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{what} needs the module `{module}`, which cannot be imported: "
            f"{type(error).__name__}: {shown(str(error))}. Mend or install it, or run from the "
            "folder that holds it."
        ) from error


def search_here_last() -> None:
    """Search the working folder for modules, too, as `python -m klamp` does.

    It comes last, so that a file there replaces no other module; not where Python was told not to.
    """
    with contextlib.suppress(OSError):
        here = os.getcwd()
        if not (sys.flags.safe_path or here in sys.path or "" in sys.path):
            sys.path.append(here)
