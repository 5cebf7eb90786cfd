"""Words become values; every mistake is said in our own words, and no command is misread."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import tyro

from klamp.cli.options import options_of, parse, read, value_of
from klamp.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    """Settings within settings."""

    steps: int = 10
    share: float | None = None
    sizes: tuple[int, ...] = (3, 4)
    kind: Literal["first", "second"] = "first"


OUTER = make_dataclass(
    "OUTER",
    [
        ("place", tyro.conf.Positional[str]),
        ("out", Path | None, None),
        ("quiet", bool, False),
        ("inner", Inner, field(default_factory=Inner)),
    ],
)
OUTER.__dataclass_fields__["inner"].default = Inner()


def parsed(text: str) -> Any:
    return parse(OUTER, text.split(), command="do", description="Do it.")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("here", "place", "here"),
        ("--quiet here", "quiet", True),
        ("here --out a/b", "out", Path("a/b")),
        ("here --steps 1e3", "steps", 1000),
        ("here --steps=1e3", "steps", 1000),
        ("here --steps 100k", "steps", 100_000),
        ("here --share -0.5", "share", -0.5),
        ("here --share None", "share", None),
        ("here --sizes 1 2 3 --quiet", "sizes", (1, 2, 3)),
        ("--sizes 1 --kind second here", "kind", "second"),
    ],
)
def test_what_is_right_is_read(text: str, name: str, value: Any) -> None:
    found = parsed(text)
    assert getattr(found.inner if hasattr(found.inner, name) else found, name) == value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "was given no PLACE"),
        ("here there", "2 words that belong to no option: `here`, `there`"),
        ("here --stepps 1", "no option `--stepps`. Did you mean `--steps`?"),
        ("here --steps 1 --quiet --steps=2", "as word 2, `--steps 1`, and as word 5, `--steps=2`"),
        ("here --no-quiet --quiet", "`--no-quiet`, and as word 3, `--quiet`"),
        ("here --steps", "`--steps` of `klamp do` has no value, but must be an integer"),
        ("here --steps --quiet", "`--steps` of `klamp do` has no value"),
        ("here --share x", "is `x`, but must be a number, or None"),
        ("here --sizes 1,2", "integers with spaces between them"),
        ("here --kind secund", "one of first, second. Did you mean `second`?"),
        ("here --quiet=yes", "as a switch"),
    ],
)
def test_what_is_wrong_is_said(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert wanted in str(caught.value)


def test_every_word_belongs_somewhere() -> None:
    words = ["a", "--sizes", "1", "2", "--quiet", "b", "--no-quiet", "--out", "c", "d"]
    given, loose = read(words, options_of(OUTER))
    assert loose == ["a", "b", "d"]
    assert [str(option) for option in given] == ["--sizes 1 2", "--quiet", "--no-quiet", "--out c"]
    assert all(words[option.place - 1].startswith("--") for option in given)


def test_an_option_is_found_before_its_kind_is_known() -> None:
    assert value_of("--algo", ["x", "--algo", "trpo"]) == "trpo"
    assert value_of("--algo", ["--algo=npg"]) == "npg"
    assert value_of("--algo", ["--algo"]) is None
    assert value_of("--algo", []) is None
