"""Runs of every kind are kept by one recorder."""

from typing import Any

from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.lm.evaluation.evaluate import GreedyEvaluation
from klamp.lm.training.iteration import Iteration as LanguageIteration
from klamp.training.interface import Evaluation, Run
from klamp.training.iteration import Iteration


def methods(kind: type[Any]) -> set[str]:
    return {name for name, member in vars(kind).items() if callable(member)} - {"__init__"}


def test_what_the_recorder_asks_is_there() -> None:
    asked = {name for name in methods(Run) if not name.startswith("_")}
    assert {"advance", "compile", "policy", "position"} == asked
    for kind in (Iteration, LanguageIteration):
        assert asked <= methods(kind)
    evaluated = {"due", "__call__", "film", "at_the_end", "close"}
    for kind in (PeriodicEvaluation, GreedyEvaluation):
        assert evaluated <= methods(Evaluation) & methods(kind)
