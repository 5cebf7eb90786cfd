"""Environments that we reset: seeds of episodes, positions, and what went wrong where."""

from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from environments import ACTIONS, LENGTH, Count, Probe, probe
from gymnasium import spaces

from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.source import resolve
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.errors import CheckpointError, EnvironmentFault
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, environment_seed

LENGTHS = (3, 5)


def counts() -> CopiedEnvironments:
    return CopiedEnvironments(
        LocalCopies([Count(n) for n in LENGTHS]), "Count", EnvironmentSeeds(11, Purpose.EPISODE)
    )


def test_each_episode_has_a_seed_of_its_own() -> None:
    environments = counts()
    environments.reset()
    for _ in range(10):
        environments.step(np.zeros(2, int))
    for i, count in enumerate((4, 3)):
        seeds = [s for s in environments.copies.envs[i].seeds if s is not None]
        expected = [environment_seed(11, Purpose.EPISODE, i, e) for e in range(count)]
        assert seeds == expected
    environments.close()


def test_starting_again_begins_the_next_episode_everywhere() -> None:
    environments = counts()
    environments.reset()
    environments.reset()
    assert environments.episode_seed(1) == environment_seed(11, Purpose.EPISODE, 1, 1)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("taken", [0, 1, 5, 11])
def test_a_position_leads_on_to_the_same_steps(action: str, taken: int) -> None:
    """Whatever the actions are, masks included, and wherever the episodes stand."""
    masked = "info" if action in ("discrete", "multidiscrete") else None

    def make() -> Any:
        return resolve(probe("dict", action, masked)).host(3, EnvironmentSeeds(4, Purpose.EPISODE))

    def walk(host: Any, steps: int, seed: int) -> list[Any]:
        draw, move = np.random.default_rng(seed), to_environment(host.action_space)
        seen = []
        for _ in range(steps):
            chosen = move(random_actions(host.action_space, 3, host.action_mask, draw))
            seen.append(jax.tree.map(np.array, host.step(chosen)))
        return seen

    first, second = make(), make()
    first.reset()
    walk(first, taken, 0)
    position = first.position()
    expected = walk(first, 9, 1)
    # What is taken down at the time stays what it was, however far the walk has gone since.
    observation, problems = second.restore(position.arrays())
    assert problems == []
    np.testing.assert_array_equal(observation, position.observation)
    jax.tree.map(np.testing.assert_array_equal, walk(second, 9, 1), expected)


def test_actions_of_finished_episodes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klamp.envs.host.replay.TRIM", 4)
    environments, again = (
        resolve(probe()).host(2, EnvironmentSeeds(4, Purpose.EPISODE)) for _ in range(2)
    )
    environments.reset()
    for _ in range(50):
        environments.step(np.zeros(2, int))
    position = environments.position()
    assert position.length <= 4 + 2 * LENGTH
    _, problems = again.restore(position.arrays())
    assert problems == []


class Restless(gymnasium.Env):
    """Does not repeat itself; may refuse to be replayed."""

    observation_space = spaces.Box(-9, 9, (1,), np.float64)
    action_space = spaces.Discrete(2)
    made = 0

    def __init__(self, refuses: bool) -> None:
        Restless.made += 1
        self.number, self.refuses = Restless.made, refuses

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        return np.zeros(1), {}

    def step(self, action: object) -> tuple:
        if self.refuses and self.number == 2:
            raise LookupError("not twice")
        return np.full(1, float(self.number)), 0.0, False, False, {}


@pytest.mark.parametrize(
    ("refuses", "problem"),
    [(False, "environment 0 came to another"), (True, "environment 0 raised LookupError")],
)
def test_what_does_not_repeat_itself_is_said(refuses: bool, problem: str) -> None:
    Restless.made = 0
    first, second = (
        CopiedEnvironments(
            LocalCopies([Restless(refuses)]), "Restless", EnvironmentSeeds(0, Purpose.EPISODE)
        )
        for _ in range(2)
    )
    first.reset()
    first.step(np.zeros(1, int))
    _, problems = second.restore(first.position().arrays())
    assert problems[0].startswith(problem)
    second.step(np.zeros(1, int)) if not refuses else None


@pytest.mark.parametrize(
    "damage", ["actions0", "began", "episodes", "observation", "far", "shape", "flat", "end"]
)
def test_a_damaged_position_is_refused(damage: str) -> None:
    host = counts()
    host.reset()
    host.step(np.zeros(2, int))
    saved = host.position().arrays()
    if damage == "far":
        saved["began"] = saved["began"] + 9
    elif damage == "shape":
        saved["actions0"] = saved["actions0"][:, :1]
    elif damage == "flat":
        saved["actions0"] = saved["actions0"][0, 0]
    elif damage == "end":
        saved["episodes"] = np.full(2, 2**63 - 1)
    else:
        del saved[damage]
    if damage == "actions0":
        saved["began"] = saved["began"] + 1
    with pytest.raises(CheckpointError, match="where the 2 environments `Count`"):
        counts().restore(saved)


class Breaks(Probe):
    def step(self, action: Any) -> tuple:
        raise KeyError("no such joint")


def test_a_fault_is_named_with_its_episode() -> None:
    host = CopiedEnvironments(
        LocalCopies([Probe("box", "discrete", None), Breaks("box", "discrete", None)]),
        "Breaks",
        EnvironmentSeeds(3, Purpose.EPISODE),
    )
    host.reset()
    seed = environment_seed(3, Purpose.EPISODE, 1, 0)
    message = rf"Environment 1 of `Breaks` raised KeyError in `step`: .*step 1; `reset\(seed={seed}"
    with pytest.raises(EnvironmentFault, match=message):
        host.step(np.zeros(2, int))
