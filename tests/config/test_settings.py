"""Settings refuse what cannot work, by field, value and remedy, and survive JSON."""

import math

import pytest

from klamp.config.algorithms import PPO, TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import GROUPS, Settings
from klamp.errors import ConfigError

BAD = [
    (PPO, "learning_rate", [-1, 0, math.nan, math.inf, "3e-4", True]),
    (PPO, "clip", [0, -0.1, None]),
    (PPO, "epochs", [0, -1, 2.0, True]),
    (PPO, "minibatch_size", [0, 1.5]),
    (PPO, "target_kl", [0, -0.1]),
    (PPO, "entropy_coefficient", [math.nan, -0.1]),
    (TRPO, "max_kl", [0, -0.01, math.nan]),
    (TRPO, "damping", [-0.1]),
    (TRPO, "backtrack_ratio", [0, 1, 1.2]),
    (TRPO, "max_backtracks", [-1, 0.5]),
    (Settings, "steps", [0, -5, 1e6 + 0.5, "10", True]),
    (Settings, "schedule_steps", [0, -5, 0.5, "10", True]),
    (Settings, "seed", [-1, 2**63, 1.5, True]),
    (Settings, "num_envs", [0, -3, 2.0, 10**9]),
    (Settings, "discount", [1.5, -0.1, math.nan]),
    (Settings, "trace_decay", [-0.1, 2]),
    (Settings, "hidden_sizes", [(0,), (64, 1.5)]),
    (Settings, "activation", ["tangent"]),
    (Settings, "vectorization", ["parallel"]),
]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, name, values in BAD for value in values],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_bad_value_is_named(kind: type, name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**{name: value})
    message = str(caught.value)
    assert f"`{name}`" in message
    assert repr(value) in message
    assert "must be" in message


def test_a_whole_float_is_a_number_of_steps() -> None:
    assert Settings(steps=1e6).steps == 1_000_000


def test_a_schedule_has_the_runs_steps_unless_it_has_its_own() -> None:
    assert [Settings(steps=400).progress(step) for step in (0, 100, 400, 500)] == [0, 0.25, 1, 1]
    assert Settings(steps=400, schedule_steps=200).progress(100) == 0.5
    settings = Settings(schedule_steps=200)
    RunConfig("CartPole-v1", PPO(final_clip=0.1), settings)
    for algorithm in (PPO(), TRPO()):
        with pytest.raises(ConfigError, match=r"`schedule_steps` .* unset where nothing has a"):
            RunConfig("CartPole-v1", algorithm, settings)


def test_every_field_has_a_description() -> None:
    import ast
    import inspect

    import klamp.config.settings

    tree = ast.parse(inspect.getsource(klamp.config.settings))
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, following in zip(kind.body, kind.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(following, ast.Expr), f"{kind.name}.{ast.unparse(field)}"


def test_each_setting_belongs_to_one_group() -> None:
    names = [name for group in GROUPS.values() for name in group.__dataclass_fields__]
    assert list(Settings.__dataclass_fields__) == names
    assert all(issubclass(Settings, group) for group in GROUPS.values())


@pytest.mark.parametrize("group", GROUPS.values())
def test_a_group_is_checked_by_itself(group: type) -> None:
    made = group()
    for name in group.__dataclass_fields__:
        with pytest.raises(ConfigError, match=f"`{name}` of {group.__name__} is"):
            type(made)(**{name: object()})
