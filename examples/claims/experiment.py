"""What the claims share: runs over seeds, kept so that work goes on; intervals; plots; verdicts."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np

import klamp
from klamp.config.presets import configure
from klamp.evaluation.comparison.statistics import mean_interval as interval
from klamp.evaluation.evaluate import evaluate

mpl.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "claims"
"""One file a run; delete it to measure again."""
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4b5563")
RETURN = "return (last 100 training episodes)"
EPISODES = 20
"""Episodes of the final policy, with actions sampled as in training, that make a final return."""
NUMBERS = (
    "step", "return_mean", "kl", "kl_max", "entropy", "clip_fraction", "ratio_max",
    "effective_sample_size", "outcome", "kl_coefficient", "backtracks", "kl_before_projection",
)  # fmt: skip
"""What is kept of each update."""

Run = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One line of a claim: what is run for every seed."""

    label: str
    algorithm: Any
    env: str = "CartPole-v1"
    settings: dict[str, Any] = field(default_factory=dict)
    network: Any = None
    """A builder for ``klamp.train``, where it is not the built-in one; its name is its key."""
    measure: Callable[[klamp.Result], Run] | None = None
    """What else is kept of a run, measured on its result."""


@dataclass
class Verdict:
    """What a claim came to."""

    parts: list[bool]
    """Whether each part of the rule was met; the claim held if all were."""
    summary: str
    """One or two sentences with the figures that decided."""
    table: list[dict[str, Any]]
    """One row a case; an interval is a list [mean, low, high]."""
    settings: str


def keep_compiled() -> None:
    """Keep compiled programs beside the runs: seeds of a case share theirs."""
    jax.config.update("jax_compilation_cache_dir", str(CACHE / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def runs(case: Case, seeds: int | list[int]) -> list[Run]:
    """The runs of a case, one a seed; those made before are read."""
    return [_run(case, seed) for seed in (range(seeds) if isinstance(seeds, int) else seeds)]


def _run(case: Case, seed: int) -> Run:
    config = configure(case.env, case.algorithm, case.settings | {"seed": seed})
    extra = {} if case.network is None else {"network": case.network.__name__}
    extra |= {} if case.measure is None else {"measure": case.measure.__qualname__}
    return cached(config.to_dict() | extra, lambda: _train(case, seed))


def _train(case: Case, seed: int) -> Run:
    """Train once; the final return is measured on the last policy, free of the training's lag."""
    custom = {} if case.network is None else {"network": case.network}
    with tempfile.TemporaryDirectory() as scratch:
        result = klamp.train(
            case.env, case.algorithm, seed=seed, out=Path(scratch) / "run", quiet=True,
            **custom, **case.settings,
        )  # fmt: skip
    final = evaluate(result.policy, episodes=EPISODES, seed=seed, deterministic=False)
    series = {name: [line.get(name) for line in result.metrics] for name in NUMBERS}
    print(f"  {case.label}, seed {seed}: {final.returns.mean():.0f}", flush=True)
    measured = {} if case.measure is None else case.measure(result)
    return (
        series
        | measured
        | {
            "final": float(final.returns.mean()),
            "wall_s": result.summary["wall_s"] - result.summary["compile_s"],
        }
    )


def cached(key: dict[str, Any], measure: Callable[[], Run]) -> Run:
    """What ``measure`` returned for this key, now or before."""
    text = json.dumps(key, sort_keys=True)
    path = CACHE / "runs" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
    if path.exists():
        return json.loads(path.read_text())
    result = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    partial.replace(path)
    return result


def table(group: list[Run], name: str) -> np.ndarray:
    """[seeds, updates] of one number; NaN where it was not reported."""
    shortest = min(len(run[name]) for run in group)
    return np.array([run[name][:shortest] for run in group], float)


def finals(group: list[Run]) -> np.ndarray:
    """The return of each run's last policy."""
    return np.array([run["final"] for run in group])


def areas(group: list[Run]) -> np.ndarray:
    """The mean return over the whole of each run's training: the area under its curve."""
    return np.nanmean(table(group, "return_mean"), axis=1)


def bests(group: list[Run]) -> np.ndarray:
    """The best that each run reached: means of 100 episodes, or its last policy."""
    return np.maximum(np.nanmax(table(group, "return_mean"), axis=1), finals(group))


def collapsed(group: list[Run]) -> np.ndarray:
    """Whether a run ended below half of its own best."""
    return finals(group) < bests(group) / 2


def steps_to(group: list[Run], level: float) -> np.ndarray:
    """Environment steps until the training return reached ``level``; those of the run if never."""
    returns, step = table(group, "return_mean"), table(group, "step")
    reached = np.nan_to_num(returns, nan=-np.inf) >= level
    first = np.where(reached.any(1), reached.argmax(1), reached.shape[1] - 1)
    return step[np.arange(len(group)), first]


def mean(values: Any) -> list[float]:
    """[mean, low, high] with the 95 % bootstrap interval over seeds."""
    values = np.asarray(values, float)
    return [float(values.mean()), *interval(values)]


def below(a: list[float], b: list[float]) -> bool:
    """Whether the interval of ``a`` lies wholly below that of ``b``."""
    return a[2] < b[1]


def show(value: Any) -> str:
    """A cell of a table: an interval as mean (low to high), with three digits that count."""
    if isinstance(value, list):
        middle, low, high = (_digits(part) for part in value)
        return f"{middle} ({low} to {high})"
    return _digits(value) if isinstance(value, float) else str(value)


def _digits(value: float) -> str:
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e6:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"


def band(axes: Any, group: list[Run], name: str, label: str, colour: str, window: int = 1) -> None:
    """The mean over seeds by environment steps, in its 95 % bootstrap interval."""
    values, step = table(group, name), table(group, "step")[0] / 1000
    if window > 1:
        kernel = np.ones(window) / window
        values = np.stack([np.convolve(row, kernel, "valid") for row in values])
        step = step[window - 1 :]
    kept = ~np.isnan(values).any(axis=0)
    values, step = values[:, kept], step[kept]
    edges = np.array([interval(column) for column in values.T])
    axes.plot(step, values.mean(axis=0), color=colour, label=label, linewidth=1.6)
    axes.fill_between(step, edges[:, 0], edges[:, 1], color=colour, alpha=0.18, linewidth=0)


def points(axes: Any, x: list[float], values: list[list[float]], label: str, colour: str) -> None:
    """Means with their intervals at places x."""
    middle, low, high = np.array(values).T
    axes.errorbar(
        x, middle, [middle - low, high - middle], color=colour, label=label, marker="o", capsize=3
    )


def figure(panels: int) -> tuple[Any, Any]:
    """A row of panels."""
    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    return plt.subplots(1, panels, figsize=(4.4 * panels, 3.4), layout="constrained")


def finish(drawn: Any, path: Path, seeds: int) -> None:
    """Write a picture, and what its bands are."""
    drawn.supxlabel(f"{seeds} seeds; bands and bars: 95 % bootstrap interval of the mean",
                    fontsize=8, color="#555555")  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(drawn)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(48, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def curves(
    axes: Any, groups: dict[str, list[Run]], name: str = "return_mean", title: str = RETURN
) -> None:
    """One band a case."""
    for colour, (label, group) in zip(COLOURS, groups.items(), strict=False):
        band(axes, group, name, label, colour)
    axes.set(xlabel="environment steps, thousands", ylabel=title)
