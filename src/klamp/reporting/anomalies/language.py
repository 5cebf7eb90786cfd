"""Anomalies that only runs of language models have; elsewhere their numbers are not told."""

from collections.abc import Iterator

import numpy as np

from klamp.reporting.anomalies.finding import Finding, finding
from klamp.reporting.anomalies.history import History, median
from klamp.reporting.anomalies.policy import NARROW_CHOICE
from klamp.reporting.anomalies.returns import stands_still, wider

MISMATCH = 1e-3
"""Nats by which the log-probability of a token may differ between sampling and learning. Rounding
makes it some 1e-5."""

CUT_OFF = 0.5
"""Share of completions that may end at a limit before something is said."""

ALIKE = 0.8
"""Share of prompts whose completions all earned the same, from where on little is learnt."""

MISSED = 1.5
"""Times its target that the KL to the reference may be in the second half of a run."""

FAR = 1.0
"""Nats for each token from where on a reward that still rises is to be doubted."""


def mismatch(run: History) -> Iterator[Finding]:
    """Tokens were sampled from another policy than the one that is learnt from."""
    error = run.column("ratio_error")
    with np.errstate(invalid="ignore"):
        off = error > MISMATCH
    if off.any():
        yield finding(
            "sampled-from-another-policy",
            "The tokens were sampled from another policy than the one that is learnt from.",
            f"{run.listed(off).capitalize()}: the log-probabilities of a token differ by up to "
            f"{error[off].max():.2g} nats.",
            "Look for what differs between sampling and learning: the temperature, top-k or top-p, "
            "dropout, a mask or positions, or the precision of the weights.",
        )


def cut_off(run: History) -> Iterator[Finding]:
    """Completions do not come to their end."""
    share = median(run.recent("truncated_share"))
    if share > CUT_OFF:
        yield finding(
            "completions-cut-off",
            "Most completions are cut off by a limit and not ended by the policy.",
            f"truncated_share is {share:.0%} (median of {run.recent_updates()}).",
            "A larger --max-new-tokens, or --max-turns with an environment; a reward for ending.",
        )


def alike(run: History) -> Iterator[Finding]:
    """Group advantages are 0 where all completions of a prompt earned the same."""
    share = median(run.recent("groups_without_spread"))
    if share > ALIKE:
        yield finding(
            "groups-alike",
            "For most prompts all completions earn the same, so that little is learnt from them.",
            f"groups_without_spread is {share:.0%} (median of {run.recent_updates()}).",
            "Prompts that the policy answers rightly now and then; more --generations; a higher "
            "--temperature; --redraw-groups to draw others in their place.",
        )


def far_away(run: History) -> Iterator[Finding]:
    """The policy has left the model that it began with."""
    recent, target = median(run.recent("kl_reference")), run.setting("reference_target")
    seen = f"kl_reference is {recent:.2g} nats a token (median of {run.recent_updates()})"
    if target is not None and recent > MISSED * target:
        yield finding(
            "reference-target-missed",
            "The policy is farther from its reference than --reference-target asks for.",
            f"{seen}, and the target is {target:g}.",
            "A larger --reference-coefficient to begin with, or a smaller --learning-rate.",
        )
    elif target is None and recent > FAR and not stands_still(run):
        yield finding(
            "far-from-reference",
            "The reward rises far from the reference, where a learned reward is not to be trusted.",
            f"{seen}.",
            "Read completions.jsonl; then a larger --reference-coefficient, or one that adapts to "
            "a --reference-target.",
        )


def collapsed(run: History) -> Iterator[Finding]:
    """Entropy is gone, where it is told of the whole policy alone."""
    entropy = median(run.recent("entropy"))
    unknown = not len(run.told("choice_entropy_min"))
    if run.of_language and unknown and entropy < NARROW_CHOICE and stands_still(run):
        yield finding(
            "policy-narrow",
            "The policy has no randomness left: it tries nothing new.",
            f"Its entropy is {entropy:.2g} nats (median of {run.recent_updates()}).",
            f"Smaller steps (--max-kl); more of {wider(run)}.",
        )
