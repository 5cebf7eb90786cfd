"""Runs of several processes, beside the same run by one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import runs
from broken_runs import moved, of_lines
from case import Case, Promise, agree, klamp, must, must_succeed, read_metrics
from safetensors.numpy import load_file

SHARDS = 6
"""What 1, 2 and 3 processes divide."""
EQUAL = ("step", "update", "outcome", "episodes")
THETA = "['state'].theta"
EPSILON = float(np.finfo(np.float32).eps)
SOLVED = 0.01
"""The share of an update by which two solutions in float32 may differ."""
CLOSE = ("return_mean", "length_mean", "kl", "entropy", "value_loss")


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
        compare(case.folder / "alone", case.folder / "many", processes)
    return f"{processes} processes; {plan.text()}"


def compare(alone: Path, many: Path, processes: int) -> None:
    """Every update of both."""
    configs = [json.loads((run / "config.json").read_text()) for run in (alone, many)]
    must(configs[0] == configs[1], f"{processes} processes: config.json differs")
    lines = [read_metrics(run) for run in (alone, many)]
    # An ill-conditioned system of conjugate gradients amplifies the last digit without bound.
    solved = SOLVED if configs[0]["algo"] in ("trpo", "npg") else 0.0
    must(len(lines[0]) == len(lines[1]), f"{processes} processes: {len(lines[1])} updates")
    for a, b in zip(*lines, strict=True):
        where = f"{processes} processes: update {a['update']}"
        for name in EQUAL:
            must(a.get(name) == b.get(name), f"{where}: {name} {b.get(name)}, not {a.get(name)}")
        for name in CLOSE:
            if isinstance(a.get(name), float) and isinstance(b.get(name), float):
                agree(f"{where}: {name}", b[name], a[name], rtol=max(1e-3, solved), atol=1e-5)
    states = [
        [
            load_file(folder / "tensors.safetensors")
            for folder in sorted((run / "checkpoints").iterdir())
        ]
        for run in (alone, many)
    ]
    rounding: Any = 0.0
    for number, (one, other) in enumerate(zip(*states, strict=True)):
        a, b = one[THETA], other[THETA]
        if number:
            rounding = rounding + moved_by_rounding(states[0][number - 1], one, configs[0])
        apart, moved = np.abs(a - b).max(), np.abs(a - states[0][0][THETA]).max()
        beyond = float((np.abs(a - b) - rounding).max() - solved * moved)
        must(
            beyond <= 1e-5 * np.abs(a).max(),
            f"{processes} processes: θ of checkpoint {number} is {apart:.1e} apart, "
            f"which has moved by {moved:.1e}",
        )


def moved_by_rounding(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], config: dict[str, Any]
) -> np.ndarray:
    """How far Adam may have moved each parameter by the rounding of its gradient alone.

    In float32 the gradients of two numbers of processes differ by ε times the largest of them, and
    Adam divides each by its own size: of a saturated unit, whose gradient is a millionth of the
    largest, a tenth of each step is rounding.
    """
    moved = np.zeros(after[THETA].size)
    for name, second in after.items():
        if name.endswith(".second"):
            own = "critic_learning_rate" if ".critic." in name else "learning_rate"
            steps = name.removesuffix("second") + "steps"
            distance = config.get(own, 0.0) * float(after[steps] - before[steps])
            size = np.sqrt(second.astype(np.float64))
            share = np.divide(EPSILON * size.max(initial=0), size, out=0 * size, where=size > 0)
            moved[moved.size - size.size :] += distance * np.minimum(share, 1)
    return moved


def _lost_episode(line: dict[str, Any]) -> None:
    line["episodes"] = max(line["episodes"] - 1, 0) if line["episodes"] else 1


PROMISE = Promise(
    name="processes",
    says="several processes make the run of one: the same counters, outcomes and episodes, KL and "
    "entropy to 1e-3, θ to 1e-5 after each update; of TRPO and NPG all three to a hundredth",
    judge=judge,
    plants={
        "a process's share left out of a sum": moved("['state'].theta", 1.01),
        "an episode lost between processes": of_lines(_lost_episode),
    },
    limit_s=480.0,
)
