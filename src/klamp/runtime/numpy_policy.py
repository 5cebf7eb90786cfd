"""Runs a policy that klamp has exported, with numpy and nothing else.

This file may be copied: it imports nothing of klamp, and `policy.export("policy.npz")` puts it
beside the policy.

    from numpy_policy import NumpyPolicy

    policy = NumpyPolicy("policy.npz")
    action = policy.act(observation)  # one observation, or a batch of them
    outputs = policy(observation=batch)  # everything: action, value, logits or mean, by name
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

FORMAT = 1
"""The version of the format that this reads."""

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.logical_and,
    "ceil": np.ceil,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "copy": np.asarray,
    "cos": np.cos,
    "div": np.divide,
    "eq": np.equal,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.logical_not,
    "or": np.logical_or,
    "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, no, yes: np.where(which, yes, no),
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": np.asarray,
    "sub": np.subtract,
    "tanh": np.tanh,
}
"""Operations on each number by itself."""


def _reshape(x: Any, rows: int, shape: list[int | None]) -> Any:
    """None stands for whatever is left."""
    return x.reshape([-1 if size is None else size for size in shape])


def _broadcast(x: Any, rows: int, shape: list[int | None]) -> Any:
    """None stands for the number of rows."""
    return np.broadcast_to(x, [rows if size is None else size for size in shape])


def _slice(x: Any, rows: int, index: list[list[int | None]]) -> Any:
    """Start, end (None: the whole axis) and step of each axis."""
    return x[tuple(slice(*part) for part in index)]


def _convolve(x: Any, weight: Any, rows: int, strides: list[int], groups: int) -> Any:
    """[B, C, *S] and [O, C / groups, *K] → [B, O, *S'], without padding."""
    space = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=space)
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    parts = [
        np.tensordot(
            window, kernel, ((1, *range(len(space) + 2, windows.ndim)), tuple(range(1, x.ndim)))
        )
        for window, kernel in zip(
            np.split(windows, groups, axis=1), np.split(weight, groups), strict=True
        )
    ]
    return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "argmax": lambda x, rows, axis: x.argmax(axis).astype(np.int32),
    "argmin": lambda x, rows, axis: x.argmin(axis).astype(np.int32),
    "broadcast": _broadcast,
    "concatenate": lambda *parts, rows, axis: np.concatenate(parts, axis),
    "convert": lambda x, rows, dtype: x.astype(dtype),
    "convolve": _convolve,
    "integer_pow": lambda x, rows, exponent: x**exponent,
    "matmul": lambda x, y, rows: np.matmul(x, y),
    "pad": lambda x, rows, widths, filling: np.pad(x, widths, constant_values=filling),
    "reduce_max": lambda x, rows, axes: x.max(tuple(axes)),
    "reduce_min": lambda x, rows, axes: x.min(tuple(axes)),
    "reduce_prod": lambda x, rows, axes: x.prod(tuple(axes), dtype=x.dtype),
    "reduce_sum": lambda x, rows, axes: x.sum(tuple(axes), dtype=x.dtype),
    "reshape": _reshape,
    "slice": _slice,
    "take": lambda x, indices, rows, axis: np.take(x, indices, axis),
    "transpose": lambda x, rows, permutation: np.transpose(x, permutation),
}
"""Operations on whole arrays, with their own parameters."""


def compute(name: str, operands: list[Any], rows: int, parameters: dict[str, Any]) -> Any:
    """One operation; ``rows`` is the number of rows in the batch."""
    if name in ELEMENTWISE:
        return ELEMENTWISE[name](*operands)
    return OPERATIONS[name](*operands, rows=rows, **parameters)


class NumpyPolicy:
    """An exported policy.

    Between the steps of an episode it holds the hidden state of a recurrent one.

    ``inputs`` and ``outputs`` are the names that a call takes and returns, with shape (the rows
    first) and dtype; ``about`` says where the policy comes from.
    """

    def __init__(self, path: Any) -> None:
        with np.load(path, allow_pickle=False) as file:
            if "program" not in file.files:
                raise ValueError(f"{path} is no policy that klamp has exported.")
            program = json.loads(str(file["program"]))
            self._constants = {int(name): file[name] for name in file.files if name != "program"}
        if program["format"] != FORMAT:
            raise ValueError(
                f"{path} has the form {program['format']}, but this file reads {FORMAT}. Use the "
                "numpy_policy.py of the klamp that exported it."
            )
        self.about: dict[str, str] = program["about"]
        self.inputs: dict[str, Any] = program["inputs"]
        self.outputs: dict[str, Any] = program["outputs"]
        self._observation, self._action = program["observation"], program["action"]
        self._nodes: list[Any] = program["nodes"]
        self._state: Any = None

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """All outputs by name for all inputs by name, each a batch with the rows first."""
        if inputs.keys() != self.inputs.keys():
            raise ValueError(
                f"This policy takes {list(self.inputs)}, but was given {list(inputs)}."
            )
        values: dict[int, Any] = dict(self._constants)
        rows = len(next(iter(inputs.values())))
        for name, (number, shape, dtype) in self.inputs.items():
            given = np.asarray(inputs[name])
            if given.shape != (rows, *shape[1:]):
                raise ValueError(f"{name} has the shape {given.shape}, expected {shape}.")
            if not np.all(np.isfinite(given)):
                raise ValueError(f"{name} holds something that is not finite.")
            values[number] = given.astype(dtype, copy=False)
        with np.errstate(all="ignore"):
            for name, operands, result, parameters in self._nodes:
                values[result] = compute(name, [values[n] for n in operands], rows, parameters)
        return {name: values[number] for name, (number, _, _) in self.outputs.items()}

    def act(self, observation: Any, action_mask: Any = None) -> Any:
        """The most probable action for one observation, or for each of a batch."""
        given = dict(_leaves(self._observation, observation))
        if "action_mask" in self.inputs:
            if action_mask is None:
                raise ValueError("This policy chooses among allowed actions: give `action_mask`.")
            given["action_mask"] = np.asarray(action_mask, bool)
        first = next(iter(given))
        single = np.ndim(given[first]) < len(self.inputs[first][1])
        if single:
            given = {name: np.asarray(value)[None] for name, value in given.items()}
        if "hidden_state" in self.inputs:
            rows, width = len(given[first]), self.inputs["hidden_state"][1][1:]
            begins = self._state is None or len(self._state) != rows
            state = np.zeros((rows, *width), np.float32) if begins else self._state
            given |= {"hidden_state": state, "episode_start": np.full(rows, begins)}
        found = self(**given)
        self._state = found.get("next_hidden_state")
        return _built(self._action, {name: x[0] for name, x in found.items()} if single else found)

    def reset(self) -> None:
        """A new episode begins: the hidden state of a recurrent policy is reset."""
        self._state = None


def _leaves(form: Any, value: Any) -> list[tuple[str, Any]]:
    """The parts of an observation by the names of the inputs."""
    if isinstance(form, str):
        return [(form, np.asarray(value))]
    names = form if isinstance(form, dict) else range(len(form))
    return [leaf for name in names for leaf in _leaves(form[name], value[name])]


def _built(form: Any, values: dict[str, Any]) -> Any:
    """An action of the outputs that it is made of."""
    if isinstance(form, str):
        return values[form]
    if isinstance(form, dict):
        return {name: _built(part, values) for name, part in form.items()}
    return tuple(_built(part, values) for part in form)
