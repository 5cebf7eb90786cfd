"""Training language models: the same loop, recorder and folder as every run of klamp."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from klamp.config.algorithms import AlgorithmConfig
from klamp.lm.collection.collector import Played
from klamp.lm.config.run import Configuration
from klamp.lm.environments.environment import TextEnvironment
from klamp.lm.environments.rewards import RewardFunction
from klamp.lm.evaluation.completions_log import CompletionsLog
from klamp.lm.evaluation.evaluate import GreedyEvaluation
from klamp.lm.evaluation.policy import LanguagePolicy
from klamp.lm.training.iteration import Iteration, State
from klamp.lm.training.setup import configured, start
from klamp.lm.training.sources import Rows, Sources
from klamp.runs.checkpoint import verify
from klamp.runs.checkpoint_choice import Choice, chosen_checkpoint
from klamp.runs.folder import (
    choose_folder,
    config_data,
    locked,
    run_of,
    write_config,
)
from klamp.runs.metrics_log import Metrics, metrics_until
from klamp.runs.rewind import aside_of, begin_line
from klamp.runs.trust import refuse_strange_code
from klamp.runtime.compile_cache import keep_compiled
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.provenance import differences, fingerprint
from klamp.runtime.signals import Signals
from klamp.runtime.streams import patient_stderr
from klamp.training.callbacks import Report, Reporters, gather
from klamp.training.checkpointing import facts_of, restore
from klamp.training.recorder import Origin, RunRecorder
from klamp.training.result import Result as Recorded
from klamp.training.resume import (
    gone_on_from,
    warn_where_inexact,
    warn_where_it_begins_again,
)
from klamp.training.train import run_to_end, told


@dataclass(frozen=True)
class Result:
    """What ``train`` and ``resume`` return."""

    policy: LanguagePolicy
    """The policy after the last update."""
    summary: Metrics
    """The content of `summary.json`."""
    metrics: list[Metrics]
    """The lines of `metrics.jsonl`."""
    folder: Path
    """The run's folder."""
    unsaved: str | None
    """Why the end of the run is not in its folder; None where all of it is."""


def train(
    task: str,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    data: Rows | None = None,
    reward: RewardFunction | str | Sequence[RewardFunction | str] = (),
    reward_weights: Sequence[float] | None = None,
    environment: Callable[[], TextEnvironment] | str | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
    report: Report | Sequence[Report] = (),
    device: str = "auto",
    **settings: Any,
) -> Result:
    """Train a language model by rewards, and keep the run in a folder of its own.

    ``task`` is a built-in one (``sort``, ``addition``, ``walks``, ``guess``, ``guess-32``,
    ``memory``), or the folder of a model, which then needs ``data`` (a file of JSON lines, or rows,
    each with a ``prompt``) and ``reward`` functions with the signature of TRL's, or an
    ``environment``: a class or function that makes one for each completion. These two are also
    taken as ``module:name``.
    ``algorithm`` is the name of a preset (``ppo``, ``trpo``, ``grpo``, …; ``klamp.lm.PRESETS``), or
    a config such as ``klamp.PPO(max_kl=0.01)``. ``settings`` are the fields of
    ``klamp.lm.Settings``; with a preset's name, those of its algorithm, too. ``steps`` counts
    sampled tokens. ``out``, ``quiet``, ``report`` and ``device`` are as in ``klamp.train``.

    Raises ``ConfigError`` on a setting that cannot work, and ``RunFolderError`` where the folder
    holds something already, each with what to do.
    """
    functions = (reward,) if isinstance(reward, str) or callable(reward) else tuple(reward)
    weights = None if reward_weights is None else tuple(reward_weights)
    sources = Sources(data, functions, weights, environment)
    config = configured(task, algorithm, settings, sources)
    reporters = gather(report, quiet=quiet)
    return told(train_config(config, sources, out=out, reporters=reporters, device=device))


@in_float32
@patient_stderr()
def train_config(
    config: Configuration,
    sources: Sources,
    *,
    out: str | Path | None,
    reporters: Reporters,
    signals: Signals | None = None,
    device: str = "auto",
    processes: Processes = ALONE,
) -> Result:
    """Train a complete configuration from the beginning.

    Where several ``processes`` share the run, this is called in process 0, and ``follow`` in the
    others.
    """
    folder = choose_folder(config, out)
    use_device(device)
    keep_compiled()
    with locked(folder):
        # Another process may have been faster.
        folder = choose_folder(config, folder)
        return _run(config, sources, folder, reporters, signals or Signals(), None, processes)


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    quiet: bool = False,
    report: Report | Sequence[Report] = (),
    device: str = "auto",
    sources: Sources | None = None,
    trust: bool = False,
) -> Result:
    """Go on with a run from its latest checkpoint, to its own number of steps or to ``steps``.

    The run ends with the same bytes as if it had never been stopped: θ, metrics, completions.
    ``sources`` are the run's own, where no name in its `config.json` leads to them. ``trust`` has
    the modules be imported that it names, whoever wrote them there.
    """
    return told(
        go_on(
            folder,
            steps=steps,
            reporters=gather(report, quiet=quiet),
            device=device,
            sources=sources,
            trust=trust,
        )
    )


