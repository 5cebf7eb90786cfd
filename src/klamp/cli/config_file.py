"""The settings of a run as a file that `--config` reads (``config.settings_file`` writes them)."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from klamp.cli.options import given_fields
from klamp.cli.own_algorithm import import_algorithm
from klamp.config.algorithms.own import module_of_algorithm
from klamp.config.environment_name import usual_wrappers
from klamp.config.presets import algorithm_called, refuse_unknown
from klamp.config.settings import BESIDE_SETTINGS, Settings
from klamp.errors import ConfigError, shown


class ConfigFile(NamedTuple):
    """The content of a file; empty where there is none."""

    path: Path = Path()
    data: Mapping[str, Any] = {}
    """All that it holds."""
    settings: Mapping[str, Any] = {}
    """Its settings."""


def read_config_file(path: Path, algo: str | None) -> ConfigFile:
    """A TOML or JSON file of settings, or the `config.json` of a run (or of the run's folder).

    ``algo`` is the algorithm on the command line, which goes before the file's. Raises
    ``ConfigError``.
    """
    path = path / "config.json" if path.is_dir() else path
    data = _parsed(path)
    for name in ("env", "algo", "start_from", "network"):
        if not isinstance(data.get(name, ""), str):
            raise ConfigError(f"`{name}` in {path} is {shown(data[name])}, but must be a name.")
    settings = {name: value for name, value in data.items() if name not in BESIDE_SETTINGS}
    try:
        kind = _algorithm(data, algo)
        known = {item.name for of in (Settings, kind) for item in fields(of)}
        for key in settings:
            refuse_unknown(key, kind(), known)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return ConfigFile(path, data, settings)


def wrappers_named(given: Any, words: Sequence[str], file: ConfigFile, env: str) -> Sequence[str]:
    """Those of the words, or else of the file, or else the usual ones; an empty list is none."""
    if "wrappers" in given_fields(type(given), words):
        return given.wrappers
    return file.data.get("wrappers", usual_wrappers(env))


def _algorithm(data: dict[str, Any], asked: str | None) -> type[Any]:
    """The class of the algorithm that was asked for, or else of the one that the file names."""
    from klamp.runs.trust import is_signed

    name = asked or data.get("algo", "ppo")
    if asked is None and module_of_algorithm(name) is not None and not is_signed(data):
        raise ConfigError(
            f"it names the algorithm `{name}`, which is code that no klamp of yours signed there. "
            "Nothing was imported. Look at the module; if you trust it, name the algorithm "
            f"yourself: `--algo {name}`."
        )
    import_algorithm(name)
    return algorithm_called(name)


def refuse_strange(
    file: ConfigFile, env: str, wrappers: Sequence[str], network: str | None
) -> None:
    """Raise ``ConfigError`` where the settings of a file would run code of a module it names.

    Names on the command line are the user's choice; a file may be someone else's.
    """
    from klamp.runs.trust import code_of, is_signed

    # Text among the arguments is data, which a person chose by naming the file.
    data = {name: value for name, value in file.data.items() if name != "env_kwargs"}
    given = {"environment": env, "wrappers": wrappers, "network": network}
    # Of the algorithm it was asked before its settings were read.
    again = ["algorithm", *(name for name, value in given.items() if value)]
    code = code_of(data, again)
    if code and not is_signed(dict(file.data)):
        raise ConfigError(
            f"{file.path} names {code[0]}. Nothing was imported. Look at the module; if you trust "
            "it, name the environment, all wrappers, or the network yourself: `klamp train ENV "
            f"--wrappers … --network … --config {file.path}`."
        )


def _parsed(path: Path) -> dict[str, Any]:
    from klamp.runs.bounded_read import Unreadable, parse_object, read_bounded
    from klamp.runs.folder import CONFIG_LIMIT

    try:
        data = read_bounded(path, CONFIG_LIMIT)
        if path.suffix == ".json":
            return parse_object(data, path.name)
        if path.suffix == ".toml":
            return tomllib.loads(data.decode("utf-8"))
    except (Unreadable, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"The settings in {path} cannot be read: {error}. `klamp presets CartPole-v1` prints "
            "an example."
        ) from error
    raise ConfigError(
        f"`--config` is {path}, but must be a file of settings whose name ends in `.toml` or "
        "`.json`, such as the `config.json` of a run."
    )
