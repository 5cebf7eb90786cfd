"""What configs tell of themselves, what holds where they say nothing, and their help."""

import ast
import inspect
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from klamp.algorithms import implementation
from klamp.config.algorithms import A2C, ALGORITHMS, PPO, algorithm_name, final_values, short_name
from klamp.config.algorithms.traits import Traits, joint_critic, traits_of

every = pytest.mark.parametrize("kind", ALGORITHMS.values(), ids=list(ALGORITHMS))


@dataclass(frozen=True)
class Silent:
    """Says nothing of itself."""

    final_temperature: float | None = 0.5
    final_word: str = "no schedule"


def test_what_is_scheduled_is_told_with_its_end() -> None:
    assert final_values(PPO(final_learning_rate=0.0, final_clip=0.1)) == {
        "learning_rate": 0.0,
        "clip": 0.1,
    }
    assert final_values(A2C(final_learning_rate=1e-5)) == {"learning_rate": 1e-5}
    assert final_values(Silent()) == {"temperature": 0.5}
    assert not any(final_values(kind()) for kind in ALGORITHMS.values())


def test_of_an_algorithm_that_says_nothing_nothing_is_assumed() -> None:
    assert traits_of(Silent()) == Traits()
    assert Traits().critic is None
    assert not Traits().unused


def test_a_joint_critic_is_learned_by_its_weight() -> None:
    assert joint_critic(0.5).without_critic is None
    assert "value_coefficient" in str(joint_critic(0.0).without_critic)


@every
def test_names_lead_to_configs_and_their_modules(kind: Any) -> None:
    config = kind()
    assert ALGORITHMS[algorithm_name(config)] is kind
    assert short_name(config) == algorithm_name(config)
    found: Any = implementation(config)
    module = Path(inspect.getfile(kind)).stem
    assert found.__name__ == f"klamp.algorithms.{module}"
    assert callable(found.init)
    assert callable(found.update)


@every
def test_every_field_has_its_help(kind: Any) -> None:
    (body,) = [
        node.body
        for node in ast.parse(Path(inspect.getfile(kind)).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    described = {
        before.target.id
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
    }
    assert described == {item.name for item in fields(kind)}