@in_float32
@patient_stderr()
def go_on(
    folder: str | Path,
    *,
    steps: int | None,
    reporters: Reporters,
    signals: Signals | None = None,
    device: str = "auto",
    sources: Sources | None = None,
    trust: bool = False,
    processes: Processes = ALONE,
) -> Result:
    """``resume``, for a caller that says by itself what could not be saved."""
    use_device(device)
    keep_compiled()
    path = Path(folder)
    root = run_of(path)
    config, sources = trusted(root, sources or Sources(), trust), sources or Sources()
    warn_where_it_begins_again(root, stacklevel=5)
    with locked(root):
        config, at = gone_on_from(config, path, steps)
        return _run(config, sources, root, reporters, signals or Signals(), at, processes)


def trusted(root: Path, sources: Sources, trust: bool) -> Configuration:
    """A run's configuration; ``ConfigError`` where it names code that nobody vouches for."""
    data = config_data(root)
    refuse_strange_code(root, data, trust, sources.given())
    return Configuration.from_dict(data)


def _run(
    config: Configuration,
    sources: Sources,
    folder: Path,
    reporters: Reporters,
    signals: Signals,
    at: Path | None,
    processes: Processes,
) -> Result:
    """Train from a checkpoint, or from the beginning, to the end."""
    if at is None:
        write_config(folder, config)
    run = start(config, folder, sources, processes)
    state, origin = (run.fresh_state(), None) if at is None else _put_back(run, folder, at)
    run.agree(state)
    reporters.add(CompletionsLog(folder, run, int(state.update)))
    evaluation = GreedyEvaluation(config, run.collector)
    running = RunRecorder(run, state, folder, reporters, evaluation, origin)
    found: Recorded = run_to_end(running, signals)
    policy = run.policy(running.state)
    return Result(policy, found.summary, found.metrics, found.folder, found.unsaved)


def _put_back(run: Iteration, root: Path, at: Path) -> tuple[State, Origin]:
    """The state of a checkpoint, and what goes on there."""
    state, _ = restore(run.fresh_state(), at)
    facts, update = verify(at), int(state.update)
    now = fingerprint() | facts_of(run.config)
    warn_where_inexact(root, at, differences(facts.made_with, now), stacklevel=7)
    metrics_until(root / "metrics.jsonl", update)
    begin = partial(begin_line, root, facts.step, update, config=run.config, aside=aside_of(root))
    return state, Origin(facts.step, facts.spent, begin)


@in_float32
def load(
    folder: str | Path,
    *,
    checkpoint: Choice = "last",
    sources: Sources | None = None,
    trust: bool = False,
) -> LanguagePolicy:
    """The policy of one of a run's checkpoints: ``"last"``, ``"best"`` or a step.

    ``sources`` and ``trust`` are as in ``resume``.
    """
    return _standing(folder, checkpoint, sources or Sources(), trust)[1]


@in_float32
def evaluate(
    folder: str | Path,
    *,
    episodes: int = 512,
    checkpoint: Choice = "last",
    seed: int = 0,
    deterministic: bool = True,
    sources: Sources | None = None,
    trust: bool = False,
) -> Played:
    """What a trained policy earns for so many prompts, and what it wrote.

    Prompts of a built-in task follow from ``seed``; those of data are its first rows. ``sources``
    and ``trust`` are as in ``resume``.
    """
    run, policy = _standing(folder, checkpoint, sources or Sources(), trust)
    return run.collector.evaluated(policy.decoder, episodes, seed=seed, deterministic=deterministic)


def _standing(
    folder: str | Path, checkpoint: Choice, sources: Sources, trust: bool
) -> tuple[Iteration, LanguagePolicy]:
    """A run, and its policy at a checkpoint."""
    root = run_of(Path(folder))
    run = start(trusted(root, sources, trust), root, sources)
    state, _ = restore(run.fresh_state(), chosen_checkpoint(Path(folder), checkpoint))
    return run, run.policy(state)
