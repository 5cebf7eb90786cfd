"""What is wrong with a run, with its evidence and what to try."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One anomaly of a run."""

    name: str
    """Its name, such as ``updates-too-long``."""
    rank: int
    """Its place among other findings: causes come before consequences; 0 is first."""
    says: str
    """What is wrong, in one sentence."""
    evidence: str
    """The numbers that show it, and at which updates."""
    remedy: str
    """What to try, by the names of options."""


RANKS = (
    "not-finite",
    "sampled-from-another-policy",
    "groups-alike",
    "no-signal",
    "ratio-not-one",
    "reward-scale",
    "policy-narrow",
    "bonus-dominates",
    "damping-dominates",
    "learning-rate-gone",
    "updates-refused",
    "kl-above-bound",
    "updates-too-long",
    "updates-too-short",
    "solution-inexact",
    "drawn-back",
    "completions-cut-off",
    "reference-target-missed",
    "far-from-reference",
    "no-episode-ended",
    "critic-worse-than-constant",
    "critic-not-learning",
    "return-fell",
)
"""The order of findings: first what makes the others meaningless, then causes, then
consequences."""


def finding(name: str, says: str, evidence: str, remedy: str) -> Finding:
    """A finding with the rank of its name."""
    return Finding(name, RANKS.index(name), says, evidence, remedy)
