"""The settings of a run as a file: what `--dry-run`, `presets` and `sweep` write."""

import json
from collections.abc import Mapping
from typing import Any

from klamp.config.run import RunConfig
from klamp.config.settings import GROUPS


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
        # TOML has no null: what is left out is unset.
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
