"""Runs that are killed, stopped, and gone on with, beside the same run undisturbed."""

import json
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import recorded
import runs
from case import (
    Case,
    Ended,
    Promise,
    agree,
    digest,
    finished,
    klamp,
    klamp_process,
    must,
    must_be_plain,
    must_be_refused,
    must_succeed,
    read_metrics,
    surroundings,
    tail,
)
from policies import same_run

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def draw(case: Case) -> runs.Plan:
    """A run of more updates, with few checkpoints."""
    plan = runs.draw(case, few=case.chance(0.8))
    updates = int(case.rng.integers(5, 12))
    batch = plan.copies * plan.options["rollout_length"]
    options = plan.options | {
        "steps": updates * batch,
        "checkpoint_interval": int(case.rng.integers(1, 4 * batch)),
        "keep_checkpoint_every": int(case.rng.integers(0, 5)),
        "vectorization": "auto" if plan.environment["vector"] else "sync",
    }
    if plan.algo == "ppo" and case.chance(0.5):
        options |= {"final_learning_rate": 0.0, "final_clip": 0.05}
    return replace(plan, options=options, updates=updates)


def calm(case: Case, plan: runs.Plan, out: str = "calm") -> Path:
    """The run that nothing disturbs."""
    ended = klamp(case, *plan.words(out), limit_s=150, **plan.surroundings())
    must_succeed(ended, "train")
    return case.folder / out


def judge(case: Case) -> str:
    """Kill a run some times, go on, compare."""
    plan = draw(case)
    with plan.named():
        return judge_kills(case, plan)


def judge_kills(case: Case, plan: runs.Plan) -> str:
    """One run, killed up to three times."""
    expected, run, said = calm(case, plan), case.folder / "run", []
    for _ in range(int(case.rng.integers(1, 4))):
        number = case.choose(SIGNALS)
        said.append(disturb(case, plan, run, number))
        case.spoil(run)
    end = go_on(case, plan, run, limit_s=150)
    must_succeed(end, "the last resume")
    same_run(expected, run, f"after {', '.join(said)}")
    times = [line["time_s"] for line in read_metrics(run)]
    must(times == sorted(times), f"after {', '.join(said)}: time_s goes back: {times}")
    wall = json.loads((run / "summary.json").read_text())["wall_s"]
    must(wall >= times[-1] - 1e-3, f"after {', '.join(said)}: wall_s {wall} < time_s {times[-1]}")
    return f"{', '.join(said)}; {plan.text()}"


def start(case: Case, plan: runs.Plan, run: Path, slow_s: float) -> Any:
    """Begin or go on, slowly enough to be hit."""
    env = {"JUDGE_ENV": json.dumps(plan.environment | {"slow_s": slow_s})}
    words = ["resume", "run"] if has_begun(run) else plan.words("run")
    if not has_begun(run) and run.exists():
        shutil.rmtree(run)
    return klamp_process(case, words, surroundings(case, **env))


def has_begun(run: Path) -> bool:
    """Whether there is something to go on with."""
    found = run / "checkpoints"
    return found.is_dir() and any(p.name.startswith("step_") for p in found.iterdir())


def go_on(case: Case, plan: runs.Plan, run: Path, limit_s: float) -> Ended:
    """Begin or go on, to the end."""
    return finished(start(case, plan, run, 0.0), limit_s)


def disturb(case: Case, plan: runs.Plan, run: Path, number: signal.Signals) -> str:
    """Send a signal at a random moment; what is said then must be true."""
    before = lines_of(run) if has_begun(run) else 0
    process = start(case, plan, run, 0.004)
    due = int(case.rng.integers(0, plan.updates))
    until = time.monotonic() + 30
    if case.chance(0.2):
        until, due = time.monotonic() + float(case.rng.uniform(0, 4)), 10**9
    while process.poll() is None and time.monotonic() < until and lines_of(run) <= due:
        time.sleep(0.005)
    time.sleep(float(case.rng.uniform(0, 0.3)))
    if process.poll() is None:
        process.send_signal(number)
    ended = finished(process, 60)
    starting = number != signal.SIGKILL and lines_of(run) == before
    if starting and ended.code == -number:
        # Python itself leaves so, SIGINT with a traceback, before klamp's first lines have run.
        return f"{number.name} while Python was starting"
    must_be_plain(ended, f"{number.name}")
    allowed = (0, -9) if number == signal.SIGKILL else (0, 128 + number, -number)
    must(ended.code in allowed, f"{number.name}: exit code {ended.code}: {tail(ended.err)}")
    saved = re.findall(r"saved at step ([\d,]+)", ended.err)
    for step in saved[-1:]:
        name = f"step_{int(step.replace(',', '')):012d}"
        there = (run / "checkpoints" / name).is_dir()
        must(there, f"{number.name}: says {tail(ended.err, 100)!r}, but there is no {name}")
    return f"{number.name} after {lines_of(run)} updates"


