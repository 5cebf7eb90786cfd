"""A run that begins with what another has learnt: its parameters, its observation normaliser.

The checkpoint is named in `config.json`, with the sum of its arrays. Nothing else is taken:
optimiser, reward normaliser, counters and environments begin as in any run. From its own first
checkpoint on the run is resumed without the other one.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from klamp.config.run import NAME_LIMIT, RunConfig
from klamp.config.settings import NetworkSettings
from klamp.envs.source import source_of
from klamp.envs.spaces.supported import form, limits
from klamp.errors import ConfigError, shown
from klamp.runs.checkpoint import (
    TENSORS,
    latest_checkpoint,
    load_checkpoint,
    verify,
)
from klamp.runs.folder import read_config, read_trusted_config, run_of
from klamp.runs.tensors import restore_tensors
from klamp.runtime.seeding import EnvironmentSeeds, Purpose
from klamp.training.iteration import Iteration
from klamp.training.state import TrainState, fresh_state

_FREE = {
    "dropout",
    "sequence_length",
    "initial_log_std",
    "action_std",
    "action_std_decay",
    "action_std_minimum",
}
"""Settings of the network that its parameters do not depend on."""
EQUAL = [
    *(item.name for item in fields(NetworkSettings) if item.name not in _FREE),
    "normalize_observation",
]
"""Settings that both runs must have in common."""

_OF_ENVIRONMENTS = ("env", "env_kwargs", "wrappers")
"""What of a configuration decides the spaces."""


def starting_from(config: RunConfig, run: str | Path) -> RunConfig:
    """The configuration with the checkpoint that it begins from, and its sum.

    ``run`` is the folder of a run, of which the last checkpoint is taken, or of one of its
    checkpoints. Raises ``ConfigError`` where settings differ that the parameters depend on.
    """
    given = Path(run)
    other = read_config(run_of(given))
    path = latest_checkpoint(given).resolve()
    wrong = [name for name in EQUAL if _of(config, name) != _of(other, name)]
    if wrong or config.network != other.network:
        there = ", ".join(f"{name}={_of(other, name)!r}" for name in wrong)
        there = there or f"the networks of {other.network or 'klamp itself'}"
        here = ", ".join(f"{name}={_of(config, name)!r}" for name in wrong)
        here = here or f"the networks of {config.network or 'klamp itself'}"
        raise ConfigError(
            f"The run cannot start from {shown(str(given))}: that one has {there}, this one {here},"
            " and parameters mean the same only where these are equal. Give this run the settings "
            "of that one."
        )
    if len(str(path)) > NAME_LIMIT or not str(path).isprintable():
        raise ConfigError(
            f"The run cannot start from {shown(str(path))}: the path must be printable and have at "
            f"most {NAME_LIMIT} letters, to be written down. Move the run."
        )
    return replace(config, start_from=str(path), start_from_sha256=_sum(path))


def started(run: Iteration, fresh: TrainState) -> TrainState:
    """The state before the first step: ``fresh``, or with what the run starts from.

    Raises ``ConfigError`` where that checkpoint has changed, or is one of other spaces, and
    ``CheckpointError`` where it is damaged or gone.
    """
    config = run.config
    if config.start_from is None:
        return fresh
    path = Path(config.start_from)
    if _sum(path) != config.start_from_sha256:
        raise ConfigError(
            f"The run was to start from {path}, whose arrays have changed since (their SHA-256 sum "
            f"is {_sum(path)}, expected {config.start_from_sha256}). Begin a new run from what is "
            "there now."
        )
    _check_spaces(run, path)
    wanted = {"theta": fresh.theta, "observation_moments": fresh.observation_moments}
    paths = {f"['{name}']": f"['state'].{name}" for name in wanted}
    tensors, _ = load_checkpoint(path)
    taken = {
        name + key.removeprefix(saved): tensor
        for name, saved in paths.items()
        for key, tensor in tensors.items()
        if key == saved or key.startswith(f"{saved}.")
    }
    found: dict[str, Any] = restore_tensors(wanted, taken, path)
    theta, space = jnp.asarray(found["theta"]), run.environments.policy_observation_space
    begun = fresh_state(config, space, theta, run.model)
    return begun._replace(observation_moments=found["observation_moments"])


def _of(config: RunConfig, name: str) -> Any:
    return getattr(config.settings, name)


def _sum(path: Path) -> str:
    """The sum of the arrays in a whole checkpoint."""
    return verify(path).files[TENSORS].sha256


def _check_spaces(run: Iteration, path: Path) -> None:
    """Raise ``ConfigError`` where the other run saw or did something else."""
    config, there = run.config, run_of(path)
    # `config.json` does not hold the spaces: where the names differ, its environment tells them.
    other = read_config(there)
    if all(getattr(other, name) == getattr(config, name) for name in _OF_ENVIRONMENTS):
        return
    other = read_trusted_config(there, trust=False)
    host = source_of(other).host(1, EnvironmentSeeds(0, Purpose.EVALUATE))
    try:
        same = form(host.observation_space) == form(run.environments.observation_space)
        actions = (host.action_space, run.environments.action_space)
        if (
            same
            and form(actions[0]) == form(actions[1])
            and limits(actions[0]) == limits(actions[1])
        ):
            return
        raise ConfigError(
            f"The run cannot start from {there}: its environment `{other.env}` has observations of "
            f"{host.observation_space} and actions of {actions[0]}, but `{config.env}` has "
            f"{run.environments.observation_space} and {actions[1]}. Start from a run with the same"
            " spaces, or wrap the environment so that they are."
        )
    finally:
        host.close()
