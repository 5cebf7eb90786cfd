"""The curve of a group: the mean over its seeds, with a band from the lowest to the highest."""

from typing import NamedTuple

import numpy as np

from klamp.evaluation.comparison.groups import Group
from klamp.evaluation.comparison.statistics import performance_profile

Line = tuple[np.ndarray, np.ndarray]
"""x and y of each point."""


class Curve(NamedTuple):
    """A line with a band around it, and the single lines that it is the mean of."""

    label: str
    colour: int
    """The number of its colour."""
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: slice
    """The points to which every seed contributes."""
    seeds: list[Line]

    def times(self, factor: float) -> "Curve":
        """The same along an axis in another unit."""
        return self._replace(x=self.x * factor, seeds=[(x * factor, y) for x, y in self.seeds])


def curve_of(
    group: Group, colour: int, metric: str, along: str, points: int, single: bool
) -> Curve | None:
    """A metric along ``step`` or ``time_s`` at so many points; None where no run has any number.

    Between two updates of a run its line is straight. Where some runs have ended earlier, or begun
    later, the mean is over the others. ``single``: with the lines of each seed.
    """
    lines = [line for run in group.runs if len((line := _line(run.columns, metric, along))[0])]
    if not lines:
        return None
    grid = np.linspace(min(x[0] for x, _ in lines), max(x[-1] for x, _ in lines), points)
    table = np.stack([_at(grid, line) for line in lines])
    present = np.sum(~np.isnan(table), axis=0)
    grid, table, present = grid[present > 0], table[:, present > 0], present[present > 0]
    everywhere = np.flatnonzero(present == len(lines))
    whole = slice(everywhere[0], everywhere[-1] + 1) if len(everywhere) else slice(0, 0)
    return Curve(
        label=group.label,
        colour=colour,
        x=grid,
        y=np.nanmean(table, axis=0),
        low=np.nanmin(table, axis=0),
        high=np.nanmax(table, axis=0),
        whole=whole,
        seeds=[_thinned(line, points) for line in lines] if single and len(lines) > 1 else [],
    )


def profile_of(group: Group, colour: int, thresholds: np.ndarray) -> Curve | None:
    """The share of seeds that return more than each threshold, with its 95 % interval."""
    if not len(group.finals):
        return None
    share, low, high = performance_profile(group.finals, thresholds)
    return Curve(group.label, colour, thresholds, share, low, high, slice(0, len(thresholds)), [])


def _line(columns: dict[str, np.ndarray], metric: str, along: str) -> Line:
    x, y = columns[along], columns[metric]
    known = ~np.isnan(y)
    return x[known], y[known]


def _at(grid: np.ndarray, line: Line) -> np.ndarray:
    """A line's heights at the grid's places, NaN where it has not begun or has ended."""
    x, y = line
    return np.interp(grid, x, y, left=np.nan, right=np.nan)


def _thinned(line: Line, points: int) -> Line:
    """A line with at most so many of its points, first and last among them."""
    x, y = line
    if len(x) <= points:
        return line
    kept = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
    return x[kept], y[kept]
