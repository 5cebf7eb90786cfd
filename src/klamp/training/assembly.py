"""From a configuration to its environments' name, its networks and its policy."""

from collections.abc import Callable
from typing import Any, Protocol

from gymnasium import spaces
from jaxtyping import PRNGKeyArray

from klamp.config.run import RunConfig
from klamp.config.unused import Decided, by_spaces, refuse_unused
from klamp.envs.spaces.supported import leaves_of
from klamp.errors import ConfigError
from klamp.evaluation.policy import TrainedPolicy
from klamp.networks import ActorCritic, Model, NetworkBuilder, build_network, check_network
from klamp.networks.build import is_image
from klamp.networks.heads import has_gaussian
from klamp.networks.recurrent import Recurrent
from klamp.runtime.compile_cache import once
from klamp.training.state import TrainState, observation_scaling, scheduled_log_std


class Spaces(Protocol):
    """What of environments decides the form of networks and policies."""

    @property
    def observation_space(self) -> Any:
        """What the environment shows."""
        ...

    @property
    def action_space(self) -> Any:
        """What it takes."""
        ...

    @property
    def seen_space(self) -> Any:
        """What the networks see of what it shows."""
        ...


def check_used(config: RunConfig, environments: Spaces) -> None:
    """Raise ``ConfigError`` where the environment leaves a setting without effect."""
    settings, actions = config.settings, environments.action_space
    continuous = [isinstance(part, spaces.Box) for part in leaves_of(actions)]
    decided = Decided(
        image=is_image(environments.seen_space),
        continuous=any(continuous),
        discrete=not all(continuous),
        gaussian=has_gaussian(actions, settings.action_bounds),
        own_network=config.network is not None,
    )
    unused = by_spaces(settings, decided, actions)
    refuse_unused(config.algorithm, settings, unused)


def network_maker(
    config: RunConfig, environments: Spaces, network: NetworkBuilder | None
) -> Callable[[PRNGKeyArray], ActorCritic]:
    """From a key to the networks of the settings, or to a user's own."""
    seen, actions = environments.seen_space, environments.action_space
    if (network is None) != (config.network is None):
        raise ConfigError(
            "The run has the built-in networks; leave `network` out."
            if config.network is None
            else f"The run has networks of its own, built by `{config.network}`, which no file "
            "holds. Give that function again, in Python: `klamp.load(folder, network=…)` or "
            "`klamp.resume(folder, network=…)`."
        )
    if network is not None:
        return lambda key: _own_network(config, network(seen, actions, key), seen, actions)
    # As one program: drawn layer by layer, the first weights take longer than all the rest.
    return once(lambda key: build_network(seen, actions, config.settings, key=key))


def _own_network(config: RunConfig, network: Any, seen: Any, actions: Any) -> ActorCritic:
    """A user's network, if it fits the spaces and the settings."""
    checked = check_network(network, seen, actions)
    if config.settings.recurrent_size and not isinstance(checked.encoder, Recurrent):
        raise ConfigError(
            f"`recurrent_size` of Settings is {config.settings.recurrent_size}, but would do "
            "nothing: the run's own network has no `klamp.networks.Recurrent` for its encoder. "
            "Leave it out."
        )
    return checked


def make_policy(
    config: RunConfig, environments: Spaces, model: Model, state: TrainState
) -> TrainedPolicy:
    """The policy of a state, with its normaliser."""
    return TrainedPolicy(
        model,
        state.theta,
        observation_scaling(config, state),
        environments.observation_space,
        environments.action_space,
        config,
        scheduled_log_std(config, state),
    )
