"""Runs of several processes, beside the same run by one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import runs
from broken_runs import moved, of_lines
from case import NOTED, Case, Promise, agree, klamp, must, must_succeed, read_metrics
from rounding import CLOSE, judge_rounding
from safetensors.numpy import load_file

SHARDS = 6
"""What 1, 2 and 3 processes divide."""
EQUAL = ("step", "update", "outcome", "episodes")
NEAR = ("return_mean", "length_mean", "kl", "entropy", "value_loss")


def draw(case: Case) -> runs.Plan:
    """A run whose environments and minibatches can be divided."""
    plan = runs.draw(case, vector=False, few=case.chance(0.7))
    copies, length = SHARDS * int(case.rng.integers(1, 3)), int(case.choose((8, 12)))
    options = plan.options | {
        "num_envs": copies,
        "rollout_length": length,
        "shards": SHARDS,
        "steps": plan.updates * copies * length,
    }
    for name in options.keys() & {"minibatch_size", "critic_minibatch_size"}:
        options[name] = SHARDS * int(case.rng.integers(2, copies * length // SHARDS + 1))
    if case.chance(0.3):
        options |= {"dropout": 0.2}
    elif case.chance(0.3):
        options |= {"recurrent_size": 3, "sequence_length": length // 2}
        for name in options.keys() & {"minibatch_size", "critic_minibatch_size"}:
            options[name] = copies * length // 2
    return replace(plan, options=options)


def judge(case: Case) -> str:
    """θ, counters and returns after each update, by one process and by some."""
    plan, processes = draw(case), int(case.choose((2, 3)))
    with plan.named():
        alone = klamp(case, *plan.words("alone"), limit_s=200, **plan.surroundings())
        if alone.code == 2 and "would do nothing" in alone.err:
            return f"refused: {alone.err.strip()[:80]}"
        must_succeed(alone, "train")
        words = ("launch", "--processes", processes, "--", *plan.words("many"))
        many = klamp(case, *words, limit_s=220, **plan.surroundings())
        must(many.code == 0, f"{processes} processes ended with {many.code}: {many.err[-500:]}")
        case.spoil(case.folder / "many")
        rounding = compare(case, plan, processes)
    return f"{rounding}{processes} processes; {plan.text()}"


def compare(case: Case, plan: runs.Plan, processes: int) -> str:
    """Every update of both, up to one that rounding alone has made another: then what it did.

    Conjugate gradients, and Adam where a gradient is next to nothing, make more of rounding than
    1e-5 of θ. Whether it is that is decided in 64 bits. Policies and so rollouts differ after it.
    """
    alone, many = case.folder / "alone", case.folder / "many"
    configs = [json.loads((run / "config.json").read_text()) for run in (alone, many)]
    must(configs[0] == configs[1], f"{processes} processes: config.json differs")
    lines = [read_metrics(run) for run in (alone, many)]
    must(len(lines[0]) == len(lines[1]), f"{processes} processes: {len(lines[1])} updates")
    thetas = [thetas_of(run) for run in (alone, many)]
    must(len(thetas[0]) == len(thetas[1]), f"{processes} processes: {len(thetas[1])} checkpoints")
    must(np.array_equal(thetas[0][0], thetas[1][0]), f"{processes} processes: another first θ")
    for update, (a, b) in enumerate(zip(*lines, strict=True), start=1):
        where = f"{processes} processes: update {a['update']}"
        for name in EQUAL:
            must(a.get(name) == b.get(name), f"{where}: {name} {b.get(name)}, not {a.get(name)}")
        one, several = (theta[update] for theta in thetas)
        if np.abs(one - several).max() > CLOSE * np.abs(one).max():
            found = judge_rounding(case, alone, one, several, update, **plan.surroundings())
            return f"{NOTED}{found}; "
        for name in NEAR:
            if isinstance(a.get(name), float) and isinstance(b.get(name), float):
                agree(f"{where}: {name}", b[name], a[name], rtol=1e-3, atol=1e-5)
    return ""


def thetas_of(run: Path) -> list[Any]:
    """θ at the start and after each update: a checkpoint is kept of each."""
    folders = sorted((run / "checkpoints").iterdir())
    return [load_file(folder / "tensors.safetensors")["['state'].theta"] for folder in folders]


def _lost_episode(line: dict[str, Any]) -> None:
    line["episodes"] = max(line["episodes"] - 1, 0) if line["episodes"] else 1


PROMISE = Promise(
    name="processes",
    says="several processes make the run of one: θ to 1e-5 after each update, or to what 64 bits "
    "show to be rounding; the same counters, outcomes and episodes",
    judge=judge,
    plants={
        "a process's share left out of a sum": moved("['state'].theta", 1.0001),
        "an episode lost between processes": of_lines(_lost_episode),
    },
    limit_s=480.0,
)
