"""The numbers of an episode's last info, whatever steps the environments."""

from typing import Any

import numpy as np
import pytest
from environments import Tells
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from jax_environments import TellingWalk

from klamp.envs.device.on_host import SteppedEnvironments
from klamp.envs.host.info_numbers import (
    LONGEST_NAME,
    MOST_NUMBERS,
    as_columns,
    means,
    numbers_of,
    numbers_of_rows,
)
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.host.subprocesses import WorkerCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


def test_what_is_one_finite_number_is_taken() -> None:
    taken = {"a": True, "b": 2, "c": -0.5, "d": np.bool_(1), "e": np.float32(3), "f": np.array(4)}
    left: dict[Any, Any] = {"g": "5", "h": None, "i": [6], "j": np.ones(7), "k": {"l": 8.0}}
    left |= {"m": float("nan"), "n": np.inf, "o": 10**400, "p": 1j, 9: 9.0, "q\x1b": 1.0}
    left |= {"r" * (LONGEST_NAME + 1): 1.0, "s": np.datetime64("2026-01-01")}
    assert numbers_of(left | taken) == {"a": 1, "b": 2, "c": -0.5, "d": 1, "e": 3, "f": 4}
    assert len(numbers_of({f"n{n}": n for n in range(2 * MOST_NUMBERS)})) == MOST_NUMBERS


def test_rows_are_told_apart() -> None:
    info = {"x": np.arange(4), "_x": np.array([True, False, True, True]), "y": np.ones((4, 2))}
    info |= {"z": np.array([True, None, "text", 2.5], object)}
    rows = numbers_of_rows(info, np.array([0, 1, 3]))
    assert rows == {0: {"x": 0, "z": 1}, 1: {}, 3: {"x": 3, "z": 2.5}}


def test_means_are_over_those_who_told() -> None:
    columns = as_columns([{2: {"x": 3.0}, 0: {"x": 1.0, "y": 5.0}}, {1: {}}])
    np.testing.assert_array_equal(columns["x"], [1, 3, np.nan])
    np.testing.assert_array_equal(columns["y"], [5, np.nan, np.nan])
    assert means(columns) == {"info_x_mean": 2.0, "info_y_mean": 5.0}
    assert means({"x": np.array([np.nan])}) == means({}) == {}


def vector(mode: AutoresetMode) -> VectorEnvironments:
    return VectorEnvironments(
        SyncVectorEnv([Tells] * 3, autoreset_mode=mode),
        "Tells",
        EnvironmentSeeds(3, Purpose.EPISODE),
    )


def in_workers() -> CopiedEnvironments:
    return CopiedEnvironments(
        WorkerCopies(Tells, 3, 60.0), "Tells", EnvironmentSeeds(3, Purpose.EPISODE)
    )


HOSTS: dict[str, Any] = {
    "copies": lambda: CopiedEnvironments(
        LocalCopies([Tells() for _ in range(3)]), "Tells", EnvironmentSeeds(3, Purpose.EPISODE)
    ),
    "workers": in_workers,
    "next step": lambda: vector(AutoresetMode.NEXT_STEP),
    "same step": lambda: vector(AutoresetMode.SAME_STEP),
    "disabled": lambda: vector(AutoresetMode.DISABLED),
    "device": lambda: SteppedEnvironments(
        TellingWalk(), "Walk", 3, EnvironmentSeeds(3, Purpose.EPISODE)
    ),
}


@pytest.mark.parametrize("kind", HOSTS)
def test_the_last_info_of_an_episode_is_told_with_its_end(kind: str) -> None:
    environments = HOSTS[kind]()
    environments.reset()
    steps, ends = np.zeros(3, int), 0
    action = np.zeros((3, 1) if kind == "device" else 3, np.float32 if kind == "device" else int)
    for _ in range(20):
        after = environments.step(action)
        steps += after.valid
        ended = np.flatnonzero(after.terminated | after.truncated)
        assert sorted(after.numbers or {}) == ended.tolist()
        for i in ended:
            expected = {"steps": float(steps[i]), "is_long": float(steps[i] > 4)}
            numbers = dict(after.numbers[i])
            if kind != "device":
                assert numbers.pop("action", None) == (0.5 if steps[i] == 3 else None)
            assert numbers == expected
            steps[i], ends = 0, ends + 1
    assert ends > 6
    environments.close()
