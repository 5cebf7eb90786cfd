"""A trained policy beside its own forward pass in numpy; evaluation; the same seed twice."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import recorded
import references as ref
import runs
from case import Case, Promise, agree, must, read_metrics
from numpy_networks import HIGH, LOW, Network, scaled

TIMES = ("time_s", "steps_per_second", "wall_s", "compile_s", "eval_s", "folder")


def judge(case: Case) -> str:
    """Train, load, act, evaluate, train again."""
    plan = runs.draw(case)
    with plan.named():
        return judge_policy(case, plan)


def judge_policy(case: Case, plan: runs.Plan) -> str:
    """One policy."""
    run = runs.train(case, plan)
    names = case.facade("load", "evaluate")
    os.environ["JUDGE_ENV"] = json.dumps(plan.environment)
    policy = names.load(run)
    acts_as_in_numpy(case, plan, run, policy)
    again = runs.train(case, plan, "again", "log again")
    if hasattr(names, "after_again"):
        names.after_again(again)
    same_run(run, again, "the same seed again")
    evaluation_is_true(case, plan, names, policy)
    return plan.text()


def acts_as_in_numpy(case: Case, plan: runs.Plan, run: Path, policy: Any) -> None:
    """Actions and values of many observations and of single ones."""
    config = json.loads((run / "config.json").read_text())
    last = recorded.checkpoints(run)[-1]
    network = Network(config, plan.environment["action"], 3, last.theta)
    where = plan.environment["offset"], plan.environment["scale"]
    seen = (where[0] + where[1] * case.rng.normal(size=(9, 3))).astype(np.float32)
    x = seen.astype(np.float64)
    if config["normalize_observation"]:
        x = scaled(x, last.moments("observation"))
    value = network.value(x)
    size = 1e-4 * (1 + np.max(np.abs(value)))
    agree("policy.value", policy.value(seen), value, rtol=1e-4, atol=size)
    agree("policy.value of one", policy.value(seen[3]), value[3], rtol=1e-4, atol=size)
    expected, sure = mode(network, network.parameters(x), plan.environment["action"])
    told = np.asarray(policy.act(seen, deterministic=True))
    must(told.shape == expected.shape, f"act: shape {told.shape}, expected {expected.shape}")
    agree("policy.act", told[sure], expected[sure], rtol=1e-4, atol=1e-4)
    alone = np.asarray(policy.act(seen[0], deterministic=True))
    if np.all(sure[0]):
        agree("policy.act of one", alone, expected[0], rtol=1e-4, atol=1e-4)
    space = policy.action_space
    for row in np.asarray(policy.act(seen)):
        must(space.contains(row), f"policy.act: {row!r} is not in {space}")


def mode(network: Network, p: ref.Parameters, action: str) -> tuple[Any, Any]:
    """The likeliest action of each row, and which entries are not ties."""
    match network.kind:
        case "categorical":
            ranked = np.sort(p["logits"], axis=1)
            return np.argmax(p["logits"], axis=1) - 1, ranked[:, -1] - ranked[:, -2] > 1e-4
        case "multi":
            parts = ref.split(p["logits"], (2, 3))
            ranked = [np.sort(part, axis=1) for part in parts]
            sure = np.stack([r[:, -1] - r[:, -2] > 1e-4 for r in ranked], axis=1)
            return np.stack([np.argmax(part, axis=1) for part in parts], axis=1), sure
        case "bernoulli":
            return (p["logits"] > 0).astype(int), np.abs(p["logits"]) > 1e-4
        case "beta":
            share = (p["alpha"] - 1) / (p["alpha"] + p["beta"] - 2)
            return LOW + (HIGH - LOW) * share, np.ones(share.shape, bool)
        case "squashed":
            return LOW + (HIGH - LOW) * (1 + np.tanh(p["mean"])) / 2, np.ones(p["mean"].shape, bool)
    mean = np.clip(p["mean"], LOW, HIGH) if action == "bounded" else p["mean"]
    return mean, np.ones(mean.shape, bool)


def evaluation_is_true(case: Case, plan: runs.Plan, names: Any, policy: Any) -> None:
    """The same seed gives the same episodes, and they are those that the environments saw."""
    episodes, seed = int(case.rng.integers(1, 9)), int(case.rng.integers(2**40))
    for deterministic in (True, False):
        log = case.folder / f"log of evaluation {deterministic}"
        log.mkdir()
        os.environ["JUDGE_ENV"] = json.dumps(plan.environment | {"log": str(log)})
        given = {"episodes": episodes, "seed": seed, "deterministic": deterministic}
        first = names.evaluate(policy, **given)
        os.environ["JUDGE_ENV"] = json.dumps(plan.environment)
        seen = recorded.episodes(log)
        must(
            len(first.returns) == episodes, f"evaluate: {len(first.returns)} of {episodes} episodes"
        )
        for told, length in zip(first.returns, first.lengths, strict=True):
            near = [abs(told - r) <= 1e-3 and int(length) == n for r, n in seen]
            must(any(near), f"evaluate: no episode of return {told} and length {length} took place")
        again = names.evaluate(policy, **given)
        what = f"evaluate(deterministic={deterministic}, seed={seed}) twice"
        agree(what, again.returns, first.returns, rtol=0, atol=0)


def same_run(
    first: Path, second: Path, what: str, *, but: Callable[[str], bool] = lambda key: False
) -> None:
    """The same metrics, times apart, and the same bytes in every checkpoint that both have.

    ``but`` says of which further keys nothing is asked.
    """

    def kept(line: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in _timeless(line).items() if not but(key)}

    lines = [[kept(line) for line in read_metrics(run)] for run in (first, second)]
    must(len(lines[0]) == len(lines[1]), f"{what}: {len(lines[1])} updates, not {len(lines[0])}")
    for a, b in zip(*lines, strict=True):
        differ = [key for key in a.keys() | b.keys() if not _same(a.get(key), b.get(key))]
        must(not differ, f"{what}: update {a['update']}: {sorted(differ)} differ")
    folders = [{p.name: p for p in (run / "checkpoints").iterdir()} for run in (first, second)]
    last = max(folders[0])
    must(last in folders[1], f"{what}: no checkpoint {last}")
    for name in folders[0].keys() & folders[1].keys():
        for file in ("tensors.safetensors", "state.json"):
            a, b = (folder[name] / file for folder in folders)
            must(a.read_bytes() == b.read_bytes(), f"{what}: {name}/{file} differs")
    a, b = (kept(json.loads((run / "summary.json").read_text())) for run in (first, second))
    must(a == b or str(a) == str(b), f"{what}: summary.json differs")


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in TIMES}


def _same(a: Any, b: Any) -> bool:
    return a == b or str(a) == str(b)


def _stale(names: Any) -> None:
    """A policy without its normaliser: it acts on what is a little beside the observation."""
    true = names.load

    def broken(run: Path) -> Any:
        policy = true(run)
        act, value = policy.act, policy.value
        policy.act = lambda seen, **more: act(seen * np.float32(1.3) + np.float32(0.1), **more)
        policy.value = lambda seen: value(seen * np.float32(1.3) + np.float32(0.1))
        return policy

    names.load = broken


def _counting(names: Any) -> None:
    """Noise that follows a count of the calls: the seed is not all that decides."""
    true, calls = names.evaluate, []

    def broken(policy: Any, *, seed: int, **more: Any) -> Any:
        calls.append(seed)
        return true(policy, seed=seed + len(calls), **more)

    names.evaluate = broken


def _polished(names: Any) -> None:
    """Returns that no episode had."""
    true = names.evaluate

    def broken(policy: Any, **more: Any) -> Any:
        found = true(policy, **more)
        return found._replace(returns=found.returns + 1)

    names.evaluate = broken


def _drifting(names: Any) -> None:
    """A second run whose last digit differs."""

    def change(run: Path) -> None:
        path = max((run / "checkpoints").iterdir()) / "tensors.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    names.after_again = change


PROMISE = Promise(
    name="policies",
    says="a loaded policy acts as its numbers say, its normaliser included; an evaluation with a "
    "seed repeats and tells what happened; a run with a seed repeats to the byte",
    judge=judge,
    plants={
        "observation not normalised as trained": _stale,
        "evaluation follows a counter": _counting,
        "returns that no episode had": _polished,
        "second run differs in a bit": _drifting,
    },
    share=2,
)
