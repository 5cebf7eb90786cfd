"""Whether this user's own klamp wrote a `config.json`: asked before code that it names is run.

An environment called `module:id` is made by importing the module, one called `factory:module:name`
and a wrapper called `module:name` by calling what the module holds, and text among the arguments of
a constructor may be the name of a file. Such a run's `config.json` bears an HMAC-SHA256 of what it
says and of where the modules lie, by a key that only this user has, so that a folder from elsewhere
imports nothing unless its user says so.
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
from collections.abc import Collection, Container, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from klamp.config.env_kwargs import has_text
from klamp.config.environment_name import FACTORY, code_module, module_of
from klamp.config.run import RunConfig
from klamp.errors import shown
from klamp.runs.atomic_write import sync
from klamp.runs.bounded_read import Unreadable, read_bounded

SIGNATURE = "signature"
"""The part of `config.json` that holds it."""

KEY_BYTES = 32


def code_of(
    config: RunConfig, given: Collection[str] = (), imported: Container[str] = ()
) -> list[str]:
    """What a configuration names that is run, or may be read, to make its environment; in words.

    ``given`` says which of `environment` and `wrappers` the user gives anew. A module that is
    ``imported`` already has registered its environments, and is run no further by their ids.
    """
    found: list[str] = []
    runs = "and to make it would run the code of the module"
    module = None if "environment" in given else module_of(config.env)
    if module is not None and (config.env.startswith(FACTORY) or module not in imported):
        found.append(f"the environment `{config.env}`, {runs} `{module}`")
    for name in config.wrappers if "wrappers" not in given else ():
        if (module := code_module(name)) is not None:
            found.append(f"the wrapper `{name}`, {runs} `{module}`")
    if has_text(config.env_kwargs):
        found.append(
            f"text among the `env_kwargs` of the environment `{config.env}`, "
            f"{shown(config.env_kwargs)}, which its constructor may take for the name of a file"
        )
    return found


def modules_of(config: RunConfig) -> list[str]:
    """The modules that a configuration names, whose places are signed with it."""
    named = [module_of(config.env), *map(code_module, config.wrappers)]
    return [module for module in named if module is not None]


def signed(data: dict[str, Any], modules: Sequence[str]) -> dict[str, Any]:
    """A configuration with its signature; without one where no key can be kept."""
    key = _kept_key() or _new_key()
    return data if key is None else data | {SIGNATURE: _sum(key, data, modules)}


def is_signed(data: dict[str, Any], modules: Sequence[str]) -> bool:
    """Whether a configuration is as this user's klamp wrote it, and ``modules`` where they were."""
    key, said = _kept_key(), data.get(SIGNATURE)
    if key is None or not isinstance(said, str) or not said.isascii():
        return False
    rest = {name: value for name, value in data.items() if name != SIGNATURE}
    return hmac.compare_digest(said, _sum(key, rest, modules))


def _sum(key: bytes, data: dict[str, Any], modules: Sequence[str]) -> str:
    places = [_place(module) for module in modules]
    lies_in = places[0] if len(places) == 1 else places
    text = json.dumps({"config": data, "module_lies_in": lies_in}, sort_keys=True)
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
