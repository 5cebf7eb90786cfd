"""Whether `klamp explain` names what is wrong with a run, and nothing where nothing is.

    python benchmarks/explain.py                      # trains every run of explain_runs.py
    python benchmarks/explain.py --runs DIR           # keeps them, and takes those that are there
    python benchmarks/explain.py --runs DIR --store   # stores lines of each for the tests

Each planted run has its expected finding first or second; a healthy run has none. What was found is
written to results/explain.md, with the range of the quantities that the thresholds are about, over
the healthy runs.
"""

import argparse
import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import explain_runs
import harness
import numpy as np
from explain_runs import HEALTHY, PLANTED, Case

import klamp
from klamp.reporting.anomalies.detection import anomalies
from klamp.reporting.anomalies.history import History
from klamp.runs.folder import read_config
from klamp.runs.metrics_log import read_metrics

RESULT = Path(__file__).parent / "results" / "explain.md"
STORED = Path(__file__).parent.parent / "tests/reporting/anomalies/stored_runs.json"

READ = (
    "step",
    "update",
    "episodes",
    "return_mean",
    "kl",
    "clip_fraction",
    "ratio_max",
    "effective_sample_size",
    "explained_variance",
    "value_loss",
    "choice_entropy_min",
    "choice_entropy_min_dimension",
    "action_std_min",
    "action_std_min_dimension",
    "learning_rate",
    "damping_share",
    "kl_tried",
    "kl_resolution",
    "cg_residual",
    "outcome",
    "non_finite",
)
"""What the findings read of a line."""

QUANTITIES = (
    "kl",
    "clip_fraction",
    "effective_sample_size",
    "explained_variance",
    "damping_share",
    "cg_residual",
    "choice_entropy_min",
    "action_std_min",
)


def history(case: Case, runs: Path) -> History:
    """The run of a case; trained, unless it is there already and has come to its end."""
    folder = runs / case.folder
    if not (folder / "ended").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", klamp.KlampWarning)
            try:
                klamp.train(case.env, case.algo, out=folder, quiet=True, **case.settings)
            except klamp.NonFiniteError as error:
                print(f"{case.name}: {error}", flush=True)
        (folder / "ended").touch()
    return History(read_config(folder), read_metrics(folder / "metrics.jsonl"))


def judged(case: Case, run: History) -> tuple[bool, str]:
    """Whether the right thing was said, and the row of the table."""
    names = [one.name for one in anomalies(run)]
    right = bool(case.expected & set(names[:2])) if case.expected else not names
    mean = run.told("return_mean")
    cells = (
        case.name,
        case.env,
        case.algo,
        f"{run.told('step')[-1]:,.0f}",
        f"{mean[-1]:.1f}" if len(mean) else "–",
        ", ".join(names) or "nothing",
        "yes" if right else "NO",
    )
    return right, f"| {' | '.join(cells)} |"


def stored(case: Case, run: History) -> dict[str, Any]:
    """Thirty lines of a run, with three digits of what the findings read."""
    places = np.unique(np.linspace(0, len(run) - 1, 30).astype(int))

    def short(value: Any) -> Any:
        return float(f"{value:.3g}") if isinstance(value, float) else value

    columns = {
        name: [short(run.lines[place].get(name)) for place in places]
        for name in READ
        if any(name in line for line in run.lines)
    }
    return {"expected": sorted(case.expected), "config": run.config.to_dict(), "columns": columns}


def spread(runs: list[History]) -> list[str]:
    """Over the healthy runs, the medians of each quantity's second half: least to largest."""
    rows: list[str] = []
    for name in QUANTITIES:
        medians = [float(np.median(of)) for run in runs if len(of := run.recent(name))]
        if medians:
            rows.append(f"| `{name}` | {min(medians):.3g} | {max(medians):.3g} | {len(medians)} |")
    return rows


def table(cases: tuple[Case, ...], runs: list[History]) -> tuple[int, list[str]]:
    """How many cases were judged right, and the rows."""
    results = [judged(case, run) for case, run in zip(cases, runs, strict=True)]
    head = ["| run | environment | algorithm | steps | mean return | found, in order | right |"]
    return sum(right for right, _ in results), [
        *head,
        "|" + "---|" * 7,
        *(row for _, row in results),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="folder in which the runs are kept")
    parser.add_argument("--store", action="store_true", help="store what the tests read")
    given = parser.parse_args()
    explain_runs.register()
    with tempfile.TemporaryDirectory() as scratch:
        runs = given.runs or Path(scratch)
        planted, healthy = ([history(case, runs) for case in cases] for cases in (PLANTED, HEALTHY))
    named, of_planted = table(PLANTED, planted)
    silent, of_healthy = table(HEALTHY, healthy)
    machine = harness.machine()
    lines = [
        "# What `klamp explain` finds",
        "",
        f"`python benchmarks/explain.py`; {machine['processor']}, {machine['cores']} cores.",
        "",
        f"Planted: {named} of {len(PLANTED)} have what was planted as first or second finding.",
        f"Healthy: nothing is found in {silent} of {len(HEALTHY)}.",
        "",
        *of_planted,
        "",
        *of_healthy,
        "",
        "Medians of the second half of each healthy run, least to largest:",
        "",
        "| quantity | least | largest | runs |",
        "|---|---|---|---|",
        *spread(healthy),
    ]
    harness.write(RESULT, "\n".join(lines) + "\n")
    if given.store:
        pairs = zip(PLANTED + HEALTHY, planted + healthy, strict=True)
        rows = [f"{json.dumps(case.name)}: {json.dumps(stored(case, run))}" for case, run in pairs]
        harness.write(STORED, "{\n" + ",\n".join(rows) + "\n}\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
