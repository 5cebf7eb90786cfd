"""Going on from each checkpoint of a run, with other steps, killed at random: one line, all of it.

    python benchmarks/reliability/lines.py [--kills 5] [--seed 0]

A run with a schedule is saved after every second update. For each of its checkpoints, what came
after it is exchanged for that of another seed, so that it can be told from what a run that goes on
from there makes. `klamp.resume` then goes on from the checkpoint, with fewer and with more steps,
in processes that are killed by SIGKILL at random calls to the disk and at random times. After every
kill the folder must hold one line: the old run, whole or ended earlier, or the new one; with every
line of metrics that its checkpoints know of; and what the new one gave up must lie aside. In the
end its bytes are those of a run that was never stopped. Writes ``results/lines.md``; exits with 1
where something was not so.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from lives import PPO, TIMES, Case, Kill, arm, configuration, contents, differences, processes

RESULTS = Path(__file__).parents[1] / "results" / "lines.md"
UPDATE, UPDATES = 96, 12
STEPS = UPDATE * UPDATES
CASE = Case(
    "Pendulum-v1",
    "ppo",
    PPO
    | {"final_learning_rate": 1e-5, "final_clip": 0.1, "normalize_observation": True}
    | {"checkpoint_interval": 2 * UPDATE, "keep_checkpoint_every": 1},
)
Line = dict[str, Any]


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5, help="kills of each new line")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, context = random.Random(given.seed), processes()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        runs = [whole(Path(place) / name, seed, STEPS) for name, seed in (("one", 1), ("two", 2))]
        for step in sorted(states(runs[0]))[:-1]:
            for steps in (step + 2 * UPDATE, STEPS + 4 * UPDATE):
                expected = whole(Path(place) / f"whole-{steps}", 1, steps)
                row = Row(step, steps, 0, 0, 0, [])
                while row.kills < given.kills:
                    folder = spliced(runs, step, Path(place) / f"{step}-{steps}-{row.ends}")
                    row = torment(context, folder, row, expected, given.kills, draw)
                rows.append(row)
                print(*row, flush=True)
    lines = [
        "# Lines",
        "",
        f"Made by `python benchmarks/reliability/lines.py --kills {given.kills}`: `klamp.resume`",
        f"from each checkpoint of a run of {STEPS:,} steps with a schedule, with other steps,",
        "killed by SIGKILL at random calls to the disk and at random times; what came after the",
        "checkpoint was of another seed. After every kill the folder must hold one line with all",
        "its metrics, and in the end the bytes of a run that was never stopped.",
        "",
        "| from step | to step | ends | kills | of them before the new line began | not so |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.start:,} | {r.steps:,} | {r.ends} | {r.kills} | {r.early} | {len(r.wrong)} |"
            for r in rows
        ),
        f"| all {len(rows)} | | {sum(r.ends for r in rows)} | {sum(r.kills for r in rows)} | "
        f"{sum(r.early for r in rows)} | {sum(len(r.wrong) for r in rows)} |",
        "",
        *(f"- {what}" for row in rows for what in row.wrong),
    ]
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    return int(any(row.wrong for row in rows))


class Row(NamedTuple):
    """One new line: where it begins and ends, and what became of it."""

    start: int
    steps: int
    ends: int
    kills: int
    early: int
    wrong: list[str]


def whole(folder: Path, seed: int, steps: int) -> Path:
    """A run that is never stopped, on the schedule of one of ``STEPS``."""
    from klamp.training.callbacks import Reporters
    from klamp.training.train import train_config

    if not folder.exists():
        settings = {"seed": seed, "schedule_steps": STEPS}
        case = CASE._replace(settings=CASE.settings | settings)
        train_config(configuration(case, steps), out=folder, reporters=Reporters())
    return folder


def states(folder: Path) -> dict[int, bytes]:
    """The bytes of every state in a run's folder, by step."""
    paths = (folder / "checkpoints").glob("step_*/tensors.safetensors")
    return {int(path.parent.name[5:]): path.read_bytes() for path in paths}


def metrics(folder: Path) -> list[str]:
    """Every whole line of metrics, times apart."""
    from klamp.runs.metrics_log import read_metrics

    path = folder / "metrics.jsonl"
    lines = read_metrics(path) if path.exists() else []
    return [json.dumps({k: v for k, v in line.items() if k not in TIMES}) for line in lines]


