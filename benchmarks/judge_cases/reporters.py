"""Callbacks and logs: they change nothing, they are told everything, they may stop and save."""

import csv
import json
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import broken_reporters
import numpy as np
import recorded
import runs
from case import Case, Promise, agree, must, read_metrics
from event_files import events, stand_in
from policies import same_run

OWN = "my/number"


def judge(case: Case) -> str:
    """The same run alone, watched, stopped, and with a reporter that fails."""
    plan = draw(case)
    with plan.named():
        return judge_reporters(case, plan)


def draw(case: Case) -> runs.Plan:
    """A run of some updates."""
    drawn, updates = runs.draw(case, few=True), int(case.rng.integers(3, 7))
    batch = drawn.copies * drawn.options["rollout_length"]
    options = drawn.options | {"steps": updates * batch}
    return replace(drawn, options=options, updates=updates)


class Watcher:
    """Looks at all that it is shown, and asks for what it may."""

    def __init__(self, case: Case, plan: runs.Plan) -> None:
        self.told: list[dict[str, Any]] = []
        self.theta: dict[int, np.ndarray] = {}
        self.calls: list[str] = []
        self.save_at, self.stop_at, self.raise_at = -1, -1, -1
        self.rng, self.logs = case.rng, case.chance(0.7)

    def start(self, config: Any, folder: Path) -> None:
        """The run begins."""
        self.calls.append("start")

    def update(self, event: Any) -> None:
        """Act, draw random numbers, log, and so on."""
        number = event.metrics["update"]
        if self.rng.random() < 0.7:
            event.policy.act(np.zeros((3, 3), np.float32))
            self.theta[event.step] = np.array(event.policy.theta)
        np.random.seed(number)  # whatever a callback does
        if self.logs:
            event.log(**{OWN: 10.0 * number})
        if number == self.save_at:
            event.save()
        if number == self.stop_at:
            event.stop("the judge has seen enough")
        if number == self.raise_at:
            raise RuntimeError("the judge's own mistake")
        self.told.append(dict(event.metrics))

    def finish(self, summary: Any) -> None:
        """The run is over."""
        self.calls.append("finish")

    def close(self) -> None:
        """In any case."""
        self.calls.append("close")


def judge_reporters(case: Case, plan: runs.Plan) -> str:
    """One plan."""
    stand_in()
    names = case.facade("train", "resume", "ReporterFault")
    plain = runs.train_here(case, names, plan, "plain")
    watcher = Watcher(case, plan)
    watcher.save_at = int(case.rng.integers(1, plan.updates))
    few = replace(plan, options=plan.options | {"keep_checkpoint_every": 0})
    report = [watcher, lambda event: watcher.calls.append("function"), "csv", "tensorboard"]
    run = runs.train_here(case, names, few, "watched", report=report)
    same_run(plain, run, "with a callback and logs", but=lambda key: key == OWN)
    was_told(watcher, run, plan)
    was_saved(watcher, plain, run)
    logs_are_true(run)
    if case.chance(0.5):
        stopped(case, names, plan, plain, Watcher(case, plan))
    elif case.chance(0.5):
        raised(case, names, plan, plain, Watcher(case, plan))
    else:
        log_fails(case, names, plan, plain)
    return plan.text()


def was_told(watcher: Watcher, run: Path, plan: runs.Plan) -> None:
    """Each update once and in order, with the numbers and the policy that are saved."""
    lines = read_metrics(run)
    must(len(watcher.told) == len(lines), f"{len(watcher.told)} of {len(lines)} updates were told")
    for seen, line in zip(watcher.told, lines, strict=True):
        told = {key: _finite(value) for key, value in seen.items()}
        must(told == line, f"update {line['update']}: a callback was told {told}, kept is {line}")
        if watcher.logs:
            must(line.get(OWN) == 10.0 * line["update"], f"{OWN} is {line.get(OWN)} in {line}")
    calls = ["start", *["function"] * len(lines), "finish", "close"]
    must(watcher.calls == calls, f"callbacks were called in the order {watcher.calls}")
    for at in recorded.checkpoints(run):
        if at.step in watcher.theta:
            same = watcher.theta[at.step].tobytes() == at.theta.tobytes()
            must(same, f"event.policy of step {at.step} is not the one that is saved")


def was_saved(watcher: Watcher, plain: Path, run: Path) -> None:
    """What a callback asked to be saved is never removed."""
    step = read_metrics(run)[watcher.save_at - 1]["step"]
    there = {at.step: at for at in recorded.checkpoints(run)}
    must(step in there, f"event.save() at step {step}, but there are only {sorted(there)}")
    before = {at.step: at for at in recorded.checkpoints(plain)}
    same = np.array_equal(before[step].theta, there[step].theta)
    must(same, f"event.save() at step {step} kept another policy")


