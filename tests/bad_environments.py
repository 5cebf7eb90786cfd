"""Environments that are sound but for one thing, by the row of the catalogue that they stand for.

Each row replaces some methods or attributes of ``Sound``; ``bad(row)`` registers it and gives its
id.
"""

import decimal
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

PAIR = spaces.Box(-1, 1, (2,), np.float32)
NAN, INF = float("nan"), float("inf")
Rows = dict[str, dict[str, Any]]


class Sound(gymnasium.Env):
    """Shows its step, rewards 1, ends after eight steps."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space: Any = PAIR
    action_space: Any = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.see(), self.info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.see(), self.reward(), self.terminated(), self.truncated(), self.info()

    def see(self) -> Any:
        return np.array([self.steps / 100, self.np_random.random()], np.float32)

    def reward(self) -> Any:
        return 1.0

    def terminated(self) -> Any:
        return self.steps == 8

    def truncated(self) -> Any:
        return False

    def info(self) -> Any:
        return {}


class TwoArguments(Exception):
    """Cannot be made again from its text."""

    def __init__(self, joint: str, angle: float) -> None:
        super().__init__(f"the joint {joint} stands at {angle}")


class Tensor:
    """Something with a shape that is no NumPy array."""

    __module__, __qualname__ = "torch", "Tensor"
    shape, dtype = (2,), np.dtype(np.float32)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return np.zeros(2, np.float32)

    def __float__(self) -> float:
        return 1.0

    def __repr__(self) -> str:
        return "tensor(1.)"


def raises(error: BaseException) -> Callable[..., Any]:
    """A method that raises."""

    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


def returns(value: Any) -> Callable[..., Any]:
    """A method that returns the same each time."""
    return lambda *_, **__: value


def later(value: Any, step: int = 3) -> Callable[[Any], Any]:
    """What ``see`` returns from a step on."""
    return lambda self: value if self.steps >= step else Sound.see(self)


def shows(space: Any, value: Any) -> dict[str, Any]:
    """An environment that shows one value of a space."""
    return {"observation_space": space, "see": returns(value)}


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def old_reset(self: Any) -> Any:
    return Sound.reset(self)


def reset_without_options(self: Any, seed: int | None = None) -> Any:
    return Sound.reset(self, seed=seed)


def grows(self: Any, action: Any) -> Any:
    self.observation_space = spaces.Box(-1, 1, (3,), np.float32)
    return Sound.step(self, action)


def box_of(low: float, high: float) -> spaces.Box:
    """A Box with bounds that its constructor refuses."""
    space = spaces.Box(-1, 1, (2,), np.float32)
    space.low[1], space.high[1] = low, high
    return space


KEYS = spaces.Dict({"place": PAIR, "hand": spaces.Discrete(3)})
PLACE = floats(0, 0)
MASKED: dict[str, Any] = {"action_space": spaces.Discrete(3)}
BYTES = spaces.Box(0, 255, (2,), np.uint8)
WHOLE = spaces.Box(-9, 9, (2,), np.int32)
LONG = spaces.Box(-(2**62), 2**62, (1,), np.int64)

FAULTS: Rows = {
    "B31 constructor raises": {"__init__": raises(ValueError("no such\nmodel file"))},
    "B31 constructor raises with two arguments": {"__init__": raises(TwoArguments("knee", 3.2))},
    "B31 constructor leaves the process": {"__init__": raises(SystemExit(3))},
    "B31 constructor needs a package": {
        "__init__": raises(ModuleNotFoundError("No module 'pybox'"))
    },
    "B32 reset returns the observation only": {"reset": returns(PLACE)},
    "B32 reset returns three": {"reset": returns((PLACE, {}, 0))},
    "B32 step returns four": {"step": returns((PLACE, 0.0, False, {}))},
    "B32 step returns nothing": {"step": returns(None)},
    "B33 reset takes no seed": {"reset": old_reset},
    "B33 reset takes no options": {"reset": reset_without_options},
    "B34 text": shows(spaces.Text(5), "word"),
    "B34 graph in a dict": shows(
        spaces.Dict({"a": PAIR, "net": spaces.Tuple((spaces.Graph(PAIR, None),))}), None
    ),
    "B34 sequence": shows(spaces.Sequence(PAIR), ()),
    "B34 no observation space": {"observation_space": None},
    "B34 action is text": {"action_space": spaces.Text(5)},
    "B34 action is a box of integers": {"action_space": WHOLE},
    "B34 action in a dict is a sequence": {
        "action_space": spaces.Dict({"all": spaces.Sequence(spaces.Discrete(2))})
    },
    "B35 empty box": shows(spaces.Box(0, 1, (0,)), np.zeros(0, np.float32)),
    "B35 empty dict": shows(spaces.Dict({}), {}),
    "B36 mask allows nothing": MASKED | {"info": returns({"action_mask": np.zeros(3, np.int8)})},
    "B36 mask too long": MASKED | {"info": returns({"action_mask": np.ones(4, np.int8)})},
    "B36 mask of shares": MASKED | {"info": returns({"action_mask": floats(0.5, 0.5, 1)})},
    "B36 mask of words": MASKED | {"info": returns({"action_mask": ["yes", "no", "yes"]})},
    "B36 mask is missing later": MASKED
    | {"info": lambda self: {"action_mask": np.ones(3)} if self.steps < 2 else {}},
    "B36 mask grows": MASKED | {"info": lambda self: {"action_mask": np.ones(3 + self.steps // 5)}},
    "B37 low above high": {"action_space": box_of(1, -1)},
    "B37 bound is nan": {"action_space": box_of(NAN, 1)},
    "B38 scalar action": {"action_space": spaces.Box(-1, 1, ())},
    "B39 shape differs": shows(PAIR, floats(1, 2, 3)),
    "B39 shape differs in a dict": shows(KEYS, {"place": floats(1), "hand": 0}),
    "B39 shape has one more dimension": shows(PAIR, floats(1, 2)[None]),
    "B40 discrete out of range": shows(spaces.Discrete(3), 3),
    "B40 discrete below its start": shows(spaces.Discrete(3, start=5), np.int64(4)),
    "B40 multidiscrete out of range": shows(spaces.MultiDiscrete([2, 3]), np.array([1, 3])),
    "B40 multibinary of two": shows(spaces.MultiBinary(2), np.array([0, 2])),
    "B41 objects": shows(PAIR, np.array([1, None])),
    "B41 words": shows(PAIR, np.array(["1", "2"])),
    "B41 complex": shows(PAIR, np.ones(2, complex)),
    "B41 floats for integers": shows(WHOLE, floats(1, 2)),
    "B41 bytes above 255": shows(BYTES, np.array([3, 300])),
    "B41 bytes below 0": shows(BYTES, np.array([-1, 0])),
    "B41 float for discrete": shows(spaces.Discrete(3), 1.0),
    "B42 list": shows(PAIR, [0.0, 0.0]),
    "B42 number": shows(PAIR, 0.5),
    "B42 None": shows(PAIR, None),
    "B42 tensor": shows(PAIR, Tensor()),
    "B42 masked array": shows(PAIR, np.ma.masked_array(PLACE, [True, False])),
    "B42 dict for a box": shows(PAIR, {"place": PLACE}),
    "B43 key missing": shows(KEYS, {"place": PLACE}),
    "B43 key too many": shows(KEYS, {"place": PLACE, "hand": 0, "foot": 1}),
    "B43 array for a dict": shows(KEYS, PLACE),
    "B43 tuple too short": shows(spaces.Tuple((PAIR, PAIR)), (PLACE,)),
    "B43 list for a tuple": shows(spaces.Tuple((PAIR, PAIR)), [PLACE, PLACE]),
    "B44 reward is None": {"reward": returns(None)},
    "B44 reward is text": {"reward": returns("1.0")},
    "B44 reward is an array of one": {"reward": returns(np.ones(1))},
    "B44 reward is an array": {"reward": returns(np.ones(3))},
    "B44 reward is a bool": {"reward": returns(True)},
    "B44 reward is a numpy bool": {"reward": returns(np.bool_(True))},
    "B44 reward is complex": {"reward": returns(1j)},
    "B44 reward is a decimal": {"reward": returns(decimal.Decimal("1.5"))},
    "B44 reward is a tensor": {"reward": returns(Tensor())},
    "B45 nan in a nested tuple": shows(
        spaces.Dict({"a": spaces.Tuple((PAIR, PAIR))}), {"a": (PLACE, floats(0, NAN))}
    ),
    "B47 terminated is an integer": {"terminated": returns(0)},
    "B47 truncated is None": {"truncated": returns(None)},
    "B47 terminated is an array": {"terminated": returns(np.array([False]))},
    "B48 info is None": {"info": returns(None)},
    "B48 info is a list": {"info": returns([])},
    "B50 space changes at a step": {"step": grows},
    "B60 nan at reset": {"see": returns(floats(NAN, 0))},
    "B60 infinite at a step": {"see": later(floats(0, -INF))},
    "B60 nan in one key": shows(KEYS, {"place": floats(0, NAN), "hand": 0}),
    "B60 nan in the final observation only": {"see": later(floats(NAN, NAN), 8)},
    "B61 reward nan": {"reward": lambda self: NAN if self.steps == 4 else 1.0},
    "B61 reward infinite": {"reward": returns(INF)},
    "B62 reward beyond float32": {"reward": returns(1e39)},
    "B63 observation beyond float32": shows(
        spaces.Box(-INF, INF, (2,), np.float64), np.array([0, 1e39])
    ),
    "B65 integers beyond 32 bits": shows(LONG, np.array([2**40])),
    "F21 reset raises": {"reset": raises(RuntimeError("the simulator\nis gone"))},
    "F21 step raises": {"step": raises(KeyError("elbow"))},
    "F21 step raises with two arguments": {"step": raises(TwoArguments("knee", 3.2))},
    "F21 reset leaves the process": {"reset": raises(SystemExit("no licence"))},
    "F21 step leaves the process": {"step": lambda *_: sys.exit(4)},
    "F21 close raises": {"close": raises(OSError("the window is gone"))},
    "F21 step reads from the keyboard": {"step": lambda *_: input("go on? ")},
}
"""What is refused."""

DEFAULT_DICT = {"place": PLACE, "hand": np.int64(2)}
ACCEPTED: Rows = {
    "B35 discrete from 5": {"action_space": spaces.Discrete(3, start=5)},
    "B35 multidiscrete in two dimensions": {"action_space": spaces.MultiDiscrete([[2, 3], [4, 2]])},
    "B35 multibinary in two dimensions": {"action_space": spaces.MultiBinary((2, 2))},
    "B37 unbounded actions": {"action_space": spaces.Box(-INF, INF, (2,), np.float32)},
    "B37 one-sided actions": {"action_space": spaces.Box(0, INF, (2,), np.float32)},
    "B38 scalar observation": shows(spaces.Box(-1, 1, (), np.float32), np.float32(0.5)),
    "B41 double precision": {"see": lambda self: Sound.see(self).astype(float)},
    "B41 integers for floats": shows(PAIR, np.array([0, 1])),
    "B41 wide integers for bytes": shows(BYTES, np.array([0, 255])),
    "B41 bools for multibinary": shows(spaces.MultiBinary(2), np.array([True, False])),
    "B43 keys in another order": shows(KEYS, dict(reversed(DEFAULT_DICT.items()))),
    "B44 reward is a numpy number": {"reward": returns(np.float64(1))},
    "B44 reward is an integer": {"reward": returns(1)},
    "B47 both end flags": {"truncated": Sound.terminated},
    "B47 every step ends": {"terminated": returns(np.bool_(True))},
    "B54 prints": {"see": lambda self: print("seen") or Sound.see(self)},
    "B66 garbage in info": {"info": returns({"distance": NAN, "model": object()})},
    "B63 large observation": shows(spaces.Box(-INF, INF, (2,), np.float32), floats(1e30, -1e30)),
    "B64 constant observation": {"see": returns(floats(1, 1))},
    "B69 no episode ends": {"terminated": returns(False)},
}
"""What is odd, and works."""

WARNED: Rows = {
    "B40 outside its bounds": shows(PAIR, floats(0, 7)),
    "B65 integers beyond 24 bits": shows(LONG, np.array([2**24 + 1])),
}
"""What works, and is warned of."""


def bad(row: str) -> str:
    """The id of the environment of a row, registered when first asked for."""
    name = f"Bad/{row.replace(' ', '-')}-v0"
    if name not in gymnasium.registry:
        parts = {**FAULTS, **ACCEPTED, **WARNED}[row]
        kind = type("Bad", (Sound,), parts)
        gymnasium.register(name, kind, max_episode_steps=100)
    return name
