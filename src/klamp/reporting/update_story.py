"""What one update did, in words: a paragraph each on the step, the policy and the critic."""

import math
from typing import Any

import numpy as np

from klamp.errors import printable
from klamp.reporting.anomalies.history import FEWEST, History, median
from klamp.reporting.anomalies.updates import DAMPED, UNSOLVED, why_refused

COMPARED = {
    "kl": "KL",
    "kl_max": "the largest KL of one state",
    "ratio_max": "the largest ratio",
    "value_loss": "the value loss",
    "gradient_norm": "the gradient's norm",
    "step_scale": "the scale of the step",
}
"""Positive quantities that are compared with the run's median, with their names."""

UNUSUAL = 3.0
"""A quantity this many times larger or smaller than the run's median is called unusual."""


class Line:
    """The numbers of one update; NaN where one is missing."""

    def __init__(self, run: History, place: int) -> None:
        self._run, self._place = run, place

    def __getitem__(self, name: str) -> float:
        return float(self._run.column(name)[self._place])

    def has(self, name: str) -> bool:
        """Whether the update has a number."""
        return not math.isnan(self[name])


def story(run: History, place: int) -> list[str]:
    """The paragraphs of the update at ``place``."""
    line = Line(run, place)
    paragraphs = [_what_happened(run, place, line)]
    if line.has("cg_residual"):
        paragraphs.append(_direction(run, line))
    if line.has("kl"):
        paragraphs.append(_policy(run, place, line))
    if line.has("value_loss"):
        paragraphs.append(_critic(line))
    if line.has("completion_length_mean"):
        paragraphs.append(_completions(line))
    paragraphs.append(_surroundings(run, place, line))
    return [paragraph for paragraph in paragraphs if paragraph]


def _what_happened(run: History, place: int, line: Line) -> str:
    outcome = run.outcomes[place]
    name = f"Update {run.update(place):,}"
    if outcome == "NON_FINITE":
        what = printable(str(run.lines[place].get("non_finite", "something")), 300)
        return (
            f"{name} was refused: {what}. NaN or infinity reaches no parameter, so θ and the "
            "algorithm's state are what they were before."
        )
    if outcome == "ZERO_GRADIENT":
        return (
            f"{name} was refused: the gradient of the surrogate is zero. All advantages are, as "
            "where every episode returns the same, or the policy cannot move."
        )
    if outcome == "NONPOSITIVE_CURVATURE":
        return (
            f"{name} was refused: xᵀ(F + λI)x is not positive, so the KL has no curvature along "
            f"the step. Try more --damping than {run.setting('damping')}."
        )
    if outcome == "LINE_SEARCH_EXHAUSTED":
        return f"{name} was refused: {_exhausted(run, place, line)}"
    if line.has("backtracks"):
        return f"{name} was made. {_taken(run, line)}"
    return f"{name} was made. {_descended(run, line)}"


def _exhausted(run: History, place: int, line: Line) -> str:
    bound = run.setting("max_kl") or math.nan
    tried = line["backtracks"] + 1
    text = "the whole step could not be taken, and no part of it was tried. "
    if tried > 1:
        text = f"none of the {tried:.0f} scales tried could be taken. "
    if line.has("kl_tried") and line.has("gain_tried"):
        rose = line["gain_tried"] > 0
        gain = f"the surrogate {'rose' if rose else 'fell'} by {abs(line['gain_tried']):.2g}"
        joint = "but" if rose == (line["kl_tried"] > bound) else "and"
        sign = ">" if line["kl_tried"] > bound else "≤"
        text += f"At the last, {gain}, {joint} KL was {line['kl_tried']:.3g} {sign} {bound:g}. "
    this = np.arange(len(run)) == place
    why, remedy = why_refused(run, this)
    if line["kl_resolution"] > bound:
        text += f"{why} "
    return f"{text}Try: {remedy}"


def _taken(run: History, line: Line) -> str:
    bound, ratio = run.setting("max_kl"), run.setting("backtrack_ratio")
    scale = "the whole step was taken"
    if line["backtracks"] > 0 and ratio is not None:
        share = float(ratio) ** line["backtracks"]
        times = _count(line["backtracks"], "time")
        scale = f"the step was shortened {times}, to {share:.0%} of its length"
    text = f"The surrogate rose by {line['gain_actual']:.2g} (the linear model said "
    text += f"{line['gain_predicted']:.2g}), and KL is {line['kl']:.3g} nats"
    text += f" of {bound:g} (the quadratic model said {line['kl_predicted']:.3g}); {scale}."
    return text