def logs_are_true(run: Path) -> None:
    """CSV and tensorboard hold what metrics.jsonl holds, no more and no less."""
    lines = read_metrics(run)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    must(len(rows) == len(lines), f"metrics.csv has {len(rows)} rows, expected {len(lines)}")
    for row, line in zip(rows, lines, strict=True):
        for key in row.keys() | line.keys():
            cell, value = row.get(key, ""), line.get(key)
            same = cell == "" if value is None else cell == str(value)
            same = same or (_is_number(value) and cell not in ("", None) and float(cell) == value)
            must(same, f"metrics.csv, update {line['update']}: {key} is {cell!r}, not {value!r}")
    curves: dict[str, list[Any]] = {}
    for path in sorted((run / "tensorboard").iterdir()):
        for step, name, value in events(path.read_bytes()):
            curves.setdefault(name, []).append((step, value))
    expected: dict[str, list[Any]] = {}
    for line in lines:
        for key, value in line.items():
            if _is_number(value):
                expected.setdefault(key, []).append((line["step"], value))
    must(
        curves.keys() == expected.keys(), f"tensorboard: {sorted(curves.keys() ^ expected.keys())}"
    )
    for key, points in expected.items():
        must(len(curves[key]) == len(points), f"tensorboard: {key} has {len(curves[key])} points")
        agree(f"tensorboard: {key}", curves[key], points, rtol=1e-6, atol=1e-37)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def stopped(case: Case, names: Any, plan: runs.Plan, plain: Path, watcher: Watcher) -> None:
    """A callback ends the run; it is saved, and goes on to the same end."""
    watcher.stop_at, watcher.logs = int(case.rng.integers(1, plan.updates)), False
    run = runs.train_here(case, names, plan, "stopped", report=watcher)
    lines, before = read_metrics(run), read_metrics(plain)
    must(len(lines) == watcher.stop_at, f"stopped after {watcher.stop_at}: {len(lines)} updates")
    summary = json.loads((run / "summary.json").read_text())
    why = summary.get("stopped")
    must(why == "the judge has seen enough", f"summary.json: stopped because of {why!r}")
    last = recorded.checkpoints(run)[-1].step
    must(last == before[watcher.stop_at - 1]["step"], f"stopped, the last checkpoint is of {last}")
    names.resume(run, quiet=True)
    same_run(plain, run, f"stopped by a callback after {watcher.stop_at}, resumed")


def raised(case: Case, names: Any, plan: runs.Plan, plain: Path, watcher: Watcher) -> None:
    """A callback with a mistake: the update is kept, its author is told, the run goes on later."""
    watcher.raise_at, watcher.logs = int(case.rng.integers(1, plan.updates)), False
    try:
        runs.train_here(case, names, plan, "raised", report=watcher)
    except names.ReporterFault as fault:
        must("judge's own mistake" in str(fault), f"ReporterFault says {fault}")
        must(isinstance(fault.__cause__, RuntimeError), f"its cause is {fault.__cause__!r}")
    else:
        must(False, "a callback raised, and nothing was said")
    run = case.folder / "raised"
    lines = read_metrics(run)
    must(len(lines) == watcher.raise_at, f"raised at {watcher.raise_at}: {len(lines)} updates")
    must("close" in watcher.calls, "a callback that raised was not closed")
    names.resume(run, quiet=True)
    same_run(plain, run, f"a callback raised at {watcher.raise_at}, resumed")


def log_fails(case: Case, names: Any, plan: runs.Plan, plain: Path) -> None:
    """A log that cannot be written is warned of once, and the run goes on."""
    at = int(case.rng.integers(1, plan.updates + 1))

    def in_the_way(event: Any) -> None:
        path = event.folder / "metrics.csv"
        if event.metrics["update"] == at:
            path.unlink(missing_ok=True)
            path.mkdir()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = runs.train_here(case, names, plan, "log fails", report=[in_the_way, "csv"])
    said = [str(one.message) for one in caught if "goes on without it" in str(one.message)]
    must(len(said) == 1, f"a log failed at update {at}; warnings: {said}")
    same_run(plain, run, f"a log failed at update {at}")
    shutil.rmtree(run / "metrics.csv")


PROMISE = Promise(
    name="reporters",
    says="a run with callbacks and logs is the run without them; callbacks see each update and "
    "what is saved, may log, save and stop; csv and tensorboard hold metrics.jsonl",
    judge=judge,
    plants=broken_reporters.PLANTS,
    share=2,
    limit_s=150,
    quick=True,
)
