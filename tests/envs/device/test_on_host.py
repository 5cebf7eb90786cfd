"""Environments written in JAX, stepped from the host."""

import numpy as np
import pytest
from jax_environments import Masked, Walk

from klamp.envs.checks.exact_resume import resumes_exactly
from klamp.envs.device.on_host import SteppedEnvironments
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.source import resolve
from klamp.errors import CheckpointError
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


def made(environment: object, rows: int = 3) -> HostEnvironments:
    return resolve(environment).host(rows, EnvironmentSeeds(0, Purpose.EVALUATE))


def test_it_is_a_host_environment() -> None:
    environments = made(Walk())
    assert isinstance(environments, SteppedEnvironments)
    assert isinstance(environments, HostEnvironments)
    first = environments.reset()
    again = environments.reset()
    assert not np.array_equal(first, again), "each reset has keys of its own"
    environments.begin(0)
    after = environments.step(np.zeros((3, 1), np.float32))
    assert after.valid.all()
    assert after.reward.dtype == np.float32
    assert after.terminated.dtype == after.truncated.dtype == bool
    assert environments.action_mask is None
    assert "reset(" not in environments.origin(0), "no seed begins one of these episodes"
    environments.close()


def test_masks_are_told() -> None:
    environments = made(Masked())
    observation = environments.reset()
    np.testing.assert_array_equal(environments.action_mask, observation == 0)


def test_it_resumes_exactly() -> None:
    assert resumes_exactly(lambda: made(Walk()), 0)
    environments = made(Walk())
    environments.reset()
    saved = environments.position().arrays()
    with pytest.raises(CheckpointError, match="how often"):
        made(Walk()).restore(saved | {"resets": np.asarray(-3)})
    with pytest.raises(CheckpointError, match="does not say where"):
        made(Walk(), 2).restore(saved)
