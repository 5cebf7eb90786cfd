"""Two processes on two cores beside one on one of them; what two learn beside what one learns."""

import os
import statistics
import time
from pathlib import Path

from launches import add, lines_of, rows, run

HALFCHEETAH = ("HalfCheetah-v5", "--quiet", "--steps", "24576")
SPEED: dict[str, tuple[str, ...]] = {
    "PPO, its preset: 10 epochs of minibatches of 64": (*HALFCHEETAH,),
    "PPO, minibatches of 512": (*HALFCHEETAH, "--minibatch-size", "512"),
    "PPO, 256×256, minibatches of 512": (
        *HALFCHEETAH,
        *("--minibatch-size", "512", "--hidden-sizes", "256", "256"),
    ),
    "TRPO, its preset": (*HALFCHEETAH, "--algo", "trpo"),
}
REPEATS = 5
LEARNING: dict[str, tuple[str, ...]] = {
    "CartPole-v1": ("--steps", "40960"),
    "Pendulum-v1": ("--steps", "100000"),
}
SEEDS = range(10)


def steps_per_second(folder: Path) -> float:
    """Over the second half of a run."""
    lines = lines_of(folder)
    middle, last = lines[len(lines) // 2], lines[-1]
    return (last["step"] - middle["step"]) / (last["time_s"] - middle["time_s"])


def speed(top: Path) -> None:
    """Each row by 1 process on one core and by 2 on two, by turns."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    done = {(row["label"], row["repeat"], row["processes"]) for row in rows("speed")}
    for repeat in range(REPEATS + 1):
        for label, words in SPEED.items():
            for processes in (1, 2) if repeat % 2 else (2, 1):
                if (label, repeat, processes) in done:
                    continue
                os.sched_setaffinity(0, set(cores[:processes]))
                out = top / f"speed-{time.time_ns()}"
                run(processes, "train", *words, "--out", str(out))
                found = {"label": label, "repeat": repeat, "processes": processes}
                add({"kind": "speed"} | found | {"steps_per_second": steps_per_second(out)})


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
    """What is to be told of both."""
    told: list[str] = []
    # The first repeat has compiled.
    measured = [row for row in rows("speed") if row["repeat"]]
    if measured:
        told += [
            "",
            "HalfCheetah-v5, steps per second of 2 processes on two cores over those of 1 process",
            f"on one core (second half of a run, by turns, {REPEATS} repeats, one not counted):",
            "",
            "| work | 1 process | 2 processes | ratio, median | lowest to highest |",
            "|---|---|---|---|---|",
        ]
    for label in SPEED:
        found = {
            (row["repeat"], row["processes"]): row["steps_per_second"]
            for row in measured
            if row["label"] == label
        }
        both = [repeat for repeat, count in found if count == 1 and (repeat, 2) in found]
        if both:
            ratios = [found[repeat, 2] / found[repeat, 1] for repeat in both]
            one, two = (statistics.median(found[r, count] for r in both) for count in (1, 2))
            told.append(
                f"| {label} | {one:,.0f} | {two:,.0f} | {statistics.median(ratios):.2f} "
                f"| {min(ratios):.2f} to {max(ratios):.2f} |"
            )
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
