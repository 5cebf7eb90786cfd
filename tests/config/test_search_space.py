"""Search spaces: what is printed is read back, all of it can be trained, mistakes are said."""

import pytest

from klamp.config.algorithms import ALGORITHMS
from klamp.config.presets import OWN as PRESETS
from klamp.config.presets import configure
from klamp.config.search_space import (
    OWN,
    SHARED,
    Choice,
    Interval,
    as_toml,
    checked_space,
    from_toml,
    search_space,
)
from klamp.errors import ConfigError


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_space_is_read_back_as_it_was_printed(algo: str) -> None:
    space = search_space("CartPole-v1", algo)
    assert from_toml(as_toml(space), algo, "space.toml") == space


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_corner_of_a_space_can_be_trained(algo: str) -> None:
    """The first and the last of every setting, alone and all together."""
    space = search_space("CartPole-v1", algo)
    ends = {
        name: (part.values[0], part.values[-1])
        if isinstance(part, Choice)
        else (part.low, part.high)
        for name, part in space.items()
    }
    for end in (0, 1):
        configure("CartPole-v1", algo, {name: values[end] for name, values in ends.items()})
        for name, values in ends.items():
            configure("CartPole-v1", algo, {name: values[end]})


def test_the_preset_is_in_every_space() -> None:
    for task, algo in PRESETS:
        preset = configure(f"{task}-v1", algo, {}).to_dict()
        for name, part in search_space(f"{task}-v1", algo).items():
            value = preset[name]
            assert part.holds(tuple(value) if isinstance(value, list) else value), (task, name)


def test_what_is_given_is_all_that_is_tried() -> None:
    given = {"clip": Choice((0.1, 0.3)), "learning_rate": Interval(1e-3, 1e-2, log=True)}
    assert search_space("CartPole-v1", "ppo", given) == {
        # With the preset's own.
        "clip": Choice((0.1, 0.3, 0.2)),
        "learning_rate": Interval(3e-4, 1e-2, log=True),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[clop]\nvalues = [1]", "Did you mean `clip`?"),
        ("[max_kl]\nlow = 1\nhigh = 1", "two numbers, low below high"),
        ("[max_kl]\nlow = 0.0\nhigh = 1\nlog = true", "above 0 with `log = true`"),
        ("[max_kl]\nlo = 0\nhigh = 1", "Did you mean `low`?"),
        ("[max_kl]\nvalues = []", "at least one value"),
        ("[seed]\nvalues = [1]", "what all trials have in common"),
        ("[max_kl", "space.toml cannot be used"),
        ("", "It has no setting"),
        ("max_kl = 3", "Expected `values = […]`"),
    ],
)
def test_what_cannot_be_tried(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_toml(text, "ppo", "space.toml")
    assert said in str(error.value)


def test_what_is_no_part() -> None:
    with pytest.raises(ConfigError, match=r"klamp\.Choice\(values\)"):
        checked_space({"clip": (0.1, 0.2)}, "ppo")


def test_integers_stay_integers() -> None:
    assert Interval(1, 5).integral
    assert not Interval(1, 5.0).integral
    assert {type(part) for part in (*SHARED.values(), *OWN["trpo"].values())} == {Interval, Choice}
