"""A class of the user's own: what it must be, how it is named, and how it is found again."""

import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from klamp import RunConfig, Settings
from klamp.config.algorithms import TRPO, algorithm_name, check_algorithm, short_name
from klamp.config.algorithms.own import module_of_algorithm, own_class, own_name
from klamp.errors import ConfigError


@dataclass(frozen=True)
class Still:
    """An algorithm that does nothing."""

    rate: float = 0.1
    shape: tuple[int, ...] = (1, 2)

    def init(self, model: Any, theta: Any) -> Any:
        return None

    def update(self, context: Any, theta: Any, state: Any, batch: Any) -> Any:
        raise NotImplementedError


def fields_of(**values: Any) -> Any:
    kind = type("Mine", (Still,), {"__annotations__": dict.fromkeys(values, Any), **values})
    return dataclass(frozen=True)(kind)()


class Plain:
    init = update = Still.update


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (Plain(), "Plain must be a frozen dataclass"),
        (Still, "must be a config such as"),
        (fields_of(discount=0.5), "`discount` of Mine has the name of what all runs have"),
        (fields_of(algo="x"), "`algo` of Mine"),
        (fields_of(rule=abs), "`rule` of Mine is <built-in function abs>"),
        (fields_of(sizes=(1, [2])), "Expected a finite number, a text"),
        (fields_of(rate=float("inf")), "`rate` of Mine is inf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_recorded_is_refused(algorithm: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_algorithm(algorithm)


def test_the_name_leads_back_to_the_class_without_an_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = own_name(Still)
    assert name == f"{__name__}:Still" == algorithm_name(Still())
    assert short_name(Still()) == "Still"
    assert module_of_algorithm(name) == __name__
    module = ModuleType("of_mine")
    monkeypatch.setitem(sys.modules, "of_mine", module)
    vars(module).update(Still=Still, dict=dict, Settings=Settings)
    assert own_class("of_mine:Still") is Still
    for strange in ("of_mine:dict", "of_mine:Settings", "of_mine:Absent", "unheard_of:Still"):
        with pytest.raises(ConfigError, match="Give it again, in Python"):
            own_class(strange)
    assert "unheard_of" not in sys.modules
    assert own_class("unheard_of:Still", Still) is Still


@pytest.mark.parametrize("name", ["ppo", "__main__:Still", None, 3])
def test_klamps_own_and_those_of_a_script_name_no_module_to_import(name: Any) -> None:
    assert module_of_algorithm(name) is None


def test_a_script_that_multiprocessing_runs_again_is_the_script() -> None:
    kind = type("Mine", (), {"__module__": "__mp_main__"})
    assert own_name(kind) == "__main__:Mine"


def test_a_run_of_it_survives_json() -> None:
    config = RunConfig("CartPole-v1", Still(0.3, (4,)), Settings())
    data = config.to_dict() | {"shape": [4], "algo": "elsewhere:Still"}
    assert RunConfig.from_dict(data, Still) == config
    with pytest.raises(ConfigError, match="elsewhere"):
        RunConfig.from_dict(data)
    with pytest.raises(ConfigError, match="elsewhere"):
        RunConfig.from_dict(data, TRPO)
