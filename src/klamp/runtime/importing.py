"""The import of a module that a configuration names, from the working folder, too."""

import contextlib
import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from klamp.errors import ConfigError, shown


def import_here(module: str) -> Any:
    """Import a module, which may lie in the working folder, as `python -m klamp` finds it there.

    ``module`` may also be the path of a file that ends in `.py`.
    """
    search_last(os.curdir)
    return _import_file(module) if module.endswith(".py") else import_module(module)


def _import_file(path: str) -> Any:
    """The module of a file, which is executed once; ``ImportError`` where there is none."""
    if path in sys.modules:
        return sys.modules[path]
    spec = spec_from_file_location(path, path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise ImportError(f"there is no file {path}")
    search_last(os.path.dirname(path))
    module = sys.modules[path] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path]
        raise
    return module


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


def search_last(folder: str) -> None:
    """Search a folder for modules, too, as `python -m klamp` does with the working folder.

    It comes last, so that a file there replaces no other module; not where Python was told not to.
    """
    with contextlib.suppress(OSError):
        path, searched = os.path.abspath(folder), [os.path.abspath(each) for each in sys.path]
        if not (sys.flags.safe_path or path in searched):
            sys.path.append(path)
