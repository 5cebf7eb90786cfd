"""`--algo module:Class`: an algorithm of the user's own, by its name."""

import sys
from dataclasses import is_dataclass

from klamp.config.algorithms.own import implements_itself, module_of_algorithm
from klamp.errors import ConfigError, closest
from klamp.runtime.importing import import_named


def import_algorithm(name: str | None) -> None:
    """Import what ``module:Class`` is in, from the working folder, too; other names need nothing.

    Raises ``ConfigError`` where that is not possible, or where no algorithm is called so.
    """
    module = module_of_algorithm(name)
    if module is None or name is None:
        return
    import_named(module, f"The algorithm `{name}`")
    inside = name.rpartition(":")[2]
    there = [
        each
        for each, found in vars(sys.modules[module]).items()
        if isinstance(found, type) and is_dataclass(found) and implements_itself(found)
    ]
    if inside not in there:
        raise ConfigError(
            f"There is no algorithm `{name}`: the module `{module}` has no dataclass `{inside}` "
            f"with the methods `init` and `update`.{closest(inside, there)} See "
            "examples/own_algorithm.py for one."
        )
