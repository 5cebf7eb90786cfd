"""Everything that is wrong with a run, the most important first."""

from collections.abc import Callable, Iterator

from klamp.reporting.anomalies import critic, language, policy, returns, updates
from klamp.reporting.anomalies.finding import Finding
from klamp.reporting.anomalies.history import History

CHECKS: tuple[Callable[[History], Iterator[Finding]], ...] = (
    updates.not_finite,
    updates.refused,
    language.mismatch,
    updates.ratio_not_one,
    updates.beyond_bound,
    updates.too_long,
    updates.too_short,
    updates.damped,
    updates.unsolved,
    updates.step_size_gone,
    updates.drawn_back,
    critic.critic,
    policy.narrow,
    policy.held_random,
    language.collapsed,
    language.alike,
    language.cut_off,
    language.far_away,
    returns.no_episode_ended,
    returns.no_signal,
    returns.fell,
)
"""Each looks for one kind of anomaly and yields what it finds."""

EXPLAINED_BY: dict[str, set[str]] = {
    "updates-too-short": {
        "damping-dominates",
        "learning-rate-gone",
        "bonus-dominates",
        "updates-refused",
        "no-signal",
    },
    "critic-not-learning": {"no-signal", "policy-narrow"},
    "no-signal": {"not-finite", "groups-alike"},
    "no-episode-ended": {"not-finite"},
}
"""Findings that are left out where one of the others was made, since they follow from it."""


def anomalies(run: History) -> list[Finding]:
    """The findings by rank; empty for a healthy run, and for one too short to tell."""
    found = sorted((one for check in CHECKS for one in check(run)), key=lambda one: one.rank)
    names = {one.name for one in found}
    return [one for one in found if not EXPLAINED_BY.get(one.name, set()) & names]
