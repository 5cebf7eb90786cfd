"""The settings of a run as a file: what `--config` reads, `--dry-run` and `klamp presets` print."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from klamp.cli.own_algorithm import import_algorithm
from klamp.config.algorithms.own import module_of_algorithm
from klamp.config.presets import algorithm_called, refuse_unknown
from klamp.config.run import RunConfig
from klamp.config.settings import BESIDE_SETTINGS, GROUPS, Settings
from klamp.errors import ConfigError, shown


class ConfigFile(NamedTuple):
    """What a file says; nothing, where there is none."""

    path: Path = Path()
    data: Mapping[str, Any] = {}
    """All that it holds."""
    settings: Mapping[str, Any] = {}
    """What of it are settings."""


def read_config_file(path: Path, algo: str | None) -> ConfigFile:
    """A TOML or JSON file of settings, or the `config.json` of a run (or of the run's folder).

    ``algo`` is the algorithm that was asked for besides, and goes before the file's. Raises
    ``ConfigError``.
    """
    path = path / "config.json" if path.is_dir() else path
    data = _parsed(path)
    for name in ("env", "algo", "start_from"):
        if not isinstance(data.get(name, ""), str):
            raise ConfigError(f"`{name}` in {path} is {shown(data[name])}, but must be a name.")
    if data.get("network") is not None:
        raise ConfigError(
            f"{path} names the networks of its run, {shown(data['network'])}, which the command "
            "line cannot make. Use `klamp.train(…, network=…)` in Python, or take `network` out of "
            "the file."
        )
    settings = {name: value for name, value in data.items() if name not in BESIDE_SETTINGS}
    try:
        kind = _algorithm(data, algo)
        known = {item.name for of in (Settings, kind) for item in fields(of)}
        for key in settings:
            refuse_unknown(key, kind(), known)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return ConfigFile(path, data, settings)


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


def refuse_strange(file: ConfigFile, env: str, wrappers: Sequence[str]) -> None:
    """Raise ``ConfigError`` where to do what a file says would run the code of a module it names.

    What a person names on the command line is the person's choice; a file may be another's.
    """
    from klamp.runs.trust import code_of, is_signed

    # Text among the arguments is data, which a person chose by naming the file.
    data = {name: value for name, value in file.data.items() if name != "env_kwargs"}
    # Of the algorithm it was asked before its settings were read.
    again = ["algorithm"] + ["environment"] * bool(env) + ["wrappers"] * bool(wrappers)
    code = code_of(data, again)
    if code and not is_signed(dict(file.data)):
        raise ConfigError(
            f"{file.path} names {code[0]}. Nothing was imported. Look at the module; if you trust "
            "it, name the environment, or all wrappers, yourself: `klamp train ENV --wrappers … "
            f"--config {file.path}`."
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


def as_toml(config: RunConfig, sources: Mapping[str, str]) -> str:
    """All settings as a file that `--config` takes, each with where it comes from."""
    flat = config.to_dict()
    own = {flat["algo"]: type(config.algorithm)}
    groups = {heading: list(of.__dataclass_fields__) for heading, of in {**GROUPS, **own}.items()}
    grouped = {name for names in groups.values() for name in names}
    blocks = [[_line(name, value, "") for name, value in flat.items() if name not in grouped]]
    for heading, names in groups.items():
        blocks.append([f"# {heading}", *(_line(name, flat[name], sources[name]) for name in names)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _line(name: str, value: Any, source: str) -> str:
    if value is None:
        # TOML has no word for it: what is left out is unset.
        return f"# {name} is unset"
    text = f"{name} = {_toml(value)}"
    return f"{text:<42} # {source}" if source else text


def _toml(value: Any) -> str:
    """A value as TOML writes it; strings are those of JSON."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(of)}' for key, of in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
