"""One iteration of a language-model run: collect → learn → count; and the state between two."""

import hashlib
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from klamp.algorithms import implementation
from klamp.collection.collector import never
from klamp.collection.episodes import EpisodeStatistics, add_finished, no_episodes
from klamp.collection.shards import ADVANCE
from klamp.errors import ConfigError, KlampWarning
from klamp.lm.collection.collector import Collector, Played
from klamp.lm.collection.shares import own_rows
from klamp.lm.config.run import Configuration
from klamp.lm.evaluation.policy import LanguagePolicy, Texts
from klamp.lm.learning.update import Learnt, make_learn
from klamp.lm.networks.decoder import Decoder
from klamp.lm.training.programs import Programs
from klamp.networks import Model
from klamp.reporting.anomalies.language import MISMATCH
from klamp.runs.metrics_log import Metrics
from klamp.runtime.joined import ALONE, Arrays, Processes
from klamp.runtime.seeding import Purpose, key
from klamp.training.metrics import report_metrics
from klamp.training.placement import PlacedLearn, mesh_of
from klamp.training.state import refusals
from klamp.types import Episode

COMPILE = "compile"
"""The command that has the other processes make the first completions, and compile an update."""

FROZEN = (0, 3)
"""The places, behind what is learnt, of the model and of the reference θ: always the same ones."""

COMPLETIONS = 4
"""The place of the completions."""


class State(NamedTuple):
    """Everything that changes while a run trains: one pytree, and all that a checkpoint holds."""

    theta: Any
    """θ = [decoder's trained part | critic]."""
    algorithm: Any
    """The algorithm's own state."""
    reference_coefficient: Any
    """β of the next update."""
    episodes: EpisodeStatistics
    step: Any
    """Tokens sampled so far."""
    update: Any
    """Updates so far, those that warm up the critic included."""
    refused: Any
    """[2]: updates refused because something was not finite, in a row up to now, and in all."""


