"""Five probe environments, each of which isolates one part of the learner, for six algorithms."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import klamp
from klamp.config.algorithms import ALGORITHMS

pytestmark = pytest.mark.compiles


class Probe(gymnasium.Env):
    """An observation of one number; what it pays is the business of each probe."""

    observation_space = gymnasium.spaces.Box(-1, 2, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    length = 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.seen = self.look()
        return np.array([self.seen], np.float32), {}

    def look(self) -> float:
        return 0.0

    def step(self, action):
        reward = self.pay(int(action))
        self.time += 1
        self.seen = self.look()
        ended = self.time >= self.length
        return np.array([self.seen], np.float32), reward, ended, False, {}


class ConstantValue(Probe):
    """Always 1: the critic alone."""

    def pay(self, action: int) -> float:
        return 1.0


class ValueFromObservation(Probe):
    """Pays what is seen: the critic's gradient reaches its inputs."""

    def look(self) -> float:
        return float(self.np_random.choice([-1.0, 1.0]))

    def pay(self, action: int) -> float:
        return self.seen


class Discounting(Probe):
    """Pays 1 at the second of two steps: the value of the first is γ."""

    length = 2

    def look(self) -> float:
        return float(self.time)

    def pay(self, action: int) -> float:
        return float(self.time == 1)


class ActionToReward(Probe):
    """Pays for action 1: the policy alone."""

    def pay(self, action: int) -> float:
        return 1.0 if action == 1 else -1.0


class ObservationAndAction(Probe):
    """Pays for the action that the observation names."""

    def look(self) -> float:
        return float(self.np_random.choice([-1.0, 1.0]))

    def pay(self, action: int) -> float:
        return 1.0 if (action == 1) == (self.seen > 0) else -1.0


PROBES = (ConstantValue, ValueFromObservation, Discounting, ActionToReward, ObservationAndAction)
for probe in PROBES:
    gymnasium.register(f"{probe.__name__}-v0", probe)

FAST = {
    "ppo": {"learning_rate": 1e-2, "epochs": 5},
    "ppo-kl": {"learning_rate": 1e-2, "epochs": 5},
    "a2c": {"learning_rate": 2e-2},
    "reinforce": {"learning_rate": 2e-2, "critic_learning_rate": 1e-2},
    "trpo": {"max_kl": 0.05, "critic_learning_rate": 1e-2},
    "npg": {"max_kl": 0.05, "critic_learning_rate": 1e-2},
}


# Where only the critic has something to learn, TRPO and NPG refuse every step of the policy.
@pytest.mark.filterwarnings("ignore:.*updates of .* were refused:klamp.KlampWarning")
@pytest.mark.parametrize("algo", list(ALGORITHMS))
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_each_part_learns_by_itself(probe: type[Probe], algo: str, tmp_path: Path) -> None:
    policy = klamp.train(
        f"{probe.__name__}-v0",
        algo,
        steps=6_000,
        num_envs=4,
        rollout_length=32,
        discount=0.5,
        hidden_sizes=(16,),
        normalize_observation=False,
        normalize_reward=False,
        out=tmp_path / "run",
        quiet=True,
        **FAST[algo],
    ).policy
    low, middle, high = (np.array([x], np.float32) for x in (-1.0, 0.0, 1.0))
    match probe.__name__:
        case "ConstantValue":
            assert policy.value(middle) == pytest.approx(1.0, abs=0.1)
        case "ValueFromObservation":
            assert policy.value(low) == pytest.approx(-1.0, abs=0.15)
            assert policy.value(high) == pytest.approx(1.0, abs=0.15)
        case "Discounting":
            assert policy.value(middle) == pytest.approx(0.5, abs=0.15)
            assert policy.value(high) == pytest.approx(1.0, abs=0.15)
        case "ActionToReward":
            assert chance(policy, middle, 1) > 0.9
        case _:
            assert chance(policy, low, 0) > 0.85
            assert chance(policy, high, 1) > 0.85


def chance(policy: klamp.TrainedPolicy, observation: np.ndarray, action: int) -> float:
    """How often the policy samples an action."""
    actions = policy.act(np.repeat(observation[None], 500, axis=0))
    return float((actions == action).mean())
