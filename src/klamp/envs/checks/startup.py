"""The start-up check: temporary copies are stepped, so that faults are found before training."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from klamp.config.environment_name import FACTORY, OBJECT
from klamp.config.settings import Settings
from klamp.envs.checks.device_protocol import check_protocol
from klamp.envs.checks.exact_resume import resumes_exactly
from klamp.envs.checks.memory_budget import check_memory
from klamp.envs.checks.one_copy import STEPS, Answer, Single
from klamp.envs.checks.time_limit import limited
from klamp.envs.host.gymnasium_source import FEW
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.recipe import Recipe
from klamp.envs.host.subprocesses import CONSTRUCTION_LIMIT_S
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import EnvironmentSource
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.envs.spaces.supported import check_spaces
from klamp.errors import ConfigError, EnvironmentFault, KlampError, KlampWarning
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, generator

COMPILING_LIMIT_S = 1800.0
"""Seconds for a call of an environment written in JAX, which may have to be compiled first."""

UNTIL = 1000
"""Steps within which an episode of a vector environment should end, so that its end is checked."""


@dataclass(frozen=True)
class Checked:
    """What the check found out about environments that passed it."""

    repeats: bool
    """Whether the same seeds and actions led another copy to the same bytes, as a run must that is
    to be resumed exactly."""
    difference: str
    """Where they differed; empty where they did not, and for EnvPool, which is known to differ."""


def check_environment(source: EnvironmentSource, settings: Settings) -> Checked:
    """Make copies of an environment, take random steps, and raise ``EnvironmentFault`` on a fault.

    Checked is every answer of one copy (spaces, observations, rewards, end flags, infos, masks),
    that a second copy has the same spaces, and that one rollout of these ``settings`` fits into
    memory (``ConfigError``). What is unusual but harmless is a ``KlampWarning``, and so is an
    environment that does not repeat itself. Nothing of the run's own environments is used.
    """
    checked = _check(source, settings)
    if checked.difference:
        warnings.warn(
            f"{checked.difference}. It can be trained, but a run that is stopped and resumed will "
            "not end with the same bytes as one that was never stopped. Draw every random number "
            "from `self.np_random`, which `reset(seed=…)` seeds, and keep nothing from one episode "
            "to the next.",
            KlampWarning,
            stacklevel=4,
        )
    return checked


def _check(source: EnvironmentSource, settings: Settings) -> Checked:
    on_device = source.device(settings.vectorization)
    if on_device is not None:
        if settings.step_limit_s != Settings.step_limit_s:
            raise ConfigError(
                f"`step_limit_s` of Settings is {settings.step_limit_s!r}, but would do nothing: "
                f"`{source.title}` is stepped by a compiled program, which is not timed. Leave it "
                "out."
            )
        with limited(source.title, "To trace", COMPILING_LIMIT_S):
            check_protocol(source.title, on_device)
        again = "`jax.vmap` over its `reset(key)` and `step(key, state, action)`"
        return _check_together(source, settings, again, COMPILING_LIMIT_S)
    own = source.name.startswith((FACTORY, OBJECT))
    made = f"{source.title}(…)" if own else f"gymnasium.make_vec({source.name!r})"
    again = f"`{made}`, `reset(seed=0)` and `step(action_space.sample())`"
    if source.rows is not None and settings.eval_interval is not None:
        # An error now, and not at the first evaluation.
        source.host(source.rows, EnvironmentSeeds(settings.seed, Purpose.EVALUATE_WHILE_TRAINING))
    checked = None if source.one is None else _check_single(source.one, settings)
    if checked is None or source.together(settings.num_envs, settings.vectorization):
        return _check_together(source, settings, again, settings.step_limit_s)
    return checked


def _check_single(make: Recipe, settings: Settings) -> Checked:
    """One copy walks twice, a second one walks the same way as the first did the second time."""
    copies: list[Single] = []
    try:
        first = Single(make, settings.step_limit_s)
        copies.append(first)
        first.check_spaces()
        check_memory(make.title, settings, first.observation_space, first.action_space)
        first.walk(settings.seed, 0)
        expected = first.walk(settings.seed, 1)
        second = Single(make, settings.step_limit_s)
        copies.append(second)
        _check_siblings(make, first, second)
        found = second.walk(settings.seed, 1)
        first.check_spaces_stayed()
        while copies:
            copies.pop().close()
    finally:
        for copy in copies:
            copy.drop()
    for note in dict.fromkeys(first.notes[:1]):
        warnings.warn(note, KlampWarning, stacklevel=4)
    return _compared(make.title, expected, found)


def _check_siblings(make: Recipe, first: Single, second: Single) -> None:
    """Two copies have the same spaces, and nothing else in common."""
    if first.raw.unwrapped is second.raw.unwrapped:
        raise EnvironmentFault(
            f"`{make.call}` returned the same object twice; expected a new environment each time. "
            "Let the class, function or entry point construct one at every call."
        )
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise EnvironmentFault(
                f"`{name}` of two copies of `{make.title}` differ: the first has {ours}, the "
                f"second {theirs}; expected one space for all. Let it depend on nothing but the "
                "arguments of the constructor."
            )


def _compared(env: str, expected: list[Answer], found: list[Answer]) -> Checked:
    """Whether two walks agree in every byte, and where they part."""
    for ours, theirs in zip(expected, found, strict=False):
        for what, a, b in zip(Answer._fields, ours, theirs, strict=True):
            if a != b and not (a != a and b != b):  # noqa: PLR0124 - NaN is not itself
                return Checked(
                    False,
                    f"`{env}` does not repeat itself: in two copies, the {what} after {ours.call} "
                    "and the same calls before it differ",
                )
    return Checked(True, "")


def _check_together(
    source: EnvironmentSource, settings: Settings, again: str, limit_s: float
) -> Checked:
    """Environments in a vector form of their own, which resets them itself.

    ``again`` says how to run them without klamp; ``limit_s`` is the time that each call has.
    """
    env = source.title

    def make() -> HostEnvironments:
        return source.host(
            source.rows or FEW + 1,
            EnvironmentSeeds(settings.seed, Purpose.CHECK),
            vectorization=settings.vectorization,
        )

    try:
        with limited(env, "The constructor", max(limit_s, CONSTRUCTION_LIMIT_S)):
            copies = make()
        try:
            check_spaces(env, copies.observation_space, copies.action_space)
            check_memory(env, settings, copies.observation_space, copies.action_space)
            _walk(copies, settings.seed, limit_s)
            if isinstance(copies, VectorEnvironments) and copies.resets_at_once:
                _until_an_end(copies, settings.seed, limit_s)
        finally:
            with limited(env, "`close`", limit_s):
                copies.close()
        with limited(env, "A second walk", max(limit_s * STEPS, CONSTRUCTION_LIMIT_S)):
            repeats = resumes_exactly(make, settings.seed)
    except KlampError:
        raise
    except (Exception, SystemExit) as error:
        raise EnvironmentFault(
            f"The environment `{env}` raised {type(error).__name__} in its first {STEPS} steps: "
            f"{' '.join(str(error).split())} Run it by itself with {again}."
        ) from error
    difference = (
        f"`{env}` does not repeat itself from what its vector form keeps, the arrays and numbers "
        "among its attributes"
    )
    return Checked(repeats, difference if source.exact and not repeats else "")


def _walk(copies: HostEnvironments, seed: int, limit_s: float) -> None:
    """Reset, then random steps."""
    env, space = copies.env, copies.policy_observation_space
    draw = generator(seed, Purpose.CHECK)
    to_action = to_environment(copies.action_space)
    copies.begin(0)
    with limited(env, "`reset`", limit_s):
        first = copies.reset()
    _check_observation(env, "reset", first, space)
    for step in range(STEPS):
        action = random_actions(copies.action_space, copies.num_envs, copies.action_mask, draw)
        where = f"step {step}"
        with limited(env, f"`step` ({where})", limit_s):
            after = copies.step(to_action(action))
        _check_observation(env, where, after.observation, space)
        _check_observation(env, where, after.next_observation, space)
        reward = np.asarray(after.reward)
        if reward.shape != (copies.num_envs,) or not np.all(np.isfinite(reward)):
            raise EnvironmentFault(
                f"The reward of `{env}` at {where} is {after.reward!r}; expected one finite number "
                "for each environment."
            )
        for name in ("terminated", "truncated"):
            flag = np.asarray(getattr(after, name))
            if flag.dtype != bool:
                raise EnvironmentFault(
                    f"`{name}` of `{env}` at {where} is {flag!r}; expected booleans, so that a "
                    "time limit and a terminal state can be told apart."
                )


def _until_an_end(copies: VectorEnvironments, seed: int, limit_s: float) -> None:
    """Random steps until the episode of a row has ended, at most ``UNTIL`` of them."""
    draw, to_action = generator(seed, Purpose.CHECK, 1), to_environment(copies.action_space)
    for step in range(STEPS, UNTIL):
        mask = copies.action_mask
        action = random_actions(copies.action_space, copies.num_envs, mask, draw)
        with limited(copies.env, f"`step` (step {step})", limit_s):
            after = copies.step(to_action(action))
        if np.any(after.terminated | after.truncated):
            shown, space = after.next_observation, copies.policy_observation_space
            _check_observation(copies.env, f"step {step}", shown, space)
            return


def _check_observation(env: str, where: str, observation: Any, space: Any) -> None:
    array = np.asarray(observation)
    if array.shape[1:] != space.shape:
        raise EnvironmentFault(
            f"An observation of `{env}` at {where} has the shape {array.shape[1:]}, but its "
            f"observation space says {space.shape}. Correct one of the two in the environment."
        )
    if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
        raise EnvironmentFault(
            f"An observation of `{env}` at {where} is not finite: {array!r}. Find the step of the "
            "environment that divides by zero or overflows."
        )
