"""Anomalies of the updates: refused, beyond the region, too long, too short."""

from collections.abc import Iterator

import numpy as np

from klamp.errors import printable
from klamp.reporting.anomalies.finding import Finding, finding
from klamp.reporting.anomalies.history import FEWEST, History, median
from klamp.reporting.anomalies.returns import stands_still

REFUSED_SHARE = 0.1
"""Share of updates that may be refused without a word: near the end of a run that has nothing left
to gain a few are. Healthy runs have none."""

LONG_CLIP, LONG_KL, LONG_SHARE = 0.5, 0.05, 0.1
"""An update has left what its batch tells where half of the ratios that should keep to 1 ± ε do
not, or where the KL is above 0.05 nats: a Gaussian's mean has then moved by a third of a standard
deviation, and a tenth of the batch is lost to the importance weights. A run has such updates where
it is the median one of the second half, or, by KL, more than this share of all."""

SHORT_KL = 1e-4
"""Nats; a run whose median update is shorter than this has hardly moved in a thousand updates.
Healthy runs are at 3e-4 to 1e-2; A2C, which takes one small step per batch, is at 1e-4 and learns
all the same, so this counts only where the return has not risen."""

DAMPED = 0.9
"""Share of damping in xᵀ(F + λI)x from where on it, and not the KL, sets the step's length. At 0.1
of xᵀFx the step's KL is a tenth of δ. Healthy runs are at 0.1 to 0.4."""

UNSOLVED = 0.5
"""Relative residual of conjugate gradient from where on x is no natural gradient: half of g is
left. Healthy runs are below 0.3."""

BEYOND = 2.0
"""A KL may be so many times what was aimed at, where nothing bounds it: NPG's model, and what PPO
stops or prices by. Healthy NPG runs stay below 1.2."""

CORRECTED_SHARE = 0.5
"""What ``LONG_SHARE`` is where a penalty adapts: it learns its price from single updates that are
too long (a fifth of them in a healthy run), and fails only where half of them are."""


def not_finite(run: History) -> Iterator[Finding]:
    """NaN or infinity: nothing was learnt from those batches."""
    bad = np.array([outcome == "NON_FINITE" for outcome in run.outcomes])
    if not bad.any():
        return
    first = int(np.flatnonzero(bad)[0])
    what = printable(str(run.lines[first].get("non_finite", "something")), 300)
    environment = run.lines[first].get("kl") is None
    normalized = ", and scale what comes in (--normalize-observation, --normalize-reward)"
    scaled = "" if run.of_language else normalized
    remedy = (
        "Mend the environment: it returned that. The line of the update says how to meet it again."
        if environment
        else f"Lower the step size (--learning-rate, --critic-learning-rate){scaled}."
    )
    yield finding(
        "not-finite",
        f"{bad.sum():,} of {len(run):,} updates were refused, because of NaN or infinity.",
        f"It began with update {run.update(first):,}: {what}.",
        remedy,
    )


def refused(run: History) -> Iterator[Finding]:
    """No step was found, update after update."""
    for outcome in ("LINE_SEARCH_EXHAUSTED", "NONPOSITIVE_CURVATURE"):
        which = np.array([found == outcome for found in run.outcomes])
        if which.mean() <= REFUSED_SHARE:
            continue
        where = f"{which.sum():,} of {len(run):,} updates ended as {outcome}: {run.listed(which)}."
        why, remedy = why_refused(run, which) if outcome.startswith("LINE") else CURVATURE
        yield finding(
            "updates-refused",
            "Many updates were refused; θ stayed as it was.",
            f"{where} {why}",
            remedy,
        )


CURVATURE = (
    "The KL had no curvature along the step.",
    "More damping (--damping), and more rows for the Fisher matrix (--fisher-subsample 1).",
)


