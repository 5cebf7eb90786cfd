"""Arguments and wrappers of environments: recorded, and applied wherever the run is used."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import runs
from case import Case, Difference, Promise, agree, klamp, must, must_succeed, read_metrics
from policies import same_run

NAME = "judge_envs:judge/Given-v0"
OWN = "judge_envs:Doubled"


def judge(case: Case) -> str:
    """One run with arguments and wrappers, trained, loaded, evaluated and gone on with."""
    drawn = runs.draw(case, vector=False, few=True)
    batch, updates = drawn.copies * drawn.options["rollout_length"], int(case.rng.integers(2, 4))
    arguments: dict[str, Any] = {
        "limit": int(case.rng.integers(6, 30)),
        "danger": float(round(case.rng.uniform(0.5, 2), 3)),
        "offset": float(case.choose((0, 3, -5))),
        "name": case.choose(("a name", "5", "[1]", "true", "ünï")),
    }
    arguments = {key: value for key, value in arguments.items() if case.chance(0.75)}
    wrappers = [
        f"time-limit={int(case.rng.integers(3, 12))}",
        f"clip-reward={float(round(case.rng.uniform(0.2, 1.5), 2))}",
        OWN,
    ]
    wrappers = [str(name) for name in case.rng.permutation(wrappers) if case.chance(0.75)]
    options = drawn.options | {"steps": updates * batch, "vectorization": "sync"}
    plan = replace(drawn, options=options, updates=updates)
    try:
        judge_run(case, plan, arguments, wrappers)
    except Difference as difference:
        said = f"{difference} (in {arguments}, {wrappers}, {plan.text()})"
        raise Difference(said) from None
    return f"{arguments}, {wrappers}"


def judge_run(case: Case, plan: runs.Plan, arguments: dict[str, Any], wrappers: list[str]) -> None:
    """One run."""
    names = case.facade("train", "load", "evaluate", "resume", "ConfigError", "EnvironmentFault")
    run, by_command = case.folder / "run", case.chance(0.4) and case.plant is None
    with made(case, "training") as told:
        train(case, names, plan, arguments, wrappers, by_command)
    was_given(told, arguments, wrappers, "training")
    config = json.loads((run / "config.json").read_text())
    kept = config.get("env_kwargs", {}), config.get("wrappers", [])
    must(kept == (arguments, wrappers), f"config.json records {kept}")
    returns_are_of_the_wrapped(case, plan, run, wrappers)
    with made(case, "loading") as told:
        policy = names.load(run)
    was_given(told, arguments, wrappers, "loading")
    with made(case, "evaluation") as told:
        done = names.evaluate(policy, episodes=4, seed=3)
    was_given(told, arguments, wrappers, "evaluation")
    seen = episodes(case.folder / "log of evaluation", wrappers)
    for found, length in zip(done.returns, done.lengths, strict=True):
        there = any(abs(found - r) < 1e-4 and int(length) == n for r, n in seen)
        must(there, f"evaluate: no episode of return {found} and length {length} took place")
    if case.chance(0.5):
        goes_on_alike(case, names, run, arguments, wrappers)
    else:
        unknown_is_refused(case, names, plan)


@contextmanager
def made(case: Case, what: str) -> Iterator[list[Any]]:
    """What the environments that are made meanwhile are told."""
    folder, log, told = case.folder / f"made in {what}", case.folder / f"log of {what}", []
    folder.mkdir()
    log.mkdir()
    os.environ |= {"JUDGE_MADE": str(folder), "JUDGE_ENV": json.dumps({"log": str(log)} | ACTION)}
    yield told
    os.environ["JUDGE_MADE"] = ""
    told += [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


ACTION: dict[str, Any] = {}
"""The kind of action of this case's environments, which no argument says."""


def train(
    case: Case,
    names: Any,
    plan: runs.Plan,
    arguments: dict[str, Any],
    wrappers: list[str],
    by_command: bool,
) -> None:
    """In Python or by the command line."""
    ACTION["action"] = plan.environment["action"]
    told = json.loads(os.environ["JUDGE_ENV"]) | ACTION
    os.environ["JUDGE_ENV"] = json.dumps(told)
    if not by_command:
        more = {"env_kwargs": arguments, "wrappers": wrappers, "out": case.folder / "run"}
        names.train(NAME, plan.algo, quiet=True, **plan.options, **more)
        return
    words = ["train", NAME, "--algo", plan.algo, "--out", "run", *runs.as_options(plan.options)]
    if arguments:
        # What JSON would read as something else than text is put into quotes.
        words += ["--env-kwargs", *(f"{k}={_word(v)}" for k, v in arguments.items())]
    words += ["--wrappers", *wrappers] if wrappers else []
    must_succeed(klamp(case, *words), "train")


