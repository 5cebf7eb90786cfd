"""The measurements of ``speed.py`` as figures, tables and a plot."""

import statistics
from pathlib import Path
from typing import Any

Run = dict[str, Any]
Part = dict[str, Any]
"""A measured row: the row itself, its protocol, klamp's commit, the machine, the runs."""

QUIET = 0.9
"""A measurement with a smaller share of its core was disturbed."""

HEADS = {
    "training": (
        "env steps/s",
        "rollout only",
        "update only",
        "import and build",
        "compile",
    ),
    "update": ("env steps/s", "µs a minibatch", "import and build", "compile"),
    "time": ("seconds", "runs", "env steps"),
}
"""The columns of a row's kind, before those that all have."""


def good(runs: list[Run]) -> list[Run]:
    """The runs that succeeded."""
    return [run for run in runs if "error" not in run]


def cost(run: Run, kind: str, clock: str = "wall_s") -> float:
    """Seconds of an environment step, or of the whole task."""
    return run[clock] if kind == "time" else run[clock] / run["steps"]


def ratios(part: Part, ours: str, theirs: str, clock: str = "wall_s") -> list[float]:
    """How many times faster one system is than the other, repeat by repeat."""
    kind = part["row"]["kind"]
    pairs = zip(part["runs"][ours], part["runs"][theirs], strict=True)
    return [
        cost(b, kind, clock) / cost(a, kind, clock)
        for a, b in pairs
        if "error" not in a and "error" not in b
    ]


def one_line(run: Run, kind: str) -> str:
    """Show a measurement on the terminal."""
    if "error" in run:
        return f"none: {run['error']}"
    share = f"core {run['cpu_s'] / run['wall_s']:.0%}, others {run.get('others', 0.0):.0%}"
    if kind == "time":
        return f"{run['wall_s']:>9.2f} s, {run['steps']:,} steps, {share}"
    parts = [f"{1 / cost(run, kind):>9,.0f} steps/s"]
    if run["update_s"] and kind == "training":
        parts.append(f"rollout {run['rollout_s'] / run['wall_s']:.0%}")
        parts.append(f"update {run['update_s'] / run['wall_s']:.0%}")
    return ", ".join([*parts, f"compile {run['compile_s']:.1f} s", share])


def page(parts: list[Part], names: dict[str, str]) -> str:
    """Write the whole page."""
    lines = [
        "# Speed",
        "",
        "Made by `make bench`; what the columns mean stands in [README](../README.md). Medians, "
        "with the range in brackets. Absolute figures are this machine's at that hour: quote "
        "ratios only.",
        "",
        "| work | against | klamp is | range | by processor time | wanted | aim | |",
        "|---|---|---:|---:|---:|---:|---:|---|",
        *(_goal(part, goal, names) for part in parts for goal in part["row"]["goals"]),
    ]
    for part in parts:
        lines += ["", f"## {part['row']['title']}", "", _conditions(part), ""]
        lines += _table(part, names)
        lines += [line for note in part["row"]["notes"] for line in ("", note)]
        if _least_share(part) < QUIET:
            lines += ["", "Shared with other work: to be repeated on a quiet machine."]
    lines += ["", "## Versions", "", *_versions(parts, names)]
    return "\n".join(lines) + "\n"


def _goal(part: Part, goal: dict[str, Any], names: dict[str, str]) -> str:
    """One line of the first table."""
    found = ratios(part, goal["ours"], goal["theirs"])
    cells = [f"`{part['row']['name']}`", names[goal["theirs"]]]
    if goal["ours"] != "klamp":
        cells[0] += f", {names[goal['ours']]}"
    if not found:
        missing = goal["theirs"] if good(part["runs"][goal["ours"]]) else goal["ours"]
        error = part["runs"][missing][-1].get("error", "no pair of runs")
        return "| " + " | ".join([*cells, "not measured", "", "", *_wanted(goal), error]) + " |"
    middle, cpu = statistics.median(found), ratios(part, goal["ours"], goal["theirs"], "cpu_s")
    cells += [
        f"**{_times(middle)}**",
        f"{_times(min(found))} to {_times(max(found))}",
        _times(statistics.median(cpu)),
        *_wanted(goal),
    ]
    wanted = goal["at_least"]
    cells.append("" if wanted is None else "met" if middle >= wanted else "missed")
    return "| " + " | ".join(cells) + " |"


def _wanted(goal: dict[str, Any]) -> list[str]:
    return ["" if goal[key] is None else _times(goal[key]) for key in ("at_least", "aim")]


