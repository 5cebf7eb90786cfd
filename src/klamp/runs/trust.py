"""Whether this user's own klamp wrote a `config.json`: checked before code that it names is run.

An environment called `module:id` is made by importing the module; one called `factory:module:name`,
an algorithm called `module:Class`, and networks and wrappers called `module:name`, by calling what
the module holds; and text among the arguments of a constructor may be the name of a file. Such a
run's `config.json` bears an HMAC-SHA256 of what it says and of where the modules lie, by a key that
only this user has, so that a folder from elsewhere imports nothing unless its user says so.
"""

import contextlib
import hashlib
import hmac
import importlib.util
import json
import os
import secrets
import site
import sys
import sysconfig
from collections.abc import Collection, Container, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from klamp.config.algorithms.own import module_of_algorithm
from klamp.config.env_kwargs import has_text
from klamp.config.environment_name import FACTORY, code_module, module_of
from klamp.errors import ConfigError, printable, shown
from klamp.runs.atomic_write import sync
from klamp.runs.bounded_read import Unreadable, read_bounded
from klamp.runtime.open_flags import flags

SIGNATURE = "signature"
"""The part of `config.json` that holds it."""

KEY_BYTES = 32

_GIVEN_AS = {
    "environment": "environment",
    "algorithm": "algorithm",
    "network": "network",
    "wrapper": "wrappers",
    "reward": "reward",
    "text environment": "text_environment",
}
"""The argument with which a user gives each part again."""

CALLED = ("network", "wrapper", "reward", "text environment")
"""Parts that are made by calling code of a module, whether or not it is imported already."""

KEYS = {"environment": "env", "algorithm": "algo", "network": "network"}
"""The parts of a configuration that may name a module."""


def code_of(
    data: dict[str, Any], given: Collection[str] = (), imported: Container[str] = ()
) -> list[str]:
    """What a configuration names that is run, or may be read, to make its parts; in words.

    ``data`` is as `config.json` holds it, and may hold anything. ``given`` says which of
    `environment`, `algorithm`, `network` and `wrappers` the user gives anew. A module that is
    ``imported`` already has registered its environments, and is run no further by their ids.
    """
    found: list[str] = []
    env = _text(data.get("env"))
    for what, name, module in _named(data):
        if _GIVEN_AS[what] in given:
            continue
        if module not in imported or name.startswith(FACTORY) or what in CALLED:
            found.append(
                f"the {what} `{printable(name, 300)}`, and to make it would run the code of the "
                f"module `{printable(module, 300)}`"
            )
    if has_text(data.get("env_kwargs")):
        found.append(
            f"text among the `env_kwargs` of the environment `{printable(env, 300)}`, "
            f"{shown(data['env_kwargs'])}, which its constructor may take for the name of a file"
        )
    return found


def _named(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The code that a configuration names: what it is for, its name, and its module."""
    several, rewards = (_several(data.get(key)) for key in ("wrappers", "reward"))
    names = [("environment", _text(data.get("env")), module_of)]
    names += [("algorithm", _text(data.get("algo")), module_of_algorithm)]
    names += [("network", _text(data.get("network")), code_module)]
    names += [("text environment", _text(data.get("text_environment")), code_module)]
    names += [("wrapper", _text(name), code_module) for name in several]
    names += [("reward", _text(name), code_module) for name in rewards]
    found = [(what, name, find(name)) for what, name, find in names]
    return [(what, name, module) for what, name, module in found if module is not None]


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def signed(data: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its signature; without one where no key can be kept."""
    key = _kept_key() or _new_key()
    return data if key is None else data | {SIGNATURE: _sum(key, data)}


def is_signed(data: dict[str, Any]) -> bool:
    """Whether a configuration is as this user's klamp wrote it, and its modules where they were."""
    key, said = _kept_key(), data.get(SIGNATURE)
    if key is None or not isinstance(said, str) or not said.isascii():
        return False
    rest = {name: value for name, value in data.items() if name != SIGNATURE}
    return hmac.compare_digest(said, _sum(key, rest))


def refuse_strange_code(
    folder: Path, data: dict[str, Any], trust: bool, given: Sequence[str] = ()
) -> None:
    """Raise ``ConfigError`` where a configuration names code and has no valid signature."""
    code = code_of(data, given, imported=sys.modules)
    if code and not trust and not is_signed(data):
        raise ConfigError(
            f"{folder / 'config.json'} names {code[0]}. No klamp of yours signed that: the run is "
            "another's, its config.json was changed, or the module lies elsewhere now. Nothing was "
            "imported. Look at it; if you trust it, give `trust=True`, or, in Python, the run's "
            "own again: `environment=…`, `wrappers=[…]`, `algorithm=…`, `network=…`."
        )


def _sum(key: bytes, data: dict[str, Any]) -> str:
    places = [[what, _place(module)] for what, _, module in _named(data)]
    text = json.dumps({"config": data, "modules_lie_in": places}, sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _place(module: str) -> str:
    """The folder of a module; empty for installed ones, which nobody else can put there.

    Without it, a run that was published and comes back with another module of that name beside it
    would be taken for this user's. Nothing is imported to find out.
    """
    top = module.partition(".")[0]
    try:
        found = importlib.util.find_spec(top) or PathFinder.find_spec(top, [os.getcwd()])
    except (ImportError, ValueError, OSError):
        return ""
    inside = None if found is None else found.submodule_search_locations
    origin = found.origin if found is not None and found.has_location else None
    file = next(iter(inside), None) if inside else origin
    if file is None:
        return ""
    place = os.path.dirname(os.path.realpath(file))
    installed = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    installed.append(site.getusersitepackages())
    return "" if place in map(os.path.realpath, installed) else place


def _key_path() -> Path:
    """The path of this user's key. Raises ``RuntimeError`` for a user without a home."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    base = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".local" / "state"
    return base / "klamp" / "key"


def _kept_key() -> bytes | None:
    """The key, where there is one."""
    try:
        key = read_bounded(_key_path(), KEY_BYTES)
    except (Unreadable, RuntimeError):
        return None
    return key if len(key) == KEY_BYTES else None


def _new_key() -> bytes | None:
    """A new key, readable by this user only, or that of a faster process; None where none."""
    try:
        path = _key_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f".key.{secrets.token_hex(8)}.tmp")
        handle = os.open(own, flags("O_WRONLY", "O_CREAT", "O_EXCL"), 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            sync(own)
            with contextlib.suppress(FileExistsError):
                os.link(own, path)
            sync(path.parent)
        finally:
            own.unlink()
    except (OSError, RuntimeError):
        return None
    return _kept_key()