def spliced(runs: list[Path], step: int, folder: Path) -> Path:
    """The first run up to ``step``, and the second after it."""
    one, two = runs
    shutil.copytree(one, folder)
    for later in (path for path in (folder / "checkpoints").iterdir() if int(path.name[5:]) > step):
        shutil.rmtree(later)
        shutil.copytree(two / "checkpoints" / later.name, later)
    known = step // UPDATE
    both = [(run / "metrics.jsonl").read_text().splitlines(keepends=True) for run in runs]
    (folder / "metrics.jsonl").write_text("".join(both[0][:known] + both[1][known:]))
    return folder


def live(path: Path, steps: int | None, kill: Kill) -> None:
    """Go on until done or killed. Runs in a process of its own."""
    import klamp

    arm(kill)
    warnings.simplefilter("ignore", klamp.KlampWarning)
    klamp.resume(path, steps=steps, quiet=True)


def torment(
    context: Any, folder: Path, row: Row, expected: Path, due: int, draw: random.Random
) -> Row:
    """Go on from a checkpoint until that is done, killed on the way until ``due`` kills are."""
    old, new = (states(folder), metrics(folder)), (states(expected), metrics(expected))
    first = folder / "checkpoints" / f"step_{row.start:012d}"
    command: tuple[Path, int | None] = (first, row.steps)
    kills, early, wrong = row.kills, row.early, list(row.wrong)
    code: int | None = -9
    while code == -9:
        kind = draw.choice(("disk", "disk", "time")) if kills < due else "none"
        amount = draw.randrange(1, 250) if kind == "disk" else draw.uniform(0, 3.0)
        process = context.Process(target=live, args=(*command, Kill(kind, amount)))
        process.start()
        process.join()
        code = process.exitcode
        where = f"from {row.start} to {row.steps}, kill {kills + 1} ({kind} {amount})"
        if code == -9:
            kills += 1
            begun, problems = judged(folder, row.start, old, new)
            early += not begun
            wrong += [f"{where}: {problem}" for problem in problems]
            # Until the new line has begun, it is the same command that begins it.
            command = (folder, None) if begun else command
        elif code == 0:
            wrong += [f"{where}: {problem}" for problem in ends(folder, expected)]
        else:
            wrong.append(f"{where}: exit code {code}")
    return Row(row.start, row.steps, row.ends + 1, kills, early, wrong)


def ends(folder: Path, expected: Path) -> list[str]:
    """What differs from the run that was never stopped."""
    found = differences(contents(expected), contents(folder))
    kept = states(folder)
    wrong = [n for n in kept if kept[n] != states(expected).get(n)]
    summary = json.loads((folder / "summary.json").read_text())
    if summary["step"] != max(kept):
        found.append("summary.json")
    return [*found, *(f"step {n}" for n in wrong)]


def judged(folder: Path, step: int, old: Any, new: Any) -> tuple[bool, list[str]]:
    """Whether the new line has begun, and what is not as promised after a kill."""
    from klamp.runs.checkpoint import latest_checkpoint, verify

    found, lines = states(folder), metrics(folder)
    latest = verify(latest_checkpoint(folder)).step
    of_old = [n for n in found if n > step and found[n] == old[0].get(n)]
    of_new = [n for n in found if n > step and found[n] == new[0].get(n)]
    problems: list[str] = []
    if of_old and of_new:
        problems.append(f"two lines: {of_old} of the old run, {of_new} of the new one")
    if strangers := [n for n in found if n > step and n not in of_old + of_new]:
        problems.append(f"{strangers} are of no run")
    known = latest // UPDATE
    wanted = (new if of_new else old)[1][:known]
    if lines[:known] != wanted:
        problems.append(f"the lines of {known} updates are not those of the checkpoints")
    aside = [states(path) for path in folder.glob("set-aside-*")]
    gone = {n: data for n, data in old[0].items() if n > step and n not in of_old}
    if any(not any(part.get(n) == data for part in aside) for n, data in gone.items()):
        problems.append("a checkpoint of the old run is neither there nor aside")
    kept = [metrics(path) for path in folder.glob("set-aside-*")]
    if gone and old[1] not in [lines, *kept]:
        problems.append("lines of the old run are neither there nor aside")
    begun = not of_old and json.loads((folder / "config.json").read_text())["steps"] != STEPS
    return begun, problems


if __name__ == "__main__":
    sys.exit(main())