def lines_of(run: Path) -> int:
    """Lines of metrics so far."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def judge_lines(case: Case) -> str:
    """Go on from an older checkpoint, with other steps: the folder holds one line of training."""
    drawn = draw(case)
    batch = drawn.copies * drawn.options["rollout_length"]
    options = drawn.options | {"checkpoint_interval": batch, "keep_checkpoint_every": 1}
    if drawn.algo in ("a2c", "ppo", "ppo-kl") and case.chance(0.7):
        options |= {"final_learning_rate": 1e-7}
    plan = replace(drawn, options=options)
    with plan.named():
        return judge_one_line(case, plan)


def judge_one_line(case: Case, plan: runs.Plan) -> str:
    """A run that goes on from an older checkpoint, beside its copy without the later ones."""
    batch, steps = plan.copies * plan.options["rollout_length"], plan.options["steps"]
    run = calm(case, plan, "run")
    older = sorted((run / "checkpoints").iterdir())
    at = older[int(case.rng.integers(1, len(older) - 1))]
    done = int(at.name.removeprefix("step_"))
    refused_steps(case, plan, run, at, done)
    more = int(case.rng.integers(1, 4)) * batch + (steps if case.chance(0.7) else done)
    if plan.options.get("final_learning_rate") == 0.0:
        more = min(more, steps)  # nothing would be learnt after the schedule's end
    clean = case.folder / "clean"
    shutil.copytree(run, clean)
    for folder in (clean / "checkpoints").iterdir():
        if folder.name > at.name:
            shutil.rmtree(folder)
    for name in ("run", "clean"):
        ended = go_on_from(case, plan, f"{name}/checkpoints/{at.name}", more)
        must_succeed(ended, f"resume {at.name} --steps {more}")
    case.spoil(run)
    same_run(clean, run, f"resumed from {at.name} to {more} steps, in a folder with later ones")
    made = [line["step"] for line in read_metrics(run)]
    must(made == sorted(set(made)), f"metrics.jsonl holds the steps {made}")
    must(made[-1] >= more, f"resumed to {more} steps, metrics.jsonl ends at {made[-1]}")
    schedule_is_kept(plan, run)
    return f"from {at.name} to {more}; {plan.text()}"


def go_on_from(case: Case, plan: runs.Plan, place: str, steps: int) -> Ended:
    """``klamp resume`` of a checkpoint to a number of steps."""
    words = ("resume", place, "--steps", steps)
    return klamp(case, *words, limit_s=150, **plan.surroundings())


def refused_steps(case: Case, plan: runs.Plan, run: Path, at: Path, done: int) -> None:
    """Fewer steps than are made, and more than a schedule that ends at 0 allows; nothing moves."""
    wrong = [int(case.rng.integers(1, done))]
    if plan.options.get("final_learning_rate") == 0.0:
        wrong.append(plan.options["steps"] + int(case.rng.integers(1, 1000)))
    before = contents(run)
    for steps in wrong:
        ended = go_on_from(case, plan, f"run/checkpoints/{at.name}", steps)
        must_be_refused(ended, f"resume {at.name} --steps {steps}")
        must(contents(run) == before, f"resume {at.name} --steps {steps} was refused, but wrote")


def contents(run: Path) -> dict[str, str]:
    """Every file of a run, by what it holds."""
    return {str(path.relative_to(run)): digest(path) for path in run.rglob("*") if path.is_file()}


def schedule_is_kept(plan: runs.Plan, run: Path) -> None:
    """What is scheduled goes to its end over the steps that the run was begun with."""
    config, made = json.loads((run / "config.json").read_text()), 0
    for line in read_metrics(run):
        progress = min(made / plan.options["steps"], 1.0)
        for name in ("learning_rate", "clip"):
            end = plan.options.get(f"final_{name}")
            if end is None or name not in line:
                continue
            due = config[name] + (end - config[name]) * progress
            agree(f"update {line['update']}: {name}", line[name], due, rtol=1e-4, atol=1e-9)
        made = line["step"]


def _reset_moments(name: str) -> Any:
    """An item of the state that does not survive."""

    def plant(run: Path) -> None:
        from safetensors.numpy import load_file, save_file

        folder = max((run / "checkpoints").iterdir(), default=None) if has_begun(run) else None
        if folder is None or not (folder / "MANIFEST.json").exists():
            return
        arrays = load_file(folder / "tensors.safetensors")
        for key in arrays:
            if name in key:
                arrays[key] = (arrays[key] * 0).astype(arrays[key].dtype)
        save_file(arrays, folder / "tensors.safetensors")
        recorded.sign(folder)

    return plant


def _lost_line(run: Path) -> None:
    """A line of metrics that is lost."""
    path = run / "metrics.jsonl"
    if path.exists() and lines_of(run) > 1:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[1:]))


def _stretched(run: Path) -> None:
    """A schedule that was stretched to the new steps, in both."""
    for folder in (run, run.with_name("clean")):
        path = folder / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines[-2:]:
            if "learning_rate" in line:
                line["learning_rate"] *= 1.5
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        summary = folder / "summary.json"
        last = json.loads(summary.read_text())
        if "learning_rate" in last:
            summary.write_text(json.dumps(last | {"learning_rate": lines[-1]["learning_rate"]}))


def _old_line(run: Path) -> None:
    """A checkpoint of another line of training."""
    folders = sorted((run / "checkpoints").iterdir())
    shutil.copy(folders[0] / "tensors.safetensors", folders[-1] / "tensors.safetensors")


KILLS = Promise(
    name="kills",
    says="a run killed or stopped at any moment and resumed ends with the bytes of the one never "
    "stopped; what it says it saved is there; times go on",
    judge=judge,
    plants={
        "optimiser's moments lost": _reset_moments("moments.first"),
        "a line of metrics lost": _lost_line,
    },
    share=3,
    quick=True,
)
LINES = Promise(
    name="lines",
    says="a run resumed from an older checkpoint holds one line of training, not two; what is "
    "scheduled keeps to the steps it was begun with; steps that cannot be are refused",
    judge=judge_lines,
    plants={
        "a checkpoint of the old line": _old_line,
        "a line of metrics lost": _lost_line,
        "a schedule stretched to the new steps": _stretched,
    },
    quick=True,
)
