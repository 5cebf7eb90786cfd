"""One temporary copy of an environment, stepped at random; every answer is checked."""

import inspect
import numbers
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.envs import MASK_KEY
from klamp.envs.checks.observation import a_kind, check_sample
from klamp.envs.checks.time_limit import limited
from klamp.envs.host.recipe import Recipe
from klamp.envs.host.subprocesses import CONSTRUCTION_LIMIT_S
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.envs.spaces.observation_reader import ObservationReader
from klamp.envs.spaces.observations import batch_of_one
from klamp.envs.spaces.supported import check_spaces
from klamp.errors import EnvironmentFault, KlampError, one_line
from klamp.runtime.seeding import Purpose, environment_seed, generator

STEPS = 16
"""Random steps of one walk."""


class Answer(NamedTuple):
    """What one call of ``reset`` or ``step`` answered, in bytes, so that walks can be compared."""

    call: str
    observation: tuple[bytes, ...]
    reward: float
    terminated: bool
    truncated: bool


class Single:
    """A copy of its own, made by a recipe; raises ``EnvironmentFault`` on a fault.

    An exception of the environment, ``SystemExit`` too, is named by its own type and in its own
    words; ``KeyboardInterrupt`` passes.
    """

    def __init__(self, make: Recipe, limit_s: float) -> None:
        with limited(make.title, "The constructor", max(limit_s, CONSTRUCTION_LIMIT_S)):
            self.raw: Any = make.made()
        self.env, self._again, self._limit_s = make.title, make.call, limit_s
        self.notes = list[str]()
        self.observation_space: Any = getattr(self.raw, "observation_space", None)
        self.action_space: Any = getattr(self.raw, "action_space", None)

    def walk(self, seed: int, number: int) -> list[Answer]:
        """Random steps from a reset with a seed; both are functions of ``seed`` and ``number``."""
        draw = generator(seed, Purpose.CHECK, number)
        to_action = to_environment(self.action_space)
        shown = ObservationReader(self.env, self.observation_space, self.action_space, 1)
        episode, answers = 0, list[Answer]()
        start = environment_seed(seed, Purpose.CHECK, number, episode)
        answers.append(self._reset(shown, start))
        for step in range(STEPS):
            mask = None if shown.masks is None else shown.masks.allowed
            batch = to_action(random_actions(self.action_space, 1, mask, draw))
            action = jax.tree.map(lambda leaf: leaf[0], batch)
            answers.append(self._step(shown, action, step, start))
            if answers[-1].terminated or answers[-1].truncated:
                episode += 1
                start = environment_seed(seed, Purpose.CHECK, number, episode)
                answers.append(self._reset(shown, start))
        return answers

    def check_spaces(self) -> None:
        """Both spaces are supported, and ``reset`` takes what Gymnasium gives it."""
        check_spaces(self.env, self.observation_space, self.action_space)
        reset = self.raw.unwrapped.reset
        try:
            inspect.signature(reset).bind(seed=0, options=None)
        except (TypeError, ValueError) as error:
            raise EnvironmentFault(
                f"`reset` of `{self.env}` has the signature {inspect.signature(reset)}; expected "
                "`reset(self, *, seed=None, options=None)`, as Gymnasium has it since 0.26. Take "
                "both and begin with `super().reset(seed=seed)`."
            ) from error

    def check_spaces_stayed(self) -> None:
        """An environment that changes its spaces as it goes fits no network."""
        for name in ("observation_space", "action_space"):
            before, after = getattr(self, name), getattr(self.raw, name)
            if before != after:
                raise EnvironmentFault(
                    f"`{name}` of `{self.env}` was {before} when it was made, and is {after} after "
                    f"{STEPS} steps; expected a space that stays. Set it once, in `__init__`."
                )

    def close(self) -> None:
        """Free the environment."""
        with self._named("close"):
            self.raw.close()

    def drop(self) -> None:
        """Free the environment after a fault; a fault of ``close`` does not replace it."""
        with suppress(Exception, SystemExit), limited(self.env, "`close`", self._limit_s):
            self.raw.close()

    @contextmanager
    def _named(self, call: str) -> Generator[None]:
        """Exceptions of the environment's own code, as a fault of it."""
        try:
            with limited(self.env, call, self._limit_s):
                yield
        except KlampError:
            raise
        except (Exception, SystemExit) as error:
            count = re.search(r"values to unpack \(expected 5, got (\d+)\)", str(error))
            if count is not None:
                raise EnvironmentFault(_wrong_count(self.env, call, int(count[1]))) from error
            raise EnvironmentFault(
                f"The environment `{self.env}` raised {type(error).__name__} in {call}: "
                f"{one_line(error)} Run it by itself to mend it, by `{self._again}` "
                "and these calls."
            ) from error

    def _reset(self, shown: ObservationReader, seed: int) -> Answer:
        call = f"`reset(seed={seed})`"
        with self._named(call):
            answer = self.raw.reset(seed=seed)
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise EnvironmentFault(
                    f"{call} of `{self.env}` returned {_count(answer)}; expected the two of "
                    "`observation, info`, as Gymnasium has it since 0.26. Return `observation, {}`."
                )
            observation, info = answer
            self._check(observation, info, call)
            shown.first(batch_of_one(observation), [info.get(MASK_KEY)])
        return Answer(call, as_bytes(observation), 0.0, False, False)

    def _step(self, shown: ObservationReader, action: Any, step: int, seed: int) -> Answer:
        call = f"`step({_plain(action)})` (step {step} after `reset(seed={seed})`)"
        with self._named(call):
            answer = self.raw.step(action)
            if not isinstance(answer, tuple | list) or len(answer) != 5:
                raise EnvironmentFault(_wrong_count(self.env, call, answer))
            observation, reward, terminated, truncated, info = answer
            self._check(observation, info, call)
            _check_reward(reward, f"The reward of {call} of `{self.env}`")
            for name, flag in (("terminated", terminated), ("truncated", truncated)):
                _check_flag(flag, f"`{name}` of {call} of `{self.env}`")
            ended = bool(terminated) or bool(truncated)
            shown.count_step()
            shown.see(batch_of_one(observation), [info.get(MASK_KEY)], np.array([ended]))
        return Answer(call, as_bytes(observation), float(reward), bool(terminated), bool(truncated))

    def _check(self, observation: Any, info: Any, call: str) -> None:
        self.notes += check_sample(
            self.observation_space, observation, f"of {call} of `{self.env}`"
        )
        if not isinstance(info, dict):
            raise EnvironmentFault(
                f"The info of {call} of `{self.env}` is {a_kind(info)}; expected a dict. Return "
                "`{}` where there is nothing to tell."
            )
        if info.get(MASK_KEY) is not None:
            _check_mask(info[MASK_KEY], f"The action mask of {call} of `{self.env}`")


