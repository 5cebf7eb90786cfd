"""100,000 hostile inputs to the loaders of checkpoints, configurations and metrics.

    python benchmarks/reliability/fuzz.py [--inputs 100000] [--seed 0] [--only NUMBER]

Each input is nearly whole: one of the files is changed, and the sums are made to agree with it more
often than not, so that what is behind them is reached. Only ``CheckpointError`` and ``ConfigError``
may come out, with a text that fits on a screen; none may take more than 1 s of processor time, nor
the whole process more than 512 MB. What breaks a rule is printed with its number, and ``--only``
does it again. Writes ``results/fuzz.md``; exits with 1 where a rule was broken.
"""

import argparse
import hashlib
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import numpy as np
from hostile_files import (
    Files,
    dumps,
    foreign_files,
    hostile_checkpoint,
    hostile_config,
    hostile_lines,
    put,
)

from klamp.config.algorithms import PPO, TRPO, PPOPenalty
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.errors import CheckpointError, ConfigError
from klamp.runs.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
)
from klamp.runs.checkpoint_write import save_checkpoint
from klamp.runs.folder import read_config
from klamp.runs.metrics_log import read_metrics
from klamp.runs.tensors import restore_tensors, tensors_of

RESULTS = Path(__file__).parents[1] / "results" / "fuzz.md"
SECONDS, MEGABYTES, LETTERS = 1.0, 512, 2000
TEMPLATE = {"theta": np.arange(6, dtype=np.float32), "count": np.asarray(3), "deep": [np.eye(2)]}
CONFIGS = (
    RunConfig("CartPole-v1", PPO(), Settings()),
    RunConfig("HalfCheetah-v5", TRPO(), Settings(normalize_observation=True, seed=2**62)),
    RunConfig("my_module:Thing-v0", PPOPenalty(), Settings(recurrent_size=8), network="mine"),
)
STEP, UPDATES = 1234, 4
LOADERS = ("config", "checkpoint", "metrics")


class Case(NamedTuple):
    """One input: what is loaded, what was done to it, and the bytes by file name."""

    loader: str
    kind: str
    files: Files


class Found(NamedTuple):
    """What came of the inputs."""

    counts: Counter[Any]
    """How often what came out of what."""
    different: int
    """Inputs that were not drawn before."""
    slowest_s: float
    broken: int
    """Rules."""


def whole_checkpoint(place: Path) -> Files:
    """The files of a checkpoint as they should be."""
    path = save_checkpoint(place, STEP, TEMPLATE, {"step": STEP, "env": "CartPole-v1"}, score=1.5)
    return {file.name: file.read_bytes() for file in path.iterdir()}


def drawn(seed: int, number: int, whole: Files, foreign: Files) -> Case:
    """The input of a number; the same ever again."""
    draw = Random(f"{seed} {number}")
    chance = draw.random()
    if chance < 0.1:
        lines = [{"update": n, "kl": n / 7, "outcome": "ACCEPTED", "return_mean": None}
                 for n in range(1, UPDATES + 1)]  # fmt: skip
        real = "".join(dumps(line) + "\n" for line in lines).encode()
        kind, data = hostile_lines(draw, real, foreign)
        return Case("metrics", kind, {"metrics.jsonl": data})
    if chance < 0.5:
        real = dumps({"klamp_version": "0"} | draw.choice(CONFIGS).to_dict()).encode()
        kind, data = hostile_config(draw, real, foreign)
        return Case("config", kind, {"config.json": data})
    return Case("checkpoint", *hostile_checkpoint(draw, whole, foreign))


def lay_out(case: Case, run: Path) -> None:
    """Write an input into a run's folder."""
    if case.loader == "checkpoint":
        put(run / "checkpoints" / f"step_{STEP:012d}", case.files)
    else:
        for name, data in case.files.items():
            (run / name).write_bytes(data)


