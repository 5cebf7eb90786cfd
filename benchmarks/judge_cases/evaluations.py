"""Evaluation while training: it moves nothing, and what it tells is what took place."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import broken_evaluations
import numpy as np
import recorded
import runs
from case import Case, Promise, agree, klamp, must, must_succeed, read_metrics, tail
from numpy_networks import Network, scaled
from policies import mode, same_run

TOLD = ("eval_return_mean", "eval_return_std", "eval_length_mean")
COPIES = 16
"""Environments that an evaluation steps together, at most."""


def judge(case: Case) -> str:
    """The same run without evaluations, with them, and ended by one."""
    plan = draw(case)
    with plan.named():
        return judge_evaluations(case, plan)


def draw(case: Case) -> runs.Plan:
    """A run of some updates that is evaluated now and then."""
    drawn = runs.draw(case, vector=False, few=True)
    batch, updates = drawn.copies * drawn.options["rollout_length"], int(case.rng.integers(3, 7))
    options = drawn.options | {
        "steps": updates * batch,
        "vectorization": "sync",
        "eval_interval": int(case.rng.integers(batch // 2, 2 * batch)),
        "eval_episodes": int(case.rng.integers(1, 7) if case.chance(0.9) else 18),
        "keep_checkpoint_every": case.choose((0, 1)),
    }
    environment = drawn.environment | {"limit": int(case.rng.integers(2, 25))}
    return replace(drawn, options=options, environment=environment, updates=updates)


def judge_evaluations(case: Case, plan: runs.Plan) -> str:
    """One plan."""
    names = case.facade("train", "load", "evaluate", "resume")
    ours = ("eval_interval", "eval_episodes")
    calm = {k: v for k, v in plan.options.items() if k not in ours} | {"keep_checkpoint_every": 1}
    without = runs.train_here(case, names, replace(plan, options=calm), "without", "log without")
    run = runs.train_here(case, names, plan, "with", "log with")
    same_run(without, run, "evaluated while it trained", but=lambda key: key.startswith("eval_"))
    evaluated = due_lines(plan, run)
    episodes = episodes_of(case, plan, len(evaluated))
    found = {at.step: at for at in recorded.checkpoints(without)}
    config = json.loads((run / "config.json").read_text())
    for line, group in zip(evaluated, episodes, strict=True):
        at = found[line["step"]]
        evaluation_is_true(f"update {line['update']}", config, plan, at, line, group)
    best_is_best(case, names, plan, run, evaluated, found)
    if evaluated and case.chance(0.4):
        stops_in_time(case, names, plan, run, evaluated)
    if case.chance(0.3):
        goes_on_alike(case, names, run)
    return plan.text()


def due_lines(plan: runs.Plan, run: Path) -> list[dict[str, Any]]:
    """The lines with an evaluation, which are those that the interval asks for."""
    before, interval, found = 0, plan.options["eval_interval"], []
    for line in read_metrics(run):
        due = line["step"] // interval > before // interval
        there = [key for key in TOLD if key in line]
        must(
            there == list(TOLD) * due,
            f"update {line['update']}, steps {before} to {line['step']}: metrics have {there}",
        )
        before, found = line["step"], found + [line] * due
    return found


def episodes_of(case: Case, plan: runs.Plan, count: int) -> list[list[Any]]:
    """The episodes of each evaluation: those that took place in environments of its own.

    Each is a list of (observation, action, reward). The environments of the training saw what they
    see without evaluations; what they left is taken away.
    """
    logs = [
        [path.read_text() for path in sorted((case.folder / name).iterdir())]
        for name in ("log without", "log with")
    ]
    extra = list(logs[1])
    for text in logs[0]:
        must(text in extra, "an environment of the training saw something else with evaluations")
        extra.remove(text)
    due = plan.options["eval_episodes"]
    copies = min(due, COPIES)
    extra = [text for text in extra if '"step"' in text]
    must(len(extra) in (0, copies), f"evaluated in {len(extra)} environments, expected {copies}")
    must(bool(extra) == bool(count), f"{count} evaluations in {len(extra)} environments")
    groups: list[list[Any]] = [[] for _ in range(count)]
    for index, text in enumerate(extra):
        own = due // copies + (index < due % copies)
        by_evaluation = rounds([json.loads(line) for line in text.splitlines()])
        must(len(by_evaluation) == count, f"{len(by_evaluation)} evaluations took place: {count}")
        begins = {json.dumps(episodes[0][0]) for episodes in by_evaluation}
        must(len(begins) == 1, f"evaluations begin from different states: {sorted(begins)[:2]}")
        for group, episodes in zip(groups, by_evaluation, strict=True):
            group += [episode[1:] for episode in episodes[:own]]
    return groups


def rounds(lines: list[Any]) -> list[list[Any]]:
    """The evaluations that one environment saw, each a list of episodes: its seed, its steps."""
    first, found = next(line[1] for line in lines if line[0] == "reset"), []
    for line in lines:
        if line[0] == "reset":
            if line[1] == first:
                found.append([])
            found[-1].append([(line[1], line[2])])
            now = line[2]
            continue
        _, action, seen, reward, _, _ = line
        found[-1][-1].append((now, action, reward))
        now = seen
    return [episodes for episodes in found if any(len(episode) > 1 for episode in episodes)]


def evaluation_is_true(
    what: str,
    config: dict[str, Any],
    plan: runs.Plan,
    at: recorded.Checkpoint,
    line: dict[str, Any],
    episodes: list[Any],
) -> None:
    """What was told of the episodes; each action is the likeliest by the saved numbers."""
    returns = [sum(step[2] for step in episode) for episode in episodes]
    lengths = [len(episode) for episode in episodes]
    expected = (np.mean(returns), np.std(returns), np.mean(lengths))
    for key, value in zip(TOLD, expected, strict=True):
        agree(f"{what}: {key}", line[key], value, rtol=1e-5, atol=1e-5)
    steps = [step for episode in episodes for step in episode]
    x = np.array([step[0] for step in steps], np.float64)
    taken = np.array([step[1] for step in steps])
    network = Network(config, plan.environment["action"], 3, at.theta)
    if config["normalize_observation"]:
        x = scaled(x, at.moments("observation"))
    likeliest, sure = mode(network, network.parameters(x), plan.environment["action"])
    agree(f"{what}: evaluated action", taken[sure], likeliest[sure], rtol=1e-4, atol=1e-4)


def best_is_best(
    case: Case,
    names: Any,
    plan: runs.Plan,
    run: Path,
    evaluated: list[Any],
    found: dict[int, recorded.Checkpoint],
) -> None:
    """The best checkpoint is kept, and is the one with the highest mean return."""
    if not evaluated:
        return
    highest = max(line["eval_return_mean"] for line in evaluated)
    steps = [line["step"] for line in evaluated if line["eval_return_mean"] == highest]
    kept = {at.step for at in recorded.checkpoints(run)}
    must(kept & set(steps), f"the best evaluation is of step {steps}, kept are {sorted(kept)}")
    best = names.load(run, checkpoint="best")
    theta = np.asarray(best.theta)
    same = [step for step in steps if np.array_equal(theta, found[step].theta)]
    must(same, f"load(checkpoint='best') is not that of step {steps}")
    if case.chance(0.4):
        by_command(case, names, plan, run, case.choose(("best", "last", str(min(kept - {0})))))


def by_command(case: Case, names: Any, plan: runs.Plan, run: Path, word: str) -> None:
    """``klamp eval --checkpoint`` tells what ``klamp.evaluate`` does of that checkpoint."""
    words = ("eval", run, "--checkpoint", word, "--episodes", 3, "--seed", 5)
    ended = must_succeed(klamp(case, *words, **plan.surroundings()), f"eval --checkpoint {word}")
    policy = names.load(run, checkpoint=int(word) if word.isdecimal() else word)
    done = names.evaluate(policy, episodes=3, seed=5)
    said = re.search(r"mean return (\S+) ± (\S+) .*\(from (\S+) to (\S+); .* (\S+)\)", ended.out)
    must(said, f"eval --checkpoint {word}: {tail(ended.out)}")
    told = [float(number.replace(",", "")) for number in said.groups()]
    returns = done.returns
    true = [returns.mean(), returns.std(), returns.min(), returns.max(), done.lengths.mean()]
    agree(f"klamp eval --checkpoint {word}", told, true, rtol=0, atol=0.0501)


def stops_in_time(
    case: Case, names: Any, plan: runs.Plan, run: Path, evaluated: list[dict[str, Any]]
) -> None:
    """``stop_at_return`` ends the run at the first evaluation that reaches it."""
    returns = [line["eval_return_mean"] for line in evaluated]
    goal = case.choose(returns)
    end = evaluated[next(i for i, found in enumerate(returns) if found >= goal)]
    stopped = runs.train_here(case, names, plan, "stopped", stop_at_return=goal)
    what = f"stop_at_return={goal}"
    lines = read_metrics(stopped)
    must(lines[-1]["step"] == end["step"], f"{what}: ended at {lines[-1]['step']}: {end['step']}")
    for key in TOLD:
        must(lines[-1][key] == end[key], f"{what}: {key} {lines[-1][key]}, before {end[key]}")
    summary = json.loads((stopped / "summary.json").read_text())
    early = end["update"] < plan.updates
    must("stopped" in summary or not early, f"{what}: summary.json does not say that it stopped")
    last = recorded.checkpoints(stopped)[-1]
    must(last.step == end["step"], f"{what}: the last checkpoint is of step {last.step}")
    same = [at for at in recorded.checkpoints(run) if at.step == last.step]
    must(not same or np.array_equal(same[0].theta, last.theta), f"{what}: another policy")


def goes_on_alike(case: Case, names: Any, run: Path) -> None:
    """A run that goes on from an older checkpoint evaluates to the same figures."""
    copy = case.folder / "went on"
    shutil.copytree(run, copy)
    folders = sorted((copy / "checkpoints").iterdir())
    left = int(case.rng.integers(1, len(folders)))
    for folder in folders[left:]:
        shutil.rmtree(folder)
    names.resume(copy, quiet=True)
    same_run(run, copy, f"resumed after {folders[left - 1].name}")


PROMISE = Promise(
    name="evaluations",
    says="evaluation while training changes no bit of the run, tells what its episodes returned, "
    "acts as the saved policy's numbers say; the best checkpoint is the best by it, and "
    "stop_at_return ends the run there",
    judge=judge,
    plants=broken_evaluations.PLANTS,
    share=2,
    limit_s=150,
    quick=True,
)