def _descended(run: History, line: Line) -> str:
    gain = line["surrogate_after"] - line["surrogate_before"]
    text = f"The surrogate {'rose' if gain > 0 else 'fell'} by {abs(gain):.2g}, and KL is "
    text += f"{line['kl']:.3g} nats"
    if line.has("epochs"):
        of = run.setting("epochs")
        stopped = of is not None and line["epochs"] < of
        text += f", after {_count(line['epochs'], 'epoch')}"
        text += f" of {of}: --target-kl stopped the others" if stopped else ""
    if line["projection"] < 1:
        text += f"; {line['projection']:.0%} of the update was kept, since its KL was "
        text += f"{line['kl_before_projection']:.3g}"
    if line.has("learning_rate"):
        text += f". The step size was {line['learning_rate']:.2g}"
    if line.has("kl_coefficient"):
        text += f"; the price of a nat, β, was {line['kl_coefficient']:.3g}"
    return f"{text}."


def _direction(run: History, line: Line) -> str:
    products = _count(line["cg_iterations"], "product")
    text = f"Conjugate gradient used {products} and left {line['cg_residual']:.2g} of g"
    if line["cg_residual"] > UNSOLVED:
        text += ": x is far from the natural gradient; try more --cg-iterations"
    text += "."
    if line.has("damping_share"):
        text += f" Damping carried {line['damping_share']:.0%} of xᵀ(F + λI)x"
        if line["damping_share"] > DAMPED:
            text += (
                f": it sets the step's length, not the KL; try less than {run.setting('damping')}"
            )
        text += "."
    return text


def _policy(run: History, place: int, line: Line) -> str:
    text = f"{line['clip_fraction']:.0%} of the ratios left the clipping range; the largest is "
    text += f"{line['ratio_max']:.3g}, and the importance weights leave "
    text += (
        f"{line['effective_sample_size']:.0%} of the batch. Entropy is {line['entropy']:.3g} nats"
    )
    if place > 0:
        change = line["entropy"] - float(run.column("entropy")[place - 1])
        text += "" if math.isnan(change) else f" ({change:+.2g})"
    for name, words in (("choice_entropy_min", "entropy"), ("action_std_min", "deviation")):
        if line.has(name):
            where = line[f"{name}_dimension"]
            text += f"; the least {words} is {line[name]:.3g}, in action dimension {where:.0f}"
    return f"{text}."


def _critic(line: Line) -> str:
    explained, loss = (
        line["explained_variance"],
        f"its loss after the update is {line['value_loss']:.3g}.",
    )
    if math.isnan(explained):
        return f"The targets of the critic were all the same; {loss}"
    if explained < 0:
        return (
            f"The critic that made the advantages was worse than a constant (explained variance "
            f"{explained:.2g}) and added noise to them; {loss}"
        )
    return (
        f"The critic that made the advantages explained {explained:.0%} of the variance of its "
        f"targets; {loss}"
    )


def _completions(line: Line) -> str:
    """What the completions of a language model were."""
    text = f"The completions earned {line['reward_mean']:.4g} on average and were "
    text += f"{line['completion_length_mean']:.1f} tokens long; {line['truncated_share']:.0%} were "
    text += "cut off"
    if line.has("groups_without_spread"):
        text += f". Of {line['groups_without_spread']:.0%} of the prompts all earned the same"
    if line.has("ratio_error"):
        text += ". The log-probabilities of sampling and of learning differ by at most "
        text += f"{line['ratio_error']:.2g} nats"
    if line.has("kl_reference"):
        text += f". The new policy is {line['kl_reference']:.3g} nats a token from its reference, "
        text += f"at a price of {line['reference_coefficient']:.3g} a nat"
    return f"{text}."


def _surroundings(run: History, place: int, line: Line) -> str:
    """The state of the run, and the unusual quantities of the update."""
    text = ""
    if line.has("step"):
        text = f"The run stood at step {line['step']:,.0f}"
        text += (
            f", with a mean return of {line['return_mean']:.4g}" if line.has("return_mean") else ""
        )
        text += "."
    odd = [_beside(run, line, name) for name in COMPARED]
    odd = [words for words in odd if words]
    return f"{text} Unusual beside the run's other updates: {'; '.join(odd)}." if odd else text


def _beside(run: History, line: Line, name: str) -> str:
    usual, value = median(run.told(name)), line[name]
    if len(run) < FEWEST or not usual > 0 or not value > 0:
        return ""
    times = value / usual
    if times > UNUSUAL:
        return f"{COMPARED[name]} is {times:.1f} times the median"
    if times < 1 / UNUSUAL:
        return f"{COMPARED[name]} is {times:.2g} of the median"
    return ""


def _count(number: Any, what: str) -> str:
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"
