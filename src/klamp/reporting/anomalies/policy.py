"""Anomalies of the policy itself: no randomness left, or nothing but randomness."""

import math
from collections.abc import Iterator

import numpy as np

from klamp.reporting.anomalies.finding import Finding, finding
from klamp.reporting.anomalies.history import FEWEST, History, median
from klamp.reporting.anomalies.returns import stands_still, wider

NARROW_CHOICE = 0.01
"""Nats: one action has 99.9 % in the mean state. A policy that has solved its task may be so sure;
this counts only where the return has not risen."""

NARROW_STD = 0.02
"""Standard deviation in units of the action, whose bounds are about ±1 as a rule: nothing but the
mean is ever tried. Healthy runs end at 0.3 to 1."""

UNIFORM = 0.97
"""Share of its first entropy that a policy keeps where a bonus holds it there."""

WIDE = 3.0
"""Times its first standard deviation from where on a bonus has blown the policy up."""


def narrow(run: History) -> Iterator[Finding]:
    """Entropy is gone in one dimension of the action."""
    std, choice = median(run.recent("action_std_min")), median(run.recent("choice_entropy_min"))
    steps = "--learning-rate" if run.setting("learning_rate") is not None else "--max-kl"
    if std < NARROW_STD:
        name, seen = "action_std_min", f"standard deviation {std:.2g}"
        remedy = f"More of {wider(run)}; smaller steps ({steps})."
    elif choice < NARROW_CHOICE and stands_still(run):
        name, seen = "choice_entropy_min", f"entropy {choice:.2g} nats"
        remedy = f"Smaller steps ({steps}); where there is one, an --entropy-coefficient of 0.01."
    else:
        return
    whole = run.column(name)
    limit = NARROW_STD if name == "action_std_min" else NARROW_CHOICE
    with np.errstate(invalid="ignore"):
        since = int(np.flatnonzero(whole < limit)[0])
    dimension = median(run.recent(f"{name}_dimension"))
    where = "" if math.isnan(dimension) else f" in dimension {dimension:.0f} of the action"
    yield finding(
        "policy-narrow",
        f"The policy has no randomness left{where}: it tries nothing new.",
        f"Its {seen} (median of {run.recent_updates()}), {whole[0]:.2g} at the first update, below "
        f"{limit:g} since update {run.update(since):,}.",
        remedy,
    )


def held_random(run: History) -> Iterator[Finding]:
    """The entropy bonus outweighs what the advantages say."""
    coefficient = run.setting("entropy_coefficient")
    if not coefficient or len(run) < 4 * FEWEST or not stands_still(run):
        return
    choice, std = run.told("choice_entropy_min"), run.told("action_std_min")
    kept = median(run.recent("choice_entropy_min")) / choice[0] if len(choice) else 0.0
    grown = median(run.recent("action_std_min")) / std[0] if len(std) else 0.0
    if kept > UNIFORM:
        seen = f"the entropy of its choices is {kept:.1%} of the first update's"
    elif grown > WIDE:
        seen = f"its standard deviation is {grown:.1f} times the first update's"
    else:
        return
    yield finding(
        "bonus-dominates",
        "The entropy bonus keeps the policy random, and the return has not risen.",
        f"In {run.recent_updates()} {seen}.",
        f"A smaller --entropy-coefficient: it is {coefficient:g}, and 0 to 0.01 is usual.",
    )
