"""Arguments of an environment's constructor, as given and as `config.json` holds them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from klamp.errors import ConfigError, shown


def checked_env_kwargs(env_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments as they are read back from JSON, so that a resumed run gets the same ones.

    Tuples become lists. Raises ``ConfigError`` where a name is no text, or a value no JSON.
    """
    given: Any = {} if env_kwargs is None else env_kwargs
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"`env_kwargs` is {shown(given)}, but must be a dict from the names of arguments of "
            "the environment's constructor to their values, such as {'gravity': -5.0}."
        )
    for name, value in given.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigError(
                f"`env_kwargs` has the name {shown(name)}, but must have names of arguments of the "
                "environment's constructor, such as {'gravity': -5.0}."
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"`{name}` of `env_kwargs` is {shown(value)}, but must be a value that JSON can "
                "hold (a finite number, text, true or false, None, a list or a dict of these), for "
                "config.json records it. For any other, give a function that makes the "
                "environment: `klamp.train(lambda: MyEnvironment(…), …)`."
            ) from error
    return json.loads(json.dumps(dict(given)))


def env_kwargs_of(words: Sequence[str]) -> dict[str, Any]:
    """The words ``KEY=VALUE`` of a command line as arguments: JSON where they are, else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            twice = " a second time" if name in found else ""
            raise ConfigError(
                f"`--env-kwargs` was given `{word}`{twice}, but takes each argument of the "
                "environment's constructor once, as KEY=VALUE, such as `--env-kwargs gravity=-5 "
                "map_name=8x8`. A value that is JSON is read as such, any other as text."
            )
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return checked_env_kwargs(found)


def has_text(value: object) -> bool:
    """Whether a JSON value contains text, which a constructor may take for a file name."""
    if isinstance(value, dict):
        return any(map(has_text, value.values()))
    return isinstance(value, str) or (isinstance(value, list) and any(map(has_text, value)))
