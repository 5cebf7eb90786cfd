"""Comparing an exported policy with the policy, on random observations."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.envs import MASK_KEY
from klamp.envs.spaces.masks import mask_sizes
from klamp.envs.spaces.observations import masks_in_observation
from klamp.errors import KlampError
from klamp.evaluation.export.policy_graph import (
    HIDDEN,
    MASK,
    NEXT_HIDDEN,
    START,
    Exportable,
    ExportedPolicy,
    built,
    leaves_by_name,
)

TOLERANCE = 1e-5
"""The largest difference of two floats, relative to 1 or to the largest in the batch."""
ROUNDINGS = 10
"""The allowed difference in roundings of the parameters, where one exceeds the tolerance."""
STEPS = 3
"""Steps of a recurrent policy that are compared one after another."""
NARROW = 1e3
"""Boxes up to this width are sampled uniformly, wider ones by a standard normal."""

Outputs = dict[str, np.ndarray]
Run = Callable[[Outputs], Outputs]
"""All inputs by name → all outputs by name."""


def check(policy: Exportable, exported: ExportedPolicy, run: Run, rows: int, seed: int = 0) -> None:
    """Raise ``KlampError`` where what was exported chooses other actions than the policy.

    Some policies change by more than ``TOLERANCE`` where their parameters are rounded in their last
    place: these may differ by ``ROUNDINGS`` times that change.
    """
    found = differences(policy, exported, run, rows, seed)
    if all(difference <= TOLERANCE for difference in found.values()):
        return
    rounded = differences(policy, exported, _rounded(policy, exported, seed), rows, seed)
    for name, difference in found.items():
        if not difference <= max(TOLERANCE, ROUNDINGS * rounded[name]):
            raise KlampError(
                f"The exported policy for `{policy.config.env}` was not written: on {rows} random "
                f"observations its `{name}` differs from that of `policy.act` by {difference:.3g}, "
                f"where at most {TOLERANCE:g} was expected. Export to the other format, and please "
                "report this with the run's config.json."
            )


def _rounded(policy: Exportable, exported: ExportedPolicy, seed: int) -> Run:
    """The policy itself with each parameter moved by a unit of its last place, up or down."""
    other = policy.anew(seed)
    theta = np.asarray(policy.theta)
    signs = np.random.Generator(np.random.Philox(seed)).choice((-1, 1), theta.shape)
    other.theta = theta + signs * np.spacing(np.abs(theta))

    def run(inputs: Outputs) -> Outputs:
        observation = raw_observation(policy, exported, inputs)
        value = other.value(observation)
        action = other.act(observation, deterministic=True, action_mask=inputs.get(MASK))
        return leaves_by_name(action, exported.action) | {"value": value}

    return run


def differences(
    policy: Exportable, exported: ExportedPolicy, run: Run, rows: int, seed: int = 0
) -> dict[str, float]:
    """The largest difference of each part of the action, and of the value, on random observations.

    Of floats it is relative to 1 or the largest in the batch, if that is larger: a sum is rounded
    by the size of its terms, and one that is near 0 by chance has terms as large as the others'. Of
    integers it is the share of rows in which they differ.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    steps = STEPS if policy.config.settings.recurrent_size else 1
    original, state = policy.anew(seed), np.zeros(0)
    worst: dict[str, float] = {}
    for step in range(steps):
        inputs = random_inputs(policy, exported, rows, generator)
        if HIDDEN in inputs:
            inputs[HIDDEN] = state if step else inputs[HIDDEN]
            inputs[START] = np.full(rows, step == 0)
        observation = raw_observation(policy, exported, inputs)
        value = original.value(observation)
        action = original.act(observation, deterministic=True, action_mask=inputs.get(MASK))
        wanted = leaves_by_name(action, exported.action) | {"value": value}
        found = run(inputs)
        state = found.get(NEXT_HIDDEN, state)
        for name, array in wanted.items():
            difference = _difference(found[name], array)
            worst[name] = float(np.maximum(worst.get(name, 0.0), difference))  # NaN stays NaN
    return worst


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    if not np.issubdtype(wanted.dtype, np.floating):
        return float(np.mean(found != wanted))
    scale = np.maximum(1, np.max(np.abs(wanted), initial=0))
    # The largest of values with a NaN is NaN, too.
    return float(np.max(np.abs(found.astype(np.float64) - wanted) / scale, initial=0))


def random_inputs(
    policy: Exportable, exported: ExportedPolicy, rows: int, generator: np.random.Generator
) -> Outputs:
    """Inputs for so many rows, each within its space, and masks that allow something."""
    space = policy.observation_space
    if masks_in_observation(space):
        space = spaces.Dict({k: part for k, part in space.spaces.items() if k != MASK_KEY})
        space = space if isinstance(exported.observation, dict) else next(iter(space.values()))
    leaves = leaves_by_name(space, exported.observation)
    found = {name: _drawn(part, rows, generator) for name, part in leaves.items()}
    graph = exported.graph
    for name, number in graph.inputs.items():
        value = graph.values[number]
        shape: Any = (rows, *value.shape[1:])
        if name == MASK:
            found[name] = _mask(mask_sizes(policy.action_space), rows, generator)
        elif name in (HIDDEN, START):
            found[name] = np.zeros(shape, value.dtype)
        else:
            found[name] = found[name].reshape(shape).astype(value.dtype)
    return found


def raw_observation(policy: Exportable, exported: ExportedPolicy, inputs: Outputs) -> Any:
    """The observation as the environment returns it, without a mask."""
    observation, space = built(exported.observation, inputs), policy.observation_space
    if masks_in_observation(space) and not isinstance(exported.observation, dict):
        return {next(key for key in space.spaces if key != MASK_KEY): observation}
    return observation


def _drawn(space: Any, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Values of a space that is no Dict or Tuple."""
    shape = (rows, *space.shape)
    match space:
        case spaces.Discrete():
            return generator.integers(space.n, size=shape) + space.start
        case spaces.MultiDiscrete():
            return generator.integers(space.nvec, size=shape) + space.start
        case spaces.MultiBinary():
            return generator.integers(2, size=shape)
        case _:
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            if not np.issubdtype(space.dtype, np.floating):
                return np.floor(low + (high - low + 1) * generator.random(shape))
            normal = np.clip(generator.standard_normal(shape), low, high)
            with np.errstate(invalid="ignore", over="ignore"):
                even = low + (high - low) * generator.random(shape)
                return np.where(high - low <= NARROW, even, normal)


def _mask(sizes: tuple[int, ...], rows: int, generator: np.random.Generator) -> np.ndarray:
    """Masks that allow about half of the actions, and at least one in every choice."""
    parts: list[np.ndarray] = []
    for size in sizes:
        allowed = generator.random((rows, size)) < 0.5
        allowed[np.arange(rows), generator.integers(size, size=rows)] = True
        parts.append(allowed)
    return np.concatenate(parts, axis=1)
