"""Small environments with known answers, one for every kind of action and observation.

``Probe``: each step shows a context 0, 1 or 2, encoded in the chosen observation space, and rewards
from 0 to 1 how near the action comes to what that context asks for. Four steps per episode.
``Count``: observations that say which environment, episode and step they are.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

CONTEXTS, LENGTH = 3, 4
UNIT = spaces.Box(-1, 1, (2,), np.float32)

OBSERVATIONS = {
    "box": spaces.Box(0, 1, (CONTEXTS,), np.float32),
    "image": spaces.Box(0, 255, (9, 9, 1), np.uint8),
    "discrete": spaces.Discrete(CONTEXTS, start=5),
    "multidiscrete": spaces.MultiDiscrete([CONTEXTS, 2], start=[1, 0]),
    "multibinary": spaces.MultiBinary(CONTEXTS),
    "dict": spaces.Dict({"context": spaces.Discrete(CONTEXTS), "noise": UNIT}),
    "tuple": spaces.Tuple((UNIT, spaces.Tuple((spaces.MultiBinary(CONTEXTS),)))),
}
ACTIONS = {
    "discrete": spaces.Discrete(CONTEXTS, start=-1),
    "multidiscrete": spaces.MultiDiscrete([[CONTEXTS], [2]], start=[[3], [0]]),
    "multibinary": spaces.MultiBinary(CONTEXTS),
    "box": spaces.Box(-1, 1, (2, 1), np.float32),
    "dict": spaces.Dict({"choice": spaces.Discrete(CONTEXTS), "force": UNIT}),
    "tuple": spaces.Tuple((UNIT, spaces.Dict({"bits": spaces.MultiBinary(CONTEXTS)}))),
}


def observe(kind: str, context: int, rng: np.random.Generator) -> Any:  # noqa: PLR0911
    """The context in an observation space."""
    one_hot = (np.arange(CONTEXTS) == context).astype(np.int8)
    noise = rng.uniform(-1, 1, 2).astype(np.float32)
    match kind:
        case "box":
            return one_hot.astype(np.float32)
        case "image":
            return np.repeat(np.repeat(one_hot[None, :, None], 9, 0), 3, 1).astype(np.uint8) * 255
        case "discrete":
            return np.int64(context + 5)
        case "multidiscrete":
            return np.array([context + 1, rng.integers(2)])
        case "multibinary":
            return one_hot
        case "dict":
            return {"context": np.int64(context), "noise": noise}
        case _:
            return (noise, (one_hot,))


def near(value: Any, context: int) -> float:
    """How near numbers from −1 to 1 come to −½, 0 or ½, whichever the context asks for."""
    return 1 - float(np.mean(np.abs(np.asarray(value) - 0.5 * (context - 1))))


def judge(kind: str, action: Any, context: int) -> float:
    """The reward from 0 to 1."""
    bits = np.arange(CONTEXTS) == context
    match kind:
        case "discrete":
            return float(action == context - 1)
        case "multidiscrete":
            return float(action[0, 0] == context + 3) / 2 + float(action[1, 0] == context % 2) / 2
        case "multibinary":
            return float(np.mean(action == bits))
        case "box":
            return near(action, context)
        case "dict":
            return float(action["choice"] == context) / 2 + near(action["force"], context) / 2
        case _:
            return near(action[0], context) / 2 + float(np.mean(action[1]["bits"] == bits)) / 2


class Probe(gymnasium.Env):
    """See the module. ``masked`` forbids wrong actions and raises where one is taken anyway."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, observation: str, action: str, masked: str = "") -> None:
        self.kinds = observation, action
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]
        self.masked = masked
        if masked == "observation":
            size = CONTEXTS + 2 * (action == "multidiscrete")
            parts = {"action_mask": spaces.MultiBinary(size), "seen": self.observation_space}
            self.observation_space = spaces.Dict(parts)

    def _now(self) -> tuple[Any, dict[str, Any]]:
        """A new context, its observation, and an info with its mask."""
        self.context = int(self.np_random.integers(CONTEXTS))
        seen = observe(self.kinds[0], self.context, self.np_random)
        self.mask = np.ones(CONTEXTS + 2 * (self.kinds[1] == "multidiscrete"), np.int8)
        self.mask[(self.context + 1 + self.np_random.integers(2)) % CONTEXTS] = 0
        if self.masked == "observation":
            return {"action_mask": self.mask, "seen": seen}, {}
        return seen, {"action_mask": self.mask} if self.masked else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._now()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        if self.masked:
            first = action + 1 if self.kinds[1] == "discrete" else action[0, 0] - 3
            assert self.mask[first], "a forbidden action was taken"
        reward = judge(self.kinds[1], action, self.context)
        self.steps += 1
        observation, info = self._now()
        return observation, reward, self.steps == LENGTH, False, info


class Count(gymnasium.Env):
    """Observes (episode, step); rewards the step; ends after ``length`` steps in a given way."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(-100, 100, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 3, ending: str = "truncated") -> None:
        self.length, self.ending = length, ending
        self.episode, self.steps = -1, 0
        self.seeds: list[int | None] = []
        self.actions: list[int] = []

    def _observation(self) -> np.ndarray:
        return np.array([self.episode, self.steps], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        self.seeds.append(seed)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.actions.append(int(action))
        ended = self.steps == self.length
        flags = (ended and self.ending == "terminated", ended and self.ending == "truncated")
        return self._observation(), float(self.steps), *flags, {}


class Tells(Count):
    """Episodes of 3 to 6 steps by their seed; the info tells their steps, and much that is none."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.length = 3 + int(self.np_random.integers(4))
        return self._observation(), {"steps": -1.0, "length": self.length}

    def _observation(self) -> np.ndarray:
        return np.array([self.length, self.steps], np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        *rest, _ = super().step(action)
        info: dict[str, Any] = {"steps": self.steps, "is_long": np.bool_(self.length > 4)}
        info |= {"name": "x", "nested": {"r": 1.0}, "vector": np.ones(3), "bad": float("nan")}
        info |= {"action": np.asarray(0.5)} if self.steps == 3 == self.length else {}
        return *rest, info


def probe(observation: str = "box", action: str = "discrete", masked: str = "") -> str:
    """The id of a probe, registered when first asked for."""
    name = f"Probe-{observation}-{action}{'-masked-' + masked if masked else ''}-v0"
    if name not in gymnasium.registry:
        options = {"observation": observation, "action": action, "masked": masked}
        gymnasium.register(name, Probe, kwargs=options, disable_env_checker=True)
    return name
