"""The loop: collect → prepare → update → report, saved so that it can be stopped at any moment."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from klamp.assembly import environment_name, environment_of, make_policy, network_maker
from klamp.checkpoint import latest_checkpoint, verify
from klamp.compilation import in_float32, use_device
from klamp.config import AlgorithmConfig, RunConfig
from klamp.envs.contract import check_environment
from klamp.envs.making import make_host
from klamp.errors import KlampWarning, NonFiniteError
from klamp.fingerprint import differences, fingerprint
from klamp.iteration import Iteration, start
from klamp.networks import NetworkBuilder, flatten, name_of
from klamp.policy import TrainedPolicy
from klamp.presets import configure
from klamp.report import Reporter, Silent, reporter
from klamp.run_folder import (
    choose_folder,
    drop_metrics_after,
    locked,
    nothing_trained,
    read_trusted_config,
    run_of,
    write_config,
)
from klamp.running import Result, Running
from klamp.seeding import Purpose, key
from klamp.signals import Signals, StopAsked
from klamp.state import TrainState, fresh_state, restore


def train(
    env: Any,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    network: NetworkBuilder | None = None,
    device: str = "auto",
    **settings: Any,
) -> Result:
    """Train a policy and keep the run in a folder of its own.

    ``env`` is a Gymnasium id, ``module:id``, the id of an environment written in JAX such as
    ``gymnax:CartPole-v1``, or an object that is one (docs/jax-environments.md). ``algorithm`` is a
    config such as ``klamp.TRPO(max_kl=0.01)``, taken as it is, or a name such as ``"trpo"``, which
    takes the preset's settings; PPO if left out. ``settings`` are the fields of ``klamp.Settings``
    (``steps``, ``seed``, ``num_envs``, ``rollout_length``, ``discount``, …), over the preset's;
    with a config, over what the presets of all algorithms have in common for ``env``. A setting
    that would do nothing in this run is refused.
    ``out`` is the run's folder, which must not exist (or be empty); by default
    ``runs/{env}-{algorithm}-{seed}``. Progress goes to standard error unless ``quiet``.
    ``network(observation_space, action_space, key)`` builds networks of your own
    (docs/custom-networks.md); ``load`` and ``resume`` then need it again. ``device`` is ``cpu``,
    ``gpu``, or ``auto``, which leaves it to JAX.

    Raises ``ConfigError``, ``EnvironmentFault`` or ``RunFolderError``, each with what to do.
    """
    config = configure(environment_name(env), algorithm, settings)
    if network is not None:
        config = replace(config, network=name_of(network))
    to = Silent() if quiet else reporter()
    own = None if isinstance(env, str) else env
    return train_config(config, out=out, to=to, network=network, device=device, environment=own)


@in_float32
def train_config(
    config: RunConfig,
    *,
    out: str | Path | None,
    to: Reporter,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: Any = None,
) -> Result:
    """Train a complete configuration from the beginning."""
    choose_folder(config, out)
    use_device(device)
    check_environment(environment_of(config, environment), config.settings)
    return train_one(
        config, out=out, to=to, network=network, signals=signals, environment=environment
    )[0]


@in_float32
def train_one(
    config: RunConfig,
    *,
    out: str | Path | None,
    to: Reporter,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    like: Iteration | None = None,
    environment: Any = None,
) -> tuple[Result, Iteration]:
    """The same with an environment that was checked before; ``like`` lends what it compiled."""
    folder = choose_folder(config, out)
    run, state = start(config, network, like, environment)
    try:
        with locked(folder):
            # Another process may have been faster.
            write_config(choose_folder(config, folder), config)
            return _loop(run, state, folder, to, signals or Signals(), saved_at=None), run
    finally:
        run.close()


@in_float32
def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    quiet: bool = False,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: Any = None,
    trust: bool = False,
) -> Result:
    """Go on with a run from its latest checkpoint, to its own number of steps or to ``steps``.

    ``folder`` is the run's, or that of one of its checkpoints, which is then the one taken.
    ``network`` and ``environment`` are the run's own, where it was given such. ``trust`` has the
    module be imported that the environment's name names, whoever wrote it there.

    The run ends with the same bytes as if it had never been stopped. What keeps it from that, such
    as an environment that does not repeat itself, is warned of (``KlampWarning``).
    """
    use_device(device)
    path = Path(folder)
    root = run_of(path)
    config = read_trusted_config(root, trust)
    if nothing_trained(root):
        warnings.warn(
            f"{root} was stopped before its first step: nothing had been trained, so the "
            "run begins at step 0.",
            KlampWarning,
            stacklevel=3,
        )
    to = Silent() if quiet else reporter()
    return resume_one(
        config,
        path,
        to=to,
        steps=steps,
        network=network,
        signals=signals,
        environment=environment,
    )[0]


@in_float32
def resume_one(
    config: RunConfig,
    path: Path,
    *,
    to: Reporter,
    steps: int | None = None,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    like: Iteration | None = None,
    environment: Any = None,
) -> tuple[Result, Iteration]:
    """The same with a configuration that was read before; ``like`` lends what it compiled."""
    root = run_of(path)
    with locked(root):
        if steps is not None:
            config = RunConfig.from_dict(config.to_dict() | {"steps": steps})
            write_config(root, config)
        run, fresh = start(config, network, like, environment)
        try:
            state, saved_at = begin_or_go_on(run, fresh, path)
            return _loop(run, state, root, to, signals or Signals(), saved_at=saved_at), run
        finally:
            run.close()


def begin_or_go_on(run: Iteration, fresh: TrainState, path: Path) -> tuple[TrainState, int | None]:
    """The state of the latest checkpoint and its step; ``fresh`` where nothing had been trained."""
    root = run_of(path)
    if nothing_trained(root):
        return fresh, None
    state = _put_back(run, fresh, root, latest_checkpoint(path))
    return state, int(state.step)


def _put_back(run: Iteration, fresh: TrainState, root: Path, path: Path) -> TrainState:
    """The state of a checkpoint, with the environments and the metrics where they were then."""
    state, position = restore(fresh, path)
    problems = run.restore(position)
    if problems:
        problems = [f"{'; '.join(problems)} (the environment does not repeat itself)"]
    problems += differences(verify(path).made_with, fingerprint())
    if problems:
        warnings.warn(
            f"{root} goes on from {path.name}, but perhaps not to the last bit as if it had never "
            f"been stopped: {'; '.join(problems)}.",
            KlampWarning,
            stacklevel=7,
        )
    drop_metrics_after(root / "metrics.jsonl", int(state.update))
    return state


@in_float32
def load(
    folder: str | Path,
    *,
    network: NetworkBuilder | None = None,
    environment: Any = None,
    trust: bool = False,
) -> TrainedPolicy:
    """The policy of a run's latest checkpoint, with its normaliser; no environment stays open.

    ``network`` and ``environment`` are the run's own, where it was given such. ``trust`` has the
    module be imported that the environment's name names, whoever wrote it there.
    """
    config = read_trusted_config(run_of(Path(folder)), trust)
    path = latest_checkpoint(Path(folder))
    environments = make_host(
        environment_of(config, environment), 1, seed=0, purpose=Purpose.EVALUATE
    )
    try:
        draw = network_maker(config, environments, network)
        theta, model = flatten(draw(key(config.settings.seed, Purpose.INITIALISE)))
        fresh = fresh_state(config, environments.seen_space, theta, model)
        state, _ = restore(fresh, path)
        return make_policy(config, environments, model, state)
    finally:
        environments.close()


def _loop(
    run: Iteration,
    state: TrainState,
    folder: Path,
    to: Reporter,
    signals: Signals,
    *,
    saved_at: int | None,
) -> Result:
    """Iterate until the steps are done; keep metrics, checkpoints and the summary."""
    running = Running(run, state, folder, to, saved_at=saved_at)
    signals.last_resort = running.last_resort
    try:
        with signals:
            to.start(run.config, str(folder))
            try:
                signals.check()
                compile_s = run.compile(running.state)
                while not running.done:
                    running.iterate(signals)
                signals.check()
            except StopAsked:
                running.save()
                raise signals.stopped(running.saved, folder) from None
            except NonFiniteError:
                running.save()
                raise
        return running.finish(compile_s)
    finally:
        running.close()
