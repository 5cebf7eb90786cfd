"""The start-up check of an environment written in JAX: what it returns, before a step is taken."""

from typing import Any

import jax
import numpy as np

from klamp.envs.device.batched import typed
from klamp.envs.device.protocol import DeviceEnvironment, DeviceStep
from klamp.envs.spaces.observations import batch_of_one
from klamp.envs.spaces.supported import check_spaces
from klamp.errors import EnvironmentFault, KlampError, one_line


def check_protocol(env: str, environment: DeviceEnvironment) -> None:
    """Raise ``EnvironmentFault`` where ``reset`` or ``step`` cannot be traced or are at fault.

    Only shapes and dtypes are looked at: nothing is computed.
    """
    check_spaces(env, environment.observation_space, environment.action_space)
    key = jax.eval_shape(jax.random.key, 0)
    action = jax.tree.map(np.asarray, environment.action_space.sample())
    begun = _traced(env, "reset(key)", environment.reset, key)
    if not isinstance(begun, tuple) or len(begun) != 2:
        raise EnvironmentFault(
            f"`reset(key)` of `{env}` returned {type(begun).__name__}; expected the two of `state, "
            "observation`."
        )
    state, observation = begun
    after = _traced(env, "step(key, state, action)", environment.step, key, state, action)
    if not isinstance(after, DeviceStep):
        raise EnvironmentFault(
            f"`step(key, state, action)` of `{env}` returned {type(after).__name__}; expected "
            "`klamp.DeviceStep(state, observation, reward, terminated, truncated)`."
        )
    _check_state(env, state, after.state)
    for name in ("reward", "terminated", "truncated"):
        if jax.numpy.shape(getattr(after, name)) != ():
            raise EnvironmentFault(
                f"`{name}` of `{env}` has the shape {jax.numpy.shape(getattr(after, name))}; "
                "expected one value, for `step` is of one environment."
            )
    for where, shown in (("reset", observation), ("step", after.observation)):
        _check_observation(env, where, shown, environment.observation_space)


def _traced(env: str, call: str, function: Any, *arguments: Any) -> Any:
    """What a function returns, as shapes and dtypes."""
    try:
        return jax.eval_shape(function, *arguments)
    except KlampError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"`{call}` of `{env}` cannot be traced by JAX: {type(error).__name__}: "
            f"{one_line(error)} Write it with `jax.numpy`, and without `if` on what it computes."
        ) from error


def _check_state(env: str, before: Any, after: Any) -> None:
    """A step leads from a state to one of the same form."""
    words = [jax.eval_shape(typed, tree) for tree in (before, after)]
    one, two = (jax.tree_util.tree_leaves_with_path(tree) for tree in words)
    if [path for path, _ in one] != [path for path, _ in two]:
        raise EnvironmentFault(
            f"The state that `step` of `{env}` returns is built otherwise than that of `reset`: "
            f"{one_line(ValueError(jax.tree.structure(after)))}, where `reset` has "
            f"{one_line(ValueError(jax.tree.structure(before)))}. Return the same structure."
        )
    for (path, ours), (_, theirs) in zip(one, two, strict=True):
        fits = theirs.dtype == ours.dtype or _castable(theirs.dtype, ours.dtype)
        if ours.shape != theirs.shape or not fits:
            raise EnvironmentFault(
                f"The state{jax.tree_util.keystr(path)} of `{env}` is {theirs.dtype}"
                f"{list(theirs.shape)} after `step`, but {ours.dtype}{list(ours.shape)} after "
                "`reset`; expected the same shape and dtype. Let `reset` begin with that."
            )


def _castable(new: Any, old: Any) -> bool:
    """Whether numbers of one dtype may take another without a change of their kind."""
    return isinstance(new, np.dtype) and np.can_cast(new, old, "same_kind")


def _check_observation(env: str, where: str, shown: Any, space: Any) -> None:
    """What is shown has the form of the space."""
    expected = batch_of_one(space.sample())
    ours = jax.tree.map(lambda leaf: np.shape(leaf)[1:], expected, is_leaf=_is_leaf)
    theirs = jax.tree.map(lambda leaf: tuple(leaf.shape), shown)
    if jax.tree.leaves(ours, is_leaf=_is_shape) != jax.tree.leaves(theirs, is_leaf=_is_shape):
        raise EnvironmentFault(
            f"The observation after `{where}` of `{env}` has the form {theirs}, but its "
            f"observation space says {ours}. Correct one of the two."
        )


def _is_leaf(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) for n in value)
