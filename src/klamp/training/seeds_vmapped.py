"""Many seeds of an environment written in JAX side by side: ``vmap`` over collection and update.

Each run has its own folder, draws what it would draw alone, and differs from the run trained alone
by rounding only: products of many runs are added up in another order.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from klamp.collection.collector import Collected
from klamp.config.run import RunConfig
from klamp.envs.source import EnvironmentSource
from klamp.errors import NonFiniteError, NotSaved, Stopped
from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.runs.folder import locked
from klamp.runs.metrics_log import Metrics
from klamp.runtime.signals import Signals, StopAsked
from klamp.training.callbacks import Reporters
from klamp.training.iteration import Iteration, start
from klamp.training.recorder import RunRecorder
from klamp.training.resume import begin_or_go_on
from klamp.training.state import TrainState, behavior_policy, observe_rewards


def train_as_one(
    plans: list[tuple[RunConfig, Path]],
    environment: EnvironmentSource | None,
    reporters: Callable[[RunConfig], Reporters],
    signals: Signals,
) -> list[str]:
    """Train runs that differ in nothing but their seed; what failed, in words.

    A run of which something is saved goes on from there. One that is given up leaves the others as
    they are. Raises ``StopAsked`` where a signal came, after every run was saved, and ``Stopped``,
    which says of each, where not every one could be.
    """
    with ExitStack() as held:
        runs: list[Iteration] = []
        running: list[RunRecorder[TrainState]] = []
        for config, folder in plans:
            run, fresh = start(
                config, compiled_by=runs[0] if runs else None, environment=environment
            )
            held.enter_context(locked(folder))
            state, origin = begin_or_go_on(run, fresh, folder)
            runs.append(run)
            evaluation = PeriodicEvaluation(config, environment)
            running.append(RunRecorder(run, state, folder, reporters(config), evaluation, origin))
            held.callback(running[-1].close)
            running[-1].begin()

        def stop(number: int) -> Stopped:
            stops = [one.stop(number) for one in running]
            lines = " ".join(f"{stopped}." for stopped in stops)
            return Stopped(number, lines, all(stopped.saved for stopped in stops))

        signals.last_resort = stop
        try:
            return _iterate(runs, running, signals)
        except StopAsked:
            if (stopped := stop(signals.number)).saved:
                raise
            raise stopped from None


def _iterate(
    runs: list[Iteration], running: list[RunRecorder[TrainState]], signals: Signals
) -> list[str]:
    """Iterations of all runs at once until the steps of each are done."""
    began = time.perf_counter()
    collect, learn = _compiled(runs, running)
    for one in running:
        one.compiled(time.perf_counter() - began)
    going_on, failures = set(range(len(runs))), list[str]()
    while True:
        for number in sorted(going_on):
            if running[number].done:
                going_on.remove(number)
                if (unsaved := running[number].finish().unsaved) is not None:
                    failures.append(f"Seed {runs[number].config.settings.seed}: {unsaved}")
        if not going_on:
            return failures
        tick = time.perf_counter()
        signals.check()
        collected = [
            run.collector.take(part)
            for run, part in zip(runs, collect(_collect_arguments(runs, running)), strict=True)
        ]
        scaled = [
            observe_rewards(run.config, one.state, part.summary)
            for run, one, part in zip(runs, running, collected, strict=True)
        ]
        learnt = learn(
            [
                run.learn_arguments(state, rollout, factor)
                for run, (state, factor), (rollout, _) in zip(runs, scaled, collected, strict=True)
            ]
        )
        taken = {
            number: _taken(runs[number], running[number].state, *parts)
            for number, parts in enumerate(zip(collected, scaled, learnt, strict=True))
            if number in going_on
        }
        seconds = time.perf_counter() - tick
        for number, (state, reported) in taken.items():
            run, one = runs[number], running[number]
            try:
                one.record(state, reported, seconds, signals.check)
            except (NonFiniteError, NotSaved) as error:
                going_on.remove(number)
                failures.append(f"Seed {run.config.settings.seed}: {error}")


def _taken(
    run: Iteration, before: TrainState, collected: Collected, scaled: Any, learnt: Any
) -> tuple[TrainState, Metrics]:
    """What one run's part of an iteration leads to."""
    summary = collected.summary
    if summary.fault is not None:
        return run.refuse(before, summary, summary.fault)
    return run.counted(scaled[0], summary, learnt)


def _compiled(runs: list[Iteration], running: list[RunRecorder[TrainState]]) -> tuple[Any, Any]:
    """Collection and update of all runs, each as one program."""
    arguments = _collect_arguments(runs, running)
    collect = jax.jit(side_by_side(runs[0].collector.program))
    rollout = jax.eval_shape(runs[0].collector.program, *arguments[0]).rollout
    one = np.ones((), np.float32)
    learning = [
        run.learn_arguments(each.state, rollout, one)
        for run, each in zip(runs, running, strict=True)
    ]
    learn = jax.jit(side_by_side(runs[0].learn))
    return collect.lower(arguments).compile(), learn.lower(learning).compile()


def _collect_arguments(
    runs: list[Iteration], running: list[RunRecorder[TrainState]]
) -> list[tuple[Any, ...]]:
    return [
        run.collector.arguments(behavior_policy(run.config, one.state))
        for run, one in zip(runs, running, strict=True)
    ]


def side_by_side(function: Callable[..., Any]) -> Callable[[list[Any]], list[Any]]:
    """A function of many runs at once: a list of its arguments to a list of its results."""

    def call_all(arguments: list[Any]) -> list[Any]:
        stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *arguments)
        results = jax.vmap(function)(*stacked)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], results) for i in range(len(arguments))]

    return call_all
