"""Whether this user's own klamp wrote a `config.json`: asked before code that it names is run.

An environment called `module:id` is made by importing the module, and so is an algorithm called
`module:Class`. Their run's `config.json` bears an
HMAC-SHA256 of what it says and of where the module lies, by a key that only this user has, so
that a folder from elsewhere imports nothing unless its user says so.
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
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from klamp.config.algorithms.own import module_of_algorithm
from klamp.config.environment_name import module_of
from klamp.errors import ConfigError, printable
from klamp.runs.atomic_write import sync
from klamp.runs.bounded_read import Unreadable, read_bounded

SIGNATURE = "signature"
"""The part of `config.json` that holds it."""

KEY_BYTES = 32

KEYS = {"environment": "env", "algorithm": "algo"}
"""What of a configuration may name a module, and where."""

_PLACES = {"environment": "module_lies_in", "algorithm": "algorithm_lies_in"}
"""What is signed of a module beside its name."""


def modules_of(data: dict[str, Any]) -> dict[str, str]:
    """The modules that a configuration names, by what they are imported for."""
    env = data.get("env")
    found = {
        "environment": module_of(env) if isinstance(env, str) else None,
        "algorithm": module_of_algorithm(data.get("algo")),
    }
    return {what: module for what, module in found.items() if module is not None}


def refuse_strange(data: dict[str, Any], modules: Mapping[str, str], path: Path) -> None:
    """Raise ``ConfigError`` where a module that ``path`` names is neither imported nor signed."""
    strange = [what for what, module in modules.items() if module not in sys.modules]
    if not strange or is_signed(data):
        return
    what, name = strange[0], data[KEYS[strange[0]]]
    raise ConfigError(
        f"{path} names the {what} `{printable(name, 300)}`, and to make it would run the code of "
        f"the module `{printable(modules[what], 300)}`. No `klamp train` of yours signed that: the "
        "run is another's, its config.json was changed, or the module lies elsewhere now. Nothing "
        "was imported. Look at the module; if you trust it, add `--trust` (in Python, "
        "`trust=True`, or import it before)."
    )


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


def _sum(key: bytes, data: dict[str, Any]) -> str:
    places = {_PLACES[what]: _place(module) for what, module in modules_of(data).items()}
    text = json.dumps({"config": data, **places}, sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _place(module: str) -> str:
    """The folder that a module is found in; empty for installed ones, which others cannot place.

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
    """Where this user's key lies. Raises ``RuntimeError`` for a user without a home."""
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
    """The key, made whole and for nobody else, or that of whoever was faster; None where none."""
    try:
        path = _key_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f".key.{secrets.token_hex(8)}.tmp")
        handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
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
