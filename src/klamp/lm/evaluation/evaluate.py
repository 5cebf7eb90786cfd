"""How well a language model does with its most probable tokens."""

import time
from collections.abc import Callable
from pathlib import Path

from klamp.lm.collection.collector import Collector, Played
from klamp.lm.config.run import Configuration
from klamp.lm.evaluation.policy import LanguagePolicy
from klamp.runs.metrics_log import Metrics

LAST = 512
"""Prompts that the policy is asked at the end of a run."""


class GreedyEvaluation:
    """The evaluations of a run: the same prompts at each of them, none of the training's draws."""

    def __init__(self, config: Configuration, collector: Collector) -> None:
        self._settings, self._collector = config.settings, collector
        self.took_s = 0.0
        """Seconds spent so far."""

    def due(self, before: int, after: int) -> bool:
        """Whether an update from one number of steps to another is to be evaluated."""
        interval = self._settings.eval_interval
        return interval is not None and after // interval > before // interval

    def __call__(self, policy: LanguagePolicy, check: Callable[[], None]) -> Metrics:
        """The metrics of one evaluation."""
        check()
        played = self._played(policy, self._settings.eval_episodes)
        return {
            "eval_return_mean": float(played.returns.mean()),
            "eval_return_std": float(played.returns.std()),
            "eval_length_mean": float(played.lengths.mean()),
        }

    def film(self, policy: LanguagePolicy, folder: Path, before: int, after: int) -> None:
        """There is nothing to see."""

    def at_the_end(self, policy: LanguagePolicy) -> Metrics:
        """Where answers are right or wrong, the share of right ones."""
        if not self._collector.exact:
            return {}
        return {"accuracy_greedy": self._played(policy, LAST).accuracy}

    def _played(self, policy: LanguagePolicy, count: int) -> Played:
        began = time.perf_counter()
        seed = self._settings.seed
        played = self._collector.evaluated(policy.decoder, count, seed=seed, deterministic=True)
        self.took_s += time.perf_counter() - began
        return played

    def close(self) -> None:
        """There is nothing to free."""
