"""Folders of runs as far as they are compared, made without training."""

import json
from pathlib import Path
from typing import Any

KEYS = ("return_mean", "kl", "entropy", "explained_variance")


def line(**changes: Any) -> str:
    """A line of `metrics.jsonl` with all that is compared."""
    usual = dict.fromkeys(KEYS, 1.0)
    whole: dict[str, Any] = {"update": 1, "step": 1, "time_s": 1.0, **usual}
    return json.dumps(whole | changes) + "\n"


def learning(returns: list[float], every: int = 100) -> list[str]:
    """Lines of a run with these returns."""
    return [
        line(update=n, step=n * every, time_s=0.5 * n, return_mean=value)
        for n, value in enumerate(returns, 1)
    ]


def run(folder: Path, lines: list[str], ended: bool = True, **config: Any) -> Path:
    """The folder of a run."""
    folder.mkdir(parents=True)
    usual = {"env": "E-v1", "algo": "ppo", "seed": 0, "klamp_version": "0.1.0"}
    (folder / "config.json").write_text(json.dumps(usual | config))
    (folder / "metrics.jsonl").write_text("".join(lines))
    if ended and lines:
        last = {"step": json.loads(lines[-1]).get("step")}
        (folder / "summary.json").write_text(json.dumps(last))
    return folder


def seeds(folder: Path, finals: list[float], **config: Any) -> Path:
    """A folder of seeds that ended at these returns."""
    for seed, final in enumerate(finals):
        run(folder / f"seed-{seed}", learning([0.0, final / 2, final]), seed=seed, **config)
    return folder
