"""What a sweep has found: the best settings as a file, a short table, and a page with plots."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from klamp.config.presets import sources
from klamp.config.run import RunConfig
from klamp.config.settings_file import as_toml
from klamp.errors import printable
from klamp.evaluation.comparison.curves import Curve
from klamp.evaluation.comparison.figures import figure, share
from klamp.evaluation.comparison.line_plot import Axes, line_plot
from klamp.evaluation.comparison.page import About, document, html_table
from klamp.evaluation.comparison.plots import legend
from klamp.training.sweep.plan import SweepPlan
from klamp.training.sweep.study import Trial

ROWS = 8
"""Trials that the table at the end has."""

BAR = 300
"""Width of the longest bar, in the units of the picture."""

_MEANING = """<h2>How to read this</h2><p>A trial is a set of settings; its value is the mean
return over the last third of its updates, averaged over the seeds of tuning. The best of many
trials looks better than it is, for its luck was chosen, too: train it with other seeds before you
believe its figure. A trial that was pruned was below the median of those before it when it was
ended, and has the last return it was compared by. How much a setting mattered is its share of what
tells the best tenth of the trials from all (PED-ANOVA); few trials tell little.</p>"""


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the highest value; of equals the first. None where there is none."""
    done = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def best_config(plan: SweepPlan, best: Trial) -> RunConfig:
    """The run of the best settings, with the first seed of reporting."""
    return plan.config(best.settings, 0)


def best_file(plan: SweepPlan, best: Trial, trials: int) -> str:
    """The best settings as a file that `klamp train --config` takes."""
    config = best_config(plan, best)
    said = dict.fromkeys(plan.settings, "given") | dict.fromkeys(best.settings, "sweep")
    seeds = ", ".join(map(str, plan.seeds))
    return (
        f"# Trial {best.number}, the best of {trials}: {best.value:.6g}, the mean return over the "
        f"last third\n# of its updates, with the tuning seeds {seeds}. Report with others:\n"
        "# klamp train --config THIS_FILE --seeds 10\n\n"
        f"{as_toml(config, sources(config, said))}\n"
    )


def table(plan: SweepPlan, trials: Sequence[Trial]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The best trials, and the first, which has the preset's settings; the head, and the rows."""
    order = sorted(
        (trial for trial in trials if trial.ended),
        key=lambda trial: (
            trial.state != "complete",
            -(-np.inf if trial.value is None else trial.value),
            trial.number,
        ),
    )
    shown = order[:ROWS] + [trial for trial in order[ROWS:] if trial.number == 0]
    return ("trial", "value", "", *plan.space), [_row(plan, trial) for trial in shown]


def _row(plan: SweepPlan, trial: Trial) -> list[str]:
    settings = [_setting(trial.settings.get(name)) for name in plan.space]
    named = f"{trial.number} (preset)" if trial.number == 0 else str(trial.number)
    return [named, figure(trial.value, ",.2f"), trial.state, *settings]


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def text(plan: SweepPlan, trials: Sequence[Trial], importances: Mapping[str, float]) -> str:
    """The table for a terminal: each trial in a line with what differs from the preset."""
    head, rows = table(plan, trials)
    first = plan.first()
    lines: list[str] = []
    for row in rows:
        changed = [
            f"{name}={value}"
            for name, value in zip(head[3:], row[3:], strict=True)
            if value != _setting(first.get(name))
        ]
        lines.append(f"{row[0]:>11}  {row[1]:>10}  {row[2]:<8}  {' '.join(changed)}")
    most = sorted(importances.items(), key=lambda item: -item[1])[:5]
    mattered = ", ".join(f"{name} {share(of)}" for name, of in most)
    failed = next((trial for trial in trials if trial.state == "failed"), None)
    said = [] if failed is None else ["", f"Trial {failed.number} failed: {failed.why}"]
    return printable_lines(
        [
            f"{'trial':>11}  {'value':>10}  {'':<8}  settings that differ from the first trial's",
            *lines,
            *(["", f"What mattered most: {mattered}"] if mattered else []),
            *said,
        ]
    )


def printable_lines(lines: Sequence[str]) -> str:
    """Lines of whatever origin, for a terminal."""
    return "\n".join(map(printable, lines))


def page(
    about: About, plan: SweepPlan, trials: Sequence[Trial], importances: Mapping[str, float]
) -> str:
    """The whole page."""
    head, rows = table(plan, trials)
    return document(
        about,
        f'<main><div class="plots">{_progress(trials)}{_bars(importances)}</div>'
        f"<h2>The best trials</h2>{html_table(head, map(tuple, rows))}</main>{_MEANING}",
    )


def _progress(trials: Sequence[Trial]) -> str:
    """The best value so far, trial by trial."""
    done = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not done:
        return ""
    x = np.array([float(trial.number) for trial in done])
    each = np.array([float(trial.value or 0.0) for trial in done])
    best = np.maximum.accumulate(each)
    curves = [
        Curve(label, colour, x, y, y, y, slice(0, len(x)), [])
        for colour, (label, y) in enumerate([("best so far", best), ("each trial", each)])
    ]
    drawn = line_plot(Axes("Value of each complete trial", "trial", "value"), curves)
    return (
        '<figure><h3>Complete trials</h3><div class="beside"><div class="drawn">'
        f"{drawn}</div>{legend(curves)}</div></figure>"
    )


def _bars(importances: Mapping[str, float]) -> str:
    """How much each setting mattered."""
    if not importances:
        return ""
    ordered = sorted(importances.items(), key=lambda item: -item[1])
    longest = max(of for _, of in ordered) or 1.0
    bars = ""
    for n, (name, of) in enumerate(ordered):
        length, foot = BAR * of / longest, 20 * n + 15
        bars += (
            f'<text x="170" y="{foot}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="178" y="{foot - 11}" width="{length:.1f}" height="13"/>'
            f'<text x="{182 + length:.1f}" y="{foot}">{share(of)}</text>'
        )
    return (
        "<figure><h3>How much each setting mattered</h3>"
        f'<svg class="bars" viewBox="0 0 540 {20 * len(ordered) + 6}" role="img">'
        f"<title>How much each setting mattered</title>{bars}</svg></figure>"
    )
