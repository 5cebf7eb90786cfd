"""The course of a number over a whole run, in one line of blocks."""

import itertools

from klamp.config.validation import is_number

BLOCKS = "▁▂▃▄▅▆▇█"

MOST = 512
"""The number of values that are kept; more than a line has columns."""


class Sparkline:
    """All values of a run; where there are too many, neighbours are replaced by their mean."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._each, self._sum, self._count = 1, 0.0, 0

    def add(self, value: object) -> None:
        """Take in a value; what is no finite number is left out."""
        if not is_number(value):
            return
        self._sum, self._count = self._sum + float(value), self._count + 1  # pyright: ignore
        if self._count < self._each:
            return
        self._values.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self._values) == MOST:
            self._each *= 2
            self._values = [sum(self._values[i : i + 2]) / 2 for i in range(0, MOST, 2)]

    def drawn(self, width: int) -> str:
        """At most ``width`` blocks, from the lowest value to the highest; all low where one is."""
        values = _means(self._values, width)
        if not values:
            return ""
        low, high = min(values), max(values)
        scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
        return "".join(BLOCKS[round((value - low) * scale)] for value in values)


def _means(values: list[float], count: int) -> list[float]:
    """At most ``count`` means of neighbours."""
    if len(values) <= max(count, 0):
        return values
    ends = [round(i * len(values) / count) for i in range(count + 1)] if count > 0 else [0]
    parts = [values[a:b] for a, b in itertools.pairwise(ends)]
    return [sum(part) / len(part) for part in parts]