def load(case: Case, run: Path) -> str:
    """Load it in every way there is: ``taken``, ``refused``, or whatever escapes."""
    try:
        if case.loader == "config":
            read_config(run)
        elif case.loader == "metrics":
            read_metrics(run / "metrics.jsonl")
        else:
            path = run / "checkpoints" / f"step_{STEP:012d}"
            tensors, _ = load_checkpoint(path)
            latest_checkpoint(run)
            back = restore_tensors(TEMPLATE, tensors, path)
            assert same_form(back), "restored to another form"
    except (CheckpointError, ConfigError) as error:
        text = str(error)
        assert len(text) < LETTERS, f"a text of {len(text)} letters: {text[:200]!r}"
        assert text.isprintable(), f"a text that is not printable: {text!r}"
        return "refused"
    return "taken"


def same_form(tree: Any) -> bool:
    """Whether a tree has the arrays of the template, as to names, shapes and types."""
    forms = [{n: (a.shape, a.dtype) for n, a in tensors_of(t).items()} for t in (tree, TEMPLATE)]
    return forms[0] == forms[1]


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        found = fuzz(given, Path(place))
    peak = peak_megabytes()
    if peak > MEGABYTES:
        found = found._replace(broken=found.broken + 1)
    print(f"{found.broken} rules broken, slowest {found.slowest_s:.3f} s, {peak} MB at most")
    if given.only is None:
        RESULTS.write_text(table(found, given.seed, peak))
    return int(found.broken > 0)


def peak_megabytes() -> int:
    """The most memory this process has held.

    Linux hands ``ru_maxrss`` on from the process that started this one, so that a small program
    started by a large one reads as large; ``VmHWM`` is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) // 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def fuzz(given: argparse.Namespace, place: Path) -> Found:
    """Draw, load and count."""
    whole = whole_checkpoint(place / "whole")
    foreign = foreign_files(place / "canary")
    run = place / "run"
    run.mkdir()
    counts: Counter[Any] = Counter()
    different: set[str] = set()
    slowest, broken = 0.0, 0
    numbers = range(given.inputs) if given.only is None else [given.only]
    for number in numbers:
        case = drawn(given.seed, number, whole, foreign)
        different.add(hashlib.sha256(repr(case.files).encode()).hexdigest())
        lay_out(case, run)
        began = time.process_time()
        try:
            outcome = load(case, run)
        except Exception as error:
            broken += 1
            print(f"input {number} ({case.loader}, {case.kind}): {type(error).__name__}: {error}")
            outcome = "escaped"
            if given.only is not None:
                raise
        spent = time.process_time() - began
        slowest = max(slowest, spent)
        if spent > SECONDS:
            broken += 1
            print(f"input {number} ({case.loader}, {case.kind}): {spent:.1f} s")
        counts[case.loader, case.kind, outcome] += 1
        if number % 5000 == 4999:
            print(f"{number + 1:,} inputs, {broken} rules broken", flush=True)
    if (place / "canary").exists():
        broken += 1
        print("something was executed")
    return Found(counts, len(different), slowest, broken)


def table(found: Found, seed: int, peak: int) -> str:
    """The results as a page."""
    counts = found.counts
    lines = [
        "# Fuzzing",
        "",
        f"Made by `python benchmarks/reliability/fuzz.py --seed {seed}`: {sum(counts.values()):,} "
        f"inputs ({found.different:,} of them different from one another), each a",
        "checkpoint, a `config.json` or a `metrics.jsonl` that is nearly whole, loaded in every "
        "way there is.",
        "*Taken* are those whose change has a meaning, such as another seed, or other numbers "
        "under sums that",
        "agree.",
        "",
        "| loader | what was changed | inputs | refused by a named error | taken | anything else |",
        "|---|---|---|---|---|---|",
    ]
    for loader, kind in sorted({key[:2] for key in counts}):
        row = [counts[loader, kind, outcome] for outcome in ("refused", "taken", "escaped")]
        lines.append(
            f"| {loader} | {kind} | {sum(row):,} | " + " | ".join(f"{n:,}" for n in row) + " |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Rules broken: {found.broken}. Slowest input: {found.slowest_s:.3f} s of processor "
            f"time (limit {SECONDS:g} s). Largest resident memory of the process: {peak} MB "
            f"(limit {MEGABYTES} MB).",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
