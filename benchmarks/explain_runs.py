"""Runs for `explain.py`: twelve that went wrong on purpose, and healthy ones.

Each planted run takes a preset and breaks one thing. ``expected`` has the names of
``klamp.reporting.anomalies`` that are right for it: the cause, or what it comes to.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces


class Case(NamedTuple):
    """A run by what `klamp.train` takes."""

    name: str
    env: str
    algo: str
    settings: dict[str, Any]
    expected: frozenset[str] = frozenset()
    """Findings of which one must come first or second; none for a healthy run."""

    @property
    def folder(self) -> str:
        """Where the run lies among the others."""
        kind = "planted" if self.expected else "healthy"
        return f"{kind}/{re.sub('[ ,]+', '_', self.name).replace('/', '-')}"


class NanLater(gymnasium.Wrapper[Any, Any, Any, Any]):
    """From its 20th episode on every reward is NaN."""

    episodes = 0

    def reset(self, **options: Any) -> Any:
        """One episode more."""
        self.episodes += 1
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        """The step, with its reward spoilt in later episodes."""
        seen, reward, *rest = self.env.step(action)
        return seen, float("nan") if self.episodes >= 20 else reward, *rest


class Endless(gymnasium.Env[Any, Any]):
    """A walk on a line that rewards going right, and never ends."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin in the middle."""
        super().reset(seed=seed)
        self._at = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        """One to the left or to the right, round and round."""
        self._at = (self._at + (1 if action else -1)) % 40
        return self._seen(), float(action), False, False, {}

    def _seen(self) -> np.ndarray:
        return np.asarray([self._at / 20 - 1], np.float32)


def cartpole(change: Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]) -> Any:
    """CartPole-v1 with something changed; a factory, as Gymnasium registers it."""
    return lambda **options: change(gymnasium.make("CartPole-v1", **options))


def scaled(factor: float) -> Any:
    """CartPole-v1 with rewards in another unit."""
    return cartpole(
        lambda env: gymnasium.wrappers.TransformReward(env, lambda reward: factor * reward)
    )


ENVIRONMENTS = {
    "ExplainNan-v0": cartpole(NanLater),
    "ExplainLarge-v0": scaled(1e4),
    "ExplainNothing-v0": scaled(0.0),
    "ExplainEndless-v0": lambda **options: Endless(),
}


def register() -> None:
    """Make the environments known to Gymnasium."""
    for name, make in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, make)


def planted(name: str, env: str, algo: str, expected: str, **settings: Any) -> Case:
    """A run with one thing broken; ``expected`` are words."""
    return Case(name, env, algo, settings, frozenset(expected.split()))


CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
LATE = {"learning_rate": 9e-3, "steps": 60_000}

PLANTED = (
    planted("step size × 30", CART, "ppo", "updates-too-long", **LATE),
    planted("entropy 0", PENDULUM, "ppo", "policy-narrow", initial_log_std=-6.0, steps=60_000),
    planted("NaN from the 20th episode on", "ExplainNan-v0", "ppo", "not-finite", steps=60_000),
    planted("δ × 100", CART, "trpo", "updates-too-long", max_kl=1.0, steps=60_000),
    planted("δ ÷ 10,000", CART, "trpo", "updates-too-short", max_kl=1e-6, steps=60_000),
    planted(
        "no critic", PENDULUM, "ppo", "critic-not-learning", value_coefficient=0.0, steps=60_000
    ),
    planted("reward × 10,000", "ExplainLarge-v0", "ppo", "reward-scale", steps=60_000),
    planted("reward × 0", "ExplainNothing-v0", "trpo", "no-signal", steps=40_000),
    planted("no episode ends", "ExplainEndless-v0", "ppo", "no-episode-ended", steps=40_000),
    planted(
        "step size gone after a tenth",
        CART,
        "ppo",
        "learning-rate-gone",
        final_learning_rate=0.0,
        schedule_steps=6_000,
        steps=60_000,
    ),
    planted("damping × 100,000", CART, "trpo", "damping-dominates", damping=1e4, steps=60_000),
    planted(
        "one product of conjugate gradient, no damping, no backtracking",
        PENDULUM,
        "trpo",
        "updates-refused cg-unsolved",
        cg_iterations=1,
        damping=0.0,
        max_backtracks=0,
        steps=60_000,
    ),
    planted(
        "entropy bonus of 10",
        CART,
        "ppo",
        "bonus-dominates",
        entropy_coefficient=10.0,
        steps=60_000,
    ),
    planted(
        "step size ÷ 1,000", CART, "ppo", "updates-too-short", learning_rate=3e-7, steps=60_000
    ),
    planted(
        "natural step without search, δ × 100",
        PENDULUM,
        "npg",
        "kl-above-bound updates-too-long",
        max_kl=1.0,
        steps=60_000,
    ),
)


def healthy(env: str, algo: str, seed: int, **settings: Any) -> Case:
    """A run by its preset."""
    return Case(f"{env}, {algo}, seed {seed}", env, algo, {"seed": seed, **settings})


HEALTHY = (
    healthy(CART, "ppo", 0),
    healthy(CART, "trpo", 1),
    healthy(CART, "npg", 2),
    healthy(CART, "ppo-kl", 3),
    healthy(CART, "a2c", 4),
    healthy(CART, "reinforce", 5),
    healthy(PENDULUM, "ppo", 6),
    healthy(PENDULUM, "trpo", 7),
    healthy("Acrobot-v1", "ppo", 8, steps=100_000),
    healthy("Acrobot-v1", "trpo", 9, steps=100_000),
    healthy("Hopper-v5", "ppo", 12, steps=100_000),
    healthy("Hopper-v5", "trpo", 13, steps=100_000),
)