def _word(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def was_given(told: list[Any], arguments: dict[str, Any], wrappers: list[str], what: str) -> None:
    """Every environment was told the arguments, and is in the judge's own wrapper if any is."""
    usual = {"limit": 20, "danger": 1.6, "offset": 0.0, "name": "any"}
    found = [line[1] for line in told if line[0] == "made"]
    must(found, f"{what}: no environment was made")
    for one in found:
        must(one == usual | arguments, f"{what}: an environment was told {one}")
    wrapped = sum(line[0] == "wrapped" for line in told)
    expected = len(found) * (OWN in wrappers)
    must(wrapped == expected, f"{what}: {wrapped} of {expected} environments are wrapped")


def of_wrappers(wrappers: list[str]) -> tuple[int, Any]:
    """The shortest time limit, and what becomes of a reward, the innermost wrapper first."""
    limit, changes = 10**9, []
    for name in wrappers:
        word, _, value = name.partition("=")
        if word == "time-limit":
            limit = min(limit, int(value))
        elif word == "clip-reward":
            changes.append(lambda reward, most=float(value): np.clip(reward, -most, most))
        else:
            changes.append(lambda reward: 2 * reward)

    def change(reward: float) -> float:
        for one in changes:
            reward = one(reward)
        return float(reward)

    return limit, change


def episodes(folder: Path, wrappers: list[str], steps: int = 0) -> list[tuple[float, int]]:
    """Wrapped return and length of every episode that ended, of the copies with so many steps."""
    limit, change = of_wrappers(wrappers)
    found: list[tuple[float, int]] = []
    for path in sorted(folder.iterdir()):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        taken = sum(line[0] == "step" for line in lines)
        if steps and taken != steps:
            continue
        total = length = 0
        for line in lines:
            if line[0] == "reset":
                total = length = 0
                continue
            total, length = total + change(line[3]), length + 1
            must(length <= limit, f"an episode went on after {limit} steps")
            if line[4] or line[5] or length == limit:
                found.append((total, length))
                total = length = 0
    return found


def returns_are_of_the_wrapped(case: Case, plan: runs.Plan, run: Path, wrappers: Any) -> None:
    """return_mean and length_mean are those that the wrapped environments paid."""
    last = read_metrics(run)[-1]
    steps = plan.updates * plan.options["rollout_length"]
    ended = episodes(case.folder / "log of training", wrappers, steps)
    if len(ended) != last["episodes"] or len(ended) > 100 or not ended:
        must(len(ended) >= last["episodes"], f"{last['episodes']} episodes, expected {len(ended)}")
        return  # a copy of the start-up check may have taken as many steps
    expected = np.mean(ended, axis=0)
    agree("return_mean", last["return_mean"], expected[0], rtol=1e-5, atol=1e-5)
    agree("length_mean", last["length_mean"], expected[1], rtol=1e-9, atol=0)


def goes_on_alike(
    case: Case, names: Any, run: Path, arguments: dict[str, Any], wrappers: list[str]
) -> None:
    """Resumed, the run has the same environments, and ends with the same bytes."""
    copy = case.folder / "went on"
    shutil.copytree(run, copy)
    for folder in sorted((copy / "checkpoints").iterdir())[2:]:
        shutil.rmtree(folder)
    with made(case, "resuming") as told:
        names.resume(copy, quiet=True)
    was_given(told, arguments, wrappers, "resuming")
    same_run(run, copy, "resumed with arguments and wrappers")


def unknown_is_refused(case: Case, names: Any, plan: runs.Plan) -> None:
    """An argument or a wrapper that there is not is answered with those that there are."""
    more, known = case.choose(
        (
            ({"env_kwargs": {"limits": 3}}, "danger"),
            ({"wrappers": ["time-limits=3"]}, "time-limit"),
            ({"wrappers": ["time-limit=soon"]}, "time-limit"),
        )
    )
    try:
        names.train(NAME, plan.algo, quiet=True, out=case.folder / "new", **plan.options, **more)
    except (names.ConfigError, names.EnvironmentFault) as error:
        text = str(error)
        must(re.search(known, text), f"{more}: {text!r} does not name {known}")
        must(not (case.folder / "new").exists(), f"{more} is refused, but the folder was made")
    else:
        must(False, f"{more} is taken")


def _not_in_evaluation(names: Any) -> None:
    """Evaluations in the environment without its arguments."""
    true = names.evaluate
    names.evaluate = lambda policy, **more: true(policy, env_kwargs={}, **more)


def _unwrapped(names: Any) -> None:
    """Evaluations without the wrappers."""
    true = names.evaluate
    names.evaluate = lambda policy, **more: true(policy, wrappers=[], **more)


def _lost(names: Any) -> None:
    """Arguments that are not written down."""
    true = names.train

    def broken(*given: Any, out: Path, **more: Any) -> Any:
        found = true(*given, out=out, **more)
        path = out / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"env_kwargs": {}}))
        return found

    names.train = broken


PROMISE = Promise(
    name="arguments",
    says="env_kwargs and wrappers are recorded, and apply to every environment of training, "
    "loading, evaluation and resuming; returns are what the wrapped environment pays",
    judge=judge,
    plants={
        "arguments are lost in evaluation": _not_in_evaluation,
        "wrappers are lost in evaluation": _unwrapped,
        "arguments are not recorded": _lost,
    },
    limit_s=150,
    quick=True,
)
