"""Settings that would do nothing, and why.

A setting that the algorithm, other settings or the spaces leave without effect is refused where it
differs from its default and from the preset's: whoever gave it expects an effect, and
``config.json`` should hold what was done. Light to import, like ``config``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from klamp.config.algorithms.traits import AlgorithmConfig, Unused, traits_of
from klamp.config.settings import Settings
from klamp.errors import ConfigError, shown

CRITIC_FIT = ("critic_epochs", "critic_minibatch_size", "critic_learning_rate")
LAYERS = ("hidden_sizes", "activation", "dropout")
SCHEDULE = ("action_std", "action_std_decay", "action_std_minimum")


class Decided(NamedTuple):
    """The facts about spaces and networks that decide which settings have an effect."""

    image: bool
    """Whether the networks see images."""
    continuous: bool
    """Whether any action is continuous."""
    discrete: bool
    """Whether any is not."""
    gaussian: bool
    """Whether any has a Gaussian, by the settings."""
    own_network: bool
    """Whether the networks are the user's own."""


def refuse_unused(
    algorithm: AlgorithmConfig,
    settings: Settings,
    unused: Iterator[Unused],
    usual: Mapping[str, Any],
) -> None:
    """Raise ``ConfigError`` where somebody gave a setting that has no effect.

    Nobody gave a value that is the default, or the preset's, which are ``usual``.
    """
    for names, why in unused:
        for part in (settings, algorithm):
            for item in fields(part):
                value = getattr(part, item.name)
                given = value not in (item.default, usual.get(item.name, item.default))
                if item.name in names and given:
                    raise ConfigError(
                        f"`{item.name}` of {type(part).__name__} is {shown(value)}, but would do "
                        f"nothing: {why}. Leave it out."
                    )


def by_choices(algorithm: AlgorithmConfig, settings: Settings) -> Iterator[Unused]:
    """The settings that algorithm and other settings leave without effect."""
    yield from _of_the_critic(algorithm, settings)
    yield from _of_the_networks(settings)
    kind = type(algorithm).__name__
    yield from traits_of(algorithm).unused
    if settings.advantage_normalization == "minibatch" and traits_of(algorithm).whole_batch:
        yield Unused(
            ("advantage_normalization",),
            f"{kind} takes its step on the whole batch, so 'minibatch' would standardise nothing; "
            "'batch' and 'off' are the choices",
        )
    if settings.eval_interval is None:
        yield Unused(
            ("eval_episodes", "video_every"), "without an `eval_interval` nothing is evaluated"
        )


def _of_the_critic(algorithm: AlgorithmConfig, settings: Settings) -> Iterator[Unused]:
    kind, traits = type(algorithm).__name__, traits_of(algorithm)
    learns = traits.without_critic is None
    if traits.critic == "joint":
        yield Unused(
            CRITIC_FIT,
            f"{kind} has no fit of the critic by itself; it descends the value loss together with "
            "the policy's, weighted by `value_coefficient`",
        )
    if traits.without_critic is not None:
        without = traits.without_critic
        yield Unused((*CRITIC_FIT, "value_clip", "value_learning_rate"), without)
        if settings.advantage_estimator != "standardized-return":
            yield Unused(("value_target",), without)
    in_target = learns and settings.value_target == "td-lambda"
    if settings.advantage_estimator != "gae" and not in_target:
        yield Unused(
            ("trace_decay",),
            "λ is used by the `advantage_estimator` 'gae' and the `value_target` 'td-lambda', and "
            "this run learns from neither",
        )


def _of_the_networks(settings: Settings) -> Iterator[Unused]:
    if settings.recurrent_size:
        yield Unused(("shared_network",), "a recurrent unit is shared by policy and critic anyway")
    else:
        yield Unused(("sequence_length",), "without a `recurrent_size` nothing is remembered")
    if not settings.hidden_sizes:
        yield Unused(("activation", "dropout", "shared_network"), "there are no hidden layers")
    if settings.action_scale == "scheduled":
        yield Unused(
            ("initial_log_std",), "with `action_scale` 'scheduled' the scale begins at `action_std`"
        )
    else:
        yield Unused(SCHEDULE, "only the `action_scale` 'scheduled' follows a schedule")


def by_spaces(settings: Settings, decided: Decided, action_space: Any) -> Iterator[Unused]:
    """The settings that the environment, or a user's own network, leaves without effect."""
    if decided.own_network:
        yield Unused(
            ("hidden_sizes", "activation", "shared_network", "mean_activation", "initial_log_std"),
            "it describes the built-in networks, and this run has its own",
        )
        if settings.action_scale == "state":
            yield Unused(("action_scale",), "the run's own network decides over its scale")
    elif decided.image:
        yield Unused(LAYERS, "images get convolutions of a fixed form, without hidden layers")
    if not decided.continuous:
        yield Unused(("action_bounds",), f"the actions {action_space} are not continuous")
    if not decided.gaussian:
        yield Unused(
            ("action_scale", "mean_activation", "initial_log_std"),
            f"the actions {action_space} under `action_bounds` {settings.action_bounds!r} have no "
            "Gaussian part",
        )
    fixed = settings.action_scale == "scheduled" and settings.action_bounds == "clip"
    if fixed and not decided.discrete and not decided.own_network:
        yield Unused(
            ("entropy_coefficient",), "the entropy of a Gaussian of scheduled scale is given by it"
        )
