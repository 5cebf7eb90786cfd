"""Arguments of a constructor are what JSON gives back, wherever they were given."""

import json
from typing import Any

import pytest

from klamp.config.env_kwargs import checked_env_kwargs, env_kwargs_of, has_text
from klamp.errors import ConfigError


def test_words_are_json_where_they_are_else_text() -> None:
    words = [
        "gravity=-5",
        "map_name=8x8",
        "slippery=false",
        "z=[0.2, 1]",
        "e=1e3",
        "t=a=b",
        'q="5"',
    ]
    assert env_kwargs_of(words) == {
        "gravity": -5,
        "map_name": "8x8",
        "slippery": False,
        "z": [0.2, 1],
        "e": 1000.0,
        "t": "a=b",
        "q": "5",
    }


def test_what_is_given_is_what_a_file_gives_back() -> None:
    given = {"z": (0.2, 1.0), "n": None, "deep": {"a": [1, (2,)]}}
    checked = checked_env_kwargs(given)
    assert (
        checked
        == json.loads(json.dumps(checked))
        == {
            "z": [0.2, 1.0],
            "n": None,
            "deep": {"a": [1, [2]]},
        }
    )
    assert checked_env_kwargs(None) == {}


@pytest.mark.parametrize("value", [abs, float("nan"), float("inf"), {1}, object(), b"a"])
def test_what_no_file_holds_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`gravity` of `env_kwargs` is .*a function that makes"):
        checked_env_kwargs({"gravity": value})


@pytest.mark.parametrize("given", [[], "gravity=5", {1: 2}, {"a b": 1}])
def test_other_forms_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="`env_kwargs`"):
        checked_env_kwargs(given)


def test_text_is_found_wherever_it_is() -> None:
    assert has_text({"a": [1, {"b": ["x"]}]})
    assert not has_text({"a": [1, {"b": [2.0, None, True]}]})
