"""The networks that settings and spaces describe, and the check of a user's own."""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import PRNGKeyArray

from klamp.config.algorithms import algorithm_name
from klamp.config.environment_name import can_be_imported
from klamp.config.presets import preset
from klamp.config.run import RunConfig
from klamp.config.settings import NetworkSettings
from klamp.config.unused import Decided, by_spaces, refuse_unused
from klamp.envs.spaces.joined import JoinedBox, is_image
from klamp.envs.spaces.supported import Space, leaves_of
from klamp.errors import ConfigError, EnvironmentFault, KlampError, one_line
from klamp.networks.actor_critic import Actor, ActorCritic, Critic, NoEncoder, Trunk
from klamp.networks.heads import action_head, has_gaussian
from klamp.networks.layers import CNN, FEATURES, MLP, Dense, Features, ImagesAndNumbers
from klamp.networks.recurrent import Recurrent, RecurrentEncoder
from klamp.runtime.compile_cache import compile_cheaply
from klamp.runtime.qualified_name import find_code
from klamp.types import Inputs

NetworkBuilder = Callable[[Any, Any, PRNGKeyArray], ActorCritic]
"""``(observation_space, action_space, key)`` → the network; what ``train(network=…)`` takes."""


@runtime_checkable
class Spaces(Protocol):
    """The spaces that networks and policies are built from."""

    @property
    def observation_space(self) -> Space:
        """The environment's observations."""
        ...

    @property
    def action_space(self) -> Space:
        """The environment's actions."""
        ...

    @property
    def policy_observation_space(self) -> Any:
        """The part of an observation that the networks get, as one array."""
        ...


def build_network(
    observation: Any, action_space: Space, settings: NetworkSettings, *, key: PRNGKeyArray
) -> ActorCritic:
    """Actor and critic with equal hidden layers, or with the same, as ``settings`` describe them.

    ``observation`` is the Box of the networks' inputs, or the length of a vector. Images (bytes
    with three axes) get convolutions; those of a Dict or Tuple (``JoinedBox``) as well, each its
    own, whose features join the other numbers before the hidden layers.
    """
    keys = jax.random.split(key, 4)
    shape: tuple[int, ...] = (observation,) if isinstance(observation, int) else observation.shape
    size = math.prod(shape)
    image, joined = is_image(observation), isinstance(observation, JoinedBox)
    if isinstance(observation, JoinedBox):
        size = observation.numbers + FEATURES * len(observation.images)
    width = FEATURES if image else (size, *settings.hidden_sizes)[-1]
    features = settings.recurrent_size or width
    gaussian = has_gaussian(action_space, settings.action_bounds)
    if settings.action_scale == "scheduled" and not gaussian:
        raise ConfigError(
            f"`action_scale` is 'scheduled', but the actions {action_space} under `action_bounds` "
            f"{settings.action_bounds!r} have no Gaussian part. Use `action_scale='learned'`."
        )

    def torso(key: PRNGKeyArray, dropout: float) -> Any:
        if image:
            return CNN(shape, key=key)
        hidden, activation = settings.hidden_sizes, settings.activation
        of_layers, of_images = jax.random.split(key) if joined else (key, key)
        layers = MLP(size, hidden, activation, dropout=dropout, key=of_layers)
        if isinstance(observation, JoinedBox):
            return ImagesAndNumbers(observation.numbers, observation.images, layers, key=of_images)
        return layers

    head = action_head(
        action_space,
        features,
        initial_log_std=settings.initial_log_std,
        scale=settings.action_scale,
        bounds=settings.action_bounds,
        mean_activation=settings.mean_activation,
        key=keys[1],
    )
    value = Dense(features, 1, gain=1.0, key=keys[3])
    if settings.recurrent_size:
        memory = Recurrent(
            torso(keys[0], settings.dropout),
            width,
            settings.recurrent_size,
            settings.sequence_length,
            key=keys[2],
        )
        return ActorCritic(Actor(Features(), head), memory, Critic(Features(), value))
    if settings.shared_network:
        trunk = Trunk(torso(keys[0], settings.dropout))
        return ActorCritic(Actor(Features(), head), trunk, Critic(Features(), value))
    actor = Actor(torso(keys[0], settings.dropout), head)
    # No dropout in a separate critic: noise in V is noise in the advantage.
    return ActorCritic(actor, NoEncoder(), Critic(torso(keys[2], 0.0), value))


