"""The words of a command line as a dataclass; every mistake becomes one paragraph.

tyro does the parsing and the help. Where it refuses, the words are read once more by the rules
below, to say what is wrong in our own words: tyro's are long, and change with its version.
"""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    get_args,
    get_origin,
    get_type_hints,
)

from klamp.cli.whole_number import whole_number, whole_numbers
from klamp.config.dialects import our_name
from klamp.errors import ConfigError, closest


class Given(NamedTuple):
    """An option as it was given."""

    option: str
    """Its name as the command knows it, such as ``--num-envs``."""
    word: str
    """The word that named it, such as ``--num_envs=4`` or ``--no-quiet``."""
    place: int
    """Which word it is, from 1, the command being word 0."""
    values: list[str]
    """Its values: the rest of its word after a ``=``, or the words that follow."""

    def __str__(self) -> str:
        """As it was typed."""
        return self.word if "=" in self.word else " ".join([self.word, *self.values])


def parse(
    kind: Any,
    words: Sequence[str],
    *,
    command: str,
    description: str,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Parse options by a dataclass; raises ``ConfigError`` on a mistake.

    ``elsewhere`` names the options that other forms of the command have, and these forms.
    """
    import tyro

    known = options_of(kind)
    given, loose = read(words, known)
    _refuse_repeated(given, command)
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured), whole_numbers():
            return tyro.cli(
                kind,
                args=words,
                prog=f"klamp {command}",
                description=description,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        _refuse_unknown(given, known, command, elsewhere)
        _refuse_values(given, known, command)
        _refuse_loose(kind, loose, command)
        raise ConfigError(_in_its_words(captured.getvalue(), command, words)) from None


def given_fields(kind: Any, words: Sequence[str]) -> set[str]:
    """The fields of a dataclass, and of those in it, that the words give a value."""
    known = options_of(kind)
    given, _ = read(words, known)
    return {option.option[2:].replace("-", "_") for option in given if option.option in known}


def value_of(option: str, words: Sequence[str]) -> str | None:
    """The value given to an option, before the full parser knows which options there are."""
    for word, following in zip(words, [*words[1:], None], strict=False):
        if word == option:
            return following
        if word.startswith(option + "="):
            return word.split("=", 1)[1]
    return None


def options_of(kind: Any) -> dict[str, Any]:
    """Every option of a dataclass and of the dataclasses in it, with its type."""
    found: dict[str, Any] = {}
    types = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        if hasattr(types[item.name], "__dataclass_fields__"):
            found |= options_of(types[item.name])
        elif not _is_positional(types[item.name]):
            found[_option(item.name)] = _bare(types[item.name])
    return found


def _bare(kind: Any) -> Any:
    """A type without its ``Annotated``."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0]
    if type(None) in get_args(kind):
        return _bare(next(part for part in get_args(kind) if part is not type(None))) | None
    return kind


def read(words: Sequence[str], known: dict[str, Any]) -> tuple[list[Given], list[str]]:
    """The options among the words, each with its values, and the words that belong to none."""
    given: list[Given] = []
    loose: list[str] = []
    for place, word in enumerate(words, start=1):
        if re.match(r"-\D", word) and word != "-":
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            positive = name.replace("--no-", "--", 1)
            name = positive if known.get(positive) is bool else name
            given.append(Given(name, word, place, [value] if equals else []))
        elif given and _takes_another(given[-1], place, known):
            given[-1].values.append(word)
        else:
            loose.append(word)
    return given, loose


def _takes_another(option: Given, place: int, known: dict[str, Any]) -> bool:
    """Whether the word at a place belongs to the option before it."""
    kind = known.get(option.option)
    follows = place == option.place + len(option.values) + 1
    return follows and kind is not bool and (not option.values or get_origin(kind) is tuple)


def _refuse_repeated(given: list[Given], command: str) -> None:
    first: dict[str, Given] = {}
    for option in given:
        before = first.setdefault(option.option, option)
        if before is not option:
            raise ConfigError(
                f"`klamp {command}` has `{option.option}` twice: as word {before.place}, "
                f"`{before}`, and as word {option.place}, `{option}`. Give it once."
            )


def _refuse_unknown(
    given: list[Given], known: dict[str, Any], command: str, elsewhere: Mapping[str, str]
) -> None:
    for option in given:
        if option.option not in (*known, "--help", "-h"):
            ours = _ours(option.option, {*known, *elsewhere})
            found = None if ours in known else elsewhere.get(ours or option.option)
            called = f": it is called `{ours}` here" if ours else " here" if found else ""
            hint = f" It belongs to {found}." if found else ""
            near = "" if ours or found else closest(option.option, known)
            raise ConfigError(
                f"`klamp {command}` has no option `{option.option}`{called}.{hint}{near} "
                f"`klamp {command} --help` lists them all."
            )


def _ours(option: str, known: set[str]) -> str | None:
    """Our option, where one is given by the name that other libraries have for it."""
    ours = our_name(option.lstrip("-").replace("-", "_"))
    return found if ours and (found := _option(ours)) in known else None


def _option(field: str) -> str:
    """The option of a field."""
    return "--" + field.replace("_", "-")


def _refuse_values(given: list[Given], known: dict[str, Any], command: str) -> None:
    for option in given:
        kind = known.get(option.option)
        if kind is None or (kind is bool and not option.values):
            continue
        expected, choices = _expected(kind)
        wrong = [value for value in option.values if not _can_be(kind, value)]
        if kind is bool or wrong or (not option.values and get_origin(kind) is not tuple):
            found = f"is `{' '.join(option.values)}`" if option.values else "has no value"
            near = closest(wrong[0], choices) if wrong else ""
            raise ConfigError(
                f"`{option.option}` of `klamp {command}` {found}, but must be {expected}.{near}"
            )


def _refuse_loose(kind: Any, loose: list[str], command: str) -> None:
    """Words that belong to no option: too many of them, or none where one must be."""
    wanted = [item for item in fields(kind) if _is_positional(item.type)]
    required = any(item.default is MISSING for item in wanted)
    names = " ".join(item.name.upper() for item in wanted)
    many = any(get_origin(get_args(item.type)[0]) is tuple for item in wanted)
    if not loose and required and not many:
        refuse_missing(command, names)
    if len(loose) > len(wanted) and not many:
        listed = ", ".join(f"`{word}`" for word in loose)
        raise ConfigError(
            f"`klamp {command}` takes one {names}, but was given {len(loose)} words that belong to "
            f"no option: {listed}. An option such as `--seed 1` takes one value, and a switch such "
            "as `--quiet` none."
        )


def refuse_missing(command: str, names: str) -> NoReturn:
    """Raise ``ConfigError``: a command lacks its argument."""
    raise ConfigError(
        f"`klamp {command}` was given no {names}. Write `klamp {command} {names} …`; "
        f"`klamp {command} --help` shows how."
    )


def _expected(kind: Any) -> tuple[str, tuple[str, ...]]:
    """What an option's value must be, in words, and the values to choose from, if they are few."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}", get_args(kind)
    if get_origin(kind) is tuple:
        if get_args(kind)[0] is str:
            return "words with spaces between them, each KEY=VALUE or NAME", ()
        return "integers with spaces between them, such as `64 64`", ()
    if type(None) in get_args(kind):
        inner, _ = _expected(next(part for part in get_args(kind) if part is not type(None)))
        return f"{inner}, or None", ("None",)
    if kind is bool:
        return "given without a value, as a switch (with `--no-` before its name to switch off)", ()
    return {int: "an integer", float: "a number", Path: "a path"}.get(kind, "a word"), ()


def _value(kind: Any, word: str) -> Any:
    """A word as a value of a type; raises ``ValueError`` where it is none."""
    if get_origin(kind) is Literal:
        if word not in get_args(kind):
            raise ValueError(word)
        return word
    if get_origin(kind) is tuple:
        return _value(get_args(kind)[0], word)
    if type(None) in get_args(kind):
        others = [part for part in get_args(kind) if part is not type(None)]
        return None if word == "None" else _value(others[0], word)
    return whole_number(word) if kind is int else kind(word)


def _can_be(kind: Any, word: str) -> bool:
    """Whether a word can be read as a value of a type."""
    try:
        _value(kind, word)
    except ValueError:
        return False
    return True


def environment_word() -> Any:
    """The type of an ENV, which is given by its place."""
    import tyro

    return Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]


def _is_positional(kind: Any) -> bool:
    """Whether tyro takes a field by its place (``tyro.conf.Positional``)."""
    return any("positional" in str(mark).lower() for mark in getattr(kind, "__metadata__", ()))


def _in_its_words(text: str, command: str, words: Sequence[str]) -> str:
    """Tyro's error as one line, for mistakes that none of the rules above finds."""
    bare = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─═┌┐└┘]", " ", text)
    sentences = " ".join(bare.split()).split(" For full helptext")[0]
    return f"`klamp {command} {' '.join(words)}` cannot be read: {sentences}"
