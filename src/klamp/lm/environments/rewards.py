"""Rewards that users write, with the signature of TRL's reward functions."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from klamp.config.validation import is_number
from klamp.errors import ConfigError, EnvironmentFault, closest, shown
from klamp.lm.environments.user_calls import CallFault, call_all

Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or messages with ``role`` and ``content``."""

RewardFunction = Callable[..., Sequence[float | Sequence[float] | None]]
"""``f(prompts, completions, **columns)`` with one entry for each completion: a number, None where
the function does not apply, or a list of numbers, one for each turn. Columns are those of the data
and ``completion_ids``; a function without ``**`` gets only the ones it names. Where a prompt is a
list of messages its completion is one as well: ``[{"role": "assistant", "content": …}]``."""


class Scores(NamedTuple):
    """What S completions earned."""

    total: Float[np.ndarray, " S"]
    """The weighted sum of the functions' numbers, turns apart."""
    turns: Float[np.ndarray, "S turns"] | None
    """The weighted sum of what was given turn by turn; None where nothing was."""
    by_name: dict[str, Float[np.ndarray, " S"]]
    """Each function's own number, turns summed; NaN where it did not apply."""


@dataclass(frozen=True)
class Rewards:
    """Several reward functions and their weights."""

    functions: tuple[RewardFunction, ...]
    weights: tuple[float, ...] | None = None
    """One number for each function; None for 1 each."""
    time_limit: float = 60.0
    """Seconds that one call of one function may take."""

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        if len(self.weights) != len(self.functions):
            raise ConfigError(
                f"`reward_weights` has {len(self.weights)} numbers for {len(self.functions)} "
                "reward functions. Give one number for each, in the same order."
            )
        for weight in self.weights:
            if not is_number(weight):
                raise ConfigError(f"`reward_weights` has {shown(weight)}; expected finite numbers.")

    @property
    def names(self) -> list[str]:
        """The name of each function; a second of the same name is numbered."""
        names: list[str] = []
        for function in self.functions:
            name = getattr(function, "__name__", type(function).__name__)
            same = sum(other == name or other.startswith(f"{name}_") for other in names)
            names.append(f"{name}_{same + 1}" if name in names else name)
        return names

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise ``ConfigError`` where a function asks for a column that the data does not have."""
        given = {"prompts", "completions", "completion_ids", *columns}
        for name, function in zip(self.names, self.functions, strict=True):
            for needed in _parameters(function)[0]:
                if needed not in given:
                    raise ConfigError(
                        f"The reward function `{name}` asks for `{needed}`, but the data has only "
                        f"the columns {', '.join(sorted(columns)) or 'of the prompt'}."
                        f"{closest(needed, given)} Add the column, or give the parameter a default."
                    )

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        completion_ids: Sequence[Sequence[int]] = (),
        turns: int = 1,
    ) -> Scores:
        """What each completion earned; ``turns`` is the most that any of them has.

        Raises ``EnvironmentFault``, with function and row, for whatever a function does wrong.
        """
        rows = range(len(prompts))
        said = [
            completions[row] if isinstance(prompts[row], str) else _message(completions[row])
            for row in rows
        ]
        arguments = {
            "prompts": list(prompts),
            "completions": said,
            "completion_ids": [list(ids) for ids in completion_ids] or [[] for _ in rows],
            **{name: list(column) for name, column in columns.items()},
        }
        total, by_turn = np.zeros(len(prompts)), np.zeros((len(prompts), turns))
        by_name: dict[str, np.ndarray] = {}
        weights = self.weights or (1.0,) * len(self.functions)
        for name, function, weight in zip(self.names, self.functions, weights, strict=True):
            given = _entries(name, self._called(name, function, arguments), len(prompts), turns)
            by_name[name] = np.array([_sum(entry) for entry in given])
            for row, entry in enumerate(given):
                if isinstance(entry, list):
                    by_turn[row, : len(entry)] += weight * np.asarray(entry)
                elif entry is not None:
                    total[row] += weight * entry
        return Scores(total, by_turn if np.any(by_turn) else None, by_name)

    def _called(
        self, name: str, function: RewardFunction, arguments: Mapping[str, list[Any]]
    ) -> Any:
        known, takes_all = _parameters(function)[1:]
        taken = {key: value for key, value in arguments.items() if takes_all or key in known}
        try:
            return call_all([partial(function, **taken)], self.time_limit)[0]
        except CallFault as fault:
            if fault.__cause__ is None:
                raise EnvironmentFault(f"The reward function `{name}` {fault.what}.") from None
            row = self._row_at_fault(function, taken, arguments)
            raise EnvironmentFault(
                f"The reward function `{name}` {fault.what} It was called with "
                f"{len(arguments['prompts'])} completions{row}."
            ) from fault.__cause__

    def _row_at_fault(
        self,
        function: RewardFunction,
        taken: Mapping[str, list[Any]],
        arguments: Mapping[str, list[Any]],
    ) -> str:
        """Which completion the function raises for when it is given it alone."""
        told = zip(arguments["prompts"], arguments["completions"], strict=True)
        for row, (prompt, said) in enumerate(told):
            alone = {key: value[row : row + 1] for key, value in taken.items()}
            try:
                call_all([partial(function, **alone)], self.time_limit)
            except CallFault:
                which = f"prompt {shown(prompt)}, completion {shown(said)}"
                return f", and raises for row {row}: {which}"
        return ""


def _parameters(function: RewardFunction) -> tuple[list[str], set[str], bool]:
    """The names of parameters without a default, of all, and whether it takes any others."""
    parameters = inspect.signature(function).parameters.values()
    named = [
        each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    needed = [each.name for each in named if each.default is each.empty]
    return needed, {each.name for each in named}, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _message(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _entries(name: str, given: Any, rows: int, turns: int) -> list[float | list[float] | None]:
    """What a function returned, checked: for each row a number, None, or a number for each turn."""
    try:
        entries = list(given)
    except TypeError:
        raise EnvironmentFault(
            f"The reward function `{name}` returned {shown(given)}; expected a list of one number "
            f"for each of the {rows} completions."
        ) from None
    if len(entries) != rows:
        raise EnvironmentFault(
            f"The reward function `{name}` returned {len(entries)} rewards for {rows} completions; "
            "expected one for each (None where it does not apply)."
        )
    return [_entry(name, row, entry, turns) for row, entry in enumerate(entries)]


def _entry(name: str, row: int, entry: Any, turns: int) -> float | list[float] | None:
    if entry is None:
        return None
    many = isinstance(entry, list | tuple) or np.ndim(entry) == 1
    given: Any = entry if many else [entry]
    try:
        numbers = [float(number) for number in given]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(math.isfinite(number) for number in numbers):
        raise EnvironmentFault(
            f"The reward function `{name}` returned {shown(entry)} for row {row}; expected a "
            "finite number, None, or a list of finite numbers, one for each turn."
        )
    if many and len(numbers) > turns:
        raise EnvironmentFault(
            f"The reward function `{name}` returned {len(numbers)} rewards for row {row}, which "
            f"has at most {turns} turns; expected one for each turn."
        )
    return numbers if many else numbers[0]


def _sum(entry: float | list[float] | None) -> float:
    if entry is None:
        return math.nan
    return float(np.sum(entry))
