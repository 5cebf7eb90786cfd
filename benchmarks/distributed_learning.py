"""What two processes learn beside what one learns."""

import statistics
import time
from pathlib import Path

from launches import add, lines_of, rows, run

LEARNING: dict[str, tuple[str, ...]] = {
    "CartPole-v1": ("--steps", "40960"),
    "Pendulum-v1": ("--steps", "100000"),
}
SEEDS = range(10)


def learning(top: Path) -> None:
    """Each environment with each seed, by 1 process and by 2."""
    done = {(row["env"], row["seed"], row["processes"]) for row in rows("learning")}
    for seed in SEEDS:
        for env, words in LEARNING.items():
            for processes in (1, 2):
                if (env, seed, processes) in done:
                    continue
                out = top / f"learning-{time.time_ns()}"
                settings = (*words, "--shards", "4", "--seed", str(seed), "--quiet")
                run(processes, "train", env, *settings, "--out", str(out))
                lines = [line for line in lines_of(out) if line["return_mean"] is not None]
                places = [lines[len(lines) * part // 4 - 1] for part in (1, 2, 3, 4)]
                curve = [line["return_mean"] for line in places]
                found = {"env": env, "seed": seed, "processes": processes, "curve": curve}
                add({"kind": "learning"} | found)


def said() -> list[str]:
    """What is to be told of it."""
    told: list[str] = []
    if rows("learning"):
        told += [
            "",
            "Return of the last episodes at each quarter of a run, mean over seeds ± half of the",
            "interval at 95 %:",
            "",
            "| environment | processes | seeds | ¼ | ½ | ¾ | end |",
            "|---|---|---|---|---|---|---|",
        ]
    for env in LEARNING:
        for processes in (1, 2):
            curves = [
                row["curve"]
                for row in rows("learning")
                if (row["env"], row["processes"]) == (env, processes)
            ]
            if len(curves) > 1:
                cells = [_mean(quarter) for quarter in zip(*curves, strict=True)]
                told.append(f"| {env} | {processes} | {len(curves)} | {' | '.join(cells)} |")
    return told


def _mean(values: tuple[float, ...]) -> str:
    """Mean ± half of the interval, by Student's t for ten seeds or so."""
    half = 2.26 * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.1f} ± {half:.1f}"
