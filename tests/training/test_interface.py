"""Runs of every kind are kept by one recorder."""

from typing import get_protocol_members

from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.lm.evaluation import GreedyEvaluation
from klamp.lm.iteration import Iteration as LanguageIteration
from klamp.training.interface import Evaluation, Run
from klamp.training.iteration import Iteration


def test_what_the_recorder_asks_is_there() -> None:
    for kind in (Iteration, LanguageIteration):
        assert get_protocol_members(Run) - {"config"} <= {*vars(kind)}
    for kind in (PeriodicEvaluation, GreedyEvaluation):
        assert get_protocol_members(Evaluation) - {"took_s"} <= {*vars(kind)}
