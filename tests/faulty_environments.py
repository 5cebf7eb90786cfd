"""Environments that die, hang or raise in their process, when a file tells them to."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class TwoParts(Exception):
    """An exception that cannot be made from one text."""

    def __init__(self, a: str, b: str) -> None:
        super().__init__(f"{a} and {b}")


class Faulty(gymnasium.Env):
    """A random walk. What stands in the file ``orders`` happens at the next step, once."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, orders: str) -> None:
        self.orders = Path(orders)
        self.obey("init")

    def obey(self, call: str) -> None:
        order = self.orders / f"{os.getpid()}-{call}"
        always = self.orders / f"always-{call}"
        if order.exists():
            what = order.read_text()
            order.unlink()
        elif always.exists():
            what = always.read_text()
        else:
            return
        match what:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "sleep":
                time.sleep(3600)
            case "exit":
                os._exit(3)
            case "abort":
                os.abort()
            case "system exit":
                raise SystemExit(4)
            case "two":
                raise TwoParts("this", "that")
            case _:
                raise KeyError("no such joint")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.obey("reset")
        self.place = self.np_random.normal(size=2)
        return self.place.astype(np.float32), {}

    def step(self, action: Any) -> tuple:
        self.obey("step")
        self.place = self.place + self.np_random.normal(size=2) + action
        ended = bool(np.abs(self.place).max() > 8)
        return self.place.astype(np.float32), float(self.place[0]), ended, False, {}


def register(orders: Path) -> str:
    """The id of such an environment."""
    name = f"Faulty-{abs(hash(str(orders))) % 10**9}-v0"
    gymnasium.register(name, Faulty, kwargs={"orders": str(orders)}, disable_env_checker=True)
    return name
