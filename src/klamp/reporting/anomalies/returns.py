"""Anomalies of what is learnt: no episodes, no signal, returns that fall."""

from collections.abc import Iterator

import numpy as np

from klamp.reporting.anomalies.finding import Finding, finding
from klamp.reporting.anomalies.history import FEWEST, History

LOST = 0.5
"""Share of what was gained that may be lost again. The mean is over 100 episodes, so that healthy
runs lose below 0.35 of it from their best to any later update."""

RISEN = 0.2
"""Gain, as a share of the first mean return, from where on a run counts as learning."""

SAME_EPISODES = 40
"""Episodes of one and the same return from which on there is nothing to learn from."""


def returns(run: History) -> np.ndarray:
    """Mean returns since 20 episodes had ended, so that one of them does not decide."""
    return run.column("return_mean")[run.column("episodes") >= 20]


def gained(values: np.ndarray) -> float:
    """The best mean return less the first one, as a share of the first one's size."""
    return float((values.max() - values[0]) / max(abs(values[0]), 1e-9))


def stands_still(run: History) -> bool:
    """Whether episodes have ended, and their returns are no better than at the beginning."""
    values = returns(run)
    values = values[~np.isnan(values)]
    risen = len(values) > 1 and gained(values) > RISEN and values[-1] > values[0]
    return len(values) >= FEWEST and not risen


def wider(run: History) -> str:
    """The options by which this algorithm tries more."""
    bonus = run.setting("entropy_coefficient") is not None
    if run.of_language:
        return "--entropy-coefficient, --temperature" if bonus else "--temperature"
    return "--entropy-coefficient, --initial-log-std" if bonus else "--initial-log-std"


def no_episode_ended(run: History) -> Iterator[Finding]:
    """Without ends there are no returns, and V looks ahead for ever."""
    episodes, steps = run.told("episodes"), run.told("step")
    if len(run) < FEWEST or len(episodes) == 0 or len(steps) == 0:
        return
    half = episodes[len(episodes) // 2]
    if episodes[-1] > half:
        return
    since = steps[np.flatnonzero(episodes == episodes[-1])[0]] if episodes[-1] else 0
    copies = run.setting("num_envs") or 1
    yield finding(
        "no-episode-ended",
        "No episode ends, so there is no return to go by.",
        f"{episodes[-1]:,.0f} episodes ended in {steps[-1]:,.0f} steps, none since step "
        f"{since:,.0f}, which is {(steps[-1] - since) / copies:,.0f} steps of each environment.",
        "Give the environment a time limit (`max_episode_steps` where it is registered), or train "
        "for longer than an episode.",
    )


def no_signal(run: History) -> Iterator[Finding]:
    """Every episode returns the same, so that no action is better than another."""
    values, idle = returns(run), np.array([o == "ZERO_GRADIENT" for o in run.outcomes])
    flat = len(values) >= FEWEST and bool(np.all(values == values[0]))
    enough = len(values) and np.nanmax(run.column("episodes")) >= SAME_EPISODES
    if flat and enough:
        seen = f"All episodes returned {values[0]:g}."
    elif idle.mean() > 0.5:
        seen = ""
    else:
        return
    if idle.any():
        seen = f"{seen} {idle.sum():,} of {len(run):,} updates had no gradient."
    yield finding(
        "no-signal",
        "The rewards say nothing: no action was better than another.",
        seen.strip(),
        f"Reward progress, not only the goal; or explore more ({wider(run)}) and train for longer, "
        "until the goal is met by chance.",
    )


def fell(run: History) -> Iterator[Finding]:
    """What was learnt is lost again."""
    episodes = run.column("episodes")
    values = np.where(episodes >= 100, run.column("return_mean"), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < FEWEST:
        return
    first = run.told("return_mean")[0]
    best = known[np.argmax(values[known])]
    last = values[known[-1]]
    gain = values[best] - first
    if gain > RISEN * abs(first) and values[best] - last > LOST * gain:
        kl = run.column("kl")[best : best + len(run) // 4 + 1]
        yield finding(
            "return-fell",
            "The return rose and fell again by more than half of its gain.",
            f"From {first:.4g} to {values[best]:.4g} at update {run.update(int(best)):,}, then to "
            f"{last:.4g} at update {run.update(-1):,}; the largest KL of an update after the best "
            f"was {np.nanmax(kl):.2g} nats.",
            "Evaluate an earlier checkpoint; then smaller steps (--max-kl, --learning-rate, a "
            f"--final-learning-rate of 0) or larger batches ({run.larger_batches}).",
        )
