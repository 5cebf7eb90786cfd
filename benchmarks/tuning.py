"""The search behind the presets: any settings, on any tasks, over seeds from 1000.

``python benchmarks/tuning.py --env Hopper-v5 Ant-v5 --algo trpo --set max_kl=0.04 --seeds 1000``
makes what of this is missing in `results/tuning.jsonl` (killed, the same command goes on), and
writes `results/tuning.md`: every configuration that was ever tried, by its settings other than the
defaults, and what it reached. Without ``--env`` it only writes the page.
"""

import argparse
import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import campaign
import harness
import numpy as np
from learning import interpreters
from learning_page import collapsed, number, scores

from klamp.config.algorithms import ALGORITHMS
from klamp.config.settings import Settings

FIRST_SEED = 1000
HEAD = """# The search behind the presets

Made by `python benchmarks/tuning.py`; `docs/tuning.md` says what follows from it. *Return* is the
mean over seeds of the mean return of the last 100 training episodes, with that of each seed in
parentheses. The settings are those that differ from klamp's defaults. All seeds are from 1000 up;
those of [learning](learning.md) are others.
"""


def main() -> None:
    """Parse, make what is missing, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--env", nargs="+", default=[])
    parser.add_argument("--algo", default="ppo")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=JSON")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[FIRST_SEED])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--use", action="append", default=[], metavar="GROUP=PYTHON")
    parser.add_argument("--out", type=Path, default=harness.RESULTS)
    options = parser.parse_args()
    if min(options.seeds) < FIRST_SEED:
        raise SystemExit(f"Seeds below {FIRST_SEED} are reported, and must not be tuned on.")
    given = {name: _value(text) for name, text in (each.split("=", 1) for each in options.set)}
    jobs = [
        campaign.Job("klamp", env, options.algo, options.steps, seed, given)
        for seed in options.seeds
        for env in options.env
    ]
    results = campaign.Results(options.out.resolve() / "tuning.jsonl")
    if jobs:
        pythons = interpreters(options.use, {"klamp"})
        campaign.run(lambda: jobs, results, pythons, processes=options.processes)
    harness.write(results.path.with_suffix(".md"), page(results.refresh()))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def page(lines: list[dict[str, Any]]) -> str:
    """`tuning.md`: a table for each task, algorithm and number of steps, the best first."""
    tables: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        config = line["config"]
        table = tables.setdefault((config["env"], config["algo"], config["steps"]), {})
        table.setdefault(changed(config), []).append(line)
    steps = sum(line["steps"] for line in lines)
    text = [HEAD, f"{len(lines)} runs, {steps:,} environment steps."]
    for (env, algo, count), found in sorted(tables.items()):
        ranked = sorted(found.items(), key=lambda item: -float(scores(item[1]).mean()))
        text += [
            "",
            f"## {env}, {algo}, {count:,} steps",
            "",
            "| settings | return | best | evaluated | collapsed | KL, clip fraction (mean) |",
            "|---|---|---:|---:|---:|---|",
            *(_row(settings, runs) for settings, runs in ranked),
        ]
    return "\n".join(text) + "\n"


def changed(config: dict[str, Any]) -> str:
    """The settings of a configuration that are not klamp's defaults."""
    of = (Settings, ALGORITHMS[config["algo"]])
    usual = {
        item.name: json.loads(json.dumps(item.default))
        for kind in of
        for item in fields(kind)
        if item.default is not MISSING
    }
    apart = {"env", "algo", "steps"}
    return ", ".join(
        f"{name} {held}"
        for name, held in config.items()
        if name not in apart and held != usual.get(name)
    )


def _row(settings: str, runs: list[dict[str, Any]]) -> str:
    each = ", ".join(number(score) for score in scores(runs))
    best = np.mean([run["best"] if run["best"] is not None else np.nan for run in runs])
    evaluated = np.mean([np.mean(run["evaluation"]) for run in runs])
    watched = [
        f"{np.nanmean(np.concatenate([each[name] for each in metrics]).astype(float)):.2g}"
        for metrics in [[run["watched"] for run in runs]]
        for name in ("kl", "clip_fraction")
        if all(name in each for each in metrics)
    ]
    return (
        f"| {settings} | {number(float(scores(runs).mean()))} ({each}) | {number(float(best))} "
        f"| {number(float(evaluated))} | {sum(map(collapsed, runs))} of {len(runs)} "
        f"| {', '.join(watched)} |"
    )


if __name__ == "__main__":
    main()
