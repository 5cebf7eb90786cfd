"""`klamp explain`."""

from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from klamp.cli.options import parse

if TYPE_CHECKING:
    from klamp.config.run import Configuration


def explain(words: list[str]) -> int:
    """`klamp explain RUN [--update K]`."""
    import tyro

    options = make_dataclass(
        "ExplainOptions", [("folder", tyro.conf.Positional[Path]), ("update", int | None, None)]
    )
    options.__doc__ = """What a run did, what is wrong with it, and what to try.

    Args:
        folder: The run's folder, or that of many seeds; they may still be training.
        update: Tell of this update alone: what happened in it, and why.
    """
    given = parse(
        options,
        words,
        command="explain",
        description="What a run did, what is wrong with it, and what to try.",
    )
    from klamp.reporting.anomalies.history import History
    from klamp.reporting.explanation import explain_run, explain_update
    from klamp.runs.folder import run_of, runs_of_seeds
    from klamp.runs.metrics_log import read_metrics

    told: list[str] = []
    for folder in runs_of_seeds(given.folder) or [run_of(given.folder)]:
        run = History(_configuration(folder), read_metrics(folder / "metrics.jsonl"))
        told.append(
            explain_run(run, folder)
            if given.update is None
            else explain_update(run, given.update, folder)
        )
    print("\n\n\n".join(told))
    return 0


def _configuration(folder: Path) -> "Configuration":
    """The configuration of a run, whatever it trains."""
    from klamp.runs.folder import config_data, of_language, read_config

    if of_language(folder):
        from klamp.lm.config.run import Configuration

        return Configuration.from_dict(config_data(folder))
    return read_config(folder)
