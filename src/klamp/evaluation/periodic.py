"""Evaluating a policy while it is trained, on the same episodes each time."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from klamp.config.run import RunConfig
from klamp.envs.host.info_numbers import means
from klamp.envs.host.interface import HostEnvironments, Position
from klamp.envs.source import EnvironmentSource, source_of
from klamp.errors import KlampError, KlampWarning, one_line
from klamp.evaluation.evaluate import run_episodes, shared_out
from klamp.evaluation.policy import TrainedPolicy
from klamp.evaluation.video import check_pictures, check_video, film
from klamp.runtime.seeding import EnvironmentSeeds, Purpose

SUFFIX = ".mp4"
"""The format of films."""


class PeriodicEvaluation:
    """The evaluations of a run, in environments of their own, which are made once.

    Each starts from the position of the first one, so its figures are a function of the policy
    alone: two of a run differ by what was learnt between them, not by their first states, and a
    resumed run gets the same figures. This needs an environment whose position can be restored, as
    exact resume does. The seeds are neither those of the training nor those of ``evaluate``, whose
    figures remain unbiased for a policy that was chosen by these.
    """

    def __init__(self, config: RunConfig, source: EnvironmentSource | None = None) -> None:
        """``source`` is where the run's own environments come from; None: as it names them."""
        self._config, self._source = config, source
        self._environments: HostEnvironments | None = None
        self._start: Position | None = None
        self._no_films = False
        self.took_s = 0.0
        """Seconds spent so far."""

    def due(self, before: int, after: int) -> bool:
        """Whether an update from one number of steps to another is to be evaluated."""
        interval = self._config.settings.eval_interval
        return interval is not None and after // interval > before // interval

    def __call__(self, policy: TrainedPolicy, check: Callable[[], None]) -> dict[str, float]:
        """The metrics of one evaluation. ``check`` is called at every step, and may raise."""
        began = time.perf_counter()
        settings = self._config.settings
        try:
            due = shared_out(settings.eval_episodes)
            environments, first = self._begin(len(due))
            done = run_episodes(policy.anew(settings.seed), environments, first, due, True, check)
        finally:
            self.took_s += time.perf_counter() - began
        return {
            "eval_return_mean": float(done.returns.mean()),
            "eval_return_std": float(done.returns.std()),
            "eval_length_mean": float(done.lengths.mean()),
            **{f"eval_{name}": value for name, value in means(done.numbers).items()},
        }

    def film(self, policy: TrainedPolicy, folder: Path, before: int, after: int) -> None:
        """Film an episode where enough evaluations have passed.

        A film that cannot be made is warned of, once: the run goes on without any.
        """
        began = time.perf_counter()
        settings = self._config.settings
        each = (settings.eval_interval or 0) * settings.video_every
        if not each or self._no_films or after // each == before // each:
            return
        source = self._source or source_of(self._config)
        try:
            film(policy, source, _film_of(folder, after), seed=settings.seed, episodes=1)
        except Exception as error:  # no film is worth a run
            self._no_films = True
            kind = "" if isinstance(error, KlampError) else f"{type(error).__name__}: "
            what = (
                f"No film was made at step {after:,}. {kind}{one_line(error)} The run goes on "
                "without films."
            )
            warnings.warn(what, KlampWarning, stacklevel=2)
        finally:
            self.took_s += time.perf_counter() - began

    def at_the_end(self, policy: TrainedPolicy) -> dict[str, float]:
        """Nothing more: the summary has the last evaluation."""
        return {}

    def close(self) -> None:
        """Free the environments."""
        if self._environments is not None:
            self._environments.close()
            self._environments = None

    def _begin(self, copies: int) -> tuple[HostEnvironments, np.ndarray]:
        """The environments, made where there are none yet, and their first observation."""
        settings = self._config.settings
        if self._environments is None or self._start is None:
            source = self._source or source_of(self._config)
            self._environments = source.host(
                copies,
                EnvironmentSeeds(settings.seed, Purpose.EVALUATE_WHILE_TRAINING),
                vectorization=settings.vectorization,
                step_limit_s=settings.step_limit_s,
            )
            self._environments.reset()
            self._start = self._environments.position()
        first, _ = self._environments.restore(self._start.arrays())
        # After the restore, which may draw: the next random numbers must be the same, too.
        self._environments.begin(0)
        return self._environments, first


def check_films(config: RunConfig, source: EnvironmentSource) -> None:
    """Raise ``ConfigError`` where films are wanted that cannot be made."""
    if config.settings.video_every:
        check_video(_film_of(Path(), 0))
        check_pictures(source)


def _film_of(folder: Path, step: int) -> Path:
    """Where the film of a step lies."""
    return folder / "videos" / f"step_{step:012d}{SUFFIX}"
