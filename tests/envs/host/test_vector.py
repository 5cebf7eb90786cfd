"""Vector environments that reset their own rows."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from environments import Count
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from klamp import EnvironmentFault, KlampWarning, Settings
from klamp.envs.checks.startup import check_environment
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import resolve
from klamp.errors import CheckpointError
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


def test_a_vector_environment_must_say_how_it_resets() -> None:
    vector = SyncVectorEnv([Count])
    vector.metadata = {}
    with pytest.raises(EnvironmentFault, match="does not say how it resets"):
        VectorEnvironments(vector, "Count", EnvironmentSeeds(0, Purpose.EPISODE))


class Whole(SyncVectorEnv):
    """A vector form as libraries have it: one class, whose mode its metadata tells."""

    mode = AutoresetMode.DISABLED

    def __init__(self, num_envs: int) -> None:
        makers = [lambda n=n: Count(3 + n) for n in range(num_envs)]
        super().__init__(makers, copy=False, autoreset_mode=self.mode)


def test_rows_that_nobody_else_resets_are_reset_by_us() -> None:
    """The same transitions as those of rows that reset themselves in the step of the end."""

    class Same(Whole):
        mode = AutoresetMode.SAME_STEP

    ours, theirs = (
        VectorEnvironments(k(3), "Count", EnvironmentSeeds(5, Purpose.EPISODE))
        for k in (Whole, Same)
    )
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for _ in range(25):
        one, other = (host.step(np.zeros(3, int)) for host in (ours, theirs))
        for name in one._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class Renamed(SyncVectorEnv):
    """Rows that reset themselves in the step of the end; what that was lies under another name."""

    def __init__(self, name: str | None, length: int = 40) -> None:
        super().__init__([lambda: Count(length)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
        self.name = name

    def step(self, actions: Any) -> Any:
        *seen, info = super().step(actions)
        final = info.pop("final_obs", None)
        if final is not None and self.name is not None:
            info[self.name] = final
        return (*seen, info)


def registered(name: str | None, **options: Any) -> str:
    """An id whose only form is that of rows that reset themselves."""
    env = f"Renamed-{name}-v0"
    gymnasium.register(env, vector_entry_point=lambda num_envs: Renamed(name, **options))
    return env


def test_the_final_observation_is_found_under_its_older_name() -> None:
    with pytest.warns(KlampWarning, match="does not repeat itself"):
        check_environment(resolve(registered("final_observation")), Settings())
    host = VectorEnvironments(
        Renamed("final_observation", 2), "Count", EnvironmentSeeds(0, Purpose.EPISODE)
    )
    host.reset()
    host.step(np.zeros(3, int))
    after = host.step(np.zeros(3, int))
    assert after.truncated.all()
    # An episode's number and its step: the last of one, the first of the next.
    np.testing.assert_array_equal(after.next_observation, [[0, 2]] * 3)
    np.testing.assert_array_equal(after.observation, [[1, 0]] * 3)


def test_a_final_observation_that_is_missing_is_found_at_the_start() -> None:
    """However long an episode is; within it nothing is missing."""
    with pytest.raises(EnvironmentFault, match=r"no 'final_obs', only .*vectorization='sync'"):
        check_environment(resolve(registered(None)), Settings())


def test_what_an_iteration_draws_does_not_depend_on_what_was_drawn_before() -> None:
    """CartPole draws every row's next start from one generator."""
    starts = []
    for before in (0, 7):
        host = resolve("CartPole-v1").host(3, EnvironmentSeeds(1, Purpose.EPISODE))
        host.reset()
        for _ in range(before):
            host.vector.np_random.random()
        host.begin(5)
        starts.append(host.vector.np_random.random(4))
        host.begin(6)
        assert not np.array_equal(starts[-1], host.vector.np_random.random(4))
    np.testing.assert_array_equal(*starts)


@pytest.mark.parametrize("damage", ["missing", "shape", "type", "before", "beyond"])
def test_a_position_of_other_environments_is_refused(damage: str) -> None:
    host = resolve("CartPole-v1").host(3, EnvironmentSeeds(1, Purpose.EPISODE))
    host.reset()
    saved = host.position().arrays()
    if damage == "missing":
        del saved["own.state"]
    elif damage == "shape":
        saved["own.state"] = saved["own.state"][:, :2]
    elif damage == "type":
        saved["own.gravity"] = saved["own.gravity"].astype(np.complex64)
    else:
        saved["episodes"] = np.full(3, -1 if damage == "before" else 2**63 - 1)
    with pytest.raises(CheckpointError, match="where the 3 rows of `CartPole-v1` stood"):
        host.restore(saved)