def why_refused(run: History, which: np.ndarray) -> tuple[str, str]:
    """What kept the line search from a step, and what mends that."""
    bound = run.setting("max_kl") or np.nan
    with np.errstate(invalid="ignore"):
        coarse = run.column("kl_resolution")[which] > bound
        beyond = run.column("kl_tried")[which] > bound
    if coarse.mean() > 0.5:
        return (
            f"float32 cannot tell policies of this run apart at δ = {bound:g} nats.",
            "A larger --max-kl, actions scaled to about 1, or larger deviations at the start "
            "(--initial-log-std).",
        )
    if beyond.mean() > 0.5:
        return (
            f"In {beyond.mean():.0%} of them the KL was above δ = {bound:g} at the last scale "
            "tried: the quadratic model does not hold that far.",
            "More backtracking (--max-backtracks, a smaller --backtrack-ratio), more damping "
            "(--damping), more products (--cg-iterations), or a smaller --max-kl.",
        )
    return (
        "The KL was within δ, but the surrogate did not rise at any scale tried.",
        f"Larger batches ({run.larger_batches}), more products (--cg-iterations), or more damping "
        "(--damping): the direction found is not one of ascent.",
    )


def ratio_not_one(run: History) -> Iterator[Finding]:
    """A policy that is not the one that acted, though nothing moved it.

    Where an update was refused θ is what it was, so every ratio must be 1. (With a shared trunk
    the fit of the critic moves the policy.) Of the first minibatch of other updates this holds by
    construction: old and new log-probabilities are the same computation of the same θ.
    """
    still = ~run.made & (run.column("ratio_max") > 1.001)
    if run.setting("shared_network") or run.setting("recurrent_size"):
        return
    if still.any():
        largest = run.column("ratio_max")[still].max()
        yield finding(
            "ratio-not-one",
            "Ratios differ from 1 where the policy did not move.",
            f"{run.listed(still)}: the largest ratio is {largest:.4g}.",
            "The policy answers differently when asked again: look for randomness or state in the "
            "network of your own.",
        )


def beyond_bound(run: History) -> Iterator[Finding]:
    """A KL far above what was asked for, for a good part of the run."""
    name = "max_kl" if run.setting("max_kl") is not None else "target_kl"
    bound, kl = run.setting(name), run.column("kl")
    if bound is None or len(run) < FEWEST:
        return
    with np.errstate(invalid="ignore"):
        above = kl > BEYOND * bound
    if above.mean() <= _tolerated(run):
        return
    natural = run.setting("cg_iterations") is not None
    remedy = (
        "`--algo trpo`, which measures the KL and shortens the step, or a smaller --max-kl."
        if natural
        else "A smaller --learning-rate, or `--max-kl` of PPO, which draws the update back."
    )
    yield finding(
        "kl-above-bound",
        f"The KL of many updates was more than {BEYOND:g} times --{name.replace('_', '-')}, "
        f"{bound:g} nats.",
        f"In {above.mean():.0%} of the updates: {run.listed(above)}; median of these "
        f"{np.median(kl[above]):.3g} nats, largest {np.nanmax(kl):.3g}.",
        remedy,
    )


def too_long(run: History) -> Iterator[Finding]:
    """Updates that go beyond what their batch can tell."""
    clipped = run.setting("clip") is not None
    clip, kl = median(run.recent("clip_fraction")), run.told("kl")
    long = float(np.mean(kl > LONG_KL)) if len(kl) >= FEWEST else 0.0
    if not (long > _tolerated(run) or (clipped and clip > LONG_CLIP)):
        return
    effective = run.told("effective_sample_size")
    seen = f"The KL is above {LONG_KL:g} nats in {long:.0%} of the updates, {np.median(kl):.2g} in "
    seen += f"the median one and {kl.max():.2g} in the longest"
    if len(effective):
        seen += f", which leaves {effective.min():.0%} of its batch to the importance weights"
    if clipped:
        seen += f"; {clip:.0%} of the ratios are outside the clipping range (median of "
        seen += f"{run.recent_updates()})"
    yield finding(
        "updates-too-long",
        "Updates leave the neighbourhood in which their batch says anything.",
        f"{seen}.",
        _shorter(run),
    )


def _tolerated(run: History) -> float:
    """The share of updates that may be too long."""
    return CORRECTED_SHARE if run.setting("kl_coefficient") is not None else LONG_SHARE


