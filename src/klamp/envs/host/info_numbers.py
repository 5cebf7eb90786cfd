"""The numbers in the infos of an environment, by name: success rates, for example.

Nothing of it is trained on. Imports no JAX: the processes that step environments use it, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

Numbers = dict[str, float]
"""The numbers of an info, by their names."""

MOST_NUMBERS, LONGEST_NAME = 100, 60
"""Numbers of an info that are taken, and letters of the name of one."""
KINDS = (bool, int, float, np.bool_, np.number)


def numbers_of(info: Mapping[Any, Any]) -> Numbers:
    """The finite numbers and flags that an info holds by name, arrays of one number included."""
    found: Numbers = {}
    for name, value in info.items():
        if isinstance(value, KINDS) or (isinstance(value, np.ndarray) and value.shape == ()):
            known = isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME
            if known and np.asarray(value).dtype.kind in "biuf" and np.isfinite(value):
                found[name] = float(value)
                if len(found) == MOST_NUMBERS:
                    break
    return found


def numbers_of_rows(info: Mapping[Any, Any], rows: np.ndarray) -> dict[int, Numbers]:
    """The same of some rows of the info of environments that are stepped together.

    Gymnasium has an array for each name, and, under the name with `_` in front, which rows have it.
    """
    told = [
        (name, values, info.get(f"_{name}"))
        for name, values in info.items()
        if isinstance(values, np.ndarray) and values.ndim == 1 and not str(name).startswith("_")
    ]
    return {
        int(i): numbers_of({name: of[i] for name, of, given in told if given is None or given[i]})
        for i in rows
    }


def as_columns(
    ended: Sequence[Mapping[int, Mapping[str, float]]],
) -> dict[str, Float[np.ndarray, " E"]]:
    """Numbers of episodes, step by step and row by row, as one array per name; NaN: not told."""
    told = [numbers for rows in ended for _, numbers in sorted(rows.items())]
    names = sorted({name for numbers in told for name in numbers})[:MOST_NUMBERS]
    return {name: np.array([numbers.get(name, np.nan) for numbers in told]) for name in names}


def means(numbers: Mapping[str, Float[np.ndarray, " E"]]) -> dict[str, float]:
    """The metrics of these numbers: the mean over the episodes that have a finite one."""
    known = {name: values[np.isfinite(values)] for name, values in sorted(numbers.items())}
    return {f"info_{name}_mean": float(of.mean()) for name, of in known.items() if of.size}
