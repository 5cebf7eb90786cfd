"""Environments of every kind of space, whose observations are random and repeat with the seed."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


def _any(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _bytes(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "box": _any(3),
    "bounded": spaces.Box(-2000, 3000, (2, 2), np.float32),
    "bytes": _bytes(5),
    "image": _bytes(9, 11, 3),
    "frames": _bytes(2, 36, 40),
    "discrete": spaces.Discrete(4, start=2),
    "multidiscrete": spaces.MultiDiscrete([2, 3], start=[-1, 5]),
    "multibinary": spaces.MultiBinary(4),
    "dict": spaces.Dict(
        {"where": _any(2), "kind": spaces.Discrete(3, start=1), "few": _bytes(2, 2)}
    ),
    "tuple": spaces.Tuple((_any(2), spaces.MultiBinary(2))),
}
LOW, HIGH = np.array([-2, 0.5], np.float32), np.array([1, 3], np.float32)
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3, start=-1),
    "box": _any(2),
    "bounded": spaces.Box(LOW, HIGH),
    "multidiscrete": spaces.MultiDiscrete([2, 3], start=[4, -2]),
    "multibinary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"choice": spaces.Discrete(3, start=1), "force": spaces.Box(LOW, HIGH)}),
    "tuple": spaces.Tuple((spaces.Box(LOW, HIGH), spaces.MultiDiscrete([2, 3]))),
}


def choices(space: Any) -> list[int]:
    """How many actions each choice has, in the order of a mask."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in space.nvec]
    return [n for _, part in parts(space) for n in choices(part)]


def parts(space: Any) -> list[tuple[Any, Any]]:
    """The parts of a Dict or Tuple by their keys."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else []


class World(gymnasium.Env):
    """Shows samples of its space, whatever is done."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, seen: str = "box", acts: str = "discrete", mask: str = "none") -> None:
        self.action_space, self.mask = ACTIONS[acts], mask
        self.observation_space = self.proper = OBSERVATIONS[seen]
        if mask == "observation":
            entries = spaces.MultiBinary(sum(choices(self.action_space)))
            self.observation_space = spaces.Dict({"action_mask": entries, "seen": self.proper})

    def _see(self) -> tuple[Any, dict[str, Any]]:
        self.proper.seed(int(self.np_random.integers(2**31)))
        seen = self.proper.sample()
        if self.mask == "none":
            return seen, {}
        allowed = random_mask(self.np_random, choices(self.action_space), 1)[0]
        if self.mask == "info":
            return seen, {"action_mask": allowed}
        return {"action_mask": allowed.astype(np.int8), "seen": seen}, {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Anything."""
        super().reset(seed=seed)
        self.steps = 0
        return self._see()

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Anything else."""
        self.steps += 1
        seen, info = self._see()
        return seen, float(self.np_random.normal()), self.steps > 4, False, info


def random_mask(rng: Any, sizes: list[int], rows: int) -> np.ndarray:
    """Masks that leave something in every choice."""
    found = []
    for size in sizes:
        allowed = rng.random((rows, size)) < 0.5
        allowed[np.arange(rows), rng.integers(size, size=rows)] = True
        found.append(allowed)
    return np.concatenate(found, axis=1) if found else np.zeros((rows, 0), bool)


gymnasium.register(id="judge/World-v0", entry_point="judge_worlds:World")
