"""The pages of `learning.py`: one table for each experiment, means over seeds with intervals."""

import itertools
import math
import statistics
from collections.abc import Callable
from typing import Any

from experiments import EXPERIMENTS

Line = dict[str, Any]

T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t of a two-sided interval at 95 %, by the number of seeds."""
POINTS = 8

WORDS = {
    "tasks": "Each task with its own settings, as `klamp lm train TASK` takes them. The best "
    "possible return is 1; −3.375 for `guess` and −4.219 for `guess-32` (binary search), whose "
    "return is less the number of guesses, and whose episodes end by themselves where the number "
    "was found.",
    "step_sizes": "Sort six digits, 40 updates of 256 completions (61,440 action tokens), PPO's "
    "four epochs of four minibatches. Returns are shares of exact answers.",
    "collapse": "From a supervised start that is nearly perfect, at step size 1e-3: 20 updates of "
    "the policy after those that warm up the critic.",
    "adapters": "Only adapters of rank 4 on the seven linear maps are trained: 25 updates, the "
    "first two of the critic alone.",
    "updates": "Sort six digits: all updates at equal tokens (61,440 in 40 updates of 256 "
    "completions, or 122,880 in 20 of 1,024) and, where a bound is named, at equal exact KL. "
    "*At equal time*: the mean reward of a batch by the moment, in seconds of processor time after "
    "compiling, at which the cheapest update of its group had made all its tokens.",
    "reference": "Walks, with a price of KL(policy‖reference) that adapts to a target.",
}


def interval(values: list[float], digits: int = 3, percent: bool = False) -> str:
    """Mean ± half the interval at 95 % (least … greatest)."""
    scale = 100 if percent else 1
    if not values:
        return ""
    values = [scale * value for value in values]
    digits = 1 if percent else digits
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    half = T_95.get(len(values), 2.0) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def page(experiment: str, lines: list[Line], about: dict[str, Any]) -> str:
    """Heading, table and curves."""
    rows = {label: [x for x in lines if x["label"] == label] for label in EXPERIMENTS[experiment]}
    rows = {label: own for label, own in rows.items() if own}
    columns = columns_of(experiment, rows)
    table = [f"| row | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    table += [
        f"| {label} | {' | '.join(cell(label, own) for cell in columns.values())} |"
        for label, own in rows.items()
    ]
    known = "; ".join(f"{key}: {value}" for key, value in about.items())
    return "\n".join(
        [
            f"# {experiment}",
            "",
            f"`python benchmarks/lm/learning.py {experiment}`. {WORDS[experiment]} Means over "
            "seeds ± half of the interval at 95 % (least … greatest), of 1,024 new episodes, "
            "sampled and greedy; seconds are of the processor, on one thread, compiling included.",
            "",
            *table,
            "",
            "Mean reward of an update's episodes while it trains, by sampled tokens, seed 0:",
            "",
            *(f"- {label}: {curve(own[0]['curve'])}" for label, own in rows.items()),
            "",
            known,
            "",
        ]
    )


Cell = Callable[[str, list[Line]], str]


def columns_of(experiment: str, rows: dict[str, list[Line]]) -> dict[str, Cell]:
    """What the table of an experiment shows: from a row's name and runs to the text of a cell."""
    percent = experiment not in ("tasks", "reference")

    def values(key: str, digits: int = 3, percent: bool = False) -> Cell:
        return lambda _, own: interval([x[key] for x in own if key in x], digits, percent)

    found: dict[str, Cell] = {
        "seeds": lambda _, own: str(len(own)),
        "tokens": lambda _, own: f"{round(statistics.mean(x['tokens'] for x in own)):,}",
        "first batch": values("start", 3, percent),
        "sampled": values("sampled", 3, percent),
        "greedy": values("greedy", 3, percent),
    }
    if experiment == "tasks":
        found["ended by itself, sampled, %"] = values("ended_sampled", 3, True)
    if experiment in ("tasks", "reference"):
        found["KL to the start, last third"] = values("kl_reference_late")
    if experiment == "updates":
        found["at equal time"] = lambda label, own: at_equal_time(label, own, rows)
    found |= {
        "KL of an update, mean / largest": lambda _, own: (
            f"{statistics.mean(x['kl_mean'] for x in own):.4f} / "
            f"{max(x['kl_largest'] for x in own):.4f}"
        ),
        "largest KL of a token": lambda _, own: f"{max(x['kl_max_largest'] for x in own):.2f}",
        "s": values("cpu_s", 0),
        "an update, ms": lambda _, own: f"{statistics.median(map(update_ms, own)):.0f}",
    }
    return found


def update_ms(line: Line) -> float:
    """The median update, in milliseconds of processor time, its completions included."""
    times = [point[3] for point in line["curve"]]
    return 1000 * statistics.median(b - a for a, b in itertools.pairwise(times))


def at_equal_time(label: str, own: list[Line], rows: dict[str, list[Line]]) -> str:
    """The mean reward of the last three batches before the cheapest of the group is done."""
    large = "1,024" in label
    group = [runs for name, runs in rows.items() if ("1,024" in name) == large]
    budget = min(statistics.median(spent(run)[-1] for run in runs) for runs in group)
    rewards = [
        statistics.mean(
            [point[1] for point, at in zip(run["curve"], spent(run), strict=True) if at <= budget][
                -3:
            ]
        )
        for run in own
    ]
    return interval(rewards, percent=True)


def spent(line: Line) -> list[float]:
    """Seconds at each update, if all of them had taken as long as the median one."""
    each = update_ms(line) / 1000
    return [each * number for number in range(len(line["curve"]))]


def curve(points: list[list[float]]) -> str:
    """Some points of a curve."""
    places = sorted({round(i * (len(points) - 1) / (POINTS - 1)) for i in range(POINTS)})
    return ", ".join(f"{points[i][0]:,.0f}: {points[i][1]:.2f}" for i in places)
