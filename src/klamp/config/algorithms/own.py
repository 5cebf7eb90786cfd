"""A user's own algorithm: its requirements, and its name in `config.json`."""

import sys
from dataclasses import fields, is_dataclass
from typing import Any

from klamp.config.settings import BESIDE_SETTINGS, Settings
from klamp.config.validation import is_number
from klamp.errors import ConfigError, shown

MAIN = "__main__"
"""The module of a class that was defined in a script, which no other process can import."""


def implements_itself(kind: type[Any]) -> bool:
    """Whether a class has the two methods of an algorithm."""
    return callable(getattr(kind, "init", None)) and callable(getattr(kind, "update", None))


def check_own(algorithm: Any) -> None:
    """Raise ``ConfigError`` where a class of the user's own cannot be the algorithm of a run."""
    kind = type(algorithm)
    frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # pyright: ignore
    if not frozen:
        raise ConfigError(
            f"The algorithm's class {kind.__qualname__} must be a frozen dataclass, so that a run "
            "can be recorded and built again: write `@dataclass(frozen=True)` above it."
        )
    taken = {*BESIDE_SETTINGS} | {item.name for item in fields(Settings)}
    for item in fields(kind):
        value = getattr(algorithm, item.name)
        if item.name in taken:
            raise ConfigError(
                f"`{item.name}` of {kind.__qualname__} has the name of what all runs have. Give "
                "the field another, or read the shared one from `context.settings`."
            )
        if not _is_plain(value):
            raise ConfigError(
                f"`{item.name}` of {kind.__qualname__} is {shown(value)}, which "
                "`config.json` cannot hold. Expected a finite number, a text, a bool, None or a "
                "tuple of these; make anything else from them in `update`."
            )


def _is_plain(value: Any) -> bool:
    """Whether a value comes back from JSON as it was (a tuple as a list)."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))  # pyright: ignore[reportUnknownArgumentType]
    return value is None or isinstance(value, str | bool) or is_number(value)


def own_name(kind: type[Any]) -> str:
    """`module:Class`, as `config.json` names a user's own."""
    # A process that multiprocessing has started calls the script by another name.
    module = MAIN if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}:{kind.__qualname__}"


def module_of_algorithm(name: object) -> str | None:
    """The module that is imported to have an algorithm; None for klamp's own, and for scripts."""
    module = name.rpartition(":")[0] if isinstance(name, str) else ""
    return module if module and module != MAIN else None


def own_class(name: str, given: type[Any] | None = None) -> type[Any]:
    """The class of a name that ``own_name`` made, without importing anything.

    ``given`` is used where its name is the same except for the module. Raises ``ConfigError``.
    """
    module, _, inside = name.rpartition(":")
    if given is not None and given.__qualname__.rpartition(".")[2] == inside.rpartition(".")[2]:
        return given
    found: Any = getattr(sys.modules.get(module), "__dict__", {}).get(inside)
    if isinstance(found, type) and is_dataclass(found) and implements_itself(found):
        return found
    raise ConfigError(
        f"The algorithm of the run is the class {shown(inside)} of the module {shown(module)}, "
        "which is not there to be used. Give it again, in Python: "
        "`klamp.resume(folder, algorithm=…)` or `klamp.load(folder, algorithm=…)`; or define it "
        "at the top of a module that can be imported."
    )
