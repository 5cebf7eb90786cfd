"""What is reckoned beforehand is what is allocated; what cannot fit is refused."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest
from environments import OBSERVATIONS, probe
from gymnasium.spaces import Discrete

import klamp
from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.envs.checks import memory_budget
from klamp.envs.checks.memory_budget import check_memory, in_words, network_bytes, rollout_bytes
from klamp.training.iteration import start

SMALL = Settings(steps=64, num_envs=2, rollout_length=32, hidden_sizes=(5, 7))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("observation", "action"),
    [("box", "discrete"), ("image", "box"), ("dict", "multidiscrete"), ("discrete", "tuple")],
)
def test_a_rollout_takes_what_was_reckoned(observation: str, action: str) -> None:
    # The hidden layers are no part of a rollout, and images have none.
    settings = replace(SMALL, hidden_sizes=Settings.hidden_sizes)
    run, _ = start(RunConfig(probe(observation, action), PPO(), settings))
    buffers = run.collector._buffers()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(buffers))
    environments = run.environments
    assert (
        rollout_bytes(SMALL, environments.policy_observation_space, environments.action_space)
        == held
    )
    run.close()


def test_networks_take_weights_gradients_and_moments() -> None:
    weights = 3 * 5 + 5 * 7
    assert network_bytes(SMALL, OBSERVATIONS["box"]) == 2 * weights * 4 * 4


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space, actions = OBSERVATIONS["box"], Discrete(2)
    needed = rollout_bytes(SMALL, space, actions)
    monkeypatch.setattr(memory_budget, "machine_memory", lambda: max(needed, 2 * 50 * 16))
    check_memory("E", SMALL, space, actions)
    monkeypatch.setattr(memory_budget, "machine_memory", lambda: needed - 1)
    with pytest.raises(klamp.ConfigError, match=f"at least {in_words(needed)}"):
        check_memory("E", SMALL, space, actions)


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 bytes"), (1234, "1.23 kB"), (5.6e12, "5.6 TB"), (2e21, "2,000 EB")]
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert in_words(size) == words


MEMINFO = Path("/proc/meminfo")


@pytest.mark.skipif(not MEMINFO.exists(), reason="the kernel tells its memory elsewhere")
def test_the_memory_of_this_machine_is_what_its_kernel_tells() -> None:
    kilobytes = next(
        line.split()[1] for line in MEMINFO.read_text().splitlines() if line.startswith("MemTotal:")
    )
    assert memory_budget.machine_memory() == pytest.approx(1024 * int(kilobytes), rel=0.01)
