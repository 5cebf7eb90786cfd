"""From a configuration to its environments' name, its networks and its policy."""

from collections.abc import Callable
from typing import Any, Protocol

from jaxtyping import PRNGKeyArray

from klamp.compilation import once
from klamp.config import RunConfig
from klamp.envs.device import is_device_environment
from klamp.envs.making import OBJECT
from klamp.errors import ConfigError
from klamp.networks import ActorCritic, Model, NetworkBuilder, build_network, check_network
from klamp.policy import TrainedPolicy
from klamp.state import TrainState, observation_scaling, scheduled_log_std


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


def environment_name(env: Any) -> Any:
    """The name of an environment as `config.json` holds it; what is none is left as it is."""
    if not is_device_environment(env):
        return env
    return f"{OBJECT}{type(env).__module__}:{type(env).__qualname__}"


def environment_of(config: RunConfig, environment: Any = None) -> Any:
    """The name of the run's environment, or the object that it was given as.

    Raises ``ConfigError`` where an object is needed and missing, or another than the run's.
    """
    if environment is None and not config.env.startswith(OBJECT):
        return config.env
    if environment is None:
        raise ConfigError(
            f"The environment of the run is an object, `{config.env.removeprefix(OBJECT)}`, which "
            "no file holds. Give it again, in Python: `klamp.load(folder, environment=…)`, "
            "`klamp.resume(folder, environment=…)`, `klamp.evaluate(policy, environment)`."
        )
    name = environment_name(environment)
    if name != config.env:
        raise ConfigError(
            f"The run was made with the environment `{config.env}`, but `environment` is {name!r}. "
            "Give an object of the run's own class, or leave it out where the run has an id."
        )
    return environment


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
        return lambda key: check_network(network(seen, actions, key), seen, actions)
    # As one program: drawn layer by layer, the first weights take longer than all the rest.
    return once(lambda key: build_network(seen, actions, config.settings, key=key))


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