class Nowhere:
    """The position of a run that has nothing beside its state."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}


class Iteration:
    """The parts of a run that do not change, and what they do to its state."""

    def __init__(
        self,
        config: Configuration,
        theta: Float[Array, " n"],
        model: Model,
        collector: Collector,
        texts: Texts,
        programs: Programs | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """``theta`` is what the run begins with, and its reference.

        ``programs`` are those of another run, which differs from this one in its numbers only.
        ``processes`` share the run, and the collector's completions are of all of them.
        """
        self.config, self.theta, self.model, self.collector = config, theta, model, collector
        self._texts, self._processes = texts, processes
        self.programs = programs or Programs(_placed_learn(config, processes))
        self._played: tuple[int, Played] | None = None
        self.episodes: Callable[[], list[Episode]] = list
        """The completions of the last update as episodes, made when asked for."""

    def fresh_state(self) -> State:
        """The state before the first update."""
        settings, algorithm = self.config.settings, self.config.algorithm
        return State(
            theta=self.theta,
            algorithm=implementation(algorithm).init(algorithm, self.model, self.theta),
            reference_coefficient=np.asarray(settings.reference_coefficient, np.float32),
            episodes=no_episodes(0),
            step=np.zeros((), np.int64),
            update=np.zeros((), np.int64),
            refused=np.zeros(2, np.int64),
        )

    def compile(self, state: State) -> float:
        """Compile what an iteration calls; the seconds it took, the first completions included."""
        began = time.perf_counter()
        self._processes.lead(COMPILE)
        self._program(state, self.collect(state))
        return time.perf_counter() - began

    def collect(self, state: State) -> Played:
        """The completions of the next update: a function of θ, the seed and the update alone."""
        update = int(state.update)
        if self._played is None or self._played[0] != update:
            played = self.collector.collect(self._decoder(state), update)
            self._played = (update, played)
        return self._played[1]

    def advance(self, state: State, check: Callable[[], None] = never) -> tuple[State, Metrics]:
        """One iteration. ``check`` is called wherever it can be left, and may raise."""

        def heard() -> Arrays:
            check()
            return {}

        self._processes.lead(ADVANCE)
        # Collect.
        played = self.collect(state)
        # Of several processes, one that stopped here by itself would leave the others waiting.
        self._processes.exchange(heard)
        # Learn.
        learnt: Learnt = self._program(state, played)(*self._arguments(state, played))
        # Count.
        return self._counted(state, played, learnt)

    def agree(self, state: State) -> None:
        """Raise ``ConfigError``, in each process, where they do not go on from the same numbers."""
        if self._processes.count == 1:
            return
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves((self.model, self.theta, state)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        own = np.frombuffer(digest.digest(), np.uint8)
        for other, part in enumerate(self._processes.exchange(lambda: {"digest": own})):
            if not np.array_equal(part["digest"], own):
                raise ConfigError(
                    f"Process {other} of {self._processes.count} begins with other numbers than "
                    f"process {self._processes.index}. All of them must read the same model and "
                    "the same checkpoint, and have processors of one kind."
                )

    def _arguments(self, state: State, played: Played) -> tuple[Any, ...]:
        """What ``learn`` takes, after the word that says what is learnt."""
        settings = self.config.settings
        return (
            self.model,
            state.theta,
            state.algorithm,
            self.theta,
            own_rows(played.completions, self._processes),
            np.asarray(state.reference_coefficient, np.float32),
            key(settings.seed, Purpose.SHUFFLE, int(state.update)),
            np.asarray(settings.progress(int(state.step)), np.float32),
        )

    def _program(self, state: State, played: Played) -> Any:
        """The compiled update for completions of these lengths."""
        settings, arguments = self.config.settings, self._arguments(state, played)
        parts = (played.completions, *arguments)
        if not (settings.critic and int(state.update) < settings.critic_warmup):
            return self.programs.begin("all", *parts).result()
        wanted = self.programs.begin("critic", *parts)
        # This one is compiled while the critic warms up.
        self.programs.begin("all", *parts)
        return wanted.result()

    def _counted(self, state: State, played: Played, learnt: Learnt) -> tuple[State, Metrics]:
        """The state after an update, and its metrics."""
        metrics = report_metrics(learnt.report) | played.metrics()
        warn_of_mismatch(int(state.update) + 1, float(metrics["ratio_error"]))
        self.episodes = partial(_episodes, int(state.step) + played.sampled, played)
        episodes = add_finished(state.episodes, played.returns[::-1], played.lengths[::-1])
        state = State(
            theta=learnt.theta,
            algorithm=learnt.algorithm,
            reference_coefficient=np.asarray(learnt.reference_coefficient),
            episodes=episodes,
            step=state.step + played.sampled,
            update=state.update + 1,
            refused=refusals(state.refused, str(metrics["outcome"])),
        )
        return state, metrics

    def position(self) -> Nowhere:
        """There is nothing beside the state."""
        return Nowhere()

    def policy(self, state: State) -> LanguagePolicy:
        """The policy of a state."""
        return LanguagePolicy(self._decoder(state), self.config, self._texts)

    def samples(self) -> list[dict[str, Any]]:
        """Some completions of the last update, as text."""
        return [] if self._played is None else self._played[1].samples

    def _decoder(self, state: State) -> Decoder:
        return _decoder_of(self.model, state.theta)


def _placed_learn(config: Configuration, processes: Processes) -> Any:
    """The update, on all devices that hold shards of the batch."""
    algorithm, settings = config.algorithm, config.settings
    mesh = mesh_of(settings.shards, processes.count) if settings.shards > 1 else None
    if mesh is None:
        return make_learn(algorithm, settings)
    learn = make_learn(algorithm, settings, mesh.size)
    return PlacedLearn(learn, mesh, processes, batch=COMPLETIONS, axis=0, constant=FROZEN, static=1)


@eqx.filter_jit  # leaf by leaf, each shape would be a program to compile
def _decoder_of(model: Model, theta: Float[Array, " n"]) -> Decoder:
    return model.unravel(theta).actor.decoder


def warn_of_mismatch(update: int, error: float) -> None:
    """Warn where tokens were sampled from another policy than the one that is learnt from."""
    if error > MISMATCH:
        warnings.warn(
            f"Update {update:,} learnt from tokens of another policy: the log-probabilities of "
            f"sampling and of learning differ by up to {error:.2g} nats (`ratio_error`), where "
            "rounding makes it some 1e-5. Look for another temperature, top-k or top-p, dropout, "
            "mask, positions or precision.",
            KlampWarning,
            stacklevel=2,
        )


def _episodes(step: int, played: Played) -> list[Episode]:
    """Completions as episodes, by their places in the batch; they end with their update."""
    cut = np.any(np.asarray(played.completions.truncated), axis=1)
    found: list[Episode] = []
    for number, (total, length) in enumerate(zip(played.returns, played.lengths, strict=True)):
        told = {name: float(of[number]) for name, of in played.by_name.items()}
        known = {name: value for name, value in told.items() if np.isfinite(value)}
        terminated = not cut[number]
        found.append(Episode(step, number, None, float(total), int(length), terminated, known))
    return found