def check_network(
    network: object, observation_space: spaces.Box, action_space: Space
) -> ActorCritic:
    """A user's network, if it is an ``ActorCritic`` whose outputs fit the spaces; else an error.

    What its policy samples must have the shapes that the built-in policy's samples have.
    """
    if not isinstance(network, ActorCritic):
        raise ConfigError(
            f"The network is of type {type(network).__name__}; expected "
            "klamp.networks.ActorCritic. See docs/custom-networks.md."
        )
    rows = jax.ShapeDtypeStruct((2, *observation_space.shape), observation_space.dtype)

    def outputs(observation: Any, key: Any) -> Any:
        inputs = Inputs(observation)
        if (hidden_state := network.initial_state(2)) is not None:
            inputs = Inputs(observation, hidden_state=hidden_state, episode_start=jnp.ones(2, bool))
        distribution, _ = network.act(inputs)
        return distribution.sample(key), network.step_value(inputs)

    def expected(key: Any) -> Any:
        return action_head(action_space, 1, key=key)(jnp.zeros((2, 1))).sample(key)

    action, value = jax.eval_shape(outputs, rows, jax.random.key(0))
    wanted = jax.eval_shape(expected, jax.random.key(0))
    shapes, wanted_shapes = (jax.tree.map(lambda leaf: leaf.shape, x) for x in (action, wanted))
    if shapes != wanted_shapes or value.shape != (2,):
        raise ConfigError(
            f"For 2 observations the network gives actions of shape {shapes} and values of shape "
            f"{value.shape}; the action space {action_space} needs {wanted_shapes} and (2,). See "
            "docs/custom-networks.md."
        )
    return network


def network_maker(
    config: RunConfig, environments: Spaces, network: NetworkBuilder | None
) -> Callable[[PRNGKeyArray], ActorCritic]:
    """From a key to the networks of the settings, or to a user's own.

    These are built by ``network``, or, where it is None, by what the configuration names.
    """
    seen, actions = environments.policy_observation_space, environments.action_space
    if config.network is not None:
        build = network or _builder_named(config.network)
        return lambda key: _own_network(config, _built(build, config, seen, actions, key))
    if network is not None:
        raise ConfigError("The run has the built-in networks; leave `network` out.")
    # As one program: drawn layer by layer, the first weights take longer than all the rest.
    return compile_cheaply(lambda key: build_network(seen, actions, config.settings, key=key))


def network_to_fill(
    config: RunConfig, environments: Spaces, network: NetworkBuilder | None, key: PRNGKeyArray
) -> ActorCritic:
    """The network of ``network_maker`` for parameters that come from a file.

    A built-in one is not drawn, which takes a second, but has zeros in every place. A user's own
    may hold arrays that are no parameters, and is built.
    """
    make = network_maker(config, environments, network)
    if config.network is not None:
        return make(key)
    seen, actions = environments.policy_observation_space, environments.action_space
    form: Any = eqx.filter_eval_shape(build_network, seen, actions, config.settings, key=key)

    def zeros(leaf: Any) -> Any:
        array = isinstance(leaf, jax.ShapeDtypeStruct)
        return np.zeros(leaf.shape, leaf.dtype) if array else leaf

    return jax.tree.map(zeros, form)


def _built(
    build: NetworkBuilder, config: RunConfig, seen: Any, actions: Any, key: PRNGKeyArray
) -> ActorCritic:
    """A user's network; its exceptions become a ``ConfigError``."""
    try:
        return check_network(build(seen, actions, key), seen, actions)
    except KlampError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The network `{config.network}` raised {type(error).__name__} for observations of "
            f"{seen} and actions of {actions}: {one_line(error)} It is called with these spaces "
            "and a key, and its policy and critic with two rows. See docs/custom-networks.md."
        ) from error


def _builder_named(name: str) -> NetworkBuilder:
    """The function ``module:name``; ``ConfigError`` where there is none."""
    if not can_be_imported(name):
        raise ConfigError(
            f"The run has networks of its own, built by `{name}`, which no file holds. Give that "
            "function again, in Python: `klamp.load(folder, network=…)` or "
            "`klamp.resume(folder, network=…)`."
        )
    try:
        return find_code(name, "network")
    except EnvironmentFault as fault:
        raise ConfigError(str(fault)) from fault


def _own_network(config: RunConfig, checked: ActorCritic) -> ActorCritic:
    """A user's network, if it fits the settings."""
    size, recurrent = config.settings.recurrent_size, isinstance(checked.encoder, RecurrentEncoder)
    if size and not recurrent:
        raise ConfigError(
            f"`recurrent_size` of Settings is {size}, but would do nothing: the encoder of the "
            "run's own network is no `klamp.networks.RecurrentEncoder`. Leave it out."
        )
    if recurrent and not size:
        raise ConfigError(
            "The encoder of the run's own network is recurrent, but `recurrent_size` of Settings "
            "is 0, so that rows would not come in sequences. Give `recurrent_size=…` (the width "
            "of the hidden state) and `sequence_length=…`."
        )
    return checked


def check_used(config: RunConfig, environments: Spaces) -> None:
    """Raise ``ConfigError`` where the environment leaves a setting without effect."""
    settings, actions = config.settings, environments.action_space
    continuous = [isinstance(part, spaces.Box) for part in leaves_of(actions)]
    decided = Decided(
        image=is_image(environments.policy_observation_space),
        continuous=any(continuous),
        discrete=not all(continuous),
        gaussian=has_gaussian(actions, settings.action_bounds),
        own_network=config.network is not None,
    )
    unused = by_spaces(settings, decided, actions)
    usual = preset(config.env, algorithm_name(config.algorithm))
    refuse_unused(config.algorithm, settings, unused, usual)