def _check_reward(reward: Any, what: str) -> None:
    value: Any = reward
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise EnvironmentFault(
            f"{what} is {_shown(reward)}; expected one real number (int, float or a NumPy number). "
            "Return `float(reward)`."
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.float32(float(value)))
    if not finite:
        raise EnvironmentFault(
            f"{what} is {float(value)}; expected a finite number within the range of float32. Mend "
            "the step of the environment that made it."
        )


def _check_flag(flag: Any, what: str) -> None:
    is_flag = isinstance(flag, bool | np.bool_)
    if not is_flag and not (
        isinstance(flag, np.ndarray) and flag.shape == () and flag.dtype == bool
    ):
        raise EnvironmentFault(
            f"{what} is {_shown(flag)}; expected a bool, so that a terminal state and a time limit "
            "can be told apart. Return `bool(…)` of it."
        )


def _check_mask(mask: Any, what: str) -> None:
    parts = mask if isinstance(mask, tuple | list) else [mask]
    for part in parts:
        array = np.asarray(part)
        if array.dtype.kind not in "biuf" or not np.all((array == 0) | (array == 1)):
            raise EnvironmentFault(
                f"{what} is {' '.join(repr(mask).split())}; expected zeros and ones, or booleans: "
                "1 where an action is allowed."
            )


def _shown(value: Any) -> str:
    """A value and what it is."""
    return "None" if value is None else f"{' '.join(repr(value).split())}, {a_kind(value)}"


def _count(answer: Any) -> str:
    """How many values a call returned."""
    if isinstance(answer, tuple | list):
        return f"{a_kind(answer)} of {len(answer)}"
    return a_kind(answer)


def _wrong_count(env: str, call: str, answer: Any) -> str:
    found = f"{answer} values" if isinstance(answer, int) else _count(answer)
    return (
        f"{call} of `{env}` returned {found}; expected the five of `observation, reward, "
        "terminated, truncated, info`, as Gymnasium has it since 0.26. Return terminal states as "
        "`terminated` and time limits as `truncated`."
    )


def _plain(action: Any) -> str:
    """An action, short enough for a message."""
    text = " ".join(repr(jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), action)).split())
    return text if len(text) <= 60 else f"{text[:60]}…"


def as_bytes(observation: object) -> tuple[bytes, ...]:
    """Every array of an observation, copied."""
    return tuple(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(observation))
