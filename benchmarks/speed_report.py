"""The measurements of ``speed.py`` as figures, a table and a plot."""

import statistics
from pathlib import Path
from typing import Any

Run = dict[str, Any]

QUIET = 0.9
"""A measurement with a smaller share of its core was disturbed."""


def speeds(runs: list[Run], seconds: str = "wall_s") -> list[float]:
    """Environment steps per second of every run that succeeded, by one of its clocks."""
    return [run["steps"] / run[seconds] for run in runs if run.get(seconds)]


def ratios(ours: list[Run], theirs: list[Run], seconds: str) -> list[float]:
    """Divide klamp's speed by the peer's, repeat by repeat."""
    return [
        (a["steps"] / a[seconds]) / (b["steps"] / b[seconds])
        for a, b in zip(ours, theirs, strict=True)
        if a.get(seconds) and b.get(seconds)
    ]


def one_line(run: Run) -> str:
    """Show a measurement on the terminal."""
    if "error" in run:
        return f"failed: {run['error']}"
    parts = [f"{run['steps'] / run['wall_s']:>9,.0f} steps/s"]
    if run["update_s"]:
        parts.append(f"rollout {run['rollout_s'] / run['wall_s']:.0%}")
        parts.append(f"update {run['update_s'] / run['wall_s']:.0%}")
        parts.append(f"compile {run['compile_s']:.1f} s")
    parts.append(f"core {run['cpu_s'] / run['wall_s']:.0%}")
    return ", ".join(parts)


def summarise(document: dict[str, Any]) -> str:
    """Write the whole page; the ratios are also put into the document."""
    about, machine = document["provenance"], document["machine"]
    protocol = document["protocol"]
    lines = [
        "# Speed",
        "",
        "Made by `make bench`; what the columns mean stands in [README](../README.md). Absolute "
        "figures are this machine's at that hour: quote ratios only.",
        "",
        f"- klamp {about['klamp']}"
        + (f" at {about['commit']}" if "commit" in about else "")
        + f", {about['date']}",
        f"- {machine['processor']}; {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; load before: {machine['load_before']}",
        f"- one thread, all on the same core; {protocol['repeats']} interleaved repeats; "
        f"{protocol['timed_iterations']} iterations after {protocol['warmup_iterations']} to warm "
        "up; medians, with the range in brackets",
    ]
    for part in document["rows"]:
        lines += ["", f"## {part['row']['title']}", "", *_table(part, document["names"])]
        part["summary"] = _ratios(part)
        for peer, found in part["summary"].items():
            lines += ["", _sentence(document["names"][peer], found, part["row"]["at_least"])]
        if _least_share(part) < QUIET:
            lines += [
                "",
                "The core was shared with other work: repeat this row on a quiet machine.",
            ]
    lines += ["", "## Versions", "", *_versions(document)]
    return "\n".join(lines) + "\n"


def _least_share(part: dict[str, Any]) -> float:
    """Find the smallest share of the core that any measurement of the row got."""
    runs = [run for runs in part["runs"].values() for run in runs if "error" not in run]
    return min((run["cpu_s"] / run["wall_s"] for run in runs), default=1.0)


def _table(part: dict[str, Any], names: dict[str, str]) -> list[str]:
    lines = [
        "| system | env steps/s | rollout only | update only | import and build | compile "
        "| peak memory | share of the core |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for system, runs in part["runs"].items():
        good = [run for run in runs if "error" not in run]
        if not good:
            lines.append(f"| {names[system]} | not measured: {runs[-1]['error']} | | | | | | |")
            continue
        trains = any(run["update_s"] for run in good)
        cells = [
            names[system],
            f"**{_spread(speeds(good))}**",
            _spread(speeds(good, "rollout_s")) if trains else "",
            _spread(speeds(good, "update_s")) if trains else "",
            f"{_median(good, 'start_s'):.1f} s",
            f"{_median(good, 'compile_s'):.1f} s" if trains else "",
            f"{_median(good, 'peak_memory_mib'):,.0f} MiB",
            f"{statistics.median(run['cpu_s'] / run['wall_s'] for run in good):.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _ratios(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare klamp with each other system of the row."""
    found = {}
    for system, runs in part["runs"].items():
        wall = ratios(part["runs"]["klamp"], runs, "wall_s")
        if system == "klamp" or not wall:
            continue
        cpu = ratios(part["runs"]["klamp"], runs, "cpu_s")
        found[system] = {
            "ratio": statistics.median(wall),
            "lowest": min(wall),
            "highest": max(wall),
            "ratio_by_processor": statistics.median(cpu),
            "lowest_by_processor": min(cpu),
            "highest_by_processor": max(cpu),
            "is_floor": system == "bare",
        }
    return found


def _sentence(peer: str, found: dict[str, Any], at_least: float | None) -> str:
    if found["is_floor"]:
        return (
            f"klamp trains at **{found['ratio']:.0%}** of the speed of the bare environment "
            f"({found['lowest']:.0%} to {found['highest']:.0%})."
        )
    text = (
        f"klamp / {peer}: **{found['ratio']:.1f}×** ({found['lowest']:.1f} to "
        f"{found['highest']:.1f}); by processor time {found['ratio_by_processor']:.1f}× "
        f"({found['lowest_by_processor']:.1f} to {found['highest_by_processor']:.1f})"
    )
    if at_least is None:
        return text + "."
    verdict = "met" if found["ratio"] >= at_least else "missed"
    return f"{text}; wanted at least {at_least:g}×: {verdict}."


def _versions(document: dict[str, Any]) -> list[str]:
    found: dict[str, dict[str, str]] = {}
    for part in document["rows"]:
        for system, runs in part["runs"].items():
            for run in runs:
                if "versions" in run:
                    found[system] = {"python": run["python"]} | run["versions"]
    return [
        f"- {document['names'][system]}: " + ", ".join(f"{k} {v}" for k, v in versions.items())
        for system, versions in found.items()
    ]


def _median(runs: list[Run], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def plot(document: dict[str, Any], path: Path) -> None:
    """One panel a row: medians as bars, ranges as whiskers."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = document["rows"]
    figure, panels = plt.subplots(1, len(rows), figsize=(3.4 * len(rows), 2.8), squeeze=False)
    for part, axes in zip(rows, panels[0], strict=True):
        measured = {name: speeds(runs) for name, runs in part["runs"].items() if name != "bare"}
        measured = {name: values for name, values in measured.items() if values}
        middle = [statistics.median(values) for values in measured.values()]
        below = [m - min(v) for m, v in zip(middle, measured.values(), strict=True)]
        above = [max(v) - m for m, v in zip(middle, measured.values(), strict=True)]
        labels = [document["names"][name] for name in measured]
        colours = ["tab:blue" if name == "klamp" else "tab:gray" for name in measured]
        axes.bar(labels, middle, yerr=[below, above], capsize=4, color=colours, width=0.6)
        axes.set_title(f"{part['row']['algorithm'].upper()}, {part['row']['env']}", fontsize=10)
        axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda y, _: f"{y:,.0f}"))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("environment steps per second", fontsize=9)
    figure.suptitle("One core, one thread: training speed, steady state", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
