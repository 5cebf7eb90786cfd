"""How klamp's speed and memory grow: with environments, rollouts, networks and Fisher products.

``python benchmarks/growth.py`` writes `results/growth.md`, `growth.json` and `growth.png`;
``--only 'width*'`` measures some sweeps and keeps what the files hold of the others.
"""

import argparse
import fnmatch
import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import harness
from interpreters import Interpreters

MINIBATCHES = 32
"""An epoch has so many minibatches, however large the batch, except where the width grows."""


@dataclass(frozen=True)
class Sweep:
    """One quantity that grows, and the work in which it does."""

    name: str
    title: str
    axis: str
    values: tuple[int, ...]
    module: str = "klamp"
    group: str = "klamp"
    work: dict[str, Any] = field(default_factory=dict[str, Any])


BASE: dict[str, Any] = {
    "algorithm": "ppo",
    "env": "CartPole-v1",
    "num_envs": 8,
    "rollout_length": 256,
    "epochs": 4,
    "hidden_sizes": (64, 64),
    "cg_iterations": 15,
    "seed": 0,
    "warmup": 2,
    "iterations": 3,
    "seconds": 2.0,
}
ENVIRONMENTS = (1, 4, 16, 64, 256, 1024, 4096)
LENGTHS = (32, 128, 512, 2048, 8192)
WIDTHS = (64, 128, 256, 512, 1024)


def sweeps(algorithm: str) -> tuple[Sweep, ...]:
    """The sweeps of one algorithm."""
    own, name = {"algorithm": algorithm}, algorithm.upper()
    return (
        Sweep(
            f"environments-{algorithm}",
            f"{name}, 128 steps a rollout: number of environments",
            "environments",
            ENVIRONMENTS,
            work=own | {"rollout_length": 128},
        ),
        Sweep(
            f"length-{algorithm}",
            f"{name}, 8 environments: steps a rollout",
            "steps a rollout",
            LENGTHS,
            work=own,
        ),
        Sweep(
            f"width-{algorithm}",
            f"{name}, 8 environments × 256 steps, minibatch 64: width of both hidden layers",
            "width",
            WIDTHS,
            work=own | {"minibatch_size": 64},
        ),
    )


FUSED = Sweep(
    "environments-fused",
    "PPO, an environment written in JAX, 128 steps a rollout: number of environments",
    "environments",
    ENVIRONMENTS,
    module="klamp_fused",
    group="fused",
    work={"rollout_length": 128},
)
FISHER = Sweep(
    "fisher-trpo",
    "TRPO, 8 environments × 512 steps, 10 critic epochs of minibatch 64: the Fisher product of "
    "every k-th transition",
    "k",
    (1, 2, 4, 8, 16),
    work={"algorithm": "trpo", "rollout_length": 512, "epochs": 10, "minibatch_size": 64},
)
SWEEPS = (
    *sweeps("ppo"),
    *sweeps("trpo"),
    FISHER,
    *((FUSED,) if (harness.HERE / "systems" / "klamp_fused.py").exists() else ()),
)


