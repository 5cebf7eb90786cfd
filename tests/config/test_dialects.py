"""Names of other libraries: each means one setting of ours, and none is a setting itself."""

import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import klamp
from klamp.config.algorithms import ALGORITHMS
from klamp.config.dialects import ELSEWHERE, our_name
from klamp.config.presets import configure
from klamp.config.settings import Settings
from klamp.errors import ConfigError

OURS = {name for kind in (Settings, *ALGORITHMS.values()) for name in kind.__dataclass_fields__}
THEIRS = [name for names in ELSEWHERE.values() for name in names]


def test_each_name_means_one_setting() -> None:
    assert set(ELSEWHERE) <= OURS
    assert not set(THEIRS) & OURS
    assert len(THEIRS) == len(set(THEIRS))
    assert our_name("lr") == "learning_rate"
    assert our_name("steps") is None


def test_each_name_is_answered_with_ours() -> None:
    for name in THEIRS:
        with pytest.raises(ConfigError, match=f"called `{our_name(name)}` here"):
            configure("CartPole-v1", "ppo", {name: 1})


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: klamp.PPO(lr=1e-3), "`PPO` has no setting `lr`: it is called `learning_rate`"),
        (lambda: replace(klamp.TRPO(), delta=1.0), "`TRPO` .* `delta`: it is called `max_kl`"),
        (lambda: klamp.PPO(gamma=0.9), "`gamma` is called `discount` .* argument of `klamp.train`"),
        (lambda: klamp.TRPO(dampling=0.1), "Did you mean `damping`"),
        (lambda: klamp.Settings(gamma=0.9), "`Settings` .* `gamma`: it is called `discount`"),
        (lambda: klamp.train("CartPole-v1", gamma=0.9), "`gamma`: it is called `discount`"),
    ],
)
def test_so_it_is_where_a_config_is_made(made: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made()


def test_a_config_is_called_as_python_has_it() -> None:
    """Its signature is that of its fields, and it is made by their order, too."""
    assert list(signature(klamp.PPO).parameters) == [item.name for item in fields(klamp.PPO)]
    assert klamp.TRPO(0.02) == klamp.TRPO(max_kl=0.02)
    assert pickle.loads(pickle.dumps(klamp.TRPO(0.02))) == klamp.TRPO(0.02)


def test_the_glossary_tells_the_same() -> None:
    """Each name of ours exists, and every name of others that it has is answered."""
    page = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
    cells = [line.split("|")[1:] for line in page.splitlines() if line.startswith("| `")]
    table = {row[0].strip(" `"): {name.strip(" `") for name in row[2:5]} - {"–"} for row in cells}
    assert set(table) <= OURS
    for ours, theirs in table.items():
        # What is a setting of ours, too, needs no answer.
        assert theirs - OURS <= set(ELSEWHERE.get(ours, ())), ours
    assert set(ELSEWHERE) - set(table) == {"checkpoint_interval"}
