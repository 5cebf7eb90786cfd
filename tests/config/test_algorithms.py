"""Each algorithm's settings: defaults that hold, refusals that name the field, help for each."""

import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest

from klamp.algorithms import MODULES
from klamp.config import algorithms
from klamp.config.algorithms import (
    A2C,
    ALGORITHMS,
    NPG,
    PPO,
    REINFORCE,
    PPOPenalty,
    algorithm_name,
    final_values,
)
from klamp.errors import ConfigError

BAD: list[tuple[Any, dict[str, Any]]] = [
    (REINFORCE, {"baseline": "median"}),
    (REINFORCE, {"learning_rate": 0}),
    (A2C, {"final_learning_rate": -1}),
    (A2C, {"value_coefficient": float("nan")}),
    (NPG, {"max_kl": 0}),
    (NPG, {"cg_iterations": 0}),
    (PPO, {"dual_clip": 1}),
    (PPO, {"clip_upper": 0}),
    (PPO, {"value_clip": 0}),
    (PPO, {"max_kl": 0}),
    (PPO, {"final_learning_rate": 0.0, "adaptive_learning_rate": 0.01}),
    (PPOPenalty, {"target_kl": 0}),
    (PPOPenalty, {"kl_coefficient": 0.0}),
]


@pytest.mark.parametrize(("kind", "values"), BAD)
def test_what_cannot_work_is_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        kind(**values)


def test_a_fixed_coefficient_may_be_zero() -> None:
    assert PPOPenalty(kl_coefficient=0.0, target_kl=None).kl_coefficient == 0


def test_what_is_scheduled_is_told_with_its_end() -> None:
    assert final_values(PPO(final_learning_rate=0.0, final_clip=0.1)) == {
        "learning_rate": 0.0,
        "clip": 0.1,
    }
    assert final_values(A2C(final_learning_rate=1e-5)) == {"learning_rate": 1e-5}
    assert not any(final_values(kind()) for kind in algorithms.ALGORITHMS.values())


def test_names_lead_to_configs_and_back() -> None:
    for name, kind in ALGORITHMS.items():
        assert algorithm_name(kind()) == name
    assert set(MODULES) == set(ALGORITHMS.values())


def test_every_field_has_its_help() -> None:
    tree = ast.parse(inspect.getsource(algorithms))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            body = node.body
            described = {
                before.target.id
                for before, after in pairwise(body)
                if isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
            }
            kind = getattr(algorithms, node.name)
            assert described == {item.name for item in fields(kind)}, node.name
