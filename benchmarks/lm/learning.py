"""What language models learn: ``python benchmarks/lm/learning.py [EXPERIMENT …] [--seeds 5]``.

Every run of `experiments.py`, in a process of its own with one thread, for each seed: the first
seed of all experiments, then the second, and so on. A run is kept as a line of
`results/lm/EXPERIMENT.jsonl`, and one that is there is not repeated: an experiment may be stopped
or killed at any moment, and the same command goes on with what is missing. After each run
`results/lm/EXPERIMENT.md` is written anew.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from experiments import EXPERIMENTS
from harness import RESULTS, environment, machine, provenance, write
from tables import page

FOLDER = RESULTS / "lm"
PROGRAMS = Path(tempfile.gettempdir()) / "klamp-lm-programs"
"""Compiled programs, which runs of one experiment share."""
EPISODES = 1024
KEPT = ("kl", "kl_max", "entropy", "kl_reference", "reference_coefficient", "ratio_error")


def one_run(experiment: str, label: str, seed: int) -> dict[str, Any]:
    """A run, and how its policy does in new episodes, sampled and greedy."""
    import numpy as np

    import klamp.lm
    from klamp.lm.collection.collector import TaskCollector
    from klamp.lm.tasks.builtin import TASKS

    task, preset, settings = EXPERIMENTS[experiment][label]
    curve: list[list[float]] = []

    def note(event: Any) -> None:
        line = event.metrics
        told = [line["step"], line["reward_mean"], line["kl"], time.process_time()]
        curve.append([float(f"{value:.6g}") for value in told])

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        result = klamp.lm.train(
            task, preset, out=f"{scratch}/run", quiet=True, seed=seed, report=note, **settings
        )
    took, lines = time.perf_counter() - began, result.metrics
    collector = TaskCollector(TASKS[task], result.policy.config.settings)
    found: dict[str, Any] = {"wall_s": took, "tokens": lines[-1]["step"], "updates": len(lines)}
    for how, most in (("sampled", False), ("greedy", True)):
        played = collector.evaluated(
            result.policy.decoder, EPISODES, seed=seed + 10**6, deterministic=most
        )
        ended = np.asarray(played.completions.terminated).any(axis=1)
        found[how] = played.returns.mean()
        found[f"length_{how}"] = played.lengths.mean()
        found[f"ended_{how}"] = ended.mean()
    found = {name: float(value) for name, value in found.items()}
    moved = [line for line in lines if line["kl"]]
    found |= {
        "start": lines[0]["reward_mean"],
        "kl_mean": sum(line["kl"] for line in moved) / max(len(moved), 1),
        "kl_largest": max(line["kl"] for line in lines),
        "kl_max_largest": max(line["kl_max"] for line in lines),
        "accepted": sum(line["outcome"] in ("ACCEPTED", "PROJECTED") for line in lines),
        "cpu_s": time.process_time(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "curve": curve,
    }
    if "kl_reference" in lines[-1]:
        late = [line["kl_reference"] for line in lines[-len(lines) // 3 :]]
        found["kl_reference_late"] = sum(late) / len(late)
    return found | {name: lines[-1][name] for name in KEPT if name in lines[-1]}


def in_a_process(experiment: str, label: str, seed: int) -> dict[str, Any]:
    """``one_run`` in a process of its own, on one thread."""
    command = [sys.executable, __file__, "--one", experiment, label, str(seed)]
    done = subprocess.run(
        command, env=environment(1, PROGRAMS), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def kept(experiment: str) -> list[dict[str, Any]]:
    """The runs that are there; a line that was being written when the command was killed is not."""
    path = FOLDER / f"{experiment}.jsonl"
    if not path.exists():
        return []
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write(path, "".join(whole))
    return [json.loads(line) for line in whole]


def missing(experiment: str, seed: int, only: str) -> list[str]:
    """The rows of an experiment that have no run of this seed."""
    done = {line["label"] for line in kept(experiment) if line["seed"] == seed}
    return [label for label in EXPERIMENTS[experiment] if only in label and label not in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--pages", action="store_true", help="write the pages of what is there")
    parser.add_argument("--one", nargs=3, metavar=("EXPERIMENT", "ROW", "SEED"))
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_run(*given.one[:2], int(given.one[2]))))
        return
    chosen = given.experiments or list(EXPERIMENTS)
    FOLDER.mkdir(exist_ok=True)
    about = machine() | provenance()
    for seed in range(0 if given.pages else given.seeds):
        for name in chosen:
            for label in missing(name, seed, given.only):
                try:
                    found = in_a_process(name, label, seed)
                except subprocess.CalledProcessError as error:
                    print(name, label, seed, error, flush=True)
                    continue
                line = {"label": label, "seed": seed, **found, "commit": about.get("commit")}
                with (FOLDER / f"{name}.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                write(FOLDER / f"{name}.md", page(name, kept(name), about))
                shown = {key: round(value, 3) for key, value in found.items() if key != "curve"}
                print(name, label, seed, shown, flush=True)
    for name in chosen:
        if runs := kept(name):
            write(FOLDER / f"{name}.md", page(name, runs, about))


if __name__ == "__main__":
    main()
