"""Many seeds of an environment written in JAX as one program: ``vmap`` over whole iterations.

Each run has its own folder, draws what it would draw alone, and differs from the run trained alone
by rounding only: products of many runs are added up in another order.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from klamp.config.run import RunConfig
from klamp.errors import NonFiniteError, NotSaved, Stopped
from klamp.runs.folder import locked
from klamp.runtime.signals import Signals, StopAsked
from klamp.training.callbacks import Reporters
from klamp.training.fused import Changed, FusedIteration
from klamp.training.iteration import start
from klamp.training.recorder import Running
from klamp.training.resume import begin_or_go_on


def train_as_one(
    plans: list[tuple[RunConfig, Path]],
    environment: Any,
    reporters: Callable[[RunConfig], Reporters],
    signals: Signals,
) -> list[str]:
    """Train runs that differ in nothing but their seed; what failed, in words.

    A run of which something is saved goes on from there. One that is given up leaves the others as
    they are. Raises ``StopAsked`` where a signal came, after every run was saved, and ``Stopped``,
    which says of each, where not every one could be.
    """
    with ExitStack() as held:
        runs: list[FusedIteration] = []
        running: list[Running] = []
        for config, folder in plans:
            run, fresh = start(config, like=runs[0] if runs else None, environment=environment)
            assert isinstance(run, FusedIteration)
            held.enter_context(locked(folder))
            state, origin = begin_or_go_on(run, fresh, folder)
            runs.append(run)
            running.append(Running(run, state, folder, reporters(config), origin, environment))
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


def _iterate(runs: list[FusedIteration], running: list[Running], signals: Signals) -> list[str]:
    """Iterations of all runs at once until the steps of each are done."""
    began = time.perf_counter()
    program = jax.jit(side_by_side(runs[0].iterate)).lower(_arguments(runs, running)).compile()
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
        changed = program(_arguments(runs, running))
        taken = {
            number: runs[number].take(running[number].state, changed[number])
            for number in sorted(going_on)
        }
        seconds = time.perf_counter() - tick
        for number, (state, reported) in taken.items():
            run, one = runs[number], running[number]
            try:
                one.record(state, reported, seconds, signals.check)
            except (NonFiniteError, NotSaved) as error:
                going_on.remove(number)
                failures.append(f"Seed {run.config.settings.seed}: {error}")


def _arguments(runs: list[FusedIteration], running: list[Running]) -> list[tuple[Any, ...]]:
    return [run.arguments(one.state) for run, one in zip(runs, running, strict=True)]


def side_by_side(iterate: Callable[..., Changed]) -> Callable[[list[Any]], list[Changed]]:
    """The iteration of many runs: a list of its arguments to a list of its results."""

    def iterate_all(arguments: list[Any]) -> list[Changed]:
        stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *arguments)
        changed = jax.vmap(iterate)(*stacked)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], changed) for i in range(len(arguments))]

    return iterate_all
