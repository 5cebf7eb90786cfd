"""Whether this user's own klamp wrote a `config.json`: asked before code that it names is run.

An environment called `module:id` is made by importing the module. Its run's `config.json` bears an
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
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from klamp.runs.atomic_write import sync
from klamp.runs.bounded_read import Unreadable, read_bounded

SIGNATURE = "signature"
"""The part of `config.json` that holds it."""

KEY_BYTES = 32


def signed(data: dict[str, Any], module: str) -> dict[str, Any]:
    """A configuration with its signature; without one where no key can be kept."""
    key = _kept_key() or _new_key()
    return data if key is None else data | {SIGNATURE: _sum(key, data, module)}


def is_signed(data: dict[str, Any], module: str) -> bool:
    """Whether a configuration is as this user's klamp wrote it, and ``module`` where it was."""
    key, said = _kept_key(), data.get(SIGNATURE)
    if key is None or not isinstance(said, str) or not said.isascii():
        return False
    rest = {name: value for name, value in data.items() if name != SIGNATURE}
    return hmac.compare_digest(said, _sum(key, rest, module))


def _sum(key: bytes, data: dict[str, Any], module: str) -> str:
    text = json.dumps({"config": data, "module_lies_in": _place(module)}, sort_keys=True)
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
