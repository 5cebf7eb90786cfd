"""What is broken on purpose in evaluations while training."""

from dataclasses import replace
from importlib import import_module
from typing import Any


def _module() -> Any:
    return import_module("klamp.evaluation.periodic")


def _moves_the_training(names: Any) -> None:
    """An evaluation after which the training draws other numbers."""
    kind = _module().PeriodicEvaluation
    true = kind.__call__

    def broken(self: Any, policy: Any, check: Any) -> Any:
        collection = import_module("klamp.training.iteration")
        seeding = collection.key
        collection.key = lambda seed, *more: seeding(seed + 1, *more)
        return true(self, policy, check)

    kind.__call__ = broken


def _sampled(names: Any) -> None:
    """Actions that are drawn, not the most probable ones."""
    module = _module()
    true = module.run_episodes
    module.run_episodes = lambda policy, envs, first, due, deterministic, check: true(
        policy, envs, first, due, False, check
    )


def _other_luck(names: Any) -> None:
    """Every evaluation has seeds of its own."""
    kind = _module().PeriodicEvaluation
    true = kind._begin

    def another(self: Any, copies: int) -> Any:
        self.close()
        config = self._config
        seed = config.settings.seed + int(self.took_s * 1e6)
        self._config = replace(config, settings=replace(config.settings, seed=seed))
        try:
            return true(self, copies)
        finally:
            self._config = config

    kind._begin = another


def _too_early(names: Any) -> None:
    """The policy before the update is evaluated."""
    kind = _module().PeriodicEvaluation
    true = kind.__call__
    held: list[Any] = []

    def broken(self: Any, policy: Any, check: Any) -> Any:
        held.append(policy)
        return true(self, held[-2] if len(held) > 1 else policy, check)

    kind.__call__ = broken


def _scaled(names: Any) -> None:
    """Returns that no episode had."""
    kind = _module().PeriodicEvaluation
    true = kind.__call__

    def broken(self: Any, policy: Any, check: Any) -> Any:
        found = true(self, policy, check)
        return found | {"eval_return_mean": found["eval_return_mean"] + 0.01}

    kind.__call__ = broken


def _seldom(names: Any) -> None:
    """Evaluations at a longer interval than was asked for."""
    kind = _module().PeriodicEvaluation
    true = kind.due
    kind.due = lambda self, before, after: true(self, before // 2, after // 2)


def _last_is_best(names: Any) -> None:
    """The last checkpoint is taken for the best."""
    true = names.load
    names.load = lambda run, checkpoint="last": true(
        run, checkpoint="last" if checkpoint == "best" else checkpoint
    )


def _never_stops(names: Any) -> None:
    """A return to stop at that is not looked at."""
    true = names.train

    def broken(env: Any, algo: Any, stop_at_return: Any = None, **options: Any) -> Any:
        return true(env, algo, **options)

    names.train = broken


PLANTS = {
    "an evaluation moves the training's random numbers": _moves_the_training,
    "evaluated with sampled actions": _sampled,
    "evaluations begin from other seeds each time": _other_luck,
    "the policy before the last evaluation is evaluated": _too_early,
    "an evaluation tells more than it saw": _scaled,
    "evaluations are left out": _seldom,
    "the last checkpoint is taken for the best": _last_is_best,
    "stop_at_return is not looked at": _never_stops,
}
