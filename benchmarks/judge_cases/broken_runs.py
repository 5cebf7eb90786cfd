"""What is broken on purpose in a run, to see that the judge of its numbers would see it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import runs
from case import read_metrics
from safetensors.numpy import load_file, save_file


def of_lines(change: Any) -> Any:
    """A plant that changes each line of metrics."""

    def plant(run: Path) -> None:
        lines = read_metrics(run)
        for line in lines:
            change(line)
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return plant


def _factor(key: str, factor: float) -> Any:
    return of_lines(lambda line: line.update({key: line[key] * factor}))


def _without(key: str) -> Any:
    return of_lines(lambda line: line.pop(key))


def moved(name: str, factor: float) -> Any:
    """A plant that changes an array of every checkpoint but the first."""

    def plant(run: Path) -> None:
        for folder in sorted((run / "checkpoints").iterdir())[1:]:
            path = folder / "tensors.safetensors"
            arrays = load_file(path)
            arrays[name] = np.asarray(arrays[name] * factor, arrays[name].dtype)
            save_file(arrays, path)

    return plant


class _Wider:
    """A run that was trained in a larger region than it says."""

    def before(self, plan: runs.Plan) -> runs.Plan:
        """What is trained in the place of the plan."""
        self.said = plan.options.get("max_kl")
        if self.said is None or plan.algo not in ("trpo", "ppo"):
            return plan
        return replace(plan, options=plan.options | {"max_kl": 5 * self.said})

    def __call__(self, run: Path) -> None:
        """Say the smaller region."""
        config = json.loads((run / "config.json").read_text())
        if self.said is not None:
            (run / "config.json").write_text(json.dumps(config | {"max_kl": self.said}))


def _refused(run: Path) -> None:
    """Updates that were made, told as refused."""
    of_lines(lambda line: line.update(outcome="LINE_SEARCH_EXHAUSTED"))(run)


PLANTS = {
    "kl averaged over dimensions": _factor("kl", 0.5),
    "kl_max too small": _factor("kl_max", 0.9),
    "entropy wrong": _factor("entropy", 1.1),
    "ratio_max wrong": _factor("ratio_max", 1.01),
    "effective_sample_size wrong": _factor("effective_sample_size", 0.99),
    "clip_fraction wrong": of_lines(lambda line: line.update(clip_fraction=0.37)),
    "explained_variance wrong": of_lines(lambda line: line.update(explained_variance=0.5)),
    "value_loss not halved": _factor("value_loss", 2),
    "surrogate_after wrong": of_lines(lambda line: line.update(surrogate_after=0.123)),
    "wasted rows counted": _factor("step", 1.05),
    "returns of scaled rewards": _factor("return_mean", 0.7),
    "one episode too many": of_lines(lambda line: line.update(episodes=line["episodes"] + 1)),
    "a key missing": _without("effective_sample_size"),
    "policy moved after the report": moved("['state'].theta", 1.01),
    "normaliser forgets": moved("['state'].observation_moments.mean", 0.9),
    "reward moments wrong": moved("['state'].reward_moments.deviations", 1.1),
    "max_kl exceeded": _Wider(),
    "refused, but left applied": _refused,
}
