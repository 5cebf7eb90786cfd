"""The rows that prompts come from: a file of JSON lines, or any sequence of mappings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from klamp.errors import ConfigError, one_line, shown
from klamp.lm.environments.rewards import Prompt
from klamp.runs.bounded_read import Unreadable, lines, parse_object
from klamp.runtime.seeding import Purpose, generator

LONGEST_LINE, LARGEST_FILE = 2**24, 2**36
"""Bytes of a line and of a file that are read."""


@dataclass(frozen=True)
class Dataset:
    """Checked rows: each has a ``prompt``, and all have the same columns beside it."""

    rows: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """The names of what the rows have beside their prompts."""
        return [name for name in self.rows[0] if name != "prompt"]

    def prompts(self, rows: Sequence[int]) -> list[Prompt]:
        """The prompts of these rows."""
        return [self.rows[row]["prompt"] for row in rows]

    def column_values(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """The other columns of these rows, as a reward function takes them."""
        return {name: [self.rows[row][name] for row in rows] for name in self.columns}

    def drawn(self, seed: int, start: int, count: int) -> np.ndarray:
        """The numbers of rows ``start`` … ``start + count − 1`` of a run.

        An epoch visits each row once, in an order that follows from (seed, epoch): a run that is
        resumed goes on in it.
        """
        places = np.arange(start, start + count)
        epochs = np.unique(places // len(self)) if count else places
        orders = {
            epoch: generator(seed, Purpose.EPISODE, int(epoch)).permutation(len(self))
            for epoch in epochs
        }
        rows = [orders[place // len(self)][place % len(self)] for place in places]
        return np.asarray(rows, np.int32)


def load_dataset(data: str | Path | Sequence[Mapping[str, Any]]) -> Dataset:
    """A dataset from a file of JSON lines, or from rows. Raises ``ConfigError``, with row number.

    Rows are counted from 0, lines of a file from 1; empty lines are no rows.
    """
    if isinstance(data, str | Path):
        numbered = _read(Path(data))
        name = f"`{data}`, line"
    else:
        numbered, name = list(enumerate(data)), "`data`, row"
    if not numbered:
        raise ConfigError(
            f"{name.split(',')[0]} has no rows; expected at least one with a `prompt`."
        )
    first = numbered[0][1]
    for number, row in numbered:
        _check(row, first, f"{name} {number}")
    return Dataset(tuple(row for _, row in numbered))


def encoded_prompts(
    dataset: Dataset, encode: Callable[[Prompt], Sequence[int]], longest: int
) -> list[list[int]]:
    """The token ids of every prompt. Raises ``ConfigError`` for one that is empty or too long."""
    encoded: list[list[int]] = []
    for number, row in enumerate(dataset.rows):
        ids = list(encode(row["prompt"]))
        if not 1 <= len(ids) <= longest:
            raise ConfigError(
                f"The prompt of row {number} has {len(ids)} tokens, but must have from 1 to "
                f"{longest} (`max_prompt_tokens`): {shown(row['prompt'])}. Shorten it, or raise "
                "the limit."
            )
        encoded.append(ids)
    return encoded


def _read(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    try:
        for number, line in enumerate(lines(path.resolve(), LONGEST_LINE, LARGEST_FILE), start=1):
            if line.strip():
                rows.append((number, parse_object(line, f"line {number}")))
    except Unreadable as error:
        raise ConfigError(
            f"The data `{path}` cannot be read: {one_line(error)} Expected a file of JSON lines, "
            'each an object such as {"prompt": "2+2=", "answer": "4"}.'
        ) from error
    return rows


def _check(row: Any, first: Any, where: str) -> None:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where} is {shown(row)}; expected a mapping with a `prompt`.")
    if "prompt" not in row:
        raise ConfigError(
            f"{where} has no `prompt`, only {shown(sorted(map(str, row)))}. Give each row one."
        )
    prompt = row["prompt"]
    messages = isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes) and bool(prompt)
    if not isinstance(prompt, str) and not (messages and all(map(_is_message, prompt))):
        raise ConfigError(
            f"{where} has the prompt {shown(prompt)}; expected a text, or a list of messages such "
            'as {"role": "user", "content": "…"}.'
        )
    if set(row) != set(first):
        other = sorted(map(str, set(row) ^ set(first)))
        raise ConfigError(
            f"{where} differs from the first row in its columns: {', '.join(other)}. Give "
            "every row the same columns, with null where there is nothing."
        )


def _is_message(part: Any) -> bool:
    return isinstance(part, Mapping) and all(
        isinstance(part.get(key), str) for key in ("role", "content")
    )