def _shorter(run: History) -> str:
    """What makes the updates of this algorithm shorter."""
    bound, rate = run.setting("max_kl"), run.setting("learning_rate")
    if run.setting("epochs") is not None:
        return (
            f"A smaller --learning-rate: it is {rate:g}; fewer --epochs than "
            f"{run.setting('epochs')}, --target-kl 0.02 to stop them, or --max-kl 0.02 to draw "
            "updates back."
        )
    if bound is not None:
        return f"A smaller --max-kl: it is {bound:g} nats, and 0.01 is usual."
    return f"A smaller --learning-rate than {rate:g}, or a trust region: --algo trpo."


def too_short(run: History) -> Iterator[Finding]:
    """A policy that hardly moves, and does not get better."""
    kl = median(run.told("kl"))
    if not kl < SHORT_KL or not stands_still(run):
        return
    bound = run.setting("max_kl")
    if bound is not None:
        remedy = f"A larger --max-kl: it is {bound:g} nats, and 0.01 is usual."
    else:
        remedy = f"A larger --learning-rate: it is {run.setting('learning_rate'):g}."
    yield finding(
        "updates-too-short",
        "The policy hardly moves, and the return has not risen.",
        f"The median KL of an update is {kl:.2g} nats; healthy runs have 0.001 to 0.02.",
        remedy,
    )


def damped(run: History) -> Iterator[Finding]:
    """Damping sets the step's length, so that the region is not used."""
    share, kl = median(run.recent("damping_share")), median(run.recent("kl"))
    bound = run.setting("max_kl")
    if bound is not None and share > DAMPED:
        yield finding(
            "damping-dominates",
            "Damping, not the KL, sets the length of the step.",
            f"λxᵀx is {share:.1%} of xᵀ(F + λI)x, so the KL is {kl:.2g} nats where δ allows "
            f"{bound:g} (medians of {run.recent_updates()}).",
            f"A smaller --damping: it is {run.setting('damping'):g}, and 0.1 or 0.01 is usual.",
        )


def unsolved(run: History) -> Iterator[Finding]:
    """Conjugate gradient stops far from the natural gradient."""
    residual = median(run.recent("cg_residual"))
    if residual > UNSOLVED:
        yield finding(
            "solution-inexact",
            "Conjugate gradient stops far from the natural gradient.",
            f"‖g − (F + λI)x‖ is {residual:.0%} of ‖g‖ (median of {run.recent_updates()}).",
            f"More --cg-iterations than {run.setting('cg_iterations')}, or more --damping than "
            f"{run.setting('damping'):g}.",
        )


def step_size_gone(run: History) -> Iterator[Finding]:
    """The step size fell to nothing long before the end."""
    rate = run.told("learning_rate")
    if len(rate) < FEWEST or rate[0] <= 0:
        return
    gone = rate <= 0.01 * rate.max()
    if gone[-1] and gone.mean() > 0.1:
        adaptive = run.setting("adaptive_learning_rate") is not None
        yield finding(
            "learning-rate-gone",
            "The step size fell to nothing, and stayed there.",
            f"{rate.max():.2g} at its largest, {rate[-1]:.2g} at the end; below a hundredth in "
            f"{gone.mean():.0%} of the updates.",
            "A larger --adaptive-learning-rate (the KL it aims at)."
            if adaptive
            else "A larger --final-learning-rate, or --schedule-steps as long as the run.",
        )


def drawn_back(run: History) -> Iterator[Finding]:
    """Most of each of PPO's updates is given up again by its projection."""
    share = median(run.recent("projection"))
    if share < 0.2:
        yield finding(
            "drawn-back",
            "Most of each update is drawn back.",
            f"{share:.0%} of it is kept (median of {run.recent_updates()}): KL before "
            f"{median(run.recent('kl_before_projection')):.3g} nats, δ {run.setting('max_kl'):g}.",
            "A smaller --learning-rate or fewer --epochs: the work would not be thrown away.",
        )
