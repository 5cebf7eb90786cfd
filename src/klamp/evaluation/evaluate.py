"""Evaluating a policy: whole episodes, raw rewards, frozen normalisation."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from klamp.config.validation import is_integer
from klamp.envs.host.info_numbers import as_columns, means
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.source import source_to_evaluate
from klamp.envs.spaces.supported import form, limits
from klamp.envs.wrappers import Wrap
from klamp.errors import ConfigError
from klamp.evaluation.policy import TrainedPolicy
from klamp.runtime.device import in_float32
from klamp.runtime.seeding import EnvironmentSeeds, Purpose

COPIES = 16
"""The most environments that are stepped together."""


class Evaluation(NamedTuple):
    """Undiscounted raw returns and lengths (environment steps), one per episode."""

    returns: np.ndarray
    lengths: np.ndarray
    numbers: Mapping[str, np.ndarray] = MappingProxyType({})
    """The numbers of each episode's last info, by name; NaN where it has none."""

    def summary(self) -> dict[str, float | int]:
        """Mean, standard deviation, extremes; `info_…_mean` of the numbers of infos."""
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "return_min": float(self.returns.min()),
            "return_max": float(self.returns.max()),
            "length_mean": float(self.lengths.mean()),
            **means(self.numbers),
        }


@in_float32
def evaluate(
    policy: TrainedPolicy,
    env: object = None,
    *,
    episodes: int = 20,
    seed: int = 0,
    deterministic: bool = True,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str | Wrap] | None = None,
) -> Evaluation:
    """Run ``episodes`` whole episodes of ``env`` (that of the training, if left out).

    ``env`` is whatever ``klamp.train`` takes, or an environment that Gymnasium has made, which is
    made again from its ``spec``, as it is. A vector environment is used itself, and stays open. Any
    other has the wrappers of the training, and that of the training its arguments, unless
    ``wrappers`` and ``env_kwargs`` are given.

    Episodes are divided evenly among parallel copies beforehand: taking those that end first would
    favour short ones. The seeds are those of evaluation, never of training; the same ``seed`` gives
    the same episodes, sampled actions included, and what ``policy.act`` samples next does not
    depend on it.
    """
    if not is_integer(episodes, 1):
        raise ConfigError(f"`episodes` is {episodes!r}, but must be an integer ≥ 1.")
    if not is_integer(seed, 0) or seed >= 2**63:
        raise ConfigError(f"`seed` is {seed!r}, but must be an integer from 0 to 2**63 − 1.")
    source = source_to_evaluate(policy.config, env, env_kwargs, wrappers)
    due = shared_out(episodes, source.rows)
    environments = source.host(len(due), EnvironmentSeeds(seed, Purpose.EVALUATE))
    try:
        _check_fits(policy, environments)
        first = environments.reset()
        return run_episodes(policy.anew(seed), environments, first, due, deterministic)
    finally:
        environments.close()


def shared_out(episodes: int, rows: int | None = None) -> np.ndarray:
    """The number of episodes of each copy, of which there are ``rows`` where it is given."""
    copies = rows or min(episodes, COPIES)
    return np.full(copies, episodes // copies) + (np.arange(copies) < episodes % copies)


def _check_fits(policy: TrainedPolicy, environments: HostEnvironments) -> None:
    """Raise ``ConfigError`` where the environments' spaces are not the policy's."""
    seen = (policy.observation_space, environments.observation_space)
    acted = (policy.action_space, environments.action_space)
    if form(seen[0]) == form(seen[1]) and _taken(acted[0]) == _taken(acted[1]):
        return
    raise ConfigError(
        f"The policy was trained on `{policy.config.env}`, with observations of {seen[0]} and "
        f"actions of {acted[0]}, but `{environments.env}` has observations of {seen[1]} and "
        f"actions of {acted[1]}. Give an environment with the same spaces, or leave `env` out, "
        "which evaluates on that of the training."
    )


def _taken(space: Any) -> Any:
    """What two action spaces must have in common for one policy to serve both."""
    return form(space), limits(space)


def run_episodes(
    policy: TrainedPolicy,
    environments: HostEnvironments,
    observation: np.ndarray,
    due: np.ndarray,
    deterministic: bool,
    check: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Step, from the first ``observation``, until each copy has finished the episodes due from it.

    ``check`` is called at every step, and may raise.
    """
    total, length = np.zeros(len(due)), np.zeros(len(due))
    returns: list[float] = []
    lengths: list[float] = []
    told: list[Mapping[int, Mapping[str, float]]] = []
    due = due.copy()
    while due.any():
        check()
        action = policy.act_on_rows(observation, deterministic, environments.action_mask)
        after = environments.step(action)
        total += np.where(after.valid, after.reward, 0)
        length += after.valid
        policy.reset(after.terminated | after.truncated | ~after.valid)
        for i in np.flatnonzero(after.terminated | after.truncated):
            if due[i]:
                due[i] -= 1
                returns.append(float(total[i]))
                lengths.append(float(length[i]))
                told.append({int(i): (after.numbers or {}).get(int(i), {})})
            total[i] = length[i] = 0
        observation = after.observation
    return Evaluation(np.asarray(returns), np.asarray(lengths), as_columns(told))
