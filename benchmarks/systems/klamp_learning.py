"""One run of klamp as a user starts it: its curve, its end, and episodes of the trained policy."""

import json
import time
from pathlib import Path
from typing import Any

from systems.common import Measurement, Work, main, versions

WATCHED = ("kl", "clip_fraction", "explained_variance", "entropy", "backtracks", "learning_rate")
"""Metrics that a curve keeps beside the return."""
POINTS, FEWER = 100, 25
"""Points of the curve of the return, and of the other metrics."""


def measure(work: Work) -> Measurement:
    """Train by the preset and what is set over it, then evaluate by the mode."""
    import klamp

    began, folder = time.perf_counter(), Path("run")
    given = work["settings"] | {"steps": work["steps"], "seed": work["seed"]}
    result = klamp.train(work["env"], work["algo"], out=folder, quiet=True, **given)
    wall, cpu = time.perf_counter() - began, time.process_time()
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    done = klamp.evaluate(result.policy, episodes=work["episodes"], seed=work["seed"])
    return {
        "config": json.loads((folder / "config.json").read_text(encoding="utf-8")),
        "return": short(result.summary["return_mean"]),
        "best": short(best_of([(m["episodes"], m["return_mean"]) for m in metrics])),
        "evaluation": [short(each) for each in done.returns.tolist()],
        "steps": metrics[-1]["step"],
        "episodes": metrics[-1]["episodes"],
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "curve": columns(spread(metrics, POINTS), ("step", "return_mean")),
        "watched": columns(spread(metrics, FEWER), ("step", *WATCHED)),
        "versions": versions("klamp", "jax", "gymnasium", "numpy"),
    }


def best_of(points: list[tuple[int, float | None]]) -> float | None:
    """The highest mean of the last 100 episodes, from when 100 had ended, or at the end."""
    known = [(count, mean) for count, mean in points if mean is not None]
    full = [mean for count, mean in known if count >= 100]
    return max(full or [mean for _, mean in known[-1:]], default=None)


def spread(rows: list[Any], points: int) -> list[Any]:
    """At most so many of the rows, evenly spread, the last one included."""
    count = min(points, len(rows))
    return [rows[(i + 1) * len(rows) // count - 1] for i in range(count)]


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Rows as one list per name, without the names that no row has."""
    held = [name for name in names if any(name in row for row in rows)]
    return {name: [short(row.get(name)) for row in rows] for name in held}


def short(value: Any) -> Any:
    """Four digits of a number are enough for a curve; None of what JSON cannot hold."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if abs(value) < float("inf") else None


if __name__ == "__main__":
    main(measure)