def _times(ratio: float) -> str:
    """A ratio; a share of the other's speed where it is below 1."""
    return f"{ratio:.0%}" if ratio < 1 else f"{ratio:.1f}×"


def _conditions(part: Part) -> str:
    """The klamp, machine and protocol of a row."""
    about, machine, protocol = part["klamp"], part["machine"], part["protocol"]
    threads = part["row"]["cores"]
    text = (
        f"klamp {about['klamp']}"
        + (f" at {about['commit']}" if "commit" in about else "")
        + f"; {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, load before: {machine['load_before']}; "
        + ("one thread on one core" if threads == 1 else f"{threads} threads on {threads} cores")
        + f"; {protocol['repeats']} interleaved repeats"
    )
    if part["row"]["kind"] == "training":
        text += f", {protocol['iterations']} iterations after {protocol['warmup']} to warm up"
    return text + "."


def _least_share(part: Part) -> float:
    """The smallest share of its cores that any measurement of the row was left with."""
    runs = [run for runs in part["runs"].values() for run in good(runs)]
    return min((1 - run.get("others", 0.0) for run in runs), default=1.0)


def _table(part: Part, names: dict[str, str]) -> list[str]:
    heads = ("system", *HEADS[part["row"]["kind"]], "peak memory", "processor time", "other work")
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for system, runs in part["runs"].items():
        done = good(runs)
        if not done:
            reason = f"not measured: {runs[-1]['error']}"
            lines.append(f"| {names[system]} | {reason}" + " |" * (len(heads) - 1))
            continue
        cells = [
            names[system],
            *_cells(part, runs),
            f"{_median(done, 'peak_memory_mib'):,.0f} MiB",
            f"{statistics.median(run['cpu_s'] / run['wall_s'] for run in done):.0%}",
            f"{statistics.median(run.get('others', 0.0) for run in done):.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cells(part: Part, runs: list[Run]) -> list[str]:
    """The columns of the row's kind."""
    row, done = part["row"], good(runs)
    if row["kind"] == "time":
        seconds, steps = ([run[key] for run in done] for key in ("wall_s", "steps"))
        return [
            f"**{_spread(seconds, '.1f')}**",
            f"{len(done)} of {len(runs)}",
            _spread(steps, ",.0f"),
        ]
    speeds = f"**{_spread([1 / cost(run, row['kind']) for run in done], ',.0f')}**"
    compile_s = f"{_median(done, 'compile_s'):.1f} s"
    begin = [f"{_median(done, 'start_s'):.1f} s", compile_s]
    if row["kind"] == "update":
        count = row["epochs"] * row["num_envs"] * row["rollout_length"] // row["minibatch_size"]
        each = [run["wall_s"] / run["iterations"] / count * 1e6 for run in done]
        return [speeds, _spread(each, ".1f"), *begin]
    if not done[0]["update_s"]:
        reason = f"n/a: {done[0]['not_split']}" if "not_split" in done[0] else ""
        return [speeds, reason, reason, begin[0], compile_s if reason else ""]
    split = [
        _spread([run["steps"] / run[clock] for run in done], ",.0f")
        for clock in ("rollout_s", "update_s")
    ]
    return [speeds, *split, *begin]


def _versions(parts: list[Part], names: dict[str, str]) -> list[str]:
    """The libraries of each system, once."""
    found: dict[str, str] = {}
    for part in parts:
        for system, runs in part["runs"].items():
            for run in good(runs)[-1:]:
                versions = {"python": run["python"]} | run["versions"]
                found[names[system]] = ", ".join(f"{k} {v}" for k, v in versions.items())
    return [f"- {system}: {versions}" for system, versions in found.items()]


def _median(runs: list[Run], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _spread(values: list[float], form: str) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def plot(parts: list[Part], names: dict[str, str], path: Path) -> None:
    """Every ratio that has a bound: its median, its range, and the bound."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines = [
        (
            f"{part['row']['name']}: {names[goal['ours']]} / {names[goal['theirs']]}",
            ratios(part, *pair),
            goal["at_least"],
        )
        for part in parts
        for goal in part["row"]["goals"]
        if ratios(part, *(pair := (goal["ours"], goal["theirs"]))) and goal["at_least"]
    ]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.32 * max(len(lines), 1)))
    for height, (_, found, wanted) in enumerate(lines):
        middle = statistics.median(found)
        colour = "tab:blue" if middle >= wanted else "tab:red"
        axes.plot([min(found), max(found)], [height, height], color=colour, linewidth=2)
        axes.plot(middle, height, "o", color=colour)
        axes.plot(wanted, height, "|", color="black", markersize=14)
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.set_xlabel("klamp's speed / the other's: median, range; | what is wanted", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
