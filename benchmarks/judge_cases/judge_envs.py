"""Environments that write down all that happens to them, and can be faulty on purpose.

``JUDGE_ENV`` (JSON) says which: it is read where an environment is made, since klamp makes its
copies from a name alone. Each copy writes one file into the folder ``log``.
"""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

SEEN = 3
ACTIONS = {
    "discrete": spaces.Discrete(3, start=-1),
    "box": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "bounded": spaces.Box(np.array([-2, 0.5], np.float32), np.array([1, 3], np.float32)),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
}
MODES = {
    "next": AutoresetMode.NEXT_STEP,
    "same": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_COUNT = itertools.count()


def settings() -> dict[str, Any]:
    """What this environment is like."""
    usual = {
        "action": "discrete",
        "limit": 20,
        "danger": 1.6,
        "offset": 0.0,
        "scale": 1.0,
        "log": None,
        "vector": None,
        "fault": None,
        "fault_at": 0,
        "slow_s": 0.0,
    }
    return usual | json.loads(os.environ.get("JUDGE_ENV", "{}"))


class Log:
    """One file a copy; a line is one reset or one step."""

    def __init__(self, folder: str | None) -> None:
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_COUNT):06d}.jsonl"
        self.path = "" if folder is None else str(Path(folder) / name)

    def write(self, *entry: Any) -> None:
        """Add a line."""
        if self.path:
            with Path(self.path).open("a") as file:
                file.write(json.dumps(entry, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value.item()


def move(x: Any, action: Any, noise: Any) -> Any:
    """The next states, a row each: a leaky integrator pushed by the action."""
    push = np.asarray(action, np.float64).reshape(len(x), -1)
    push = np.tanh(push @ np.linspace(-1, 1, push.shape[1] * SEEN).reshape(-1, SEEN))
    return 0.85 * x + 0.35 * push + 0.3 * noise


class Drift(gymnasium.Env):
    """One copy at a time."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self) -> None:
        self.given = settings()
        self.fault, self.taken = self.given["fault"], 0
        if self.fault == "raises in the constructor":
            raise RuntimeError("the judge's own fault")
        self.observation_space = spaces.Box(-np.inf, np.inf, (SEEN,), np.float32)
        self.action_space = ACTIONS[self.given["action"]]
        self.log = Log(self.given["log"])

    def _see(self) -> Any:
        seen = self.given["offset"] + self.given["scale"] * self.x[0]
        return self._spoilt(seen.astype(np.float32))

    def _spoilt(self, seen: Any) -> Any:
        if self.taken < self.given["fault_at"]:
            return seen
        match self.fault:
            case "NaN observation":
                return seen * np.float32(np.nan)
            case "wrong shape":
                return seen[:2]
            case "text":
                return "a text"
            case "None":
                return None
        return seen

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin near zero; the limit is drawn anew."""
        super().reset(seed=seed)
        if self.fault == "raises in reset" and self.taken >= self.given["fault_at"]:
            raise RuntimeError("the judge's own fault")
        self.x = self.np_random.normal(size=(1, SEEN)) * 0.3
        self.steps, self.limit = 0, int(self.np_random.integers(2, self.given["limit"] + 1))
        seen = self._see()
        self.log.write("reset", seed, seen)
        return seen, {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """One step; at the limit an episode may also reach a terminal state at once."""
        self.taken += 1
        late = self.taken >= self.given["fault_at"]
        if self.fault == "raises in step" and late:
            raise RuntimeError("the judge's own fault")
        if self.fault == "hangs" and late:
            time.sleep(10_000)
        if self.given["slow_s"]:
            time.sleep(self.given["slow_s"])
        self.x = move(self.x, action, self.np_random.normal(size=(1, SEEN)))
        self.steps += 1
        reward: Any = float(1.0 - np.square(self.x).sum() + 0.1 * self.x[0, 1])
        terminated, truncated = bool(self.x[0, 0] > self.given["danger"]), self.steps >= self.limit
        seen = self._see()
        info: Any = {}
        if late:
            match self.fault:
                case "NaN reward":
                    reward = float("nan")
                case "reward of None":
                    reward = None
                case "ends of text":
                    terminated = "no"
                case "info of a list":
                    info = []
        self.log.write("step", action, seen, reward, terminated, truncated)
        return seen, reward, terminated, truncated, info


class Given(Drift):
    """One copy that is told what it is like by arguments; what it was told is written down."""

    def __init__(
        self, limit: int = 20, danger: float = 1.6, offset: float = 0.0, name: str = "any"
    ) -> None:
        super().__init__()
        told = {"limit": limit, "danger": danger, "offset": offset, "name": name}
        self.given |= told
        made = os.environ.get("JUDGE_MADE", "")
        Log(made or None).write("made", told)


class Doubled(gymnasium.RewardWrapper):
    """A wrapper of the judge's own, which writes down that it was used."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        Log(os.environ.get("JUDGE_MADE") or None).write("wrapped", "Doubled")

    def reward(self, reward: Any) -> Any:
        """Twice the reward."""
        return 2 * reward


class DriftVector(VectorEnv):
    """All rows at once, reset in the way ``vector`` says."""

    metadata = {"render_modes": [], "autoreset_mode": MODES.get(settings()["vector"])}  # noqa: RUF012

    def __init__(self, num_envs: int = 1) -> None:
        self.given, self.num_envs = settings(), num_envs
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (SEEN,), np.float32)
        self.single_action_space = ACTIONS[self.given["action"]]
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.x = np.zeros((num_envs, SEEN))
        self.steps, self.limit = np.zeros(num_envs, int), np.ones(num_envs, int)
        self.ended = np.zeros(num_envs, bool)
        self.log_path = Log(self.given["log"]).path

    def _write(self, *entry: Any) -> None:
        if self.log_path:
            with Path(self.log_path).open("a") as file:
                file.write(json.dumps(entry, default=_plain) + "\n")

    def _see(self) -> Any:
        return (self.given["offset"] + self.given["scale"] * self.x).astype(np.float32)

    def _begin(self, rows: Any) -> None:
        fresh = self.np_random.normal(size=self.x.shape) * 0.3
        self.x = np.where(rows[:, None], fresh, self.x)
        limit = self.np_random.integers(2, self.given["limit"] + 1, self.num_envs)
        self.limit, self.steps = np.where(rows, limit, self.limit), np.where(rows, 0, self.steps)
        self.ended = self.ended & ~rows

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """All rows, or those of ``reset_mask``."""
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask")
        rows = np.ones(self.num_envs, bool) if mask is None else np.asarray(mask)
        self._begin(rows)
        seen = self._see()
        self._write("reset", rows, seen)
        return seen, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all rows."""
        if self.given["slow_s"]:
            time.sleep(self.given["slow_s"])
        mode, wasted = self.given["vector"], self.ended.copy()
        noise = self.np_random.normal(size=self.x.shape)
        self.x, self.steps = move(self.x, actions, noise), self.steps + 1
        if mode == "next":
            self._begin(wasted)
        reward = 1.0 - np.square(self.x).sum(axis=1) + 0.1 * self.x[:, 1]
        terminated, truncated = self.x[:, 0] > self.given["danger"], self.steps >= self.limit
        if mode == "next":
            reward = np.where(wasted, 0.0, reward)
            terminated, truncated = terminated & ~wasted, truncated & ~wasted
        self.ended = terminated | truncated
        last, info, counted = self._see(), {}, ~wasted if mode == "next" else ~np.zeros_like(wasted)
        if mode == "same" and self.ended.any():
            info = {"final_obs": _objects(last, self.ended), "_final_obs": self.ended.copy()}
            self._begin(self.ended.copy())
        seen = self._see()
        self._write("step", actions, seen, reward, terminated, truncated, last, counted)
        return seen, reward, terminated, truncated, info

    def close_extras(self, **_: Any) -> None:
        """Nothing to close."""


def _objects(rows: Any, which: Any) -> Any:
    """Gymnasium's form of what only some rows have."""
    found = np.empty(len(rows), object)
    for i in np.flatnonzero(which):
        found[i] = rows[i].copy()
    return found


gymnasium.register(id="judge/Given-v0", entry_point="judge_envs:Given")
gymnasium.register(
    id="judge/Drift-v0",
    entry_point="judge_envs:Drift",
    vector_entry_point="judge_envs:DriftVector" if settings()["vector"] else None,
)