def work_at(sweep: Sweep, value: int) -> dict[str, Any]:
    """The work of one point."""
    work = BASE | sweep.work
    work |= {
        "environments": {"num_envs": value},
        "steps a rollout": {"rollout_length": value},
        "width": {"hidden_sizes": (value, value)},
        "k": {"own": {"fisher_subsample": value}},
    }[sweep.axis]
    batch = work["num_envs"] * work["rollout_length"]
    return {"minibatch_size": max(batch // MINIBATCHES, 1)} | work


def main() -> None:
    """Measure sweep by sweep; the files are written after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="*", help="sweeps to run, a pattern such as 'width*'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the first two values, once, briefly")
    parser.add_argument("--out", type=Path, help="folder of the results (benchmarks/results)")
    parser.add_argument("--use", action="append", default=[], metavar="GROUP=PYTHON")
    options = parser.parse_args()
    if options.quick and options.out is None:
        raise SystemExit("`--quick` measures nothing worth keeping: say where to, with --out.")
    folder = options.out or harness.RESULTS
    interpreters = Interpreters(dict(option.split("=", 1) for option in options.use))
    for sweep in SWEEPS:
        if not fnmatch.fnmatch(sweep.name, options.only):
            continue
        print(sweep.title, flush=True)
        python = interpreters.python(sweep.group)
        if python is None:
            continue
        parts = load(folder / "growth.json") | {sweep.name: measure(sweep, python, options)}
        write({s.name: parts[s.name] for s in SWEEPS if s.name in parts}, folder)
    print("\n" + (folder / "growth.md").read_text(encoding="utf-8"))


def load(path: Path) -> dict[str, Any]:
    """The sweeps measured before, by name."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["sweeps"]
    return found


def measure(sweep: Sweep, python: str, options: argparse.Namespace) -> dict[str, Any]:
    """All points, repeat by repeat, so that a slow quarter of an hour does not bend the curve."""
    about = harness.provenance()
    del about["date"]
    part = {"sweep": asdict(sweep), "klamp": about, "machine": harness.machine()}
    values = sweep.values[:2] if options.quick else sweep.values
    runs: dict[str, list[dict[str, Any]]] = {str(value): [] for value in values}
    for repeat in range(1 if options.quick else options.repeats):
        for value in values:
            work = work_at(sweep, value) | {"cores": harness.cores()[:1]}
            work |= {"warmup": 1, "iterations": 1, "seconds": 0.1} if options.quick else {}
            result = harness.run_worker(python, sweep.module, work)
            runs[str(value)].append(result)
            print(f"  {repeat + 1}  {sweep.axis} {value}: {one_line(result)}", flush=True)
    return part | {"runs": runs}


def one_line(run: dict[str, Any]) -> str:
    """Show a measurement on the terminal."""
    if "error" in run:
        return f"none: {run['error']}"
    speed, memory = run["steps"] / run["wall_s"], run["peak_memory_mib"]
    return f"{speed:,.0f} steps/s, {memory:,.0f} MiB, others {run.get('others', 0.0):.0%}"


def points(part: dict[str, Any]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Each value with its successful runs."""
    found = [
        (int(value), [run for run in runs if "error" not in run])
        for value, runs in part["runs"].items()
    ]
    return [(value, runs) for value, runs in found if runs]


def speeds(runs: list[dict[str, Any]], clock: str = "wall_s") -> list[float]:
    """Steps per second of each run, by one of its clocks."""
    return [run["steps"] / run[clock] for run in runs]


def page(parts: dict[str, Any]) -> str:
    """All sweeps as tables."""
    lines = [
        "# Growth",
        "",
        "Made by `python benchmarks/growth.py`: one thread on one core, medians, with the range in "
        "brackets. PPO has 4 epochs, TRPO 4 of its critic and 15 CG iterations, each epoch "
        f"{MINIBATCHES} minibatches where nothing else is said; CartPole-v1; two tanh layers of 64 "
        "units. Memory is the whole process's, libraries included.",
    ]
    for part in parts.values():
        about, machine = part["klamp"], part["machine"]
        lines += [
            "",
            f"## {part['sweep']['title']}",
            "",
            f"klamp {about['klamp']} at {about.get('commit', 'no commit')}; "
            f"{machine['processor']}, {machine['cores']} cores, load before: "
            f"{machine['load_before']}.",
            "",
            f"| {part['sweep']['axis']} | env steps/s | rollout only | update only | peak memory "
            "| other work |",
            "|---:|---:|---:|---:|---:|---:|",
            *(_line(value, runs) for value, runs in points(part)),
        ]
    return "\n".join(lines) + "\n"


def _line(value: int, runs: list[dict[str, Any]]) -> str:
    split = runs[0]["update_s"] > 0
    cells = [
        f"{value:,}",
        f"**{_spread(speeds(runs))}**",
        _spread(speeds(runs, "rollout_s")) if split else "n/a",
        _spread(speeds(runs, "update_s")) if split else "n/a",
        f"{statistics.median(run['peak_memory_mib'] for run in runs):,.0f} MiB",
        f"{statistics.median(run.get('others', 0.0) for run in runs):.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def write(parts: dict[str, Any], folder: Path) -> None:
    """The page, the figures and the plot."""
    harness.write(folder / "growth.json", json.dumps({"sweeps": parts}, indent=1) + "\n")
    harness.write(folder / "growth.md", page(parts))
    plot(parts, folder / "growth.png")


def plot(parts: dict[str, Any], path: Path) -> None:
    """A column for each quantity that grows: speed above, memory below."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    axes_names = list(dict.fromkeys(part["sweep"]["axis"] for part in parts.values()))
    size = (3.2 * len(axes_names), 4.6)
    figure, grid = plt.subplots(2, len(axes_names), figsize=size, squeeze=False, sharex="col")
    for part in parts.values():
        column = axes_names.index(part["sweep"]["axis"])
        label = part["sweep"]["name"].split("-")[1]
        found = points(part)
        values = [value for value, _ in found]
        middle = [statistics.median(speeds(runs)) for _, runs in found]
        memory = [statistics.median(r["peak_memory_mib"] for r in runs) for _, runs in found]
        grid[0][column].plot(values, middle, "o-", label=label)
        grid[1][column].plot(values, memory, "o-", label=label)
    number = mpl.ticker.FuncFormatter(lambda x, _: f"{x:,.0f}")
    for column, name in enumerate(axes_names):
        for axes in (grid[0][column], grid[1][column]):
            axes.set(xscale="log", yscale="log")
            axes.xaxis.set_major_formatter(number)
            axes.yaxis.set_major_formatter(number)
            axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
            axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
            axes.grid(alpha=0.3, which="both")
            axes.tick_params(labelsize=8)
        grid[1][column].set_xlabel(name, fontsize=9)
    grid[0][0].set_ylabel("env steps/s", fontsize=9)
    grid[1][0].set_ylabel("peak memory, MiB", fontsize=9)
    grid[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
