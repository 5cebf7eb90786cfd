"""A run, and one of its updates, in words that fit 80 columns."""

import math
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np

from klamp.errors import ConfigError, printable
from klamp.reporting.anomalies.detection import anomalies
from klamp.reporting.anomalies.finding import Finding
from klamp.reporting.anomalies.history import FEWEST, History, median
from klamp.reporting.format import MADE, heading
from klamp.reporting.update_story import story

WIDTH = 79
"""Columns of a line; the 80th stays free, since some terminals break there."""

MOST = 6
"""Findings that are described; later ones usually follow from these."""


def explain_run(run: History, folder: Path) -> str:
    """What a run did, what is wrong with it and what to try: the most important first."""
    found = anomalies(run)
    parts = [_filled(heading(run.config, str(folder))), _filled(_verdict(run, found))]
    parts += [_told(number, one) for number, one in enumerate(found[:MOST], 1)]
    if found[MOST:]:
        names = ", ".join(one.name for one in found[MOST:])
        parts.append(_filled(f"Besides: {names}, which may follow from these."))
    name = printable(str(folder))
    parts.append(_filled(f"One update by itself: klamp explain {name} --update {_odd(run)}"))
    return "\n\n".join(parts)


def explain_update(run: History, update: int, folder: Path) -> str:
    """What one update did, and why; ``ConfigError`` where the run has no such update."""
    places = [i for i in range(len(run)) if run.update(i) == update]
    if not places:
        raise ConfigError(
            f"`--update` is {update:,}, but {folder} has the updates {run.update(0):,} to "
            f"{run.update(-1):,}. Give one of these."
        )
    paragraphs = story(run, places[0])
    return "\n\n".join(_filled(part) for part in [heading(run.config, str(folder)), *paragraphs])


def _verdict(run: History, found: list[Finding]) -> str:
    """The run in a paragraph."""
    sentences = [_how_far(run), _what_became(run), _what_was_learnt(run), _how_long(run)]
    if not found:
        few = len(run) < FEWEST
        sentences.append(
            "It is too short to say more."
            if few
            else "Nothing looks wrong: updates, critic and entropy are as in healthy runs."
        )
    elif len(found) == 1:
        sentences.append("One thing looks wrong.")
    else:
        sentences.append(f"{len(found)} things look wrong, the most important first.")
    return " ".join(sentence for sentence in sentences if sentence)


def _how_far(run: History) -> str:
    steps = run.told("step")
    of = run.config.settings.steps
    made = f"{steps[-1]:,.0f} of {of:,} steps" if len(steps) else f"some of {of:,} steps"
    return f"{made} in {len(run):,} update{'s' if len(run) > 1 else ''}."


def _what_became(run: History) -> str:
    counts = Counter(run.outcomes)
    refused = {name: count for name, count in counts.items() if name not in MADE}
    made = sum(counts[name] for name in MADE)
    if not refused:
        return "All of them were made." if made > 1 else ""
    listed = ", ".join(f"{count:,} {name}" for name, count in refused.items())
    return f"{made:,} of them were made, {len(run) - made:,} refused ({listed})."


def _what_was_learnt(run: History) -> str:
    values = run.column("return_mean")
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return "No episode has ended."
    first, last, best = known[0], known[-1], known[np.argmax(values[known])]
    if values[first] == values[last] == values[best]:
        return f"The mean return was {values[last]:.4g} from first to last."
    words = f"The mean return went from {values[first]:.4g} to {values[last]:.4g}"
    if best in (first, last):
        return f"{words}."
    return f"{words}; its best was {values[best]:.4g}, at update {run.update(int(best)):,}."


def _how_long(run: History) -> str:
    kl, bound = median(run.told("kl")), run.setting("max_kl")
    if math.isnan(kl):
        return ""
    of = "" if bound is None else f", where δ allows {bound:g}"
    return f"The median update moved the policy by {kl:.2g} nats{of}."


def _told(number: int, one: Finding) -> str:
    lines = [
        _filled(f"{number}. {one.says} [{one.name}]", "   "),
        _filled(f"   Seen: {one.evidence}", "         "),
        _filled(f"   Try:  {one.remedy}", "         "),
    ]
    return "\n".join(lines)


def _odd(run: History) -> int:
    """A remarkable update: the first refused one, else the one with the largest KL."""
    if not run.made.all():
        return run.update(int(np.argmin(run.made)))
    kl = run.column("kl")
    return run.update(-1 if np.isnan(kl).all() else int(np.nanargmax(kl)))


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        subsequent_indent=indent,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )
