"""``klamp explain``: silent on healthy runs, true in its figures, and it names what was broken."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, Difference, Promise, klamp, must, must_be_refused, must_succeed, read_metrics

HEALTHY = (
    ("CartPole-v1", "ppo", 40_000),
    ("CartPole-v1", "trpo", 50_000),
    ("CartPole-v1", "npg", 50_000),
    ("CartPole-v1", "ppo-kl", 50_000),
    ("Pendulum-v1", "ppo", 60_000),
    ("Pendulum-v1", "trpo", 60_000),
)
NUMBER = r"(-?[\d,.]+(?:e[+-]?\d+)?)"


def judge(case: Case) -> str:
    """A run by its preset, and then with its numbers broken."""
    env, algo, steps = case.choose(HEALTHY)
    seed = int(case.rng.integers(2**40))
    names = import_module("klamp")
    run = case.folder / "run"
    names.train(env, algo, out=run, quiet=True, steps=steps, seed=seed)
    said = f"{env}, {algo}, seed {seed}"
    try:
        found = explained(case, run)
        must(not findings(found), f"of a healthy run: {findings(found)}: {found[-900:]}")
        must("Nothing looks wrong" in found, f"of a healthy run: {found[-300:]!r}")
        figures_are_true(run, steps, found)
        one_update(case, run)
        return f"{said}, then {broken(case, run)}"
    except Difference as difference:
        raise Difference(f"{difference} (in {said})") from None


def explained(case: Case, run: Path, *words: Any) -> str:
    """What ``klamp explain`` says, on one line; JAX cannot be imported meanwhile."""
    blocked = case.folder / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "jax.py").write_text("raise ImportError('the judge allows no JAX here')\n")
    root = Path(__file__).parents[2] / "src"
    ended = klamp(case, "explain", run, *words, PYTHONPATH=f"{blocked}:{root}")
    text = " ".join(must_succeed(ended, "explain").out.split())
    return case.plant(text) if case.plant is not None else text


def findings(text: str) -> list[str]:
    """The names of what it finds wrong."""
    return re.findall(r"\[([a-z-]+)\]", text)


def figures_are_true(run: Path, steps: int, text: str) -> None:
    """Steps, updates, returns and KL, from metrics.jsonl."""
    lines = read_metrics(run)
    returns = [(line["return_mean"], line["update"]) for line in lines]
    known = [pair for pair in returns if pair[0] is not None]
    best = max(known, key=lambda pair: pair[0])
    kl = float(np.median([line["kl"] for line in lines if line["kl"] is not None]))
    wanted = {
        rf"{NUMBER} of {NUMBER} steps in {NUMBER} updates?\.": [
            f"{lines[-1]['step']:,}",
            f"{steps:,}",
            f"{len(lines):,}",
        ],
        rf"mean return went from {NUMBER} to {NUMBER}[.;]": [
            f"{known[0][0]:.4g}",
            f"{known[-1][0]:.4g}",
        ],
        rf"median update moved the policy by {NUMBER} nats": [f"{kl:.2g}"],
    }
    if best[0] not in (known[0][0], known[-1][0]):
        wanted[rf"its best was {NUMBER}, at update {NUMBER}\."] = [f"{best[0]:.4g}", f"{best[1]:,}"]
    for pattern, values in wanted.items():
        told = re.search(pattern, text)
        must(told, f"explain does not say {pattern!r}: {text[:600]}")
        got = [part.rstrip(".;,") for part in told.groups()]
        must(got == values, f"explain says {got}, metrics.jsonl {values}")


def one_update(case: Case, run: Path) -> None:
    """One update by itself; one that there is not is refused."""
    lines = read_metrics(run)
    line = case.choose(lines)
    text = explained(case, run, "--update", line["update"])
    must(f"{line['update']:,}" in text, f"explain --update {line['update']}: {text[:200]}")
    told = re.findall(r"KL (?:is|was) ([\d.e+-]+\d)", text)
    near = [found for found in told if abs(float(found) - line["kl"]) <= 6e-3 * line["kl"]]
    must(near, f"explain --update {line['update']} does not say its KL, {line['kl']}: {text[:500]}")
    missing = klamp(case, "explain", run, "--update", len(lines) + 7)
    must_be_refused(missing, "explain of an update that there is not")


def broken(case: Case, run: Path) -> str:
    """Something is written into the numbers, and named first or second."""
    lines = read_metrics(run)
    half = len(lines) // 2
    # A critic with hardly anything left to explain is no finding: it is given its largest loss.
    loss = max(line["value_loss"] or 0.0 for line in lines)
    kinds = {
        "not-finite": lambda line: line | {"outcome": "NON_FINITE", "non_finite": "the loss"},
        "updates-refused": lambda line: line | {"outcome": "LINE_SEARCH_EXHAUSTED"},
        "updates-too-long": lambda line: line | {"kl": 0.7, "clip_fraction": 0.8},
        "no-signal": lambda line: line | {"return_mean": 3.0},
        "critic-worse-than-constant": lambda line: (
            line | {"explained_variance": -3.0, "value_loss": loss}
        ),
        "no-episode-ended": lambda line: line | {"episodes": 0, "return_mean": None},
        "return-fell": lambda line: (
            line | {"return_mean": -5000.0 if line["update"] > half else 1000.0 * line["update"]}
        ),
    }
    config = json.loads((run / "config.json").read_text())
    usable = sorted(kinds)
    if len(lines) < 20:
        usable.remove("critic-worse-than-constant")
    if sum(line["episodes"] >= 100 for line in lines[:half]) < 2:
        # A return that rose and fell is told of means over a hundred episodes.
        usable.remove("return-fell")
    if config["algo"] not in ("trpo", "npg"):
        usable.remove("updates-refused")
    name = case.choose(usable)
    changed = [kinds[name](line) for line in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    found = findings(explained(case, run))
    must(name in found[:2], f"{name} was written into metrics.jsonl; explain names {found}")
    return name


PROMISE = Promise(
    name="explanations",
    says="klamp explain, without JAX, finds nothing in healthy runs, tells figures of metrics.jsonl"
    ", and names first or second what was broken",
    judge=judge,
    plants={
        "a finding in a healthy run": lambda text: text + " [updates-too-long]",
        "a wrong figure": lambda text: re.sub(r"(went from )(\S+)", r"\g<1>1\2", text),
        "findings are not told": lambda text: re.sub(r"\[[a-z-]+\]", "", text),
    },
    limit_s=150,
)
