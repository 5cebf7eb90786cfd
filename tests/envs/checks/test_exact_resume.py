"""What can be resumed exactly is told from what cannot."""

from collections.abc import Callable

import numpy as np
import pytest
from environments import Count, probe

from klamp.envs.checks.exact_resume import resumes_exactly
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.source import resolve
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


@pytest.mark.parametrize(
    ("env", "vectorization"),
    [
        ("CartPole-v1", "auto"),
        ("CartPole-v1", "sync"),
        ("Pendulum-v1", "auto"),
        ("Acrobot-v1", "auto"),
        ("MountainCarContinuous-v0", "auto"),
        ("MountainCar-v0", "auto"),
        ("Hopper-v5", "auto"),
        ("HalfCheetah-v5", "auto"),
        (probe("dict", "tuple"), "auto"),
        (probe("box", "discrete", "info"), "auto"),
        (probe("box", "multidiscrete", "observation"), "auto"),
    ],
)
def test_classic_control_mujoco_and_the_probes_resume_exactly(env: str, vectorization: str) -> None:
    def make() -> HostEnvironments:
        return resolve(env).host(2, EnvironmentSeeds(3, Purpose.CHECK), vectorization=vectorization)

    assert resumes_exactly(make, 3)


class Clock(Count):
    """Rewards depend on a generator that no seed reaches."""

    generator = np.random.default_rng(0)

    def step(self, action: object) -> tuple:
        observation, _, *rest = super().step(action)
        return observation, Clock.generator.random(), *rest


def local(kind: type[Count]) -> Callable[[], HostEnvironments]:
    copies = lambda: LocalCopies([kind(), kind()])  # noqa: E731
    return lambda: CopiedEnvironments(copies(), "Count", EnvironmentSeeds(0, Purpose.CHECK))


def test_an_environment_that_draws_elsewhere_does_not() -> None:
    assert resumes_exactly(local(Clock), 0) is False
