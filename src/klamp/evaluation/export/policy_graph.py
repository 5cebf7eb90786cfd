"""From a trained policy to the graph of what it computes, from observation to action.

Inputs and outputs have names: ``observation``, or one for each part of a Dict or Tuple, such as
``observation.position`` and ``observation.0``; in the same way ``action``.
"""

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax.tree_util import tree_leaves_with_path

from klamp.config.run import RunConfig
from klamp.envs.spaces.masks import mask_sizes
from klamp.envs.spaces.observations import encoder, without_mask
from klamp.envs.spaces.supported import Space
from klamp.errors import ConfigError
from klamp.evaluation.export.graph import Graph, Value
from klamp.evaluation.export.lowering import graph_of
from klamp.mathematics.distributions import Joint
from klamp.mathematics.normalization import Scaling, normalize
from klamp.networks import Model
from klamp.networks.action_decoder import action_decoder
from klamp.networks.actor_critic import conditioned
from klamp.networks.recurrent import encoded_step
from klamp.runtime.device import in_float32
from klamp.runtime.traced import UntranslatableError
from klamp.types import Inputs

MASK, HIDDEN, START, NEXT_HIDDEN = (
    "action_mask",
    "hidden_state",
    "episode_start",
    "next_hidden_state",
)
"""Names of inputs, and of the output that is the next step's hidden state."""

_PARAMETERS = {"mean": "action_mean"}
"""Outputs whose names differ from the fields of the distribution."""


class Exportable(Protocol):
    """The parts of a trained policy that are exported."""

    model: Model
    theta: Any
    scaling: Scaling | None
    observation_space: Space
    action_space: Space
    config: RunConfig
    log_std: float | None
    masked: bool

    def anew(self, seed: int) -> Any:
        """The same policy at the beginning of an episode."""
        ...


class ExportedPolicy(NamedTuple):
    """A policy as a graph, with the names of the parts of observations and actions."""

    graph: Graph
    observation: Any
    """The structure of an observation, with the name of an input at each leaf."""
    action: Any
    """The same of an action and the outputs."""
    about: dict[str, str]
    """The origin of the policy, its inputs and its outputs, in words."""


@in_float32
def exported(policy: Exportable) -> ExportedPolicy:
    """The graph of a policy. Raises ``ConfigError`` where it has an operation that is not known."""
    observation = names_in(without_mask(policy.observation_space), "observation")
    action = names_in(policy.action_space, "action")
    kinds = leaves_by_name(policy.action_space, action)

    def result(name: str, value: Value) -> Any:
        return _outside(kinds[name].dtype) if name in kinds else value.dtype

    try:
        graph = graph_of(
            lambda given: _outputs(policy, observation, action, given),
            _inputs(policy, observation),
            result,
        )
    except UntranslatableError as error:
        raise ConfigError(
            f"The policy for `{policy.config.env}` cannot be exported: its network has the "
            f"operation `{error}`, which klamp does not translate. Write that part of the network "
            "with dense layers, convolutions, elementwise functions and sums over features "
            "(docs/export.md lists the operations)."
        ) from error
    about = {
        "env": policy.config.env,
        "observation_space": str(policy.observation_space),
        "action_space": str(policy.action_space),
    }
    return ExportedPolicy(graph, observation, action, about)


def names_in(space: Space, name: str) -> Any:
    """The structure of a space, with a name at each leaf."""
    match space:
        case spaces.Dict():
            return {key: names_in(part, f"{name}.{key}") for key, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(names_in(part, f"{name}.{i}") for i, part in enumerate(space.spaces))
        case _:
            return name


def leaves_by_name(space: Any, names: Any) -> dict[str, Any]:
    """The leaves of a space, or of a value in it, by the names that they have in a structure."""
    if isinstance(names, str):
        return {names: space}
    parts = names.items() if isinstance(names, dict) else enumerate(names)
    found: dict[str, Any] = {}
    for key, part in parts:
        found |= leaves_by_name(space[key], part)
    return found


def built(names: Any, values: dict[str, Any]) -> Any:
    """A structure of names with the values in their places."""
    if isinstance(names, str):
        return values[names]
    if isinstance(names, dict):
        return {key: built(part, values) for key, part in names.items()}
    return tuple(built(part, values) for part in names)


def _outside(dtype: Any) -> np.dtype[Any]:
    """The dtype of numbers outside of the policy: floats are float32, the rest is the space's."""
    return np.dtype(np.float32) if np.issubdtype(dtype, np.floating) else np.dtype(dtype)


def _inputs(policy: Exportable, observation: Any) -> dict[str, Value]:
    """Every input by its name."""
    leaves = leaves_by_name(without_mask(policy.observation_space), observation)
    found = {
        name: Value((None, *space.shape), _outside(space.dtype)) for name, space in leaves.items()
    }
    if policy.masked:
        width = sum(mask_sizes(policy.action_space))
        found[MASK] = Value((None, width), np.dtype(np.bool_))
    if size := policy.config.settings.recurrent_size:
        found[HIDDEN] = Value((None, size), np.dtype(np.float32))
        found[START] = Value((None,), np.dtype(np.bool_))
    return found


def _outputs(
    policy: Exportable, observation: Any, action: Any, given: dict[str, Any]
) -> dict[str, Any]:
    """Everything that one step of the policy computes, by name; traced by JAX."""
    space = without_mask(policy.observation_space)
    batch = built(observation, given)
    encode = encoder(space)
    seen: Any = batch if encode is None else encode(batch)
    if policy.scaling is not None:
        seen = normalize(seen, policy.scaling)
    scale = None
    if policy.log_std is not None:
        scale = jnp.full(seen.shape[:1], policy.log_std, jnp.float32)
    inputs = Inputs(seen, given.get(MASK), None, scale, given.get(HIDDEN), given.get(START))
    network = policy.model.unravel(policy.theta)
    encoded, hidden_state = encoded_step(network.encoder, inputs)
    distribution = conditioned(network.actor(encoded), inputs)
    decode = action_decoder(policy.action_space, policy.config.settings.action_bounds)
    found = leaves_by_name(decode(distribution.mode()), action)
    found |= _parameters(distribution, policy.action_space, "")
    found["value"] = network.critic(encoded)
    return found if hidden_state is None else found | {NEXT_HIDDEN: hidden_state}


def _parameters(distribution: Any, space: Any, suffix: str) -> dict[str, Any]:
    """The parameters of a distribution by name; of a part of a Dict or Tuple with its name."""
    if isinstance(distribution, Joint):
        keys: Any = space.spaces if isinstance(space, spaces.Dict) else range(len(space.spaces))
        found: dict[str, Any] = {}
        for key, part in zip(keys, distribution.parts, strict=True):
            found |= _parameters(part, space[key], f"{suffix}.{key}")
        return found
    named: dict[str, Any] = {}
    for path, leaf in tree_leaves_with_path(distribution):
        last: Any = path[-1]
        name: str = last.name
        named[_PARAMETERS.get(name, name) + suffix] = leaf
    return named
