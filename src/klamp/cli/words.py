"""Errors and warnings in the words of the command line.

The package speaks of settings as Python has them, `` `max_kl=0.01` ``, and of calls such as
`` klamp.resume('runs/x') ``, wherever a message is made: also in processes that know of no command.
Whoever types commands reads `` `--max-kl 0.01` `` and `` klamp resume runs/x ``.
"""

import ast
import re
import shlex
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache

from klamp.errors import KlampWarning, printable

BESIDE_SETTINGS = frozenset(
    {"out", "seeds", "device", "log", "start_from", "quiet", "trust", "overwrite"}
    | {"env_kwargs", "wrappers", "episodes", "checkpoint", "reward", "data"}
    | {"coordinator", "processes", "process", "join_timeout_s"}
)
"""Arguments in Python that are options, besides the settings."""

_TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_SETTING = re.compile(rf"`(\w+)=({_TEXT}|[^`=\s]*|\([\d, ]*\))`")
_RESUME = re.compile(rf"klamp\.resume\(({_TEXT})((?:, \w+=[^\s,()]+)*)\)")


def on_the_command_line(text: str) -> str:
    """A message of the package as the command line says it."""

    def setting(found: re.Match[str]) -> str:
        option = _option(found[1], found[2])
        return f"`{option}`" if option else found[0]

    def resume(found: re.Match[str]) -> str:
        given = [each.partition("=")[::2] for each in found[2].split(", ") if each]
        options = [_option(name, value) for name, value in given]
        if None in options:
            return found[0]
        words = ["klamp resume", _word(found[1]), *map(str, options)]
        return " ".join(words)

    return printable(_RESUME.sub(resume, _SETTING.sub(setting, text)))


@cache
def _options() -> frozenset[str]:
    """The settings that are options."""
    from klamp.config.algorithms import ALGORITHMS
    from klamp.config.settings import Settings
    from klamp.lm.config.settings import Settings as LanguageSettings

    own = {item.name for kind in ALGORITHMS.values() for item in fields(kind)}
    shared = {item.name for kind in (Settings, LanguageSettings) for item in fields(kind)}
    return BESIDE_SETTINGS | own | shared


def _option(name: str, value: str) -> str | None:
    """A setting and its value as an option; None where it is none."""
    if name not in _options():
        return None
    option = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{option}" if value == "True" else f"--no-{option}"
    return f"--{option} {_word(value)}"


def _word(value: str) -> str:
    """A value as it is typed."""
    if value[:1] in ("'", '"'):
        text = ast.literal_eval(value)
        return text if "…" in text else shlex.quote(text)
    return value.strip("()").replace(", ", " ")


@contextmanager
def plain_warnings() -> Generator[None]:
    """A ``KlampWarning`` as one line, like an error; others as Python shows them."""
    before = warnings.formatwarning

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if issubclass(category, KlampWarning):
            return f"klamp: warning: {on_the_command_line(str(message))}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = before
